"""Compiled decoder weights: one file per subject that turns voxels into z and c.

z-scoring of the voxels, scaling of the targets, the restored scale and the intercept are folded into one affine map for
each of z and c, kept as a low-rank product. Only numpy and safetensors: the front process reads this file too.
"""

import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..errors import BraindError
from .bold_prior import SHARED_VALUES, VOXEL_TENSORS, BoldPrior
from .low_rank import MAP_TENSORS, LowRankMap
from .prior import PRIOR_TENSORS, PicturePrior
from .roi import mask_sha256
from .session_scaling import ZScore

Array = NDArray[Any]

SCHEMA = 2
# A volume whose grid lies farther than this from the weights' grid, at its farthest corner, is another grid. Affines
# pass through float32 headers and text, which moves a corner by some micrometres.
MAX_CORNER_SHIFT_MM = 0.1
# Headers round the TR; a run of another one has other responses at each volume.
MAX_TR_DIFFERENCE = 0.01


class WeightsError(BraindError):
    """A weights file that cannot be used, or a volume or LDM that is not the one the weights were fitted for."""

    code = "weights"


class WeightsCard(msgspec.Struct, frozen=True, kw_only=True):
    """What the weights were fitted on and how well they do.

    The first block is known before the fit; `models/fit.py` fills in the second. `shape` is (X, Y, Z); `latent_shape`
    and `text_shape` are one picture's z and c; `alphas_*` are the smallest, median and largest chosen penalty;
    `discarded_*` is the share of the predicted variance lost by the low rank; `scores` are cross-validated, single
    trials, fractions. `estimates` says which single-trial responses were taken, `z_score` how they were scaled within
    their session: voxels must come scaled so. `fitted_on` says, of kind bold, which responses stand for those to come,
    and `tr_s` how long a volume took. `captioner` names the model that wrote captions of pictures that had none.
    """

    subject: int
    shape: tuple[int, int, int]
    affine: tuple[tuple[float, float, float, float], ...]
    z_rois: tuple[str, ...]
    c_rois: tuple[str, ...]
    ldm: str
    latent_shape: tuple[int, int, int]
    text_shape: tuple[int, int]
    simulated: bool
    nsd: str = ""
    version: str = ""
    kind: Literal["beta", "bold"] = "beta"
    estimates: str = ""
    sessions: str = ""
    z_score: ZScore = "none"
    captioner: str = ""

    profile: str = ""
    folds: int = 0
    n_trials: int = 0
    n_pictures: int = 0
    alphas_z: tuple[float, float, float] = (0.0, 0.0, 0.0)
    alphas_c: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rank_z: int = 0
    rank_c: int = 0
    discarded_z: float = 0.0
    discarded_c: float = 0.0
    scores: dict[str, float] = {}
    fitted_on: str = ""
    tr_s: float | None = None
    mask_sha256: str = ""
    schema: int = SCHEMA


@dataclass(frozen=True, eq=False)
class Weights:
    """A subject's compiled decoder.

    Parameters
    ----------
    voxel_index : array of shape (n_voxels,), int64
        Sorted, into the C-order flattened (X, Y, Z) volume: the union of the voxels that z and c are decoded from.
    voxel_mean, voxel_std : arrays of shape (n_voxels,), float32
        Over the training trials, % signal change.
    z, c : LowRankMap
    card : WeightsCard
    prior : PicturePrior, optional
        With it, c is decoded as expected from the training pictures.
    bold : BoldPrior, optional
        With it, trials are estimated from BOLD volumes as the subject's own.
    fingerprint : str
        First 12 hex digits of the SHA-256 of the file's content.
    """

    voxel_index: Array
    voxel_mean: Array
    voxel_std: Array
    z: LowRankMap
    c: LowRankMap
    card: WeightsCard
    prior: PicturePrior | None = None
    bold: BoldPrior | None = None
    fingerprint: str = ""

    def __post_init__(self) -> None:
        _check_tensors(self)
        if not self.fingerprint:
            object.__setattr__(self, "fingerprint", _fingerprint(self.to_bytes()))

    @property
    def is_blank(self) -> bool:
        """Return whether they only say which voxels are recorded, and decode nothing (`blank_weights`)."""
        return not self.card.ldm

    def predict(self, voxels: Array) -> tuple[Array, Array]:
        """Predict z and c for trials.

        Parameters
        ----------
        voxels : array of shape (n_trials, n_voxels), float32
            % signal change, in the order of `voxel_index`.

        Returns
        -------
        z : array of shape (n_trials, *latent_shape), float32
            Already times the autoencoder's `scaling_factor`.
        c : array of shape (n_trials, *text_shape), float32

        Raises
        ------
        WeightsError
            If the voxels are not (n_trials, n_voxels).
        """
        if voxels.ndim != 2 or voxels.shape[1] != len(self.voxel_index):
            raise WeightsError(
                f"voxels of shape {voxels.shape}, but the weights want (n_trials, {len(self.voxel_index)}): "
                "gather them with the weights' voxel_index first"
            )
        voxels = np.asarray(voxels, np.float32)
        z = self.z.predict(voxels).reshape(-1, *self.card.latent_shape)
        c = self.prior.expected(voxels) if self.prior else self.c.predict(voxels)
        c = c.reshape(-1, *self.card.text_shape)
        return z, c

    def check_volume(self, shape: tuple[int, ...], affine: Any) -> None:
        """Refuse a volume that lies on another grid.

        Parameters
        ----------
        shape : (X, Y, Z)
        affine : array-like of shape (4, 4)
            Voxel indices to mm.

        Raises
        ------
        WeightsError
            `code` shape or affine, saying what differs and what to do.
        """
        shape, wanted = tuple(shape), self.card.shape
        if shape != wanted:
            advice = f"resample to subject {self.card.subject}'s grid or fit weights for this one"
            if shape == wanted[::-1]:
                advice = "the axes are reversed: send X, Y, Z as NIfTI does"
            elif sorted(shape) == sorted(wanted):
                advice = "the axes are in another order: turn the volume, as `braind send` does"
            raise WeightsError(f"shape {shape}, but the weights want {wanted}; {advice}", code="shape")
        affine = np.asarray(affine, np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise WeightsError("the affine must be 4 × 4 finite numbers, voxel indices to mm", code="affine")
        corners = np.array([[*corner, 1] for corner in np.ndindex(2, 2, 2)]) * [*(n - 1 for n in shape), 1]
        shift_mm = float(np.linalg.norm((corners @ (affine - np.array(self.card.affine)).T)[:, :3], axis=1).max())
        if shift_mm > MAX_CORNER_SHIFT_MM:
            came, axes = _axis_codes(affine), _axis_codes(np.array(self.card.affine))
            if came != axes:
                raise WeightsError(
                    f"by its affine the volume's axes are {came}, those of the weights' grid {axes}: turn it, as "
                    "`braind send` does",
                    code="affine",
                )
            raise WeightsError(
                f"by its affine the volume lies up to {shift_mm:.1f} mm away from the weights' grid; "
                f"register it to subject {self.card.subject}'s {self.card.nsd or 'training'} space first",
                code="affine",
            )

    def check_tr(self, tr_s: float) -> None:
        """Refuse BOLD of another TR than the weights were fitted on (`WeightsError`, `code` tr), if they say it."""
        wanted_s = self.card.tr_s
        if wanted_s is not None and abs(tr_s - wanted_s) > MAX_TR_DIFFERENCE * wanted_s:
            raise WeightsError(
                f"a TR of {tr_s:g} s, but the weights were fitted on BOLD with one of {wanted_s:g} s: scan with that, "
                "or fit weights on runs of this TR (braind fit --kind bold)",
                code="tr",
            )

    def check_subject(self, subject: int) -> None:
        """Refuse another subject (`WeightsError`, `code` subject)."""
        if subject != self.card.subject:
            raise WeightsError(
                f"subject {subject}, but the weights are subject {self.card.subject}'s; "
                f"serve that one's: braind serve --subject {subject}",
                code="subject",
            )

    def check_live(self) -> None:
        """Refuse to decode volumes as they come, if they would first have to be scaled within their session.

        Raises
        ------
        WeightsError
            `code` z_score.
        """
        if self.card.z_score != "none":
            raise WeightsError(
                f"the weights were fitted on responses z-scored within their session ({self.card.z_score}), which the "
                "daemon does not do: decode with `braind decode`, or fit again with --z-score none",
                code="z_score",
            )

    def check_ldm(self, fingerprint: str) -> None:
        """Refuse a latent diffusion model whose z and c the weights do not predict (`WeightsError`, `code` ldm)."""
        if fingerprint != self.card.ldm:
            raise WeightsError(
                f"the weights were fitted for the LDM {self.card.ldm}, this one is {fingerprint}; "
                f"fit again: braind fit --subject {self.card.subject}",
                code="ldm",
            )

    def _maps(self) -> list[tuple[str, LowRankMap]]:
        return [("z", self.z), ("c", self.c), *([("prior.scores", self.prior.scores)] if self.prior else [])]

    def to_bytes(self) -> bytes:
        """Return the safetensors file's content."""
        tensors = {
            "voxel_index": self.voxel_index, "voxel_mean": self.voxel_mean, "voxel_std": self.voxel_std,
            **{f"{name}.{tensor}": getattr(part, tensor)
               for name, part in self._maps() for tensor in MAP_TENSORS},
        }  # fmt: skip
        if self.prior:
            tensors |= {f"prior.{tensor}": getattr(self.prior, tensor) for tensor in PRIOR_TENSORS}
        if self.bold:
            tensors |= {f"bold.{name}": tensor for name, tensor in self.bold.tensors().items()}
        # safetensors writes memory as it lies: a transposed array would come back scrambled.
        tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
        # One key only: the header keeps several in no fixed order, and the fingerprint needs one.
        return save(tensors, metadata={"card": msgspec.json.encode(self.card).decode()})

    def save(self, path: Path) -> None:
        """Write the file whole or not at all; a reader never sees a half-written one."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished_path = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        unfinished_path.write_bytes(self.to_bytes())
        unfinished_path.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Weights":
        """Read a weights file, memory-mapped.

        Raises
        ------
        WeightsError
            If it is missing, no safetensors file, of another schema, incomplete or holds numbers that are not finite.
        """
        path = Path(path)
        if not path.is_file():
            raise WeightsError(f"{path}: no such weights file; make it with braind fit")
        try:
            with safe_open(path, framework="np") as file:
                card = _read_card(file.metadata() or {})
                tensors = file.get_tensors()
            return cls(
                voxel_index=tensors["voxel_index"],
                voxel_mean=tensors["voxel_mean"],
                voxel_std=tensors["voxel_std"],
                z=_low_rank_map("z", tensors),
                c=_low_rank_map("c", tensors),
                card=card,
                prior=_prior(tensors) if "prior.gain" in tensors else None,
                bold=_bold(tensors) if "bold.hrf_of_voxel" in tensors else None,
                fingerprint=_fingerprint(path.read_bytes()),
            )
        except KeyError as error:
            raise WeightsError(f"{path}: holds no tensor {error}; fit again with braind fit") from error
        except (SafetensorError, OSError) as error:
            raise WeightsError(f"{path}: no readable safetensors file ({error}); fit again with braind fit") from error
        except WeightsError as error:
            raise WeightsError(f"{path}: {error}", code=error.code) from error


def _axis_codes(affine: Array) -> str:
    """Return where a volume's axes point to, nearest: "RAS", "LPS", …"""
    columns = affine[:3, :3].T
    nearest = np.abs(columns).argmax(axis=1)
    return "".join(("LPI" if column[axis] < 0 else "RAS")[axis] for column, axis in zip(columns, nearest, strict=True))


def _read_card(metadata: dict[str, str]) -> WeightsCard:
    card = metadata.get("card", "")
    try:
        schema = msgspec.json.decode(card).get("schema")
        if schema != SCHEMA:
            raise WeightsError(f"weights of schema {schema}, this braind reads {SCHEMA}; fit again with braind fit")
        return msgspec.json.decode(card, type=WeightsCard)
    except (msgspec.DecodeError, AttributeError) as error:
        raise WeightsError(f"holds no card of braind weights ({error}); make it with braind fit") from error


def _low_rank_map(name: str, tensors: dict[str, Array]) -> LowRankMap:
    return LowRankMap(**{tensor: tensors[f"{name}.{tensor}"] for tensor in MAP_TENSORS})


def _prior(tensors: dict[str, Array]) -> PicturePrior:
    own = {tensor: tensors[f"prior.{tensor}"] for tensor in PRIOR_TENSORS}
    return PicturePrior(scores=_low_rank_map("prior.scores", tensors), **own)


def _bold(tensors: dict[str, Array]) -> BoldPrior:
    return BoldPrior.of_tensors({name: tensors[f"bold.{name}"] for name in (*VOXEL_TENSORS, "shared")})


def _check_tensors(weights: Weights) -> None:
    card = weights.card
    n_voxels = len(weights.voxel_index)
    if weights.voxel_mean.shape != (n_voxels,) or weights.voxel_std.shape != (n_voxels,):
        raise WeightsError(f"voxel_mean and voxel_std must hold {n_voxels} numbers, as voxel_index does")
    n_targets = {"z": int(np.prod(card.latent_shape)), "c": int(np.prod(card.text_shape))}
    if weights.prior:
        n_targets["prior.scores"] = _check_prior(weights.prior, n_targets["c"])
    for name, part in weights._maps():
        _check_map(name, part, n_targets[name], n_voxels)
    if weights.bold:
        _check_bold(weights.bold, n_voxels)
    if not (np.isfinite(weights.voxel_mean).all() and np.isfinite(weights.voxel_std).all()):
        raise WeightsError("voxel_mean or voxel_std hold numbers that are not finite; fit again with braind fit")
    index = weights.voxel_index
    if (np.diff(index) <= 0).any() or index[0] < 0 or index[-1] >= np.prod(card.shape):
        raise WeightsError(f"voxel_index must rise and stay inside the volume of shape {card.shape}")
    if card.mask_sha256 != mask_sha256(index, card.shape):
        raise WeightsError("voxel_index is not the mask that the card names; fit again with braind fit")


def _check_map(name: str, part: LowRankMap, n_targets: int, n_voxels: int) -> None:
    n_own = len(part.positions)
    if part.left.shape != (n_own, part.rank) or part.right.shape != (part.rank, n_targets):
        raise WeightsError(f"{name}.left and {name}.right do not make a map from {n_own} voxels to {n_targets}")
    for tensor, n in (("row_scale", n_own), *((tensor, n_targets) for tensor in MAP_TENSORS[4:])):
        if getattr(part, tensor).shape != (n,):
            raise WeightsError(f"{name}.{tensor} has shape {getattr(part, tensor).shape}, expected ({n},)")
    for tensor in MAP_TENSORS[1:]:
        _check_finite(f"{name}.{tensor}", getattr(part, tensor))
    if n_own == 0 or part.positions.min() < 0 or part.positions.max() >= n_voxels:
        raise WeightsError(f"{name}.positions point outside the {n_voxels} voxels of voxel_index")


def _check_prior(prior: PicturePrior, n_targets: int) -> int:
    """Check the prior's tensors against each other; return how many components it has."""
    n_pictures, n_components = prior.pictures.shape if prior.pictures.ndim == 2 else (0, 0)
    shapes = {"gain": (n_components,), "noise": (n_components,), "components": (n_components, n_targets),
              "mean": (n_targets,)}  # fmt: skip
    for tensor, shape in shapes.items():
        if getattr(prior, tensor).shape != shape:
            raise WeightsError(f"prior.{tensor} has shape {getattr(prior, tensor).shape}, expected {shape}")
    for tensor in PRIOR_TENSORS:
        _check_finite(f"prior.{tensor}", getattr(prior, tensor))
    if not n_pictures or (prior.noise <= 0).any():
        raise WeightsError("the prior needs training pictures, and noise above 0; fit again with braind fit")
    return n_components


def _check_bold(prior: BoldPrior, n_voxels: int) -> None:
    tensors = prior.tensors()
    for name, tensor in tensors.items():
        n = len(SHARED_VALUES) if name == "shared" else n_voxels
        if tensor.shape != (n,):
            raise WeightsError(f"bold.{name} has shape {tensor.shape}, expected ({n},)")
        _check_finite(f"bold.{name}", tensor)
    try:
        prior.check()
    except ValueError as error:
        raise WeightsError(f"{error}; fit again with braind fit --kind bold") from error


def _check_finite(name: str, tensor: Array) -> None:
    if not np.isfinite(tensor).all():
        raise WeightsError(f"{name} holds numbers that are not finite; fit again with braind fit")


def _fingerprint(content: bytes) -> str:
    return sha256(content).hexdigest()[:12]
