"""z-scoring within sessions, against the plain loop that defines it."""

import numpy as np
import pytest

from braind.models.session_scaling import z_score_sessions


@pytest.fixture(scope="module")
def trials():
    rng = np.random.default_rng(3)
    session = np.repeat([1, 2, 5], [40, 30, 50])
    voxels = rng.normal(size=(120, 7)) * rng.uniform(0.1, 9, 7) + 500 * rng.normal(size=(6, 7))[session]
    voxels[:, 3] = 2.5
    return voxels.astype(np.float32), session


def test_full_gives_every_session_mean_0_and_spread_1(trials):
    voxels, session = trials
    scaled = z_score_sessions(voxels, session, "full")
    assert scaled.dtype == np.float32
    varying = np.arange(7) != 3
    for number in (1, 2, 5):
        assert scaled[session == number][:, varying].mean(0) == pytest.approx(0, abs=1e-5)
        assert scaled[session == number][:, varying].std(0) == pytest.approx(1, abs=1e-5)
    assert not scaled[:, 3].any()


def test_causal_is_what_the_trials_so_far_give(trials):
    voxels, session = trials
    scaled = z_score_sessions(voxels, session, "causal")
    for trial in (1, 9, 39, 41, 69, 119):
        so_far = voxels[: trial + 1][session[: trial + 1] == session[trial]].astype(float)
        spread = so_far.std(0)
        expected = np.where(spread > 0, (so_far[-1] - so_far.mean(0)) / np.where(spread > 0, spread, 1), 0)
        assert scaled[trial] == pytest.approx(expected, abs=1e-4)
    assert not scaled[[0, 40, 70]].any()


def test_causal_knows_nothing_of_later_trials_nor_of_other_sessions(trials):
    voxels, session = trials
    before = z_score_sessions(voxels, session, "causal")
    changed = voxels.copy()
    changed[55:] += 77
    changed[:40] *= 3
    after = z_score_sessions(changed, session, "causal")
    assert (after[40:55] == before[40:55]).all()
    assert (after[55:70] != before[55:70]).any()


def test_none_changes_nothing(trials):
    voxels, session = trials
    assert z_score_sessions(voxels, session, "none") is voxels
