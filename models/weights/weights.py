"""Compiled decoder weights: one file per subject with the maps from voxels to z and c.

Each of z and c has one affine map, stored as a low-rank product. The map includes the voxels' z-scoring, the targets'
scaling, the restored scale and the intercept. Only numpy and safetensors: the front process reads this file too.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...arrays import Array
from ...choices import CDecoder
from ...grids import MAX_CORNER_SHIFT_MM, corner_shift_mm
from ...whole_file import write_whole
from .bold_prior import VOXEL_TENSORS, BoldPrior, check_bold
from .card import WeightsCard, WeightsError
from .file import file_content, file_fingerprint, fingerprint, reading
from .label_map import LABEL_TENSORS, LabelMap
from .low_rank import LowRankMap
from .maps import STORED_TENSORS, PictureMaps, check_integers, check_map
from .prior import PicturePrior
from .roi import mask_sha256

# Relative. Headers round the TR; a run with another TR samples responses at other times.
MAX_TR_DIFFERENCE = 0.01
TENSORS = (
    STORED_TENSORS
    | LABEL_TENSORS
    | {"voxel_index", "voxel_mean", "voxel_std", "bold.shared"}
    | {f"bold.{name}" for name in VOXEL_TENSORS}
)


@dataclass(frozen=True, eq=False)
class Weights:
    """A subject's compiled decoder.

    Parameters
    ----------
    voxel_index : array of shape (n_voxels,), int64
        Union of the voxels of z and c: sorted, into the C-order flattened (X, Y, Z) volume.
    voxel_mean, voxel_std : arrays of shape (n_voxels,), float32
        Mean and standard deviation over the training trials, % signal change.
    z, c : LowRankMap
    card : WeightsCard
    prior : PicturePrior, optional
        The c decoder `expected` reads it.
    bold : BoldPrior, optional
        The subject's own prior for estimating trials from BOLD volumes.
    labels : LabelMap, optional
        With it, the weights decode classes, which `card.labels` names. Weights may decode classes and no pictures.
    c_decoder : str
        linear, or expected: c is its posterior mean over the training captions. Files do not store the choice.
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
    labels: LabelMap | None = None
    c_decoder: CDecoder = "linear"
    fingerprint: str = ""

    def __post_init__(self) -> None:
        _check_tensors(self)
        if not self.fingerprint:
            object.__setattr__(self, "fingerprint", fingerprint(self.to_bytes()))

    @property
    def is_blank(self) -> bool:
        """Return whether the weights only name voxels to record, and decode nothing (`blank_weights`)."""
        return not (self.card.ldm or self.labels)

    @property
    def has_pictures(self) -> bool:
        """Return whether the weights decode z and c."""
        return bool(self.card.ldm)

    def with_c_decoder(self, c_decoder: CDecoder) -> "Weights":
        """Return the weights with another choice of how c is decoded; weights without pictures as they are.

        Raises
        ------
        WeightsError
            `code` c_decoder: the choice is `expected`, and the weights have no prior.
        """
        return replace(self, c_decoder=c_decoder) if self.has_pictures else self

    def predict(self, voxels: Array) -> tuple[Array, Array]:
        """Predict z and c for trials.

        Parameters
        ----------
        voxels : array of shape (n_trials, n_voxels), float32
            % signal change, in the order of `voxel_index`.

        Returns
        -------
        z : array of shape (n_trials, *latent_shape), float32
            Includes the factor `scaling_factor` of the autoencoder.
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
        return self.maps.predict(np.asarray(voxels, np.float32), self.card)

    def check_volume(self, shape: tuple[int, ...], affine: Any) -> None:
        """Raise WeightsError if a volume lies on another grid.

        Parameters
        ----------
        shape : (X, Y, Z)
        affine : array-like of shape (4, 4)
            Voxel indices to mm.

        Raises
        ------
        WeightsError
            `code` shape or affine; the sentence has the difference and the remedy.
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
        shift_mm = corner_shift_mm(shape, affine, np.array(self.card.affine))
        if not shift_mm <= MAX_CORNER_SHIFT_MM:
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
        """Raise WeightsError (`code` tr) for BOLD with another TR than the training runs', if the card has it."""
        wanted_s = self.card.tr_s
        if wanted_s is not None and not abs(tr_s - wanted_s) <= MAX_TR_DIFFERENCE * wanted_s:
            raise WeightsError(
                f"a TR of {tr_s:g} s, but the weights were fitted on BOLD with one of {wanted_s:g} s: scan with that, "
                "or fit weights on runs of this TR (braind fit --kind bold)",
                code="tr",
            )

    def check_subject(self, subject: int) -> None:
        """Raise WeightsError (`code` subject) for another subject."""
        if subject != self.card.subject:
            raise WeightsError(
                f"subject {subject}, but the weights are subject {self.card.subject}'s; "
                f"serve that one's: braind serve --subject {subject}",
                code="subject",
            )

    def check_live(self) -> None:
        """Raise WeightsError if live decoding is impossible because responses need z-scoring within their session.

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
        """Raise WeightsError (`code` ldm) if the weights were fitted for another model, or decode no pictures."""
        if not self.has_pictures:
            raise WeightsError(
                "the weights decode no pictures: fit on trials with pictures (stim_file), or score their classes with "
                "braind evaluate --labels",
                code="ldm",
            )
        if fingerprint != self.card.ldm:
            raise WeightsError(
                f"the weights were fitted for the LDM {self.card.ldm}, this one is {fingerprint}; "
                f"fit again: braind fit --subject {self.card.subject}",
                code="ldm",
            )

    @property
    def bold_prior(self) -> BoldPrior:
        """Return the prior for estimating trials from BOLD volumes: the subject's own, or a vague one."""
        return self.bold or BoldPrior.vague(len(self.voxel_index))

    @property
    def maps(self) -> PictureMaps:
        """Return the maps of z and c, with the prior."""
        return PictureMaps(self.z, self.c, self.prior, self.c_decoder)

    def to_bytes(self) -> bytes:
        """Return the safetensors file's content."""
        voxels = {"voxel_index": self.voxel_index, "voxel_mean": self.voxel_mean, "voxel_std": self.voxel_std}
        bold = {f"bold.{name}": tensor for name, tensor in self.bold.tensors().items()} if self.bold else {}
        labels = self.labels.tensors() if self.labels else {}
        return file_content(voxels | self.maps.tensors() | bold | labels, self.card)

    def save(self, path: Path) -> None:
        """Write the file whole or not at all: a reader never sees a part."""
        with write_whole(Path(path)) as unfinished_path:
            unfinished_path.write_bytes(self.to_bytes())

    @classmethod
    def load(cls, path: Path) -> "Weights":
        """Read a weights file.

        Raises
        ------
        WeightsError
            The file is missing, damaged, incomplete, of another schema, holds tensors that braind does not know, or
            holds numbers that are not finite.
        """
        path = Path(path)
        with reading(path, TENSORS.__contains__) as (card, tensors):
            maps = PictureMaps.of_tensors(tensors)
            return cls(
                voxel_index=tensors["voxel_index"],
                voxel_mean=tensors["voxel_mean"],
                voxel_std=tensors["voxel_std"],
                z=maps.z,
                c=maps.c,
                card=card,
                prior=maps.prior,
                bold=_bold(tensors) if "bold.hrf_of_voxel" in tensors else None,
                labels=LabelMap.of_tensors(tensors) if "labels.slope" in tensors else None,
                fingerprint=file_fingerprint(path),
            )


def _axis_codes(affine: Array) -> str:
    """Return the nearest anatomical directions of a volume's axes: "RAS", "LPS", …"""
    columns = affine[:3, :3].T
    nearest = np.abs(columns).argmax(axis=1)
    return "".join(("LPI" if column[axis] < 0 else "RAS")[axis] for column, axis in zip(columns, nearest, strict=True))


def _bold(tensors: dict[str, Array]) -> BoldPrior:
    return BoldPrior.of_tensors({name: tensors[f"bold.{name}"] for name in (*VOXEL_TENSORS, "shared")})


def _check_tensors(weights: Weights) -> None:
    card = weights.card
    n_voxels = len(weights.voxel_index)
    check_integers("voxel_index", weights.voxel_index)
    if not n_voxels:
        raise WeightsError("voxel_index names no voxel; fit again with braind fit")
    if weights.voxel_mean.shape != (n_voxels,) or weights.voxel_std.shape != (n_voxels,):
        raise WeightsError(f"voxel_mean and voxel_std must hold {n_voxels} numbers, as voxel_index does")
    weights.maps.check(n_voxels, card)
    has_names = all(card.labels) and len(card.labels) == len(set(card.labels))
    if not has_names or bool(card.labels) != (weights.labels is not None):
        raise WeightsError("the card's classes are not those of the label map; fit again with braind fit --labels")
    if weights.labels:
        check_map("labels", weights.labels.scores, len(card.labels), n_voxels)
    affine = np.array(card.affine)
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise WeightsError(
            "the affine of the weights' grid is not 4 × 4 finite numbers; give an image whose header has its "
            "orientation",
            code="affine",
        )
    if card.tr_s is not None and not card.tr_s > 0:
        raise WeightsError(f"the card says a TR of {card.tr_s} s; fit again with braind fit --kind bold", code="tr")
    if weights.bold:
        check_bold(weights.bold, n_voxels)
    if not (np.isfinite(weights.voxel_mean).all() and np.isfinite(weights.voxel_std).all()):
        raise WeightsError("voxel_mean or voxel_std hold numbers that are not finite; fit again with braind fit")
    index = weights.voxel_index
    if (np.diff(index) <= 0).any() or index[0] < 0 or index[-1] >= np.prod(card.shape):
        raise WeightsError(f"voxel_index must rise and stay inside the volume of shape {card.shape}")
    if card.mask_sha256 != mask_sha256(index, card.shape):
        raise WeightsError("voxel_index is not the mask that the card names; fit again with braind fit")
