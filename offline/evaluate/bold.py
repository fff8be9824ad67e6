"""Scores decodes of BOLD at delays after onset: causal estimates and the lagged ridge, compared with betas."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...arrays import Array
from ...client.datasets.data_set import DataSet
from ...client.datasets.nsd.tree import NsdTree
from ...config import Config, lagged_path
from ...models.weights.weights import Weights
from ..decoding import SubjectDecoder
from ..fit.bold import SECONDS_AFTER_ONSET
from ..pieces import with_speed
from ..progress import progress_bar
from ..workers import ONE_PROCESS, Workers
from .comparing import Scoring, open_comparisons
from .evaluate import bold_rows, held_out_of, load_bold_weights, source_of

if TYPE_CHECKING:
    from ...models.scores.held_out import Row


def evaluate_bold(
    config: Config,
    subject: int,
    protocol_name: str = "mindeye",
    networks: str | None = None,
    kinds_path: Path | None = None,
    max_trials_per_picture: int | None = None,
    workers: Workers = ONE_PROCESS,
) -> dict[str, Any]:
    """Score held-out trials with BOLD at delays after onset, and the same trials' betas.

    Trials are decoded from causal estimates. If a lagged ridge was fitted, trials are decoded from windows too.
    `evaluate_subject` documents the parameters.

    Returns
    -------
    scores : dict, JSON-ready
        `beta`: scores as in a row of `evaluate_subject`. `bold` and `lagged`: the same, in `seconds_after_onset` by
        delay and in `final`.
    """
    from ...models.scores.decodes import Evaluation
    from ...models.scores.evaluate import compare_rows
    from ...models.scores.held_out import Row, first_trials

    decoder = SubjectDecoder.load(config, subject)
    weights = load_bold_weights(config, subject, decoder.tree, decoder.ldm.fingerprint)
    held_out, _ = held_out_of(decoder, kinds_path)
    scoring = Scoring(protocol_name, source_of(networks), held_out.nsd_ids, held_out.kinds)
    scorer, _, _ = scoring.scorer(decoder.tree)
    found = bold_rows(decoder.tree, subject, weights, held_out.nsd_ids, SECONDS_AFTER_ONSET)
    final, trial_rows = found["final"]
    chosen = first_trials(final.picture_of_row, max_trials_per_picture)
    # Rows of all trials become rows of the held-out trials.
    is_shared = decoder.tree.trials(subject).is_shared
    betas = held_out.voxels[(np.cumsum(is_shared) - 1)[trial_rows]]
    rows = {"beta": Row(decoder.weights, betas, final.picture_of_row)} | {name: row for name, (row, _) in found.items()}
    lagged = lagged_rows(config, subject, decoder.tree, weights, trial_rows, final.picture_of_row)
    rows |= {f"lagged {name}": row for name, row in lagged.items()}
    rows = {name: Row(row.weights, row.voxels[chosen], row.picture_of_row[chosen]) for name, row in rows.items()}
    with (
        open_comparisons(config, decoder, scorer, scoring, workers, f"evaluate_bold_sub-{subject:02d}") as opened,
        progress_bar("evaluating") as report,
    ):
        seed, told = config.decode.seed, with_speed(report, opened.workers)
        scores = compare_rows(Evaluation(decoder.weights, held_out, opened.compare, scorer, seed, progress=told), rows)
        provenance = decoder.provenance(opened.engine)
    bold, by_lags = _over_time(scores, found), _over_time(scores, lagged, "lagged ")
    return {
        "beta": scores["beta"],
        "bold": bold | {"fitted_on": weights.card.fitted_on},
        "lagged": by_lags if lagged else {"not_measured": "needs a lagged ridge: braind fit --kind bold --lagged"},
        "measures": {measure.name: {"title": measure.title, "better": measure.better} for measure in scorer.measures},
        "protocol": protocol_name,
        "provenance": provenance | {"bold_weights": weights.fingerprint},
    }


def lagged_rows(
    config: Config, subject: int, tree: DataSet, weights: Weights, trial_rows: Array, picture_of_row: Array
) -> "dict[str, Row]":
    """Return trials' windows for the lagged ridge, by delay ("4.0", … and "final"). Without a lagged ridge, return {}.

    Parameters
    ----------
    trial_rows : array of shape (n,), int
        Rows among all trials of the subject.
    picture_of_row : array of shape (n,), int
    """
    from ...models.bold.lagged_ridge import LaggedRidge
    from ...models.scores.held_out import Row
    from ..fit.lagged import DELAYS_S, windows_after

    assert isinstance(tree, NsdTree)
    path = lagged_path(config, subject)
    if not path.is_file():
        return {}
    ridge = LaggedRidge.load(path, weights)
    wanted = np.zeros(len(tree.trials(subject).nsd_id), bool)
    wanted[trial_rows] = True
    delays_s = {delay: delay_s for delay, delay_s in DELAYS_S.items() if delay in ridge.maps}
    with progress_bar("reading BOLD runs") as report:
        found = windows_after(tree, subject, weights.voxel_index, ridge.signal_std, delays_s, wanted, report)
    return {
        delay: Row(ridge.decoder(delay), trials.voxels[np.searchsorted(trials.rows, trial_rows)], picture_of_row)
        for delay, trials in found.items()
    }


def _over_time(scores: dict[str, Any], rows: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return rows' scores, with the final scores apart from the scores by delay."""
    by_delay = {name: scores[prefix + name] for name in rows}
    return {"final": by_delay.pop("final", None), "seconds_after_onset": by_delay}
