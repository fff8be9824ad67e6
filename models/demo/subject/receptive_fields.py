"""What early visual cortex sees: local luminance, colour opponency and oriented contrast energy in receptive fields.

The receptive fields follow the population receptive field literature: centres retinotopic with cortical
magnification, sizes growing with eccentricity and from V1 to hV4 (Dumoulin & Wandell 2008; Kay et al. 2013, whose
compressive exponent of about 0.5 is used here too).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .anatomy import VISUAL_AREAS, Anatomy

Array = NDArray[Any]

FIELD_DEG = 8.4  # NSD showed its pictures 8.4 degrees wide
GRID_PX = 32  # channels are sampled on a grid of 32 x 32, 0.26 degrees a sample
N_ORIENTATIONS = 4
COLOUR_CHANNELS = ("light", "dark", "red", "green", "blue", "yellow")
N_CHANNELS = len(COLOUR_CHANNELS) + 2 * N_ORIENTATIONS
COMPRESSION = 0.5
# Size at the fovea and its growth per degree of eccentricity, in degrees.
SIZES_DEG = {"V1": (0.3, 0.14), "V2": (0.35, 0.18), "V3": (0.45, 0.25), "hV4": (0.6, 0.4)}
# Mean weight of luminance, colour and contrast-energy channels.
CHANNEL_GAINS = {"V1": (1.0, 0.8, 1.2), "V2": (0.9, 0.9, 1.1), "V3": (0.9, 0.8, 1.0), "hV4": (0.7, 1.5, 0.7)}


@dataclass(frozen=True)
class ReceptiveFields:
    """Receptive fields and channel weights of the early visual voxels.

    `x_deg`, `y_deg` (right and up are positive) and `size_deg` (standard deviation) have the shape (n_voxels,);
    `weights` has the shape (N_CHANNELS, n_voxels), none negative.
    """

    x_deg: Array
    y_deg: Array
    size_deg: Array
    weights: Array

    def pool(self, channels: Array) -> Array:
        """Respond to pictures, given their channels (n_pictures, N_CHANNELS, 32, 32): (n_pictures, n_voxels)."""
        pooling = self._pooling()
        drive = np.zeros((len(channels), len(self.x_deg)), np.float32)
        for channel in range(N_CHANNELS):
            drive += channels[:, channel].reshape(len(channels), -1) @ pooling * self.weights[channel]
        return drive**COMPRESSION

    def _pooling(self) -> Array:
        """Return Gaussian weights of the grid's samples, each voxel's summing to 1: (32 * 32, n_voxels) float32."""
        centres = (np.arange(GRID_PX) + 0.5) / GRID_PX * FIELD_DEG - FIELD_DEG / 2
        across = np.exp(-((centres[:, None] - self.x_deg) ** 2) / (2 * self.size_deg**2))
        down = np.exp(-((-centres[:, None] - self.y_deg) ** 2) / (2 * self.size_deg**2))
        weights = down[:, None, :] * across[None, :, :]
        return (weights / weights.sum((0, 1))).reshape(GRID_PX**2, -1).astype(np.float32)


def draw_receptive_fields(anatomy: Anatomy, rng: np.random.Generator) -> ReceptiveFields:
    """Draw the receptive fields of all voxels with a visual area, in the order of the flattened volume."""
    early = anatomy.visual_areas > 0
    areas = anatomy.visual_areas[early]
    names = np.array([""] + [name[:2] if name[0] == "V" else name for name in VISUAL_AREAS])[areas]
    n_voxels = len(areas)

    eccentricity = 0.2 * np.exp(anatomy.depth[early] * np.log(5.2 / 0.2)) * rng.lognormal(0, 0.1, n_voxels)
    angle = _polar_angle(names, anatomy.band[early]) * np.where(_is_lower_field(areas), -1, 1)
    angle += rng.normal(0, np.radians(8), n_voxels)
    toward = np.where(anatomy.right[early], -1, 1)  # each hemisphere sees the opposite half of the field
    size = np.array(
        [SIZES_DEG[name][0] + SIZES_DEG[name][1] * ecc for name, ecc in zip(names, eccentricity, strict=True)]
    )
    gains = np.array([CHANNEL_GAINS[name] for name in names])
    gain_of_channel = np.repeat(gains, [2, 4, 2 * N_ORIENTATIONS], axis=1)
    return ReceptiveFields(
        x_deg=toward * eccentricity * np.cos(angle),
        y_deg=eccentricity * np.sin(angle),
        size_deg=size * rng.lognormal(0, 0.15, n_voxels),
        weights=(rng.gamma(0.5, 2.0, (N_CHANNELS, n_voxels)) * gain_of_channel.T).astype(np.float32),
    )


def see(pictures: Array) -> Array:
    """Turn pictures (n_pictures, px, px, 3) uint8 into channels (n_pictures, N_CHANNELS, 32, 32), none negative.

    The sides must be a multiple of 64. Each channel has a mean of about 1 over natural use of its range.
    """
    fine = _shrink(pictures.astype(np.float32) / 127.5 - 1, 64)
    coarse = _shrink(fine, GRID_PX)
    red, green, blue = np.moveaxis(coarse, -1, 0)
    opponents = ((red + green + blue) / 3, red - green, blue - (red + green) / 2)
    channels = [np.maximum(sign * opponent, 0) for opponent in opponents for sign in (1, -1)]
    luminance = fine.mean(-1)
    fine_energy = _contrast_energy(luminance)
    channels += [_shrink(energy[..., None], GRID_PX)[..., 0] for energy in fine_energy]
    channels += _contrast_energy(_shrink(luminance[..., None], GRID_PX)[..., 0])
    scale = np.array([4.0, 4.0, 8.0, 8.0, 8.0, 8.0] + [30.0] * N_ORIENTATIONS + [15.0] * N_ORIENTATIONS, np.float32)
    return np.stack(channels, 1).astype(np.float32) * scale[:, None, None]


def _shrink(pictures: Array, px: int) -> Array:
    n_pictures, side, _, n_colours = pictures.shape
    block = side // px
    return pictures.reshape(n_pictures, px, block, px, block, n_colours).mean((2, 4))


def _contrast_energy(luminance: Array) -> list[Array]:
    """Return the local amplitude at 4 orientations, one octave around 1/6 cycles a pixel: 4 x (n, px, px)."""
    px = luminance.shape[1]
    edge = px // 4
    padded = np.pad(luminance, ((0, 0), (edge, edge), (edge, edge)), "reflect")
    spectrum = np.fft.fft2(padded)
    fy, fx = np.meshgrid(*[np.fft.fftfreq(padded.shape[1])] * 2, indexing="ij")
    frequency = np.hypot(fx, fy)
    frequency[0, 0] = 1  # the log below; the band is zero there
    band = np.exp(-(np.log2(frequency * 6) ** 2) / 2) * (frequency < 0.5)
    band[0, 0] = 0
    energies = []
    for orientation in range(N_ORIENTATIONS):
        offset = np.angle(np.exp(1j * (np.arctan2(fy, fx) - orientation * np.pi / N_ORIENTATIONS)))
        # one half of the plane only: the inverse is then analytic and its modulus the local amplitude
        one_sided = 2 * band * np.exp(-(offset**2) / (2 * (np.pi / 6) ** 2))
        energy = np.abs(np.fft.ifft2(spectrum * one_sided.astype(np.float32)))
        energies.append(energy[:, edge:-edge, edge:-edge])
    return energies


def _is_lower_field(areas: Array) -> Array:
    return np.isin(areas, [VISUAL_AREAS[name] for name in ("V1d", "V2d", "V3d")])


def _polar_angle(names: Array, band: Array) -> Array:
    """Return the angle from the horizontal meridian: mirrored from area to area, the whole field in hV4."""
    rising = np.radians(90) * band
    falling = np.radians(90) * (1 - band)
    return np.select([names == "V2", names == "hV4"], [falling, np.radians(180) * band - np.radians(90)], rising)
