"""Where a simulated subject's voxels are: a small slab of posterior cortex with NSD's regions in it.

Axes are those of NIfTI in RAS order: x runs from left to right, y from posterior to anterior, z from inferior to
superior. Regions are blobs cut from the slab by quota: early visual cortex at the occipital pole, the ventral stream
below, parietal cortex above, lateral cortex on both sides.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

VOXEL_MM = 1.8  # NSD's func1pt8mm space
# Label tables of the NSD atlases that a simulated tree holds (nsddata/freesurfer/fsaverage/label).
STREAMS = {
    "early": 1, "midventral": 2, "midlateral": 3, "midparietal": 4, "ventral": 5, "lateral": 6, "parietal": 7,
}  # fmt: skip
VISUAL_AREAS = {"V1v": 1, "V1d": 2, "V2v": 3, "V2d": 4, "V3v": 5, "V3d": 6, "hV4": 7}
NSDGENERAL = {"nsdgeneral": 1}

# Share of the brain's voxels, in the order in which the regions are cut.
WHITE_MATTER_SHARE = 0.07
SHARES = {
    "early": 0.23, "ventral": 0.36, "midventral": 0.05, "midparietal": 0.04, "parietal": 0.05, "midlateral": 0.04,
    "lateral": 0.07,
}  # fmt: skip
# Outer border of each area within early visual cortex, as a share of the lower and of the upper half.
LOWER_BORDERS = {"V1v": 0.34, "V2v": 0.6, "V3v": 0.8, "hV4": 1.0}
UPPER_BORDERS = {"V1d": 0.4, "V2d": 0.73, "V3d": 1.0}


@dataclass(frozen=True)
class Anatomy:
    """One subject's slab; every volume has the shape (X, Y, Z).

    `streams` and `visual_areas` hold −1 outside cortex and 0 in cortex without a label, as NSD's do; `right` is true
    in the right hemisphere. `band` says, in early visual cortex, how far a voxel is from the inner (0) to the outer
    (1) border of its area, and `depth` how far it is from the occipital pole (0–1).
    """

    affine: Array
    brainmask: Array
    streams: Array
    visual_areas: Array
    right: Array
    band: Array
    depth: Array

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return (X, Y, Z)."""
        return self.brainmask.shape

    @property
    def voxel_index(self) -> Array:
        """Return the brain's voxels: positions in the flattened (C order) volume, (n_voxels,) int64."""
        return np.flatnonzero(self.brainmask)

    @property
    def nsdgeneral(self) -> Array:
        """Return 1 in all visual regions together, 0 in other cortex, −1 outside: (X, Y, Z) int16."""
        return np.minimum(self.streams, 1)


def build_anatomy(shape: tuple[int, int, int]) -> Anatomy:
    """Lay out the regions in a volume of the given shape (X, Y, Z)."""
    x, y, z = _unit_coordinates(shape)
    brainmask = x**4 + y**4 + z**4 <= 1
    streams = _cut_regions(brainmask, x, y, z)
    early = streams == STREAMS["early"]
    visual_areas, band = _cut_visual_areas(early, np.hypot(0.6 * x, z), z < 0)
    visual_areas[streams < 0] = -1
    depth = np.zeros(shape, np.float32)
    depth[early] = _ranks(y[early] + 0.2 * np.abs(x[early]))
    return Anatomy(_affine(shape), brainmask, streams, visual_areas, x > 0, band, depth)


def _unit_coordinates(shape: tuple[int, int, int]) -> tuple[Array, ...]:
    axes = [(2 * np.arange(n, dtype=np.float32) + 1) / n - 1 for n in shape]
    return np.meshgrid(*axes, indexing="ij")


def _affine(shape: tuple[int, int, int]) -> Array:
    affine = np.diag([VOXEL_MM, VOXEL_MM, VOXEL_MM, 1.0])
    # centred between the hemispheres; the first slices lie at the occipital pole and below the temporal lobe
    affine[:3, 3] = -(shape[0] - 1) / 2 * VOXEL_MM, -99.0, -27.0
    return affine


def _cut_regions(brainmask: Array, x: Array, y: Array, z: Array) -> Array:
    """Cut the slab into regions: each takes its quota of the voxels left, those that lie deepest in its direction."""
    distance_from = {
        "early": np.sqrt((0.45 * x) ** 2 + (y + 1) ** 2 + (0.6 * z) ** 2),
        "ventral": z,
        "midventral": z + 0.8 * y,
        "midparietal": 0.8 * y - z,
        "parietal": -z,
        "midlateral": 0.6 * y - np.abs(x),
        "lateral": -np.abs(x),
    }
    n_brain = int(brainmask.sum())
    streams = np.where(brainmask, 0, -1).astype(np.int16)
    core = (np.abs(x) - 0.4) ** 2 + (y - 0.3) ** 2 + (z - 0.25) ** 2
    streams[_nearest(core, streams == 0, round(WHITE_MATTER_SHARE * n_brain))] = -1
    for region, share in SHARES.items():
        streams[_nearest(distance_from[region], streams == 0, round(share * n_brain))] = STREAMS[region]
    return streams


def _nearest(distance: Array, free: Array, n_voxels: int) -> tuple[Array, ...]:
    order = np.argsort(np.where(free, distance, np.inf), axis=None, kind="stable")
    return np.unravel_index(order[:n_voxels], distance.shape)


def _cut_visual_areas(early: Array, distance: Array, lower: Array) -> tuple[Array, Array]:
    """Cut early visual cortex into bands around the calcarine: areas and the position within each."""
    areas = np.zeros(early.shape, np.int16)
    band = np.zeros(early.shape, np.float32)
    for half, borders in ((early & lower, LOWER_BORDERS), (early & ~lower, UPPER_BORDERS)):
        ranks = _ranks(distance[half])
        area_of_half = np.zeros(len(ranks), np.int16)
        band_of_half = np.zeros(len(ranks), np.float32)
        inner = 0.0
        for area, outer in borders.items():
            inside = (ranks >= inner) & (ranks < outer)
            area_of_half[inside] = VISUAL_AREAS[area]
            band_of_half[inside] = (ranks[inside] - inner) / (outer - inner)
            inner = outer
        areas[half] = area_of_half
        band[half] = band_of_half
    return areas, band


def _ranks(distance: Array) -> Array:
    ranks = np.empty(len(distance), np.float32)
    ranks[np.argsort(distance, kind="stable")] = np.arange(len(distance)) / len(distance)
    return ranks
