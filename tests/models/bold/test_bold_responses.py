"""What a decoder of BOLD is fitted on: whichever predicts trials of pictures left out."""

import numpy as np

from braind.models.bold.responses import Responses, as_bold, choose_responses


def simulate(n_trials=400, n_bold=60, bold_noise=1.0, seed=0):
    """Betas, estimates from BOLD of the last trials on another scale, and what the pictures' targets are."""
    rng = np.random.default_rng(seed)
    targets = rng.normal(size=(n_trials // 2, 3))
    picture = np.arange(n_trials) // 2
    signal = targets[picture] @ rng.normal(size=(3, 40))
    betas = (signal + rng.normal(0, 2, signal.shape)).astype(np.float32)
    rows = np.arange(n_trials - n_bold, n_trials)
    bold = (0.5 * signal[rows] + rng.normal(0, bold_noise, (n_bold, 40)) + 3).astype(np.float32)
    return Responses(betas, picture), Responses(bold, picture[rows]), rows, targets


def test_betas_take_the_mean_and_spread_of_bold():
    betas, bold, _, _ = simulate()
    moved = as_bold(betas, bold)
    np.testing.assert_allclose(moved.voxels.mean(axis=0), bold.voxels.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(moved.voxels.std(axis=0), bold.voxels.std(axis=0), rtol=1e-3)


def test_with_few_bold_trials_the_many_betas_are_taken_too():
    betas, bold, rows, targets = simulate()
    responses, name, scores = choose_responses(betas, bold, rows, targets)
    assert name in ("betas", "both")
    assert scores[name] == max(scores.values()) > scores["bold"]
    assert len(responses.voxels) == len(betas.voxels)


def test_with_enough_bold_trials_they_are_what_is_fitted_on():
    betas, bold, rows, targets = simulate(n_bold=300)
    responses, name, scores = choose_responses(betas, bold, rows, targets)
    assert (name, scores) == ("bold", {})
    assert responses is bold
