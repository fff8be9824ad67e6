"""Regions of interest as voxel indices: the voxels that the decoder reads.

A voxel index points into the C-order flattened (X, Y, Z) volume. No torch: the front process gathers with it.
"""

from hashlib import sha256

import numpy as np

from ...arrays import Array
from ...choices import Kind
from ...errors import BraindError

LARGEST_VOXEL = 1e7
"""Scanners store at most 16 bits a voxel, and pipelines scale BOLD to means of 100 to 10,000."""


class RoiError(BraindError):
    """A mask is empty, or voxels are not finite."""

    code = "roi"


def union_index(z_mask: Array, c_mask: Array) -> tuple[Array, Array, Array]:
    """Return the union of two masks' voxels, and each mask's positions in it.

    Parameters
    ----------
    z_mask, c_mask : arrays of shape (X, Y, Z), bool
        Voxels of z and of c; they may overlap.

    Returns
    -------
    voxel_index : array of shape (n_voxels,), int64
        Sorted union, into the C-order flattened volume.
    z_positions, c_positions : arrays of shape (n_voxels_z,) and (n_voxels_c,), int64
        Positions of each mask's voxels in `voxel_index`.

    Raises
    ------
    RoiError
        If the masks differ in shape or one of them is empty.
    """
    if z_mask.shape != c_mask.shape:
        raise RoiError(f"the masks differ: {z_mask.shape} for z, {c_mask.shape} for c; take both from one tree")
    for name, mask in (("z", z_mask), ("c", c_mask)):
        if not mask.any():
            raise RoiError(f"the ROIs for {name} hold no voxel of this subject; choose others in [fit] {name}_rois")
    voxel_index = np.flatnonzero(z_mask | c_mask).astype(np.int64)
    z_positions = np.flatnonzero(z_mask.reshape(-1)[voxel_index]).astype(np.int64)
    c_positions = np.flatnonzero(c_mask.reshape(-1)[voxel_index]).astype(np.int64)
    return voxel_index, z_positions, c_positions


def gather(volume: Array, voxel_index: Array, scale: float = 1.0) -> Array:
    """Return a volume's voxels of interest.

    Parameters
    ----------
    volume : array of shape (X, Y, Z), any real dtype
    voxel_index : array of shape (n_voxels,), int64
        Into the C-order flattened volume.
    scale : float
        Turns stored numbers into % signal change (1/300 for NSD's int16 betas).

    Returns
    -------
    voxels : array of shape (n_voxels,), float32
    """
    voxels = volume.reshape(-1)[voxel_index].astype(np.float32)
    if scale != 1.0:
        voxels *= np.float32(scale)
    return voxels


def check_finite(voxels: Array, kind: Kind) -> None:
    """Refuse NaN and infinity among the decoder's voxels of a volume of this kind.

    Raises
    ------
    RoiError
        `code` not_finite; the sentence has the number of such voxels.
    """
    n_bad = int(voxels.size - np.count_nonzero(np.isfinite(voxels)))
    if n_bad:
        advice = (
            "send 0 for a voxel without signal: it counts as its training mean"
            if kind == "bold"
            else "send the voxel's mean over trials instead: a beta of 0 means that the voxel did not respond"
        )
        raise RoiError(
            f"{n_bad} of the decoder's {voxels.size} voxels are NaN or infinite; {advice}",
            code="not_finite",
        )


def check_range(voxels: Array) -> None:
    """Refuse numbers that no scanner and no response estimate gives.

    Raises
    ------
    RoiError
        `code` range, naming the largest number and the bound.
    """
    largest = float(np.abs(voxels).max(initial=0.0))
    if not largest <= LARGEST_VOXEL:
        raise RoiError(
            f"a voxel of {largest:.3g}; no BOLD signal and no % signal change is above {LARGEST_VOXEL:.0g}: "
            "check dtype, byte order and scale",
            code="range",
        )


def mask_sha256(voxel_index: Array, shape: tuple[int, ...]) -> str:
    """Return a hash of a mask: its voxels and its grid."""
    digest = sha256(np.asarray(shape, "<i8").tobytes())
    digest.update(np.ascontiguousarray(voxel_index, "<i8").tobytes())
    return digest.hexdigest()
