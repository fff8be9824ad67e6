"""What can be said of weights, candidates and LDM before a model is loaded: whether they are there and fit together."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..client.config import Kind
from ..errors import BraindError
from ..models.blank_weights import blank_weights
from ..models.fingerprint import EMBEDDED_LDM_PATH, meaning_fingerprint
from ..models.weights import Weights


def load_weights(subject: int, weights_path: Path, candidates_path: Path, ldm_path: Path | None) -> Weights:
    """Return the weights, if they are the subject's and belong to the LDM (None: the embedded one).

    Raises
    ------
    BraindError
        Naming the file that is missing or does not fit, and what to do.
    """
    ldm_path = ldm_path or EMBEDDED_LDM_PATH
    for path in (weights_path, candidates_path):
        if not path.is_file():
            raise BraindError(f"{path} is missing; make it with `braind fit --subject {subject}`", code="weights")
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


def record_only(subject: int, mask_paths: Sequence[Path], kind: Kind) -> Weights:
    """Return what stands for weights until some are fitted: the grid, and the voxels in any of the masks.

    Raises
    ------
    BraindError
        A file that is missing or no NIfTI, masks on different grids, or none above 0 anywhere.
    """
    from ..client.images import check_grid, load_nifti, scaled  # nibabel: only who has no weights pays

    images = [load_nifti(path) for path in mask_paths]
    shape, affine = tuple(images[0].shape[:3]), images[0].affine
    for image in images[1:]:
        check_grid(image, shape, affine, f"{mask_paths[0]}'s")
    mask = np.any([scaled(image).reshape(shape) > 0 for image in images], axis=0)
    return blank_weights(subject, mask, affine, kind)
