"""The lagged ridge: windows against a slow computation, causality, gaps, and the ridge against scikit-learn's."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from picture_priors import with_random_prior
from sklearn.linear_model import Ridge

from braind.models.bold.estimator import StreamingError
from braind.models.bold.finished_run import FinishedRun
from braind.models.bold.lagged_ridge import LaggedRidge
from braind.models.bold.windows import (
    FINAL_WINDOW_S,
    MEMORY_S,
    N_LAGS,
    N_TOGETHER,
    N_VOLUMES,
    PRIOR_VOLUMES,
    CausalNormaliser,
    last_volumes,
    normalised,
    signal_std_of,
    window_positions,
    windows,
)
from braind.models.fit import fit_weights
from braind.models.fit_profiles import PROFILES, FitSettings
from braind.models.ridge.fit_maps import fit_maps
from braind.models.weights.card import WeightsError

TR_S = 4 / 3
N_VOXELS = 7


@pytest.fixture
def run():
    """60 volumes of drifting signal, trials every 4 s from 8 s on."""
    rng = np.random.default_rng(0)
    percent = rng.normal(0, 1, (60, N_VOXELS)) + np.linspace(0, 5, 60)[:, None]
    volumes = (rng.uniform(500, 1500, N_VOXELS) * (1 + percent / 100)).astype(np.float32)
    return FinishedRun(volumes, np.arange(8.0, 76.0, 4.0), TR_S)


def slowly_normalised(run, signal_std, number):
    """Return a volume's z-scores from the weights that every volume before it has by then."""
    percent = 100 * (run.volumes[: number + 1].astype(np.float64) / run.volumes[0] - 1)
    mean_before, squares = np.zeros(N_VOXELS), []
    for last in range(number + 1):
        weight = np.exp(-(last - np.arange(last + 1)) * TR_S / MEMORY_S)
        mean = weight @ percent[: last + 1] / weight.sum()
        squares.append((percent[last] - mean_before) * (percent[last] - mean))
        mean_before = mean
    variance = PRIOR_VOLUMES * signal_std.astype(np.float64) ** 2 + weight @ np.array(squares)
    return (percent[number] - mean) / np.sqrt(variance / (PRIOR_VOLUMES + weight.sum()))


def test_a_window_holds_the_last_six_volumes_normalised_by_what_had_come(run):
    signal_std = signal_std_of([run])
    percent = 100 * run.volumes / run.volumes[0]
    assert signal_std == pytest.approx(percent.std(axis=0), rel=1e-4)
    last = last_volumes(run, 8.0)
    # 8 s are 6 volumes
    assert last[3] == 15 + 6
    found = windows(normalised(run, signal_std), [last[3]])
    slow = np.stack([slowly_normalised(run, signal_std, number) for number in range(22 - N_VOLUMES, 22)])
    wanted = slow.reshape(N_LAGS, N_TOGETHER, N_VOXELS).mean(axis=1).reshape(1, -1)
    assert found.dtype == np.float32
    assert found == pytest.approx(wanted, abs=1e-4)


def test_later_volumes_change_nothing_and_the_same_volumes_give_the_same_bits(run):
    signal_std = np.ones(N_VOXELS, np.float32)
    cut = replace(run, volumes=run.volumes[:30])
    assert normalised(cut, signal_std).tobytes() == normalised(run, signal_std)[:30].tobytes()


def test_a_missing_volume_lets_time_pass_and_is_taken_as_the_one_before(run):
    signal_std = np.ones(N_VOXELS, np.float32)
    came = np.delete(np.arange(60), [20, 21])
    gappy = replace(run, volumes=run.volumes[came], index=came)
    volumes, whole = normalised(gappy, signal_std), normalised(run, signal_std)
    assert np.array_equal(volumes[:20], whole[:20])
    assert np.array_equal(volumes[20], volumes[19])
    assert np.array_equal(volumes[21], volumes[19])
    # of a volume that comes late, the trial's window ends there
    assert last_volumes(gappy, 8.0)[3] == 22
    # after a long gap nothing is left of what came before
    normaliser = CausalNormaliser(TR_S, signal_std)
    for number in (0, 3000):
        late = normaliser.add_volume(number, run.volumes[number % 7])
    assert late == pytest.approx(np.zeros(N_VOXELS), abs=1e-4)
    with pytest.raises(StreamingError, match="in order"):
        normaliser.add_volume(7, run.volumes[0])


def test_before_the_run_is_its_mean_and_a_final_window_may_end_with_the_run(run):
    found = windows(normalised(run, np.ones(N_VOXELS, np.float32)), [1])
    assert not found[0, : 2 * N_VOXELS].any()
    # the last trials, 72 and 68 s into 78.7 s: 6.7 and 10.7 s
    assert max(last_volumes(run, 8.0)) == 15
    final = last_volumes(run, FINAL_WINDOW_S)
    assert (final[15], final[16]) == (59, 59)
    # 11 s after 64 s
    assert final[14] == 57


def test_a_decoder_of_windows_is_scikit_learns_ridge(trials, blank_card, tmp_path):
    """Trials' voxels stand for windows of a third as many voxels."""
    profile = replace(PROFILES["live"], penalties=(300.0,), restore_scale=False, prior=False)
    weights = fit_weights(trials, blank_card, FitSettings(profile))
    n_voxels = trials.voxels.shape[1] // N_LAGS
    columns = window_positions(np.arange(5, 20), n_voxels)
    assert columns.tolist() == [*range(5, 20), *range(35, 50), *range(65, 80)]
    windows_of_trials = replace(trials, z_positions=columns, c_positions=columns)
    fitted = fit_maps(windows_of_trials, blank_card, FitSettings(profile, max_discarded_variance=1e-9))
    own = (trials.voxels - fitted.mean) / fitted.std
    z = trials.z.reshape(len(trials.z), -1)[trials.picture_of_trial]
    expected = Ridge(alpha=300.0).fit(own[:, columns], z).predict(own[:, columns])

    path = tmp_path / "subj01.lagged.safetensors"
    LaggedRidge(weights.card, np.ones(n_voxels, np.float32), {"8.0": fitted.maps, "final": fitted.maps}).save(path)
    decoder = LaggedRidge.load(path, weights).decoder("8.0")
    predicted, _ = decoder.predict(trials.voxels)
    assert predicted.shape == (450, 2, 3, 4)
    # half precision
    assert predicted.reshape(450, -1) == pytest.approx(expected, abs=5e-3)

    # fitted without a prior: c cannot be expected as the weights beside it might be
    expecting = with_random_prior(weights).with_c_decoder("expected")
    with pytest.raises(WeightsError, match=r"lagged.safetensors: the weights have no prior over the training captions"):
        LaggedRidge.load(path, expecting)
    other = replace(weights, card=msgspec.structs.replace(weights.card, ldm="another"), fingerprint="")
    with pytest.raises(WeightsError, match=r"subj01.lagged.safetensors: of other voxels or another LDM"):
        LaggedRidge.load(path, other)


def test_a_decoder_of_windows_decodes_c_as_the_weights_beside_it(trials, blank_card, tmp_path):
    weights, n_voxels = fit_weights(trials, blank_card, FitSettings()), trials.voxels.shape[1] // N_LAGS
    path = tmp_path / "subj01.lagged.safetensors"
    LaggedRidge(weights.card, np.ones(n_voxels, np.float32), {"final": weights.maps}).save(path)
    for c_decoder in ("linear", "expected"):
        same = weights.with_c_decoder(c_decoder)
        c = LaggedRidge.load(path, same).decoder("final").predict(trials.voxels[:3])[1]
        assert np.array_equal(c, same.predict(trials.voxels[:3])[1])
