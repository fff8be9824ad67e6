"""The maps from voxels, or other columns, to z and c, as a file stores them."""

from dataclasses import dataclass

import numpy as np

from ...arrays import Array
from ...choices import CDecoder
from .card import WeightsCard, WeightsError
from .low_rank import MAP_TENSORS, LowRankMap
from .prior import PRIOR_TENSORS, PicturePrior

STORED_TENSORS = frozenset(
    [f"{name}.{tensor}" for name in ("z", "c", "prior.scores") for tensor in MAP_TENSORS]
    + [f"prior.{tensor}" for tensor in PRIOR_TENSORS]
)
"""The names of the tensors that a file stores for its maps."""


@dataclass(frozen=True, eq=False)
class PictureMaps:
    """One map for z and one for c. The c decoder `expected` reads the prior, and `linear` the map of c."""

    z: LowRankMap
    c: LowRankMap
    prior: PicturePrior | None = None
    c_decoder: CDecoder = "linear"

    def predict(self, columns: Array, card: WeightsCard) -> tuple[Array, Array]:
        """Predict z, (n_trials, *latent_shape), and c, (n_trials, *text_shape), from (n_trials, n_columns) float32."""
        z = self.z.predict(columns).reshape(-1, *card.latent_shape)
        c = self.c.predict(columns) if self.c_decoder == "linear" else self.required_prior().expected(columns)
        return z, c.reshape(-1, *card.text_shape)

    def required_prior(self) -> PicturePrior:
        """Return the prior of the c decoder `expected`. Raises WeightsError (`code` c_decoder) if there is none."""
        if self.prior is None:
            raise WeightsError(
                "the weights have no prior over the training captions, which the c decoder `expected` reads: decode "
                "with --c-decoder linear, or fit again with --profile live",
                code="c_decoder",
            )
        return self.prior

    def tensors(self) -> dict[str, Array]:
        """Return the tensors that a file stores."""
        tensors = {f"{name}.{tensor}": getattr(part, tensor) for name, part in self._maps() for tensor in MAP_TENSORS}
        if self.prior:
            tensors |= {f"prior.{tensor}": getattr(self.prior, tensor) for tensor in PRIOR_TENSORS}
        return tensors

    @classmethod
    def of_tensors(cls, tensors: dict[str, Array]) -> "PictureMaps":
        """Return the maps of stored tensors. Raises KeyError if a tensor is missing."""

        def low_rank_map(name: str) -> LowRankMap:
            return LowRankMap(**{tensor: tensors[f"{name}.{tensor}"] for tensor in MAP_TENSORS})

        prior = None
        if "prior.gain" in tensors:
            own = {tensor: tensors[f"prior.{tensor}"] for tensor in PRIOR_TENSORS}
            prior = PicturePrior(scores=low_rank_map("prior.scores"), **own)
        return cls(low_rank_map("z"), low_rank_map("c"), prior)

    def check(self, n_columns: int, card: WeightsCard) -> None:
        """Raise WeightsError unless the tensors fit each other, the columns and the card's z and c."""
        n_targets = {"z": int(np.prod(card.latent_shape)), "c": int(np.prod(card.text_shape))}
        if self.c_decoder == "expected":
            self.required_prior()
        if self.prior:
            n_targets["prior.scores"] = _check_prior(self.prior, n_targets["c"])
        for name, part in self._maps():
            check_map(name, part, n_targets[name], n_columns)

    def _maps(self) -> list[tuple[str, LowRankMap]]:
        return [("z", self.z), ("c", self.c), *([("prior.scores", self.prior.scores)] if self.prior else [])]


def check_map(name: str, part: LowRankMap, n_targets: int, n_columns: int) -> None:
    """Raise WeightsError unless a map's tensors fit each other, the columns and the targets."""
    n_own = len(part.positions)
    if part.left.shape != (n_own, part.rank) or part.right.shape != (part.rank, n_targets):
        raise WeightsError(f"{name}.left and {name}.right do not make a map from {n_own} voxels to {n_targets}")
    for tensor, n in (("row_scale", n_own), *((tensor, n_targets) for tensor in MAP_TENSORS[4:])):
        if getattr(part, tensor).shape != (n,):
            raise WeightsError(f"{name}.{tensor} has shape {getattr(part, tensor).shape}, expected ({n},)")
    for tensor in MAP_TENSORS[1:]:
        check_finite(f"{name}.{tensor}", getattr(part, tensor))
    check_integers(f"{name}.positions", part.positions)
    if n_own == 0 or part.positions.min() < 0 or part.positions.max() >= n_columns:
        raise WeightsError(f"{name}.positions point outside the {n_columns} columns")


def _check_prior(prior: PicturePrior, n_targets: int) -> int:
    """Check the prior's tensors against each other; return how many components it has."""
    n_pictures, n_components = prior.pictures.shape if prior.pictures.ndim == 2 else (0, 0)
    shapes = {"gain": (n_components,), "noise": (n_components,), "components": (n_components, n_targets),
              "mean": (n_targets,)}  # fmt: skip
    for tensor, shape in shapes.items():
        if getattr(prior, tensor).shape != shape:
            raise WeightsError(f"prior.{tensor} has shape {getattr(prior, tensor).shape}, expected {shape}")
    for tensor in PRIOR_TENSORS:
        check_finite(f"prior.{tensor}", getattr(prior, tensor))
    if not n_pictures or (prior.noise <= 0).any():
        raise WeightsError("the prior needs training pictures, and noise above 0; fit again with braind fit")
    return n_components


def check_integers(name: str, tensor: Array) -> None:
    """Raise WeightsError unless a tensor holds integers. NaN would pass a comparison with the limits."""
    if tensor.dtype.kind not in "iu":
        raise WeightsError(f"{name} holds {tensor.dtype}, and must hold integers; fit again with braind fit")


def check_finite(name: str, tensor: Array) -> None:
    """Raise WeightsError if a tensor holds NaN or infinity."""
    if not np.isfinite(tensor).all():
        raise WeightsError(f"{name} holds numbers that are not finite; fit again with braind fit")
