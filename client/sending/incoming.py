"""An incoming volume, from a file or another program, and its reorientation to the weights' grid."""

import math
import struct
import zlib
from dataclasses import dataclass

import numpy as np

from ...arrays import Array
from ...errors import BraindError
from ..wire import VOLUME_DTYPES, Grid, Motion
from .entities import Entities

CANNOT_READ = (
    OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, NameError,
    AssertionError, MemoryError, struct.error, zlib.error,
)  # fmt: skip
"""What nibabel and pydicom raise for damaged files, NameError included; most of it has no class of its own."""
LARGEST_INDEX = 10_000_000
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


class IncomingError(BraindError):
    """A volume must not be sent. `code` is unreadable, partial, shape, affine, series, index or tr."""

    code = "unreadable"


@dataclass(frozen=True, eq=False)
class Incoming:
    """One volume, as its source stores it.

    Parameters
    ----------
    voxels : array of shape (I, J, K)
        Stored numbers, in any orientation.
    affine : array of shape (4, 4), float64
        (i, j, k) to mm, RAS+.
    index : the volume's number in its run, from 0
    series : the series' name: a UID, or a file name without its number
    source : the name of the file or of the peer
    tr_s : the TR that the source gives, or None
    scale : factor of the stored numbers
    entities : what the image is; used to choose a series

    Raises
    ------
    IncomingError
        The affine, the scale or the TR is not finite, the affine has no inverse, or the index is no volume's; `code`
        is affine, unreadable, tr or index.
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
    entities: Entities = Entities()

    def __post_init__(self) -> None:
        # NaN is neither above nor below any limit: it would pass every later comparison.
        if not np.isfinite(self.affine).all():
            raise IncomingError(f"{self.source}: its affine holds numbers that are not finite; not sent", code="affine")
        if np.linalg.matrix_rank(self.affine[:3, :3]) < 3:
            raise IncomingError(f"{self.source}: its affine gives an axis no length; not sent", code="affine")
        if self.index > LARGEST_INDEX:
            raise IncomingError(
                f"{self.source}: {self.index} is no volume's number; name the files of a series by numbers from 1",
                code="index",
            )
        if not math.isfinite(self.scale):
            raise IncomingError(f"{self.source}: its voxels are scaled by {self.scale}; not sent")
        if self.tr_s is not None and not 0 < self.tr_s < math.inf:
            raise IncomingError(f"{self.source}: it says a TR of {self.tr_s} s; not sent", code="tr")


def onto_grid(incoming: Incoming, grid: Grid) -> tuple[Array, Array]:
    """Flip and permute a volume's axes to the weights' orientation, without interpolation.

    Returns
    -------
    voxels : array of shape (X, Y, Z)
    affine : array of shape (4, 4), float64
        Of the reoriented volume. The daemon checks whether it is the weights' grid.
    """
    from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform

    turn = ornt_transform(io_orientation(incoming.affine), io_orientation(np.array(grid.affine)))
    voxels = apply_orientation(incoming.voxels, turn)
    return voxels, incoming.affine @ inv_ornt_aff(turn, incoming.voxels.shape)


def axis_codes(affine: Array) -> str:
    """Return the axes' directions: "RAS", "LPS", …"""
    from nibabel.orientations import aff2axcodes

    return "".join(code or "?" for code in aff2axcodes(affine))


def sendable(voxels: Array, slope: float = 1.0, intercept: float = 0.0) -> tuple[Array, float]:
    """Return stored numbers in a dtype of the wire, and their scale.

    The wire has no intercept: numbers with an intercept are scaled here, to float32, and their scale is 1.
    """
    if intercept != 0:
        return (voxels * slope + intercept).astype(np.float32), 1.0
    if voxels.dtype.name in VOLUME_DTYPES:
        return voxels, slope
    smallest = next((name for name in VOLUME_DTYPES if np.can_cast(voxels.dtype, name)), "float64")
    return voxels.astype(smallest), slope
