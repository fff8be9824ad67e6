"""A volume from another program or a file: what is known of it, and how it is turned onto the weights' grid."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import BraindError
from ..wire import VOLUME_DTYPES, Grid, Motion

Array = NDArray[Any]

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


class IncomingError(BraindError):
    """A volume that must not be sent; `code` is unreadable, partial, shape, affine, series, index or tr."""

    code = "unreadable"


@dataclass(frozen=True, eq=False)
class Incoming:
    """One volume as it came.

    Parameters
    ----------
    voxels : array of shape (I, J, K)
        Stored numbers, of any orientation.
    affine : array of shape (4, 4), float64
        (i, j, k) to mm, RAS+.
    index : its number in its run, from 0
    series : what tells its series from others: a UID, or a file name without its number
    source : the file's name, or the peer's
    tr_s : as the source says it; None if it does not
    scale : what the stored numbers are to be multiplied with
    """

    voxels: Array
    affine: Array
    index: int
    series: str
    source: str
    tr_s: float | None = None
    scale: float = 1.0
    motion: Motion | None = None
    roi_values: tuple[float, ...] = ()


def onto_grid(incoming: Incoming, grid: Grid) -> tuple[Array, Array]:
    """Turn a volume's axes as the weights' lie, without interpolation.

    Returns
    -------
    voxels : array of shape (X, Y, Z)
    affine : array of shape (4, 4), float64
        Of the turned volume; whether it is the weights' grid is for the daemon to check.
    """
    from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform

    turn = ornt_transform(io_orientation(incoming.affine), io_orientation(np.array(grid.affine)))
    voxels = apply_orientation(incoming.voxels, turn)
    return voxels, incoming.affine @ inv_ornt_aff(turn, incoming.voxels.shape)


def axis_codes(affine: Array) -> str:
    """Return where the axes point to: "RAS", "LPS", …"""
    from nibabel.orientations import aff2axcodes

    return "".join(code or "?" for code in aff2axcodes(affine))


def sendable(voxels: Array, slope: float = 1.0, intercept: float = 0.0) -> tuple[Array, float]:
    """Return stored numbers of a dtype that the wire has, and the scale to send with them.

    With an intercept the numbers themselves are changed: float32.
    """
    if intercept != 0:
        return (voxels * slope + intercept).astype(np.float32), 1.0
    if voxels.dtype.name in VOLUME_DTYPES:
        return voxels, slope
    smallest = next((name for name in VOLUME_DTYPES if np.can_cast(voxels.dtype, name)), "float64")
    return voxels.astype(smallest), slope
