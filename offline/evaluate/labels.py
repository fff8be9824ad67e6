"""`braind evaluate --labels`: scores decoded classes against seconds after onset, on runs that the fit did not see."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import __version__
from ...client.datasets.bids.folder import BOLD
from ...client.datasets.data_set import BoldDataSet, DataSetError
from ...config import Config, weights_path
from ...models.bold.finished_run import FinishedRun, estimates_of
from ...models.bold.label_decoder import LabelDecoder, fit_label_decoder
from ...models.scores.labels import DecodedClasses, score_classes
from ...models.weights.roi import union_index
from ...models.weights.weights import Weights
from ..data_sets import check_estimates, check_test_runs, data_set_of, held_out_runs
from ..fit.bold import SubjectRuns, is_of_runs
from ..fit.subject import fit_subject
from ..progress import progress_bar

FEWEST_RUNS = 3
"""One run that is left out, and two that the fit is cross-validated over."""


@dataclass(frozen=True, eq=False)
class _Decoded:
    """One estimate of a trial: its class, its probabilities, and the trial."""

    label: str
    probabilities: dict[str, float]
    trial: tuple[int, int]
    since_onset_s: float
    is_final: bool


def evaluate_labels(config: Config, subject: int, *, leave_one_run_out: bool = False) -> dict[str, Any]:
    """Score the classes of a data set whose responses are estimated from BOLD.

    Parameters
    ----------
    leave_one_run_out : bool
        Each run is decoded by a fit to all other runs: prior, scaling, penalties and calibration. Otherwise the
        subject's weights decode the held-out trials; a subject without weights is fitted first.

    Returns
    -------
    scores : dict, JSON-ready
        `labels`: as from `models.scores.labels.score_classes`. `splits`: how the trials were held out. `provenance`.

    Raises
    ------
    DataSetError
        If the data set has no BOLD, no class, no held-out trial with a class, or too few runs to leave one out.
    FitError
        If a class occurs in one training run only, or there are too few runs or classes.
    """
    tree = data_set_of(config)
    if tree.estimates != BOLD or not isinstance(tree, BoldDataSet):
        raise DataSetError(
            f"{tree.root} is read for its {tree.estimates}: give --betas bold to score classes", code="option"
        )
    if leave_one_run_out and config.dataset.test_runs:
        raise DataSetError("--leave-one-run-out holds out every run in turn: leave --test-runs out", code="option")
    decoded, tr_s, provenance = (_left_out if leave_one_run_out else _held_out)(config, tree, subject)
    if not decoded:
        raise DataSetError(
            f"subject {subject} of {tree.root}: no held-out trial has a class and BOLD that goes on for 4 s: hold out "
            "runs with --test-runs, or give --leave-one-run-out"
        )
    runs = held_out_runs(config)
    splits = "leave one run out" if leave_one_run_out else f"runs {runs}" if runs else "test pictures"
    return {
        "labels": score_classes(_as_arrays(decoded), tr_s, config.decode.seed),
        "splits": splits,
        "provenance": {
            "subject": subject,
            "data": tree.root.name,
            "simulated": tree.is_simulated(),
            "version": __version__,
            **provenance,
        },
    }


def _left_out(config: Config, tree: BoldDataSet, subject: int) -> tuple[list[_Decoded], float, dict[str, Any]]:
    masks = [tree.roi_mask(subject, list(rois)) for rois in (config.fit.z_rois, config.fit.c_rois)]
    voxel_index, *_ = union_index(*masks)
    runs = SubjectRuns(tree, subject, voxel_index).read_labelled()
    if not runs:
        raise DataSetError(f"subject {subject} of {tree.root} has no trial with a class: name the column with --labels")
    if len(runs) < FEWEST_RUNS:
        raise DataSetError(
            f"subject {subject} of {tree.root}: the number of runs with a class is {len(runs)}; --leave-one-run-out "
            f"cross-validates a fit on all runs but one: give {FEWEST_RUNS} or more"
        )
    decoded: list[_Decoded] = []
    with progress_bar("leaving out runs") as report:
        for left_out, run in enumerate(runs):
            decoder = fit_label_decoder([other for other in runs if other is not run])
            decoded += _decode(decoder, run, left_out)
            report("leaving out runs", left_out + 1, len(runs))
    return decoded, runs[0].tr_s, {"n_voxels": len(voxel_index), "n_runs": len(runs)}


def _held_out(config: Config, tree: BoldDataSet, subject: int) -> tuple[list[_Decoded], float, dict[str, Any]]:
    path = weights_path(config, subject, "bold")
    if not path.is_file():
        fit_subject(config, subject)
    weights = Weights.load(path)
    check_estimates(weights.card, tree)
    check_test_runs(weights.card, config)
    weights.check_volume(tree.shape(subject), tree.affine(subject))
    if weights.labels is None:
        raise DataSetError(f"{path.name} decode no classes: fit again with --labels {config.dataset.labels}")
    decoder = LabelDecoder(weights.bold_prior, weights.card.labels, weights.labels, weights.voxel_mean)
    trials = tree.trials(subject)
    runs = SubjectRuns(tree, subject, weights.voxel_index)
    # A trial of a run that the prior was learned from is not scored.
    scored = trials.is_shared & ~is_of_runs(trials, weights.card.prior_runs)
    decoded: list[_Decoded] = []
    tr_s = 0.0
    with progress_bar("decoding classes") as report:
        for number, (of_run, run) in enumerate(zip(runs.trials, runs.read(report, "decoding classes"), strict=True)):
            labels = tuple(np.where(scored[of_run.rows], trials.label[of_run.rows], "").tolist())
            tr_s = run.tr_s
            if any(labels):
                decoded += _decode(decoder, run.with_labels(labels), number)
    return decoded, tr_s, {"n_voxels": len(weights.voxel_index), "weights": weights.fingerprint}


def _decode(decoder: LabelDecoder, run: FinishedRun, number: int) -> Iterable[_Decoded]:
    """Yield every estimate of the run's trials whose class is known, decoded."""
    for estimate in estimates_of(run, decoder.prior):
        label = run.label(estimate.event_number)
        if not label:
            continue
        probabilities = dict(zip(decoder.classes, decoder.probabilities(estimate).tolist(), strict=True))
        yield _Decoded(label, probabilities, (number, estimate.event_number), estimate.since_onset_s, estimate.is_final)


def _as_arrays(decoded: list[_Decoded]) -> DecodedClasses:
    """Return the decodes as arrays. A fit that never saw a class gives it the probability 0."""
    classes = tuple(sorted({one.label for one in decoded} | {label for one in decoded for label in one.probabilities}))
    number = {label: position for position, label in enumerate(classes)}
    trials = {trial: position for position, trial in enumerate(dict.fromkeys(one.trial for one in decoded))}
    return DecodedClasses(
        classes,
        np.array([[one.probabilities.get(label, 0.0) for label in classes] for one in decoded]),
        np.array([number[one.label] for one in decoded]),
        np.array([trials[one.trial] for one in decoded]),
        np.array([one.since_onset_s for one in decoded]),
        np.array([one.is_final for one in decoded]),
    )
