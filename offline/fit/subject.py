"""`braind fit`: reads a subject's responses, encodes the pictures, fits the weights and writes them."""

import logging
import shutil
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from ... import __version__
from ...arrays import Array
from ...choices import Kind
from ...client.datasets.data_set import BoldDataSet, DataSet, span
from ...config import Config, candidates_path, data_path, lagged_path, weights_path
from ...errors import BraindError
from ...models.weights.candidates import Candidates
from ...models.weights.weights import Weights, WeightsCard
from ..data_sets import data_set_of, held_out_runs, kind_of, settings_for
from ..from_settings import fit_settings_of, ldm_fingerprint, load_ldm
from ..progress import progress_bar
from ..workers import ONE_PROCESS, Workers
from .bold import BoldError
from .recorded_sessions import RecordedSessions
from .responses import read_responses, training_responses
from .targets import Encode, encode_targets, open_encoders, picture_size_of_z, warn_of_captions

if TYPE_CHECKING:
    from ...models.fit_profiles import FitSettings
    from ...models.ldm.model import LatentDiffusionModel
    from ...models.ridge.training_trials import TrainingTrials

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fit's result: weights, candidate pictures, and the training trials."""

    weights: Weights
    candidates: Candidates
    trials: "TrainingTrials"

    def save(self, path: Path, candidates_path: Path) -> None:
        """Write weights, candidates and a model card."""
        from ...models.model_card import model_card

        self.weights.save(path)
        path.with_suffix(".md").write_text(model_card(self.weights))
        self.candidates.save(candidates_path)


def fit_subject(
    config: Config, subject: int, kind: Kind = "beta", with_lagged: bool = False, workers: Workers = ONE_PROCESS
) -> Path:
    """Fit a subject's weights on all trials of pictures that are not held out; return the weights' path.

    Weights of kind bold decode causal estimates, and hold the subject's BOLD prior. The lagged ridge, a baseline, can
    be fitted with them.

    The candidate set (the shared pictures) and a model card are written beside the weights. An interrupted fit leaves
    checkpoints in the data folder's `unfinished`. The next fit with the same inputs and settings resumes from them.
    Workers encode the pictures.
    """
    config = settings_for(config, kind)
    if with_lagged and config.paths.bids:
        raise BoldError("--lagged reads an NSD folder's BOLD runs: leave it out with --bids")
    tree = data_set_of(config)
    kind = kind_of(tree, kind)
    path = weights_path(config, subject, kind)
    if config.dataset.labels and not tree.trials(subject).has_picture.any():
        from ...models.model_card import model_card
        from .labels import fit_label_weights

        log.info("subject %d: no trial shows a picture; the weights decode classes and make no pictures", subject)
        weights = fit_label_weights(config, tree, subject, kind)
        weights.save(path)
        path.with_suffix(".md").write_text(model_card(weights))
        return path
    ldm = load_ldm(config, is_exact=True)
    work = data_path(config) / "unfinished" / path.stem
    settings = fit_settings_of(config, ldm.device.type, work)
    with open_encoders(config, tree, ldm, workers) as pool:
        fitted = fit_data_set(config, tree, subject, kind, ldm, settings, partial(encode_targets, pool=pool))
    fitted.save(path, candidates_path(config, subject))
    if with_lagged:
        from .lagged import fit_lagged

        assert isinstance(tree, BoldDataSet)
        ridge = fit_lagged(tree, subject, fitted.weights, fitted.trials, settings)
        ridge.save(lagged_path(config, subject))
    shutil.rmtree(work, ignore_errors=True)
    return path


def fit_data_set(
    config: Config,
    tree: DataSet,
    subject: int,
    kind: Kind,
    ldm: "LatentDiffusionModel",
    settings: "FitSettings",
    encode: Encode | None = None,
) -> Fitted:
    """Fit on all trials of pictures that are not held out.

    Parameters
    ----------
    settings : FitSettings
        From `fit_settings_of`.
    encode : Encode, optional
        Replaces `encode_targets`, for callers that keep encoded pictures.
    """
    from ...models.fit import fit_weights
    from ...models.ridge.training_trials import TrainingTrials

    encode = encode or encode_targets
    recorded = read_responses(config, tree, subject, kind)
    z_px = picture_size_of_z(ldm, settings.profile.z_share)
    z, c = encode(tree, ldm, recorded.training_ids, z_px, settings.work)
    warn_of_captions(ldm, [tree.captions(int(nsd_id)) for nsd_id in recorded.training_ids], c)
    # Without held-out pictures, the training pictures are the candidates.
    candidate_ids, candidate_z, candidate_c = recorded.training_ids, z, c
    if len(recorded.held_out_ids):
        candidate_ids = recorded.held_out_ids
        candidate_z, candidate_c = encode(tree, ldm, candidate_ids, z_px, settings.work)
    labels = [tree.captions(int(nsd_id))[0] for nsd_id in candidate_ids]
    candidates = Candidates(candidate_z, candidate_c, candidate_ids, labels, tree.picture_files(candidate_ids))
    responses, fitted_on = training_responses(recorded, z, c)
    if recorded.estimates is not None:
        log.info("subject %d: fitted on %s", subject, fitted_on)
    card = msgspec.structs.replace(
        card_of(config, tree, subject, ldm, z, c),
        kind=kind_of(tree, kind),
        tr_s=recorded.learned.tr_s if recorded.learned else None,
        prior_runs=recorded.learned.runs if recorded.learned else (),
        test_runs=held_out_runs(config),
        sessions=span(np.unique(recorded.trials.session).tolist()),
        z_score=config.fit.z_score,
        fitted_on=fitted_on,
    )
    trials = TrainingTrials(
        responses.voxels, responses.picture, recorded.voxel_index, recorded.z_positions, recorded.c_positions, z, c
    )
    with progress_bar("fitting") as report:
        weights = fit_weights(
            trials,
            card,
            settings,
            progress=lambda target, share: report(f"fitting {target}", round(1000 * share), 1000),
        )
    if recorded.learned:
        weights = replace(weights, bold=recorded.learned.prior, fingerprint="")
    if config.dataset.labels:
        from .labels import fit_labels, with_labels

        labels = fit_labels(tree, subject, recorded, config.dataset.labels, settings.device)
        weights = with_labels(weights, labels)
    return Fitted(weights, candidates, trials)


def card_of(
    config: Config, tree: DataSet, subject: int, ldm: "LatentDiffusionModel", z: Array, c: Array
) -> WeightsCard:
    """Return the card of weights that are fitted on a data set's trials with targets z and c."""
    return WeightsCard(
        subject=subject,
        shape=tree.shape(subject),
        affine=tuple(tuple(row) for row in tree.affine(subject).tolist()),
        z_rois=tuple(config.fit.z_rois),
        c_rois=tuple(config.fit.c_rois),
        ldm=ldm.fingerprint,
        latent_shape=z.shape[1:],
        text_shape=c.shape[1:],
        simulated=tree.is_simulated(),
        nsd=tree.root.name,
        estimates=tree.estimates,
        captioner=tree.captioner if isinstance(tree, RecordedSessions) else "",
        version=__version__,
    )


def ready_weights(config: Config, subject: int) -> Path:
    """Return the path of weights for the settings' model. Missing or outdated weights are fitted first."""
    path = weights_path(config, subject)
    try:
        Weights.load(path).check_ldm(ldm_fingerprint(config))
        Candidates.load(candidates_path(config, subject))
    except BraindError as reason:
        log.info("fitting subject %d: %s", subject, reason)
        fit_subject(config, subject)
    return path
