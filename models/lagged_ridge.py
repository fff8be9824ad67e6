"""The lagged ridge: z and c from a run's last volumes, a decoder for each delay after onset; a file of its own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..whole_file import write_whole
from .lagged import N_LAGS
from .low_rank import LowRankMap
from .picture_maps import PictureMaps, check_finite
from .weights import Weights
from .weights_card import WeightsCard, WeightsError
from .weights_file import file_content, fingerprint, reading

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class LaggedRidge:
    """A subject's lagged ridge.

    Parameters
    ----------
    card : WeightsCard
        Of the weights for BOLD beside it, with the same voxels; the scores by delay, as "8.0_z_correlation".
    spread : array of shape (n_voxels,), float32
        What the voxels' normalisation begins with, % signal change.
    maps : PictureMaps by delay, "4.0", … and "final"
        From windows that end so many seconds after onset.
    """

    card: WeightsCard
    spread: Array
    maps: dict[str, PictureMaps]

    def __post_init__(self) -> None:
        check_finite("spread", self.spread)
        if (self.spread <= 0).any():
            raise WeightsError(
                "spread holds numbers that are not above 0; fit again with braind fit --kind bold --lagged"
            )
        for maps in self.maps.values():
            maps.check(N_LAGS * len(self.spread), self.card)

    def decoder(self, delay: str) -> "DelayDecoder":
        """Return what decodes windows of a delay."""
        return DelayDecoder(self.maps[delay], self.card, fingerprint(self._content({delay: self.maps[delay]})))

    def save(self, path: Path) -> None:
        """Write the file whole or not at all."""
        with write_whole(path) as unfinished_path:
            unfinished_path.write_bytes(self._content(self.maps))

    def _content(self, maps: dict[str, PictureMaps]) -> bytes:
        tensors = {f"{delay}/{name}": tensor for delay, own in maps.items() for name, tensor in own.tensors().items()}
        return file_content(tensors | {"spread": self.spread}, self.card)

    @classmethod
    def load(cls, path: Path, weights: Weights) -> "LaggedRidge":
        """Read the file that belongs to weights for BOLD.

        Raises
        ------
        WeightsError
            If it is missing, unreadable, incomplete, or of other voxels or another LDM than the weights'.
        """
        with reading(path) as (card, tensors):
            delays = sorted({name.partition("/")[0] for name in tensors if "/" in name})
            maps = {delay: PictureMaps.of_tensors(_within(tensors, f"{delay}/")) for delay in delays}
            ridge = cls(card, tensors["spread"], maps)
            if (card.mask_sha256, card.ldm) != (weights.card.mask_sha256, weights.card.ldm):
                raise WeightsError(
                    "of other voxels or another LDM than the weights; fit both: braind fit --kind bold --lagged"
                )
        return ridge


@dataclass(frozen=True, eq=False)
class DelayDecoder:
    """Decodes windows of one delay, as weights decode responses."""

    maps: PictureMaps
    card: WeightsCard
    fingerprint: str

    @property
    def z(self) -> LowRankMap:
        """Return the map to z."""
        return self.maps.z

    @property
    def c(self) -> LowRankMap:
        """Return the map to c."""
        return self.maps.c

    def predict(self, voxels: Array) -> tuple[Array, Array]:
        """Predict z, (n_trials, *latent_shape), and c, (n_trials, *text_shape), from windows."""
        return self.maps.predict(np.asarray(voxels, np.float32), self.card)


def _within(tensors: dict[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
