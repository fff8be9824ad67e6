"""Checks before a model is loaded: weights, candidates and LDM exist and fit each other."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..choices import Kind
from ..errors import BraindError
from ..models.weights.blank import blank_weights
from ..models.weights.fingerprint import EMBEDDED_LDM_PATH, meaning_fingerprint
from ..models.weights.weights import Weights


def load_weights(subject: int, weights_path: Path, candidates_path: Path, ldm_path: Path | None) -> Weights:
    """Load the weights and check that they fit the subject and the LDM (None: the embedded LDM).

    Raises
    ------
    BraindError
        Names the missing or unfit file, and what to do.
    """
    ldm_path = ldm_path or EMBEDDED_LDM_PATH
    for path in (weights_path, candidates_path):
        if not _is_file(path):
            raise BraindError(
                f"{_shown(path)} is missing; make it with `braind fit --subject {subject}`", code="weights"
            )
    weights = Weights.load(weights_path)
    weights.check_subject(subject)
    weights.check_live()
    if not (ldm_path / "model_index.json").is_file():
        raise BraindError(
            f"{ldm_path / 'model_index.json'} is missing: give a diffusers folder, such as one of Stable Diffusion 1.5",
            code="ldm",
        )
    weights.check_ldm(meaning_fingerprint(ldm_path))
    return weights


def _shown(path: Path) -> str:
    """Return a path for a sentence: at most 200 characters, control characters escaped."""
    text = str(path)
    return (text if text.isprintable() else ascii(text))[:200]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise BraindError(f"{_shown(path)}: {error.strerror}; give another path", code="weights") from error


def record_only(subject: int, mask_paths: Sequence[Path], kind: Kind) -> Weights:
    """Return blank weights: the daemon records the voxels in any of the masks and decodes nothing.

    Raises
    ------
    BraindError
        A mask is missing or no NIfTI file, two masks have different grids, or all masks are empty.
    """
    from ..client.datasets.images import check_grid, load_nifti, scaled  # nibabel loads slowly, and weights need none

    images = [load_nifti(path) for path in mask_paths]
    shape, affine = tuple(images[0].shape[:3]), images[0].affine
    for image in images[1:]:
        check_grid(image, shape, affine, f"{mask_paths[0]}'s")
    mask = np.any([scaled(image).reshape(shape) > 0 for image in images], axis=0)
    return blank_weights(subject, mask, affine, kind)
