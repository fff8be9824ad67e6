"""Fits the map from voxels to classes: beside the maps to z and c, or alone without pictures."""

from dataclasses import replace
from typing import NamedTuple

import msgspec
import numpy as np

from ... import __version__
from ...choices import Kind
from ...client.datasets.data_set import BoldDataSet, DataSet, DataSetError, span
from ...config import Config
from ...models.bold.baseline import labelled_estimates
from ...models.label_fit import FittedLabels, LabelledEstimates, fit_label_map
from ...models.weights.blank import blank_map
from ...models.weights.roi import mask_sha256
from ...models.weights.weights import Weights, WeightsCard
from ..data_sets import held_out_runs
from .bold import SubjectRuns
from .responses import RecordedResponses, read_responses

ESTIMATES_OF_BLOCKS = "causal estimates from BOLD, at every volume from 4 s after onset on"


class SubjectLabels(NamedTuple):
    """A subject's classes, the fit of the map to them, and the number of training trials."""

    classes: tuple[str, ...]
    fitted: FittedLabels
    n_trials: int


def fit_labels(
    tree: DataSet, subject: int, recorded: RecordedResponses, column: str, device: str = "cpu"
) -> SubjectLabels:
    """Fit the map to classes on all training trials whose class is known.

    A BOLD trial gives all its estimates; a trial of betas gives its beta.

    Parameters
    ----------
    column : name of the column of classes, for the error

    Raises
    ------
    DataSetError
        If no training trial has a class.
    FitError
        If there are too few classes or runs, or a class occurs in one run only.
    """
    if recorded.learned:
        assert isinstance(tree, BoldDataSet)
        runs = SubjectRuns(tree, subject, recorded.voxel_index).read_labelled()
        estimates = labelled_estimates(runs, recorded.learned.prior)
    else:
        estimates = _labelled_betas(recorded)
    if not len(estimates.class_of):
        raise DataSetError(
            f"subject {subject} of {tree.root}: no training trial has a class in the column {column!r}; name another "
            "column with --labels, or hold out fewer runs"
        )
    fitted = fit_label_map(estimates, device)
    return SubjectLabels(estimates.classes, fitted, int(estimates.trial_of.max()) + 1)


def with_labels(weights: Weights, labels: SubjectLabels) -> Weights:
    """Return weights that decode the classes too."""
    card = msgspec.structs.replace(
        weights.card, labels=labels.classes, scores=weights.card.scores | labels.fitted.scores
    )
    return replace(weights, card=card, labels=labels.fitted.map, fingerprint="")


def fit_label_weights(config: Config, tree: DataSet, subject: int, kind: Kind) -> Weights:
    """Fit weights that decode classes and no pictures, for a data set without pictures.

    Raises
    ------
    DataSetError, FitError
        As `fit_labels`.
    """
    recorded = read_responses(config, tree, subject, kind)
    labels = fit_labels(tree, subject, recorded, config.dataset.labels)
    shape, affine = tree.shape(subject), tree.affine(subject)
    nothing = blank_map(len(recorded.voxel_index))
    return with_labels(
        Weights(
            voxel_index=recorded.voxel_index,
            voxel_mean=labels.fitted.mean.astype(np.float32),
            voxel_std=labels.fitted.std.astype(np.float32),
            z=nothing,
            c=nothing,
            card=WeightsCard(
                subject=subject,
                shape=shape,
                affine=tuple(tuple(row) for row in affine.tolist()),
                z_rois=tuple(config.fit.z_rois),
                c_rois=tuple(config.fit.c_rois),
                ldm="",
                latent_shape=(1, 1, 1),
                text_shape=(1, 1),
                simulated=tree.is_simulated(),
                nsd=tree.root.name,
                estimates=tree.estimates,
                version=__version__,
                kind="bold" if recorded.learned else kind,
                sessions=span(np.unique(recorded.trials.session).tolist()),
                z_score=config.fit.z_score,
                fitted_on=ESTIMATES_OF_BLOCKS if recorded.learned else "",
                n_trials=labels.n_trials,
                tr_s=recorded.learned.tr_s if recorded.learned else None,
                prior_runs=recorded.learned.runs if recorded.learned else (),
                test_runs=held_out_runs(config),
                mask_sha256=mask_sha256(recorded.voxel_index, shape),
            ),
            bold=recorded.learned.prior if recorded.learned else None,
        ),
        labels,
    )


def _labelled_betas(recorded: RecordedResponses) -> LabelledEstimates:
    chosen = (recorded.trials.label != "") & ~recorded.trials.is_shared
    trials = recorded.trials.of(chosen)
    classes, class_of = np.unique(trials.label, return_inverse=True)
    _, run_of = np.unique(np.stack([trials.session, trials.run]), axis=1, return_inverse=True)
    return LabelledEstimates(
        tuple(classes.tolist()), recorded.voxels[chosen], class_of, run_of.reshape(-1), np.arange(len(trials))
    )
