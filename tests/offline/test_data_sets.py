"""Which recorded data the settings name, and settings that name none."""

from types import SimpleNamespace

import numpy as np
import pytest

from braind.client.datasets.data_set import DataSetError
from braind.config import load_config
from braind.offline.data_sets import check_estimates, check_test_runs, data_set_of, ensure_tree, settings_for
from braind.offline.fit.trials import read_trials


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


@pytest.mark.parametrize(
    ("marker", "version"), [('{"version": 1}', "version 1 of"), ("{}", "unknown"), ("no json", "unknown")]
)
def test_subjects_that_another_version_simulated_are_refused_by_name(tmp_path, marker, version):
    folder = tmp_path / "nsd-simulated"
    folder.mkdir()
    (folder / "simulated.json").write_text(marker)
    with pytest.raises(
        DataSetError, match=rf"nsd-simulated: another braind .*{version}.*write it again with braind sim"
    ):
        ensure_tree(settings(paths={"data": str(tmp_path)}))


def test_estimates_of_another_kind_are_refused_with_both_names():
    card = SimpleNamespace(estimates="betas_fithrf")
    check_estimates(card, SimpleNamespace(estimates="betas_fithrf", root="here"))
    check_estimates(SimpleNamespace(estimates=""), SimpleNamespace(estimates="bold", root="here"))
    with pytest.raises(
        DataSetError, match="fitted on betas_fithrf, here is read for its bold: give --betas betas_fithrf"
    ):
        check_estimates(card, SimpleNamespace(estimates="bold", root="here"))


def test_kind_bold_and_betas_bold_mean_the_same_of_a_bids_folder():
    bids = {"bids": "own"}
    for config in (settings(paths=bids), settings(paths=bids, dataset={"betas": "bold"})):
        assert settings_for(config, "bold").dataset.betas == "bold"
        assert settings_for(config, "beta") == config
    assert settings_for(settings(), "bold") == settings()
    with pytest.raises(
        DataSetError, match="--kind bold estimates .* --betas glmsingle reads responses of own: give one"
    ):
        settings_for(settings(paths=bids, dataset={"betas": "glmsingle"}), "bold")


def test_a_column_of_classes_needs_a_bids_folder(small_data):
    with pytest.raises(
        DataSetError, match="--labels trial_type names a column of a BIDS folder's events, and NSD has no"
    ):
        ensure_tree(settings(paths={"data": str(small_data)}, dataset={"labels": "trial_type"}))


def test_test_runs_hold_out_nsds_runs_instead_of_its_shared_pictures(small_data):
    tree = ensure_tree(settings(paths={"data": str(small_data)}, dataset={"test_runs": "11,12"}))
    trials = tree.trials(1)
    assert (trials.is_shared == (trials.run > 10)).all()
    assert tree.novel_kind_ids() == []
    for wrong, words in (
        ("13", "has no run 13; it has 1-12"),
        ("1-12", "none is left for training"),
        (",", "test runs"),
    ):
        with pytest.raises(DataSetError, match=words):
            ensure_tree(settings(paths={"data": str(small_data)}, dataset={"test_runs": wrong})).trials(1)


@pytest.mark.parametrize(
    ("fitted", "asked", "words"),
    [
        ("11-12", "", "fitted with test runs 11-12, the settings name no test runs: give --test-runs 11-12"),
        ("11-12", "3", "fitted with test runs 11-12, the settings name test runs 3: give --test-runs 11-12"),
        ("", "3", "fitted with no test runs, the settings name test runs 3: leave --test-runs out"),
    ],
)
def test_weights_of_another_split_are_refused(fitted, asked, words):
    card = SimpleNamespace(test_runs=fitted)
    check_test_runs(SimpleNamespace(test_runs="11-12"), settings(dataset={"test_runs": "12,11"}))
    with pytest.raises(DataSetError, match=words):
        check_test_runs(card, settings(dataset={"test_runs": asked}))
