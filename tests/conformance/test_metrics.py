"""Metrics against their published definitions, written out with numpy, scipy, scikit-image, scikit-learn."""

import numpy as np
import pytest
from scipy.stats import permutation_test
from skimage.color import rgb2gray
from skimage.metrics import structural_similarity
from sklearn.metrics.pairwise import paired_distances
from transformers import CLIPImageProcessor

from braind.models.scores.metrics import (
    correlations,
    identified_among_decoded,
    permutation_p,
    pixcorr,
    random_signs,
    ssim,
    two_way,
)
from braind.models.scores.protocols import PROTOCOLS, network_input


@pytest.fixture(scope="module")
def pictures():
    """Ten smooth pictures and noisy copies of them."""
    rng = np.random.default_rng(0)
    seen = np.kron(rng.integers(0, 256, (10, 8, 8, 3)), np.ones((1, 8, 8, 1)))
    decoded = 0.5 * seen + rng.normal(64, 40, seen.shape)
    return seen.astype(np.uint8), np.clip(decoded, 0, 255).astype(np.uint8)


def test_pixcorr_is_numpys_corrcoef_of_flattened_rgb(pictures):
    seen, decoded = pictures
    wanted = [np.corrcoef(seen[n].reshape(1, -1), decoded[n].reshape(1, -1))[0][1] for n in range(10)]
    assert pixcorr(seen, decoded) == pytest.approx(wanted, abs=1e-12)
    distances = paired_distances(seen.reshape(10, -1) - seen.reshape(10, -1).mean(1, keepdims=True),
                                 decoded.reshape(10, -1) - decoded.reshape(10, -1).mean(1, keepdims=True),
                                 metric="cosine")  # fmt: skip
    assert pixcorr(seen, decoded) == pytest.approx(1 - distances, abs=1e-9)


def test_ssim_is_scikit_images_on_grey_pictures(pictures):
    seen, decoded = pictures
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    wanted = [
        structural_similarity(rgb2gray(seen[n]), rgb2gray(decoded[n]), channel_axis=None, **settings) for n in range(10)
    ]
    assert ssim(seen, decoded) == pytest.approx(wanted, abs=1e-12)


def test_two_way_identification_counts_the_pairs_that_are_told_apart():
    rng = np.random.default_rng(1)
    true = rng.normal(size=(30, 25))
    decoded = true + 2 * rng.normal(size=true.shape)
    # each decoded picture, once with every other seen picture: does its own correlate more?
    wanted = np.zeros(30)
    for own in range(30):
        likeness = [np.corrcoef(seen, decoded[own])[0, 1] for seen in true]
        others = [likeness[other] for other in range(30) if other != own]
        wanted[own] = np.mean([likeness[own] > other for other in others])
    assert 0.6 < wanted.mean() < 0.99
    assert two_way(true, decoded) == pytest.approx(wanted, abs=1e-12)


def test_takagis_identification_counts_other_decodes_that_are_less_alike():
    rng = np.random.default_rng(3)
    true = rng.normal(size=(20, 25))
    samples = true[:, None] + 6 * rng.normal(size=(20, 5, 25))
    # as published: mean correlation over five samples, of the seen picture with its own decode and with each other one
    likeness = [[np.mean([np.corrcoef(seen, one)[0, 1] for one in decode]) for decode in samples] for seen in true]
    wanted = [np.mean([likeness[n][n] > likeness[n][other] for other in range(20) if other != n]) for n in range(20)]
    assert 0.6 < np.mean(wanted) < 0.99
    averaged = np.mean([correlations(true, samples[:, sample]) for sample in range(5)], axis=0)
    assert identified_among_decoded(averaged, np.arange(20)) == pytest.approx(wanted, abs=1e-12)


def test_permutation_p_is_scipys():
    differences = np.random.default_rng(4).normal(0.5, 1, 12)
    wanted = permutation_test((differences, np.zeros(12)), lambda a, b, axis: np.mean(a - b, axis=axis),
                              permutation_type="samples", vectorized=True).pvalue  # fmt: skip
    assert permutation_p(differences, random_signs(20_000, 12, seed=0)) == pytest.approx(wanted, abs=0.01)


def test_takagis_clip_sees_what_transformers_own_processor_makes(pictures):
    seen, _ = pictures
    network = PROTOCOLS["takagi"].networks[2]
    wanted = CLIPImageProcessor()(list(seen), return_tensors="np").pixel_values
    assert network_input(seen, network).numpy() == pytest.approx(wanted, abs=1e-5)
