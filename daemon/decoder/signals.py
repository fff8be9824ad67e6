"""Means over ROIs, volume by volume: viewers draw them as traces."""

import numpy as np

from ...arrays import Array
from ...client.wire import VolumeSignal
from ...models.weights.weights import Weights

MOST_SIGNALS = 256
"""A decode carries at most so many volumes: minutes without a trial may come before it."""


def roi_positions(weights: Weights) -> dict[str, Array]:
    """Return the positions of each ROI's voxels among the weights' voxels, (n_own,) int64, by the ROI's name.

    Weights that decode classes have one ROI.
    """
    card = weights.card
    z_name, c_name = "+".join(card.z_rois), "+".join(card.c_rois)
    if weights.has_pictures and z_name != c_name:
        return {z_name or "z": weights.z.positions, c_name or "c": weights.c.positions}
    return {"+".join(dict.fromkeys(card.z_rois + card.c_rois)) or "voxels": np.arange(len(weights.voxel_index))}


def roi_means(voxels: Array, positions: dict[str, Array]) -> dict[str, float]:
    """Return the mean over each ROI of a volume, (n_voxels,) float32.

    A voxel without signal is 0 in every BOLD volume, so it changes no ratio of two means.
    """
    return {name: round(float(voxels[own].mean(dtype=np.float64)), 4) for name, own in positions.items() if len(own)}


class UnsentSignals:
    """The volumes of a BOLD run that no decode has carried yet."""

    def __init__(self) -> None:
        self._signals: list[VolumeSignal] = []

    def add(self, signal: VolumeSignal) -> None:
        """Add a volume that was used."""
        self._signals = [*self._signals, signal][-MOST_SIGNALS:]

    def take(self, last_index: int) -> tuple[VolumeSignal, ...]:
        """Return the volumes up to an index, and keep them no longer."""
        taken = tuple(signal for signal in self._signals if signal.index <= last_index)
        self._signals = [signal for signal in self._signals if signal.index > last_index]
        return taken
