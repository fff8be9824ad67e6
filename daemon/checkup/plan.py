"""What `braind check` is asked: the daemon that the scan will have, and the scan."""

from dataclasses import dataclass
from pathlib import Path

from ...choices import Kind
from ...config import Config
from ...models.weights.weights import Weights
from ..link import DecoderSettings


@dataclass(frozen=True)
class CheckPlan:
    """A daemon's settings, as `braind serve` takes them, and what is known of the scan.

    Parameters
    ----------
    mask_paths : masks of the voxels to record; with masks there are no weights
    tr_s : the time from volume to volume, s; None is the weights' own, if the weights were fitted on BOLD
    n_volumes : how many volumes the disk must take
    volume_path : a NIfTI file as the scanner will send it, of which grid and TR are compared
    """

    config: Config
    subject: int
    kind: Kind
    decoder: DecoderSettings
    mask_paths: tuple[Path, ...]
    tr_s: float | None
    n_volumes: int
    volume_path: Path | None

    def known_tr_s(self, weights: Weights | None) -> float | None:
        """Return the scan's TR, s; None if neither the user nor the weights say it."""
        if self.tr_s is not None:
            return self.tr_s
        return weights.card.tr_s if weights else None

    def scan_kind(self, weights: Weights) -> Kind:
        """Return the kind of the scan's volumes. Weights for betas can decode BOLD, so --kind bold is believed."""
        return "bold" if self.kind == "bold" else weights.card.kind
