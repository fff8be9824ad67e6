"""Checks before a model is loaded: weights, candidates and LDM exist and fit each other."""

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from ..choices import Kind
from ..client.names import wrong_label
from ..client.wire import MAX_HEADER_BYTES, LabelProbability
from ..errors import BraindError
from ..models.weights.blank import blank_weights
from ..models.weights.candidate_names import CandidateNames
from ..models.weights.candidates import check_shapes
from ..models.weights.fingerprint import EMBEDDED_LDM_PATH, meaning_fingerprint
from ..models.weights.model_folder import read_index
from ..models.weights.weights import Weights
from .logs import escape

MOST_LABEL_BYTES = MAX_HEADER_BYTES // 2
"""The classes of one decode in its JSON header. The other half is for the other fields."""
LONGEST_PROBABILITY = 1.2345678901234567e-100
"""A number of as many digits as a probability can have."""


def load_weights(
    subject: int, weights_path: Path, candidates_path: Path, ldm_path: Path | None, kind: Kind = "beta"
) -> Weights:
    """Load the weights and check that they fit the subject, the candidates and the LDM (None: the embedded LDM).

    Weights that decode classes and no pictures need neither candidates nor an LDM: nothing of them is read.

    Parameters
    ----------
    kind : the kind of weights that a fit must make if the file is missing

    Raises
    ------
    BraindError
        Names the missing or unfit file, and what to do.
    """
    check_present(weights_path, subject, kind)
    weights = Weights.load(weights_path)
    weights.check_subject(subject)
    weights.check_live()
    check_classes(weights)
    if weights.has_pictures:
        check_present(candidates_path, subject, kind)
        check_ldm(weights, ldm_path)
        check_shapes(candidates_path, weights.card.latent_shape, weights.card.text_shape)
    return weights


def check_classes(weights: Weights) -> None:
    """Refuse weights that decode nothing, and classes that a decode cannot carry.

    Raises
    ------
    BraindError
        `code` weights.
    """
    if weights.is_blank:
        raise BraindError(
            f"weights {weights.fingerprint} decode neither pictures nor classes; fit weights with braind fit, or "
            "record without weights: braind serve --mask FILE",
            code="weights",
        )
    labels = weights.card.labels
    for label in labels:
        if problem := wrong_label(label):
            raise BraindError(
                f"weights {weights.fingerprint}: {problem}; rename the class and fit again", code="weights"
            )
    of_one_decode = [LabelProbability(label=label, probability=LONGEST_PROBABILITY) for label in labels]
    n_bytes = len(msgspec.json.encode(of_one_decode))
    if n_bytes > MOST_LABEL_BYTES:
        raise BraindError(
            f"weights {weights.fingerprint}: {len(labels)} classes take {n_bytes} bytes of each decode, and at most "
            f"{MOST_LABEL_BYTES} are sent; fit fewer classes, or classes with shorter names",
            code="weights",
        )


def no_pictures(weights: Weights) -> str:
    """Return why these weights make no picture; "" if they make pictures."""
    if weights.has_pictures:
        return ""
    if weights.is_blank:
        return "without weights, volumes are only recorded"
    return f"the weights decode {len(weights.card.labels)} classes and no pictures"


def candidate_names(weights: Weights, candidates_path: Path) -> CandidateNames:
    """Return the pictures that trials can be compared with; none if the weights make no pictures.

    Raises
    ------
    CandidatesError
        If the file cannot be read.
    """
    if not weights.has_pictures:
        return CandidateNames(np.empty(0, np.int64), ())
    return CandidateNames.load(candidates_path)


def check_present(path: Path, subject: int, kind: Kind) -> None:
    """Raise BraindError (`code` weights) if the file is missing or cannot be looked up."""
    try:
        is_there = path.is_file()
    except (OSError, ValueError) as error:  # a name that is too long or holds a null byte; a folder without rights
        why = error.strerror if isinstance(error, OSError) else error
        raise BraindError(f"{escape(str(path))[:200]}: {why}; give another path", code="weights") from error
    if not is_there:
        of_kind = " --kind bold" if kind == "bold" else ""
        raise BraindError(
            f"{escape(str(path))[:200]} is missing; make it with `braind fit{of_kind} --subject {subject}`",
            code="weights",
        )


def check_ldm(weights: Weights, ldm_path: Path | None) -> None:
    """Raise BraindError (`code` ldm) if the folder is no diffusers folder, or the weights are of another LDM."""
    ldm_path = ldm_path or EMBEDDED_LDM_PATH
    try:
        read_index(ldm_path)
        fingerprint = meaning_fingerprint(ldm_path)
    except OSError as error:
        raise BraindError(
            f"{error.filename}: {error.strerror}; give a diffusers folder that can be read", code="ldm"
        ) from error
    weights.check_ldm(fingerprint)


def record_only(subject: int, mask_paths: Sequence[Path], kind: Kind) -> Weights:
    """Return blank weights: the daemon records the voxels in any of the masks and decodes nothing.

    Raises
    ------
    BraindError
        A mask is missing or no NIfTI file of three axes, two masks have different grids, or all masks are empty.
    """
    from ..client.datasets.images import check_grid, load_nifti, scaled  # nibabel loads slowly, and weights need none

    images = [load_nifti(path) for path in mask_paths]
    for path, image in zip(mask_paths, images, strict=True):
        if len(image.shape) < 3 or math.prod(image.shape[3:]) != 1:
            raise BraindError(f"{path} has the shape {image.shape}; give a mask of three axes, X, Y, Z", code="shape")
    shape, affine = tuple(images[0].shape[:3]), images[0].affine
    for image in images[1:]:
        check_grid(image, shape, affine, f"{mask_paths[0]}'s")
    mask = np.any([scaled(image).reshape(shape) > 0 for image in images], axis=0)
    return blank_weights(subject, mask, affine, kind)
