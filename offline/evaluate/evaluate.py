"""`braind evaluate`: gathers held-out trials, controls and networks, and scores a subject's decoder."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...arrays import Array
from ...client.datasets.data_set import DataSet
from ...client.datasets.nsd.tree import NsdTree
from ...config import Config, weights_path
from ...errors import BraindError
from ...models.weights.weights import Weights
from ..data_sets import check_test_runs
from ..decoding import DecodingError, SubjectDecoder, is_held_out, kind_in
from ..fit.bold import BoldError, estimates_after
from ..fit.targets import encode_targets
from ..pieces import with_speed
from ..progress import progress_bar
from ..workers import ONE_PROCESS, Workers
from .comparing import Scoring, open_comparisons

if TYPE_CHECKING:
    from ...models.scores.held_out import HeldOut, Row, Training
    from ...models.scores.networks import Source
    from ...models.scores.protocols import Measure


class EvaluatingError(BraindError):
    """An input of the evaluation is missing or cannot be read."""

    code = "evaluate"


def evaluate_subject(
    config: Config,
    subject: int,
    protocol_name: str = "mindeye",
    networks: str | None = None,
    kinds_path: Path | None = None,
    max_trials_per_picture: int | None = None,
    workers: Workers = ONE_PROCESS,
) -> dict[str, Any]:
    """Score a subject's decoder on all test pictures.

    Parameters
    ----------
    protocol_name : str
        Name of a published protocol.
    networks : str, optional
        Folder of the protocol's networks. With "hub", their libraries download them.
    kinds_path : Path, optional
        Table of pictures and the kind of object in each, for data sets without kinds.
    max_trials_per_picture : int, optional
        Score only the first trials of each picture.
    workers : Workers
        Make the pictures and compare them. What an interrupted attempt has compared is not made again.

    Returns
    -------
    scores : dict, JSON-ready
        As from `models.scores.evaluate.evaluate`. `measures` describes each measure and says whether it was measured.
        Only `made` depends on the time of the evaluation.
    """
    from ...models.scores.decodes import Evaluation
    from ...models.scores.evaluate import evaluate
    from ...models.scores.protocols import PROTOCOLS

    began_s = time.perf_counter()
    protocol = PROTOCOLS[protocol_name]
    decoder = SubjectDecoder.load(config, subject)
    held_out, training = held_out_of(decoder, kinds_path)
    scoring = Scoring(protocol_name, source_of(networks), held_out.nsd_ids, held_out.kinds)
    scorer, missing, own_missing = scoring.scorer(decoder.tree)
    try:
        bold_weights = load_bold_weights(config, subject, decoder.tree, decoder.ldm.fingerprint)
        bold, _ = bold_rows(decoder.tree, subject, bold_weights, held_out.nsd_ids)["final"]
    except (BoldError, DecodingError, EvaluatingError) as error:
        bold = str(error)
    with (
        open_comparisons(config, decoder, scorer, scoring, workers, f"evaluate_sub-{subject:02d}") as opened,
        progress_bar("evaluating") as report,
    ):
        evaluation = Evaluation(
            decoder.weights,
            held_out,
            opened.compare,
            scorer,
            config.decode.seed,
            n_samples=protocol.n_samples,
            progress=with_speed(report, opened.workers),
        )
        scores = evaluate(
            evaluation,
            training,
            protocol,
            bold=None if isinstance(bold, str) else bold,
            max_trials_per_picture=max_trials_per_picture,
        )
        provenance = decoder.provenance(opened.engine)
    if isinstance(bold, str) and "bold" in protocol.rows:
        scores["bold"] = {"not_measured": bold}
    if "novel_kinds" not in scores:
        scores["novel_kinds"] = {"not_measured": _why_no_novel_kinds(held_out)}
    measured = {measure.name for measure in scorer.measures}
    scores["measures"] = {
        measure.name: {
            "title": measure.title,
            "better": measure.better,
            "published": measure in protocol.measures,
            "status": "measured"
            if measure.name in measured
            else "not measured: " + _why_not_measured(measure, missing, own_missing),
        }
        for measure in scoring.measures
    }
    scores["protocol"] = protocol.name
    scores["provenance"] = provenance
    now = datetime.now(UTC).isoformat(timespec="seconds")
    scores["made"] = {"at": now, "seconds": round(time.perf_counter() - began_s, 1)}
    return scores


def source_of(networks: str | None) -> "Source":
    """Return the source of a protocol's networks: a folder, the hub or none."""
    return "hub" if networks == "hub" else Path(networks).expanduser().absolute() if networks else None


def held_out_of(decoder: SubjectDecoder, kinds_path: Path | None = None) -> "tuple[HeldOut, Training]":
    """Return the held-out trials, and the training data of the controls.

    Held-out trials of runs that the BOLD prior was learned from are left out.

    Raises
    ------
    DecodingError
        If no held-out trial is left.
    """
    from ...models.scores.held_out import HeldOut, Training, average_repeats

    tree = decoder.tree
    card = decoder.weights.card
    trials, voxels = decoder.read_trials()
    scored = is_held_out(decoder.weights, trials) & trials.has_picture
    trained = ~trials.is_shared & trials.has_picture
    picture_ids, picture_of_trial = np.unique(trials.nsd_id[scored], return_inverse=True)
    training_ids, training_picture_of_trial = np.unique(trials.nsd_id[trained], return_inverse=True)
    z_px = card.latent_shape[1] * decoder.ldm.factor
    z, c = encode_targets(tree, decoder.ldm, picture_ids, z_px)
    kinds, is_novel = _kinds(tree, picture_ids, training_ids, kinds_path)
    held_out = HeldOut(voxels[scored], picture_of_trial, tree.pictures(picture_ids), picture_ids, z, c, kinds, is_novel)
    drawn = np.random.default_rng(decoder.reconstructor.seed).choice(training_ids, len(picture_ids))
    training = Training(
        average_repeats(voxels[trained], training_picture_of_trial)[0],
        training_ids,
        decoder.ldm.encode_captions([tree.captions(int(nsd_id)) for nsd_id in drawn]),
    )
    return held_out, training


def load_bold_weights(config: Config, subject: int, tree: DataSet, ldm: str) -> Weights:
    """Return a subject's weights of kind bold.

    Raises
    ------
    BraindError
        If there are no such weights, or they do not match the data set or the model.
    """
    path = weights_path(config, subject, "bold")
    if not path.is_file():
        raise EvaluatingError(f"needs weights of kind bold, {path.name}: braind fit --kind bold --subject {subject}")
    if not isinstance(tree, NsdTree):
        raise EvaluatingError(
            "needs BOLD series beside betas, as NSD has them; a BIDS folder's BOLD is scored with --betas bold"
        )
    weights = Weights.load(path).with_c_decoder(config.decode.c_decoder)
    weights.check_ldm(ldm)
    weights.check_volume(tree.shape(subject), tree.affine(subject))
    check_test_runs(weights.card, config)
    if weights.card.kind != "bold":
        raise EvaluatingError(f"needs weights of kind bold; {path.name} are of kind {weights.card.kind}")
    return weights


def bold_rows(
    tree: DataSet, subject: int, weights: Weights, picture_ids: Array, delays_s: tuple[float, ...] = ()
) -> "dict[str, tuple[Row, Array]]":
    """Return the held-out trials' causal estimates by delay: "4.0", … and "final".

    Trials of runs that the prior was learned from are left out.

    Returns
    -------
    rows : dict of (Row, array of shape (n_trials,), int)
        Estimates, and their trials' rows among all trials of the subject.
    """
    from ...models.scores.held_out import Row

    assert isinstance(tree, NsdTree)
    trials = tree.trials(subject)
    prior = weights.bold_prior
    with progress_bar("estimating trials from BOLD") as report:
        wanted = is_held_out(weights, trials)
        estimates = estimates_after(tree, subject, weights.voxel_index, prior, delays_s, wanted, report)
    return {
        name: (Row(weights, found.voxels, np.searchsorted(picture_ids, trials.nsd_id[found.rows])), found.rows)
        for name, found in estimates.items()
    }


def _kinds(
    tree: DataSet, picture_ids: Array, training_ids: Array, kinds_path: Path | None
) -> tuple[list[str], Array | None]:
    """Return the kind of object in each picture, if known, and which kinds no training picture shows."""
    if kinds_path is not None:
        kind_of = read_kinds(kinds_path)
        trained = {kind_of.get(int(nsd_id)) for nsd_id in training_ids}
        kinds = [kind_of.get(int(nsd_id), "") for nsd_id in picture_ids]
        return kinds, np.array([bool(kind) and kind not in trained for kind in kinds])
    if not tree.is_simulated():
        return [], None
    kinds = [kind_in(tree.captions(int(nsd_id))[0]) for nsd_id in picture_ids]
    return kinds, np.isin(picture_ids, tree.novel_kind_ids())


def read_kinds(path: Path) -> dict[int, str]:
    """Read a tab-separated table with a header: 0-based 73k id, and kind of object.

    Raises
    ------
    EvaluatingError
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()[1:]
        rows = [line.split("\t") for line in lines if line.strip()]
        return {int(nsd_id): kind.strip() for nsd_id, kind in rows}
    except (OSError, ValueError) as error:
        raise EvaluatingError(
            f"{path}: no table of kinds ({error}); give a header and lines of 73k id, tab, kind"
        ) from error


def _why_not_measured(measure: "Measure", missing: dict[str, str], own_missing: str) -> str:
    if measure.kind in ("named", "background_pixcorr"):
        return "needs the scene of each picture, which only a simulated NSD folder has"
    return missing.get(measure.name) or own_missing or "needs the kind of object in each picture: --kinds FILE"


def _why_no_novel_kinds(held_out: "HeldOut") -> str:
    if not any(held_out.kinds):
        return "not available: needs the kind of object in each picture (--kinds FILE)"
    return "not available: training has every kind that the held-out pictures show"
