"""Which recorded data the settings name, and settings that name none."""

from types import SimpleNamespace

import numpy as np
import pytest

from braind.client.datasets.data_set import DataSetError
from braind.config import load_config
from braind.models.bold.hrf import response
from braind.offline.data_sets import check_estimates, data_set_of, ensure_tree, estimate_trials, read_trials


def settings(**sections):
    return load_config(None, sections)


def test_an_nsd_folder_without_nsds_folders_is_refused(tmp_path):
    with pytest.raises(DataSetError, match=f"{tmp_path} is not a Natural Scenes Dataset: it has no folder nsddata"):
        data_set_of(settings(paths={"nsd": str(tmp_path)}))


def test_an_nsd_folder_that_does_not_exist_is_not_simulated(tmp_path):
    with pytest.raises(DataSetError, match="is not a Natural Scenes Dataset"):
        ensure_tree(settings(paths={"nsd": str(tmp_path / "missing")}))
    assert not (tmp_path / "missing").exists()


def test_a_bids_folder_needs_its_task(tmp_path):
    with pytest.raises(DataSetError, match=f"{tmp_path}: say which task is meant, with --task"):
        data_set_of(settings(paths={"bids": str(tmp_path)}))


@pytest.mark.parametrize("sessions", ["3-1", "a", "1,,2", "0"])
def test_sessions_that_are_no_numbers_are_refused(small_data, sessions):
    config = settings(paths={"data": str(small_data)}, dataset={"sessions": sessions})
    with pytest.raises(DataSetError, match="session"):
        ensure_tree(config)


def test_the_simulated_tree_that_is_there_is_read_and_not_made_again(small_data, monkeypatch):
    monkeypatch.setattr("braind.offline.data_sets.simulate_tree", lambda *_: pytest.fail("simulated"))
    tree = ensure_tree(settings(paths={"data": str(small_data)}))
    assert tree.is_simulated()
    trials, voxels = read_trials(tree, 1, np.arange(0, 300, 7), "none")
    assert voxels.shape == (len(trials), 43)


def test_estimates_of_another_kind_are_refused_with_both_names():
    card = SimpleNamespace(estimates="betas_fithrf")
    check_estimates(card, SimpleNamespace(estimates="betas_fithrf", root="here"))
    check_estimates(SimpleNamespace(estimates=""), SimpleNamespace(estimates="bold", root="here"))
    with pytest.raises(
        DataSetError, match="fitted on betas_fithrf, here is read for its bold: give --betas betas_fithrf"
    ):
        check_estimates(card, SimpleNamespace(estimates="bold", root="here"))


def signal(onsets_s, n_volumes, amplitude=1.5):
    times_s = np.arange(n_volumes) * 2.0
    percent = sum(amplitude * response(times_s - onset_s, 3.0) for onset_s in onsets_s)
    return (800 * (1 + percent[:, None] / 100) * np.ones((1, 6))).astype(np.float32)


def test_trials_of_a_run_are_estimated_in_percent_of_the_signal():
    onsets_s = np.array([10.0, 16.0, 34.0])
    betas = estimate_trials(signal(onsets_s, 40), 2.0, onsets_s, np.full(3, 3.0))
    assert betas.dtype == np.float32
    assert betas == pytest.approx(np.full((3, 6), 1.5), abs=0.25)


def test_a_dead_voxel_of_a_run_has_a_finite_beta():
    onsets_s = np.array([10.0, 24.0])
    volumes = signal(onsets_s, 30)
    volumes[:, 2] = 0
    betas = estimate_trials(volumes, 2.0, onsets_s, np.full(2, 3.0))
    assert betas[:, 2].tolist() == [0, 0]
    assert np.isfinite(betas).all()


def test_a_response_that_was_not_recorded_is_named_and_not_taken_for_zero():
    onsets_s = np.array([10.0, 58.0])
    with pytest.raises(ValueError, match=r"picture at 58.0 s cannot be told from 30 volumes: .* these 1 trials to n/a"):
        estimate_trials(signal(onsets_s[:1], 30), 2.0, onsets_s, np.full(2, 3.0))
