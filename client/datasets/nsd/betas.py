"""NSD's betas: the single-trial responses of a session, from HDF5 or NIfTI."""

from pathlib import Path

import numpy as np

from ....arrays import Array
from ..images import load_nifti, stored
from .files import dataset, open_hdf5


def read_betas(path: Path) -> Array:
    """Return a session's betas as stored: (750, X, Y, Z) int16, % signal change x 300; a view, not contiguous."""
    if path.suffix == ".hdf5":
        with open_hdf5(path) as file:
            # MATLAB wrote X, Y, Z, trial; h5py reads the axes in reverse.
            return dataset(file, "betas")[:].transpose(0, 3, 2, 1)
    return np.moveaxis(stored(load_nifti(path)), -1, 0)


def read_beta_voxels(path: Path, x: Array, y: Array, z: Array) -> Array:
    """Return a session's stored betas at voxel coordinates: (750, n_voxels) int16."""
    if path.suffix != ".hdf5" or len(x) == 0:
        return read_betas(path)[:, x, y, z]
    with open_hdf5(path) as file:
        on_disk = dataset(file, "betas")
        # A chunk is one voxel's session, so reading the box around the voxels is enough.
        box = on_disk[:, z.min() : z.max() + 1, y.min() : y.max() + 1, x.min() : x.max() + 1]
    return box[:, z - z.min(), y - y.min(), x - x.min()]
