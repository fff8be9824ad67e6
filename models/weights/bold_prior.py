"""A subject's BOLD prior: the HRFs, amplitudes and noise that training runs lead to expect.

Weights files hold the prior. The front reads weights files, so this module imports only numpy.
"""

from dataclasses import dataclass, field

import numpy as np

from ...arrays import Array
from .card import WeightsError
from .maps import check_finite, check_integers

# SPM's canonical HRF with five delays. HRFs of NSD's subjects differ in delay more than in shape (Allen et al. 2022).
HRF_SHIFTS_S = (-1.0, -0.5, 0.0, 0.5, 1.0)
CANONICAL = HRF_SHIFTS_S.index(0.0)

NO_SIGNAL_SHARE = 0.05
"""Of a volume's 90th percentile. Air and ghosts reach a few percent of the brain's signal."""

VOXEL_TENSORS = ("hrf_of_voxel", "amplitude_mean", "noise_std", "mean_signal")
SHARED_VALUES = (
    "amplitude_variance", "drift_variance", "slope_variance", "motion_variance", "misaligned_below", "adaptation_rate",
    "first_slope_variance",
)  # fmt: skip
N_EARLIER_SHARED = 5
"""Files of braind before neural adaptation hold only the first shared values."""


@dataclass(frozen=True, eq=False)
class BoldPrior:
    """A subject's prior; variances are in units of a volume's noise variance.

    Parameters
    ----------
    hrf_of_voxel : array of shape (n_voxels,), int64
        Position in `HRF_SHIFTS_S` of each voxel's HRF.
    amplitude_mean : array of shape (n_voxels,), float32
        A trial's mean response, % signal change at the peak.
    noise_std : array of shape (n_voxels,), float32
        Standard deviation of one volume's noise, % signal change.
    amplitude_variance : float
        Variance of trial responses about their mean.
    drift_variance, slope_variance : float
        Variances of the random steps of the baseline and of its slope, for each second.
    motion_variance : float
        Variance of the motion coefficients, for each mm.
    mean_signal : array of shape (n_voxels,), float32
        Mean raw signal of the training runs; empty without training runs.
    misaligned_below : float
        A volume with a lower spatial correlation with `mean_signal` is misaligned.
    adaptation_rate : float
        Share by which the neural response to a lasting stimulus falls in a second, 1/s.
    first_slope_variance : float
        Variance of the baseline's slope before the first volume.
    """

    hrf_of_voxel: Array
    amplitude_mean: Array
    noise_std: Array
    amplitude_variance: float = 0.5
    drift_variance: float = 0.0
    slope_variance: float = 1e-5
    motion_variance: float = 1.0
    mean_signal: Array = field(default_factory=lambda: np.zeros(0, np.float32))
    misaligned_below: float = -1.0
    adaptation_rate: float = 0.0
    first_slope_variance: float = 1e-5

    @classmethod
    def vague(cls, n_voxels: int) -> "BoldPrior":
        """Return a weakly informative prior, for a subject without training runs."""
        canonical = np.full(n_voxels, CANONICAL)
        return cls(canonical, np.zeros(n_voxels, np.float32), np.ones(n_voxels, np.float32), amplitude_variance=100.0)

    def tensors(self) -> dict[str, Array]:
        """Return the tensors that a file stores."""
        shared = np.array([getattr(self, name) for name in SHARED_VALUES])
        return {name: getattr(self, name) for name in VOXEL_TENSORS} | {"shared": shared}

    @classmethod
    def of_tensors(cls, tensors: dict[str, Array]) -> "BoldPrior":
        """Return the prior that a file stores as `tensors`. Raises ValueError for too few or too many shared values."""
        if tensors["shared"].shape not in ((N_EARLIER_SHARED,), (len(SHARED_VALUES),)):
            shape = tensors["shared"].shape
            raise ValueError(f"bold.shared has shape {shape}, expected ({len(SHARED_VALUES)},)")
        shared = dict(zip(SHARED_VALUES, tensors["shared"].tolist(), strict=False))
        return cls(**{name: tensors[name] for name in VOXEL_TENSORS}, **shared)

    def check(self) -> None:
        """Raise ValueError if no run can be estimated under this prior."""
        if self.hrf_of_voxel.min() < 0 or self.hrf_of_voxel.max() >= len(HRF_SHIFTS_S):
            raise ValueError(f"bold.hrf_of_voxel names responses other than 0 to {len(HRF_SHIFTS_S) - 1}")
        variances = (self.amplitude_variance, self.drift_variance, self.slope_variance, self.motion_variance)
        variances += (self.first_slope_variance,)
        if not 0 <= self.adaptation_rate < 1:
            raise ValueError("bold.shared has a neural adaptation that is not between 0 and 1 a second")
        if (self.noise_std <= 0).any() or min(variances) < 0 or not self.amplitude_variance:
            raise ValueError("bold.noise_std and the amplitudes' variance must be above 0, other variances not below")

    def is_misaligned(self, voxels: Array) -> bool:
        """Return whether a raw volume, (n_voxels,), shows other parts of the head than the training runs."""
        return bool(self.mean_signal.size and spatial_correlation(voxels, self.mean_signal) < self.misaligned_below)


def without_signal(voxels: Array) -> Array:
    """Return which voxels of a raw volume have no signal, (n_voxels,) bool: drop-out, air, or outside a brain mask.

    Equal voxels have none: a volume of one number is a placeholder.
    """
    if len(voxels) > 1 and (voxels == voxels[0]).all():
        return np.ones(len(voxels), bool)
    return voxels <= NO_SIGNAL_SHARE * max(float(np.percentile(voxels, 90)), 0.0)


def spatial_correlation(voxels: Array, mean_signal: Array) -> float:
    """Return the correlation over voxels of two raw volumes, both (n_voxels,); 0 if either is constant."""
    one, other = (volume - volume.mean(dtype=np.float64) for volume in (voxels, mean_signal))
    norm = np.sqrt((one @ one) * (other @ other))
    return float(one @ other / norm) if norm > 0 else 0.0


def check_bold(prior: BoldPrior, n_voxels: int) -> None:
    """Raise WeightsError unless a prior's tensors fit each other and the voxels, and runs can be estimated by it."""
    tensors = prior.tensors()
    for name, tensor in tensors.items():
        n = len(SHARED_VALUES) if name == "shared" else n_voxels
        if tensor.shape != (n,):
            raise WeightsError(f"bold.{name} has shape {tensor.shape}, expected ({n},)")
        check_finite(f"bold.{name}", tensor)
    check_integers("bold.hrf_of_voxel", prior.hrf_of_voxel)
    try:
        prior.check()
    except ValueError as error:
        raise WeightsError(f"{error}; fit again with braind fit --kind bold") from error
