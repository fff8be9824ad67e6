"""Checks the files that a scan needs: weights, candidates, LDM or masks, and whether a volume fits them."""

from pathlib import Path

import numpy as np

from ...client.wire import Grid
from ...errors import BraindError, ExitCode
from ...models.weights.candidate_names import CandidateNames
from ...models.weights.candidates import check_shapes
from ...models.weights.weights import Weights
from ..preflight import check_classes, check_ldm, check_present, no_pictures, record_only
from .plan import CheckPlan
from .report import Report


def check_files(plan: CheckPlan, report: Report) -> Weights | None:
    """Check each file; return the weights, or None if they cannot be used."""
    weights = _masks(plan, report) if plan.mask_paths else _weights(plan, report)
    if weights and plan.volume_path:
        with report.failing("volume", ExitCode.USAGE):
            _volume(plan.volume_path, plan.known_tr_s(weights), weights, report)
    return weights


def _masks(plan: CheckPlan, report: Report) -> Weights | None:
    with report.failing("mask", ExitCode.USAGE):
        weights = record_only(plan.subject, plan.mask_paths, plan.kind)
        report.ok(
            "mask",
            f"{len(weights.voxel_index)} voxels of {_grid_words(weights)} are recorded and not decoded",
            n_voxels=len(weights.voxel_index),
        )
        return weights
    return None


def _weights(plan: CheckPlan, report: Report) -> Weights | None:
    weights_path, candidates_path = Path(plan.decoder.weights_path), Path(plan.decoder.candidates_path)
    weights: Weights | None = None
    with report.failing("weights", ExitCode.USAGE):
        check_present(weights_path, plan.subject, plan.kind)
        found = Weights.load(weights_path)
        found.check_subject(plan.subject)
        found.check_live()
        check_classes(found)
        if plan.tr_s is not None and plan.scan_kind(found) == "bold":
            found.check_tr(plan.tr_s)
        weights = found.with_c_decoder(plan.decoder.pipeline.c_decoder)
        say = report.ok
        remark = " (simulated)" if found.card.simulated else ""
        if plan.scan_kind(found) != found.card.kind:
            say = report.warn
            remark += (
                "; fitted on betas, so BOLD trials are estimated without a prior of their own: fit with --kind bold"
            )
        say(
            "weights",
            f"{weights_path}: weights {found.fingerprint} for {found.card.kind} volumes of subject {plan.subject}, "
            f"{len(found.voxel_index)} voxels of {_grid_words(found)}, fitted on {found.card.n_trials} trials{remark}",
            n_voxels=len(found.voxel_index),
        )
    if weights and not weights.has_pictures:
        report.ok("candidates", f"not needed: {no_pictures(weights)}")
        report.ok("ldm", f"not needed: {no_pictures(weights)}")
        return weights
    with report.failing("candidates", ExitCode.USAGE):
        check_present(candidates_path, plan.subject, plan.kind)
        n = len(CandidateNames.load(candidates_path))
        if not n:
            raise BraindError(f"{candidates_path}: holds no picture; make it again with braind fit")
        if weights:
            check_shapes(candidates_path, weights.card.latent_shape, weights.card.text_shape)
        report.ok("candidates", f"{candidates_path}: {n} pictures for retrieval", n_pictures=n)
    if weights is None:
        report.warn("ldm", "left out: it is compared with the weights, and they cannot be used")
        return None
    with report.failing("ldm", ExitCode.USAGE):
        ldm_path = plan.decoder.pipeline.ldm_path
        check_ldm(weights, Path(ldm_path) if ldm_path else None)
        report.ok("ldm", f"{ldm_path or 'the embedded demo model'}: the LDM {weights.card.ldm} of the weights")
    return weights


def _volume(path: Path, tr_s: float | None, weights: Weights, report: Report) -> None:
    """Compare a NIfTI file's grid with the weights', after its axes are turned as `braind send` turns them."""
    from ...client.datasets.images import load_nifti  # nibabel loads slowly
    from ...client.sending.incoming import Incoming, axis_codes, onto_grid

    card = weights.card
    grid = Grid(subject=card.subject, kind=card.kind, shape=card.shape, affine=card.affine, weights=weights.fingerprint)
    image = load_nifti(path)
    shape, affine = tuple(image.shape[:3]), np.asarray(image.affine, np.float64)
    if len(shape) < 3:
        raise BraindError(f"{path} has the shape {image.shape}; give a volume of three axes, or a series of volumes")
    turned = ""
    if np.isfinite(affine).all():
        voxels, affine = onto_grid(Incoming(np.empty(shape, np.int8), affine, 0, "", str(path)), grid)
        shape = voxels.shape
        came, wanted = axis_codes(image.affine), axis_codes(np.array(card.affine))
        turned = "" if came == wanted else f"; `braind send` turns its axes from {came} to {wanted}"
    try:
        weights.check_volume(shape, affine)
    except BraindError as error:
        raise BraindError(f"{path}: {error}", code=error.code) from error
    its_tr_s = _tr_s(image)
    if its_tr_s and tr_s and not abs(its_tr_s - tr_s) <= 0.01 * tr_s:
        raise BraindError(
            f"{path}: its header says a TR of {its_tr_s:g} s, but the scan is to have {tr_s:g} s; correct one",
            code="tr",
        )
    report.ok("volume", f"{path}: lies on the weights' grid{turned}")


def _tr_s(image: object) -> float | None:
    """Return the TR of a series' header, s; None without one."""
    from ...client.sending.nifti import header_tr_s

    try:
        return header_tr_s(image.header)  # pyright: ignore[reportAttributeAccessIssue]
    except (AttributeError, KeyError, ValueError):
        return None


def _grid_words(weights: Weights) -> str:
    return " × ".join(map(str, weights.card.shape))
