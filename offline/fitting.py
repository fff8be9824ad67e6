"""Fitting a subject's weights: the client's reading of data sets meets the models' mathematics."""

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..client.bids import BOLD
from ..client.config import Config, Kind, candidates_path, data_path, lagged_path, weights_path
from ..client.data_set import BoldDataSet, DataSet, DataSetError, span
from ..errors import BraindError
from ..models.candidates import Candidates
from ..models.kept import Kept, content_fingerprint, release
from ..models.roi import union_index
from ..models.weights import Weights, WeightsCard
from .data_sets import data_set_of, read_trials
from .progress import progress_bar
from .recorded_sessions import RecordedSessions

if TYPE_CHECKING:
    from ..models.bold_prior import BoldPrior
    from ..models.bold_responses import Responses
    from ..models.fit_profiles import FitProfile
    from ..models.ldm import LatentDiffusionModel
    from ..models.presets import Preset

Array = NDArray[Any]
Encode = Callable[[DataSet, "LatentDiffusionModel", Array, int, Path | None], tuple[Array, Array]]
log = logging.getLogger(__name__)

N_COMPARED = 20  # principal components of z, and of c
ENCODED_AT_ONCE = 256  # pictures; NSD's own weigh 0.5 MB each


def picture_size_of_z(ldm: "LatentDiffusionModel", share: float) -> int:
    """Return the side, in px, of the pictures that z encodes, for a share of the model's side."""
    return round(ldm.picture_px * share / ldm.factor) * ldm.factor


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a fit makes: weights, the candidate pictures, and the responses and targets that it was made on."""

    weights: Weights
    candidates: Candidates
    responses: "Responses"
    z: Array
    c: Array

    def save(self, path: Path, candidates_path: Path) -> None:
        """Write weights, candidates and a model card."""
        from ..models.fit import model_card

        self.weights.save(path)
        path.with_suffix(".md").write_text(model_card(self.weights))
        self.candidates.save(candidates_path)


def fit_subject(config: Config, subject: int, kind: Kind = "beta", with_lagged: bool = False) -> Path:
    """Fit a subject's weights on all trials of pictures that are not held out; return the weights' path.

    Those of kind bold decode trials as estimated while a run goes on, and hold what is known of the subject's BOLD.
    With them, the lagged ridge that they are compared with may be fitted too.

    Writes the candidate set (the shared pictures) and a model card beside them. An interrupted fit leaves what it has
    in the data folder's `unfinished`; the next one with the same inputs and settings goes on from there.
    """
    path = weights_path(config, subject, kind)
    work = data_path(config) / "unfinished" / path.stem
    tree, ldm = data_set_of(config), load_ldm(config, is_exact=True)
    fitted = fit_data_set(config, tree, subject, kind, ldm, work)
    fitted.save(path, candidates_path(config, subject))
    if with_lagged:
        from .lagged import fit_lagged

        assert isinstance(tree, BoldDataSet)
        ridge = fit_lagged(
            tree, subject, fitted.weights, fitted.z, fitted.c, profile_of(config), config.fit.max_discarded_variance,
            work, ldm.device.type,
        )  # fmt: skip
        ridge.save(lagged_path(config, subject))
    shutil.rmtree(work, ignore_errors=True)
    return path


def fit_data_set(
    config: Config,
    tree: DataSet,
    subject: int,
    kind: Kind,
    ldm: "LatentDiffusionModel",
    work: Path | None = None,
    encode: "Encode | None" = None,
) -> Fitted:
    """Fit on all trials of pictures that are not held out.

    Parameters
    ----------
    work : folder in which an interrupted fit leaves what it has
    encode : in place of `encode_targets`, by somebody who has encoded some of the pictures before
    """
    from ..models.bold_responses import Responses
    from ..models.fit import fit_weights
    from .bold import check_bold, read_bold_trials

    encode = encode or encode_targets
    profile = profile_of(config)
    voxel_index, z_positions, c_positions = union_index(
        tree.roi_mask(subject, list(config.fit.z_rois)), tree.roi_mask(subject, list(config.fit.c_rois))
    )
    prior, fitted_on = None, ""
    if kind == "bold":
        check_bold(config, tree)
    if kind == "bold" and tree.estimates == BOLD:
        assert isinstance(tree, BoldDataSet)
        trials, voxels, prior = read_bold_trials(tree, subject, voxel_index)
        fitted_on = RESPONSE_WORDS["bold"]
    else:
        trials, voxels = read_trials(tree, subject, voxel_index, config.fit.z_score)
    has_test = _check_split(tree, subject, trials.is_shared)
    trained = ~trials.is_shared
    picture_ids, picture_of_trial = np.unique(trials.nsd_id[trained], return_inverse=True)
    z_px = picture_size_of_z(ldm, profile.z_share)
    z, c = encode(tree, ldm, picture_ids, z_px, work)
    responses = Responses(voxels[trained], picture_of_trial)
    if kind == "bold" and prior is None:
        assert isinstance(tree, BoldDataSet)
        responses, prior, fitted_on = _bold_responses(tree, subject, voxel_index, responses, trained, z, c)
    card = msgspec.structs.replace(
        card_of(config, tree, subject, ldm, z, c),
        kind="bold" if tree.estimates == BOLD else kind,
        fitted_on=fitted_on,
        tr_s=tree.bold_tr_s if prior and isinstance(tree, BoldDataSet) else None,
        sessions=span(np.unique(trials.session).tolist()),
        z_score=config.fit.z_score,
    )
    with progress_bar("fitting") as report:
        weights = fit_weights(
            responses.voxels, z_positions, c_positions, voxel_index, responses.picture, z, c, card,
            profile=profile,
            max_discarded_variance=config.fit.max_discarded_variance,
            progress=lambda target, share: report(f"fitting {target}", round(1000 * share), 1000),
            work=work,
            device=ldm.device.type,
        )  # fmt: skip
    if prior:
        weights = replace(weights, bold=prior, fingerprint="")
    # without held-out pictures, those that were seen in training are what a decode is compared with
    candidate_ids = np.unique(trials.nsd_id[trials.is_shared]) if has_test else picture_ids
    candidate_z, candidate_c = encode(tree, ldm, candidate_ids, z_px, None) if has_test else (z, c)
    labels = [tree.captions(int(nsd_id))[0] for nsd_id in candidate_ids]
    candidates = Candidates(candidate_z, candidate_c, candidate_ids, labels)
    return Fitted(weights, candidates, responses, z, c)


def card_of(
    config: Config, tree: DataSet, subject: int, ldm: "LatentDiffusionModel", z: Array, c: Array
) -> WeightsCard:
    """Describe weights that are fitted on a data set's trials, with targets z and c of its pictures."""
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


def profile_of(config: Config) -> "FitProfile":
    """Return the fit profile of the settings (`FitError` if there is none of that name)."""
    from ..models.fit_profiles import profile_named

    return replace(profile_named(config.fit.profile), folds=config.fit.folds)


def _check_split(tree: DataSet, subject: int, is_test: Array) -> bool:
    """Return whether there are held-out pictures; only a recorded session may be without."""
    may_lack_test = isinstance(tree, RecordedSessions)
    for n, what in ((is_test.sum() or may_lack_test, "held-out"), ((~is_test).sum(), "training")):
        if not n:
            raise DataSetError(
                f"subject {subject} of {tree.root} has no trial of a {what} picture in the chosen sessions: "
                "choose other sessions, or another split"
            )
    return bool(is_test.any())


RESPONSE_WORDS = {
    "bold": "causal estimates from BOLD",
    "betas": "betas with the voxels' mean and spread of causal estimates from BOLD",
    "both": "causal estimates from BOLD, and betas with those estimates' mean and spread where there is no BOLD",
}


def _bold_responses(
    tree: BoldDataSet, subject: int, voxel_index: Array, betas: "Responses", trained: Array, z: Array, c: Array
) -> "tuple[Responses, BoldPrior, str]":
    """Return the responses that a decoder of BOLD is fitted on, the subject's prior, and the responses' name."""
    from ..models.bold_responses import Responses, choose_responses
    from ..models.prior import principal_components
    from .bold import final_estimates, learn_prior

    with progress_bar("learning from BOLD runs") as report:
        prior = learn_prior(tree, subject, voxel_index, report)
    with progress_bar("estimating trials from BOLD") as report:
        estimates = final_estimates(tree, subject, voxel_index, prior, report)
    kept = trained[estimates.rows]
    # rows of all trials → rows of the trained ones
    rows = (np.cumsum(trained) - 1)[estimates.rows[kept]]
    bold = Responses(estimates.voxels[kept], betas.picture[rows])
    targets = [principal_components(features.reshape(len(features), -1)).scores[:, :N_COMPARED] for features in (z, c)]
    responses, name, compared = choose_responses(betas, bold, rows, np.concatenate(targets, axis=1))
    scores = ", ".join(f"{name} {score:.3f}" for name, score in compared.items())
    words = RESPONSE_WORDS[name] + (f" (correlation for pictures left out: {scores})" if compared else "")
    log.info("subject %d: fitted on %s", subject, words)
    return responses, prior, words


def preset_of(config: Config) -> "Preset":
    """Return the preset of the settings, with the settings that change it.

    Raises
    ------
    PresetError
    """
    from ..models.presets import preset_with

    decode = config.decode
    return preset_with(
        decode.preset,
        strength=decode.strength,
        guidance_scale=decode.guidance_scale,
        n_calls=decode.num_inference_steps,
        user_presets=_user_presets(config),
    )


def refining_preset_of(config: Config) -> "Preset | None":
    """Return the preset of refined pictures, if there are to be any.

    Raises
    ------
    PresetError
    """
    from ..models.presets import preset_with

    return preset_with(config.decode.refine, user_presets=_user_presets(config)) if config.decode.refine else None


def _user_presets(config: Config) -> dict[str, "Preset"]:
    from ..models.presets import Preset

    return {name: Preset(name, **msgspec.structs.asdict(own)) for name, own in config.presets.items()}


def load_ldm(config: Config, *, is_exact: bool = False) -> "LatentDiffusionModel":
    """Load the latent diffusion model of the settings; exact: in float32 on a GPU, too."""
    from ..models.ldm import LatentDiffusionModel

    paths = (config.paths.ldm, config.paths.lora, config.paths.tiny_decoder)
    return LatentDiffusionModel.load(
        *(Path(path).expanduser() if path else None for path in paths),
        gpu_dtype="float32" if is_exact else config.decode.gpu_dtype,
    )


def encode_targets(
    tree: DataSet, ldm: "LatentDiffusionModel", nsd_ids: Array, z_px: int, work: Path | None = None
) -> tuple[Array, Array]:
    """Encode pictures and their captions: z (n, *latent_shape) and c (n, *text_shape), float32.

    With a folder to work in they are written to files there, and come back as memory maps: c of NSD's pictures takes
    2 GB. An interrupted encoding of the same pictures goes on where it stopped.
    """
    chunks = [nsd_ids[start : start + ENCODED_AT_ONCE] for start in range(0, len(nsd_ids), ENCODED_AT_ONCE)]
    captions = [[tree.captions(int(nsd_id)) for nsd_id in chunk] for chunk in chunks]
    key = content_fingerprint([np.asarray(nsd_ids)], (ldm.fingerprint, z_px, str(tree.root), captions))
    kept = Kept(None if work is None else work / f"encoded-{key}")
    files: dict[str, Array] = {}
    with progress_bar("encoding pictures") as report:
        for number, chunk in enumerate(chunks):
            parts = {
                "z": kept.array(f"z-{number:04d}", lambda chunk=chunk: ldm.encode_pictures(tree.pictures(chunk), z_px)),
                "c": kept.array(f"c-{number:04d}", lambda number=number: ldm.encode_captions(captions[number])),
            }
            for name, part in parts.items():
                if name not in files:
                    files[name] = kept.map(name, (len(nsd_ids), *part.shape[1:]), part.dtype)
                start = number * ENCODED_AT_ONCE
                files[name][start : start + len(part)] = part
                release(files[name])
            report("encoding pictures", min((number + 1) * ENCODED_AT_ONCE, len(nsd_ids)), len(nsd_ids))
    return files["z"], files["c"]


def ready_weights(config: Config, subject: int) -> Path:
    """Return the path of weights that fit the settings' model, fitting when they are missing or of another model."""
    path = weights_path(config, subject)
    try:
        Weights.load(path).check_ldm(_fingerprint(config))
        Candidates.load(candidates_path(config, subject))
    except BraindError as reason:
        log.info("fitting subject %d: %s", subject, reason)
        fit_subject(config, subject)
    return path


def _fingerprint(config: Config) -> str:
    from ..models.fingerprint import EMBEDDED_LDM_PATH, meaning_fingerprint

    return meaning_fingerprint(Path(config.paths.ldm).expanduser() if config.paths.ldm else EMBEDDED_LDM_PATH)
