"""Pixel measures of the published protocols on photographs, at NSD's 425 px and Stable Diffusion's 512 px.

The resampling and SSIM are written out in float64, independently of torch, Pillow and scikit-image's SSIM.
"""

import numpy as np
import pytest
from scipy import ndimage
from skimage import data
from sklearn.datasets import load_sample_image

from braind.models.scores.metrics import pixcorr, ssim
from braind.models.scores.protocols import PROTOCOLS, Pixels, measured_pixels, network_input

SIGMA, C1, C2 = 1.5, 0.01**2, 0.03**2
GREY = np.array([0.2125, 0.7154, 0.0721])


@pytest.fixture(scope="module")
def photographs():
    """Four crops of 425 px as seen pictures, and noisy, shifted pictures of 512 px as their decodes."""
    rng = np.random.default_rng(0)
    sources = [data.astronaut(), data.rocket(), load_sample_image("china.jpg"), load_sample_image("flower.jpg")]
    seen = np.stack([source[:425, 100:525] if source.shape[1] > 525 else source[:425, :425] for source in sources])
    decoded = [as_bytes(255 * resampled(picture / 255, 512, triangle, antialias=False)) for picture in seen]
    noisy = np.roll(decoded, 2, axis=2) + rng.normal(0, 25, (4, 512, 512, 3))
    return seen, as_bytes(noisy)


def triangle(x):
    return np.maximum(1 - np.abs(x), 0), 1


def cubic(x):
    """Keys' cubic convolution with a = −0.5, Pillow's bicubic."""
    x = np.abs(x)
    return np.where(x < 1, (1.5 * x - 2.5) * x**2 + 1, np.where(x < 2, ((-0.5 * x + 2.5) * x - 4) * x + 2, 0)), 2


def weights(n_from, n_to, kernel, *, antialias):
    """Return the weights (n_to, n_from): pixel centres at n + 0.5; a wider kernel where antialiasing makes smaller."""
    scale = n_from / n_to
    width = max(scale, 1) if antialias else 1
    centre = (np.arange(n_to) + 0.5) * scale
    if antialias:
        matrix, _ = kernel((np.arange(n_from) + 0.5 - centre[:, None]) / width)
        return matrix / matrix.sum(axis=1, keepdims=True)
    # without antialiasing the border pixel is repeated
    position = np.clip(centre - 0.5, 0, n_from - 1)
    matrix, _ = kernel(np.arange(n_from) - position[:, None])
    return matrix


def resampled(picture, px, kernel, *, antialias):
    matrix = weights(len(picture), px, kernel, antialias=antialias)
    return np.einsum("hr,rwc,vw->hvc", matrix, picture, matrix, optimize=True)


def in_bytes(picture, px, kernel):
    """Resize as Pillow does: along rows, then along columns, each rounded to 8 bits."""
    matrix = weights(len(picture), px, kernel, antialias=True)
    along_rows = as_bytes(np.einsum("vw,rwc->rvc", matrix, picture.astype(np.float64)))
    return as_bytes(np.einsum("hr,rvc->hvc", matrix, along_rows.astype(np.float64)))


def as_bytes(values):
    return np.clip(np.floor(np.asarray(values) + 0.5), 0, 255).astype(np.uint8)


def ssim_of(first, second, axes):
    """Wang et al. 2004, with Gaussian windows of 11 pixels along the given axes; windows over the border are left out.

    scikit-image crops each axis that it sees: both axes of a picture, or the one axis of a column.
    """

    def mean(values):
        for axis in axes:
            values = ndimage.gaussian_filter1d(values, SIGMA, axis=axis, truncate=3.5)
        return values

    x, y = first @ GREY, second @ GREY
    mean_x, mean_y = mean(x), mean(y)
    variance_x, variance_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    similarity = (
        (2 * mean_x * mean_y + C1) * (2 * covariance + C2)
        / ((mean_x**2 + mean_y**2 + C1) * (variance_x + variance_y + C2))
    )  # fmt: skip
    for axis in axes:
        similarity = np.moveaxis(np.moveaxis(similarity, axis, 0)[5:-5], 0, axis)
    return similarity.mean()


def correlation(first, second):
    return np.corrcoef(first.ravel(), second.ravel())[0, 1]


def measured(photographs, pixels: Pixels):
    seen, decoded = (measured_pixels(pictures, pixels.resize) for pictures in photographs)
    return pixcorr(seen, decoded), ssim(seen, decoded, pixels.window)


def test_mindeye_resizes_tensors_to_256_and_425_px_without_antialiasing(photographs):
    ours = measured(photographs, PROTOCOLS["mindeye"].pixels)
    for n, (seen, decoded) in enumerate(zip(*photographs, strict=True)):
        small = (resampled(picture / 255, 256, triangle, antialias=False) for picture in (seen, decoded))
        seen_425, decoded_425 = (resampled(picture, 425, triangle, antialias=False) for picture in small)
        assert ours[0][n] == pytest.approx(correlation(seen_425, decoded_425), abs=1e-4)
        assert ours[1][n] == pytest.approx(ssim_of(seen_425, decoded_425, (0, 1)), abs=1e-4)


def test_antialiasing_would_flatter_mindeyes_scores(photographs):
    ours = measured(photographs, PROTOCOLS["mindeye"].pixels)
    for n, (seen, decoded) in enumerate(zip(*photographs, strict=True)):
        small = (resampled(picture / 255, 256, triangle, antialias=True) for picture in (seen, decoded))
        seen_425, decoded_425 = (resampled(picture, 425, triangle, antialias=True) for picture in small)
        assert ours[0][n] < correlation(seen_425, decoded_425) - 0.002
        assert ours[1][n] < ssim_of(seen_425, decoded_425, (0, 1)) - 0.05


def test_brain_diffuser_takes_bicubic_bytes_at_425_px_and_the_ssim_of_columns(photographs):
    ours = measured(photographs, PROTOCOLS["brain-diffuser"].pixels)
    for n, (seen, decoded) in enumerate(zip(*photographs, strict=True)):
        decoded_425 = in_bytes(decoded, 425, cubic)
        assert ours[0][n] == pytest.approx(correlation(seen / 255, decoded_425 / 255), abs=1e-4)
        assert ours[1][n] == pytest.approx(ssim_of(seen / 255, decoded_425 / 255, (0,)), abs=1e-4)


def test_the_figures_of_the_protocols_stay_as_they_were_worked_out_by_hand(photographs):
    found = {name: measured(photographs, PROTOCOLS[name].pixels) for name in ("mindeye", "brain-diffuser")}
    means = {name: [score.mean() for score in scores] for name, scores in found.items()}
    assert means["mindeye"] == pytest.approx([0.9661, 0.6392], abs=1e-4)
    assert means["brain-diffuser"] == pytest.approx([0.9111, 0.3875], abs=1e-4)


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_networks_see_the_pictures_that_their_protocol_makes(photographs, name):
    kernels = {"bilinear": triangle, "bicubic": cubic}
    for network in PROTOCOLS[name].networks:
        mean, std = (np.array(statistic) for statistic in network.statistics)
        for pictures in photographs:
            if network.resize == "tensor":
                small = resampled(pictures[0] / 255, 256, triangle, antialias=False)
                wanted = resampled(small, network.px, triangle, antialias=False)
            else:
                wanted = in_bytes(pictures[0], network.px, kernels[network.resize]) / 255
            found = network_input(pictures[:1], network)[0].permute(1, 2, 0).numpy() * std + mean
            # Pillow's weights have 22 bits: one in some thousand bytes is rounded the other way
            assert np.abs(found - wanted).mean() < 1e-4
            assert np.abs(found - wanted).max() < 1.5 / 255
