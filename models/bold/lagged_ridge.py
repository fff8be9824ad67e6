"""The lagged ridge: ridge regressions of z and c on windows of a run's last volumes, by delay after onset."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...arrays import Array
from ...whole_file import write_whole
from ..weights.card import WeightsCard, WeightsError
from ..weights.file import file_content, fingerprint, reading
from ..weights.low_rank import LowRankMap
from ..weights.maps import STORED_TENSORS, PictureMaps, check_finite
from ..weights.weights import Weights
from .windows import N_LAGS


@dataclass(frozen=True, eq=False)
class LaggedRidge:
    """A subject's lagged ridge.

    Parameters
    ----------
    card : WeightsCard
        As the card of the subject's weights for BOLD, with scores by delay, for example "8.0_z_correlation".
    signal_std : array of shape (n_voxels,), float32
        Each voxel's standard deviation within the training runs, % signal change: the starting value of a new run.
    maps : PictureMaps by delay, "4.0", … and "final"
        A window for the delay "4.0" ends 4 s after onset.
    """

    card: WeightsCard
    signal_std: Array
    maps: dict[str, PictureMaps]

    def __post_init__(self) -> None:
        check_finite("spread", self.signal_std)
        if (self.signal_std <= 0).any():
            raise WeightsError(
                "spread holds numbers that are not above 0; fit again with braind fit --kind bold --lagged"
            )
        for maps in self.maps.values():
            maps.check(N_LAGS * len(self.signal_std), self.card)

    def decoder(self, delay: str) -> "DelayDecoder":
        """Return the decoder for windows of one delay, with the c decoder of the weights that it was loaded for."""
        return DelayDecoder(self.maps[delay], self.card, fingerprint(self._content({delay: self.maps[delay]})))

    def save(self, path: Path) -> None:
        """Write the file whole or not at all."""
        with write_whole(path) as unfinished_path:
            unfinished_path.write_bytes(self._content(self.maps))

    def _content(self, maps: dict[str, PictureMaps]) -> bytes:
        tensors = {f"{delay}/{name}": tensor for delay, own in maps.items() for name, tensor in own.tensors().items()}
        return file_content(tensors | {"spread": self.signal_std}, self.card)

    @classmethod
    def load(cls, path: Path, weights: Weights) -> "LaggedRidge":
        """Read the file that was fitted with weights for BOLD.

        Raises
        ------
        WeightsError
            If the file is missing, unreadable or incomplete, or belongs to other voxels or another LDM.
            `code` c_decoder: the weights decode c by a prior, and the file has none.
        """
        with reading(path, _is_known) as (card, tensors):
            delays = sorted({name.partition("/")[0] for name in tensors if "/" in name})
            maps = {
                delay: replace(PictureMaps.of_tensors(_within(tensors, f"{delay}/")), c_decoder=weights.c_decoder)
                for delay in delays
            }
            ridge = cls(card, tensors["spread"], maps)
            if (card.mask_sha256, card.ldm) != (weights.card.mask_sha256, weights.card.ldm):
                raise WeightsError(
                    "of other voxels or another LDM than the weights; fit both: braind fit --kind bold --lagged"
                )
        return ridge


@dataclass(frozen=True, eq=False)
class DelayDecoder:
    """Decodes windows of one delay into z and c."""

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


def _is_known(name: str) -> bool:
    return name == "spread" or name.partition("/")[2] in STORED_TENSORS


def _within(tensors: dict[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
