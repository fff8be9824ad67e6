"""Writes a run's voxels as NIfTI images, volume by volume: a run may be larger than the memory."""

import gzip
from collections.abc import Iterable
from pathlib import Path

import nibabel as nib
import numpy as np

from ...arrays import Array
from ...client.wire import Hello
from ...errors import BraindError

COMPRESS_LEVEL = 1  # higher levels take several times as long
LONGEST_AXIS = 32767
"""NIfTI-1 counts voxels and volumes in 16 bits."""
MOST_VOXELS = 2**28
"""A larger volume takes more than 1 GiB."""
HEADER_BYTES = 352


class ExportError(BraindError):
    """A session whose files cannot be written."""

    code = "export"


def _is_writable(hello: Hello) -> bool:
    """Return whether NIfTI can hold the grid and the TR. The daemon checks both, but anybody can write a journal."""
    affine, n_voxels = np.array(hello.affine), int(np.prod(hello.shape, dtype=object))
    return (
        affine.shape == (4, 4)
        and bool(np.isfinite(affine).all())
        and bool(np.linalg.det(affine[:3, :3]))
        and all(0 < n <= LONGEST_AXIS for n in hello.shape)
        and n_voxels <= MOST_VOXELS
        and 0 < hello.tr_s < np.inf
    )


class RunGrid:
    """The grid of a run, and where its voxels lie in it.

    Raises
    ------
    ExportError
        If the voxels do not lie in the grid, or NIfTI cannot hold the grid.
    """

    def __init__(self, hello: Hello, voxel_index: Array) -> None:
        where = f"session {hello.session}, run {hello.run}"
        if not _is_writable(hello):
            raise ExportError(
                f"{where}: a NIfTI file cannot hold shape {hello.shape}, affine {hello.affine} and TR {hello.tr_s}"
            )
        self.hello, self.shape = hello, hello.shape
        self._affine = np.array(hello.affine)
        self._voxel_index = np.asarray(voxel_index, np.int64)
        n_voxels = int(np.prod(self.shape, dtype=object))
        if len(voxel_index) and not 0 <= self._voxel_index.min() <= self._voxel_index.max() < n_voxels:
            raise ExportError(f"{where}: its voxels do not lie in a volume of shape {self.shape}; the file is damaged")

    def write_mask(self, path: Path) -> None:
        """Write the mask of the run's voxels, uint8."""
        self._write(path, np.uint8, [self._placed(np.ones(len(self._voxel_index), np.uint8))])

    def write_volumes(self, path: Path, volumes: Iterable[Array | None], n_volumes: int) -> None:
        """Write volumes as one 4-D float32 image.

        Parameters
        ----------
        volumes : the voxels of each volume, (n_voxels,) float32. Outside the mask the image holds 0. A volume that is
            None is NaN inside the mask.
        n_volumes : int
            At most 32,767.
        """
        unknown = np.full(len(self._voxel_index), np.nan, np.float32)
        placed = (self._placed(unknown if voxels is None else voxels) for voxels in volumes)
        self._write(path, np.float32, placed, n_volumes)

    def _placed(self, voxels: Array) -> Array:
        """Return a volume of shape (X, Y, Z) with these voxels, and 0 elsewhere."""
        if len(voxels) != len(self._voxel_index):
            raise ExportError(
                f"session {self.hello.session}, run {self.hello.run}: a volume of {len(voxels)} voxels, but its mask "
                f"has {len(self._voxel_index)}; the file is damaged"
            )
        volume = np.zeros(self.shape, voxels.dtype)
        volume.flat[self._voxel_index] = voxels
        return volume

    def _write(self, path: Path, dtype: type, volumes: Iterable[Array], n_volumes: int | None = None) -> None:
        header = nib.Nifti1Header()
        header.set_data_dtype(dtype)
        header.set_data_shape(self.shape if n_volumes is None else (*self.shape, n_volumes))
        header.set_sform(self._affine, "scanner")
        header.set_qform(self._affine, "scanner")
        zooms = header.get_zooms()[:3]
        header.set_xyzt_units("mm", "sec")
        header.set_zooms(zooms if n_volumes is None else (*zooms, self.hello.tr_s))
        header.set_slope_inter(1, 0)
        header["vox_offset"] = HEADER_BYTES
        # Without a name and a time the same volumes give the same file.
        with path.open("wb") as raw, gzip.GzipFile("", "wb", COMPRESS_LEVEL, raw, mtime=0) as file:
            header.write_to(file)
            file.write(bytes(HEADER_BYTES - file.tell()))
            for volume in volumes:
                file.write(volume.tobytes(order="F"))
