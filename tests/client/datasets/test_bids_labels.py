"""BIDS names that mean something: labels of subjects and sessions, inherited tables, and entities to choose by."""

import importlib.util
import json

import numpy as np
import pytest
from bids_study import PER_RUN, SHAPE, events, nifti, study, table, text
from click.testing import CliRunner

from braind.cli import main
from braind.client.datasets.bids.files import BidsError, Choice
from braind.client.datasets.bids.folder import BidsFolder
from braind.client.datasets.bids.labels import FIRST_UNNUMBERED, number_of, numbered, parse_choice
from braind.client.datasets.data_set import DataSetError
from braind.config import load_config
from braind.offline.data_sets import bids_folder, subject_of

VOXELS = np.arange(4)
BLOCKS = [(4.0 + 12 * n, 6.0, ("face", "house")[n % 2]) for n in range(2)]
COLUMNS = ("onset", "duration", "trial_type")


def bold(path, value=1000.0):
    nifti(path, np.full((*SHAPE, 15), value, np.float32), tr_s=2.0)


def dataset(root, *labels):
    """Raw BOLD of one run of each subject, with blocks of two classes; the values tell subjects apart."""
    text(root / "dataset_description.json", '{"Name": "own", "BIDSVersion": "1.10.0"}')
    for n, label in enumerate(labels):
        stem = f"sub-{label}/func/sub-{label}_task-look"
        bold(root / f"{stem}_bold.nii.gz", 100.0 * (n + 1))
        table(root / f"{stem}_events.tsv", COLUMNS, *BLOCKS)
    return root


def own(root, **more):
    return BidsFolder(root, "look", "", **{"labels": "trial_type", **more})


def signal(root, run=1, **more):
    return own(root, **more).bold_signal(1, 1, run, VOXELS)


def named(root, subject):
    return subject_of(load_config(None, {"paths": {"bids": str(root)}}), subject)


def value_of(root, subject):
    return own(root).bold_signal(named(root, subject), 1, 1, VOXELS).voxels[0, 0]


# ── labels ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_number_never_means_the_pilot_that_ends_in_it(tmp_path):
    root = dataset(tmp_path, "03", "pil03", "pil04")
    (root / "sub-phantom").mkdir()
    for subject, value in (("3", 100), ("03", 100), ("sub-03", 100), ("pil03", 200), ("sub-pil03", 200)):
        assert value_of(root, subject) == value
    for nobody in ("4", "04", "phantom", "1"):
        with pytest.raises(BidsError, match=rf"no sub-{nobody}; it has sub-03, sub-pil03, sub-pil04: give one of"):
            named(root, nobody)


def test_a_label_keeps_its_number_when_others_come_or_go():
    alone = numbered({"01", "pil03"}, "sub")
    more = numbered({"01", "02", "03", "anna", "pil03", "pil3"}, "sub")
    assert set(alone.items()) < set(more.items())
    assert {number: label for number, label in more.items() if number < FIRST_UNNUMBERED} == {
        1: "01", 2: "02", 3: "03",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "numbers"),
    [
        ({"01", "10", "2"}, {1: "01", 2: "2", 10: "10"}),
        ({"S01", "S02", "phantom"}, {1: "S01", 2: "S02"}),
        ({"A1", "B1", "B2"}, {2: "B2"}),  # two labels end in 1
        ({""}, {1: ""}),
        ({"pre", "post"}, {}),
    ],
)
def test_labels_mean_their_own_numbers_and_no_number_if_two_claim_it(labels, numbers):
    found = numbered(labels, "ses")
    assert {number: label for number, label in found.items() if number < FIRST_UNNUMBERED} == numbers
    assert set(found.values()) == labels
    for label in labels:
        assert found[number_of(label, found, "ses", "here")] == label


def test_two_labels_of_one_number_are_refused_by_name():
    with pytest.raises(BidsError, match="sub-01 and sub-1 both mean the number 1: rename one of them"):
        numbered({"01", "1", "02"}, "sub")


@pytest.mark.parametrize("command", ["fit", "decode", "evaluate", "encode", "report", "check", "serve"])
def test_every_command_takes_labels_and_names_them_where_none_fits(tmp_path, command, monkeypatch):
    monkeypatch.setenv("BRAIND_PATHS__BIDS", str(dataset(tmp_path, "03", "pil04")))
    answer = CliRunner().invoke(main, [command, "--subject", "4", "--data", str(tmp_path / "data")])
    assert answer.exit_code != 0
    assert "has no sub-4; it has sub-03, sub-pil04: give one of these labels" in str(answer.exception) + answer.output


def test_a_subject_without_a_folder_of_labels_is_a_number():
    config = load_config()
    assert subject_of(config, "03") == 3
    for wrong in ("pil03", "0", "-1", "1.5", ""):
        with pytest.raises(DataSetError, match="give a number from 1, or a label together with --bids"):
            subject_of(config, wrong)


def test_sessions_are_chosen_by_label_or_number(tmp_path):
    root = tmp_path
    text(root / "dataset_description.json", '{"Name": "own", "BIDSVersion": "1.10.0"}')
    for session, value in (("01", 1.0), ("pil01", 2.0), ("post", 3.0)):
        stem = root / f"sub-1/ses-{session}/func/sub-1_ses-{session}_task-look"
        bold(stem.with_name(stem.name + "_bold.nii.gz"), value)
        table(stem.with_name(stem.name + "_events.tsv"), COLUMNS, *BLOCKS)
    for chosen, values in (("1", [1]), ("post,01", [1, 3]), ("ses-pil01", [2]), ("", [1, 2, 3])):
        folder = own(root, sessions=parse_choice(chosen, "sessions"))
        found = [folder.bold_signal(1, session, 1, VOXELS).voxels[0, 0] for session in folder.sessions(1)]
        assert sorted(found) == values
        assert set(folder.trials(1).session) == set(folder.sessions(1))
    with pytest.raises(BidsError, match="no ses-2; it has ses-01, ses-pil01, ses-post"):
        own(root, sessions=["2"]).trials(1)
    assert parse_choice("1-3,pre", "sessions") == ["1", "2", "3", "pre"]
    for wrong in ("1,,2", "3-1", "a b", "pre-post", ","):
        with pytest.raises(DataSetError, match="sessions '.*': give"):
            parse_choice(wrong, "sessions")


# ── files that belong to a run ────────────────────────────────────────────────────────────────────────────────────────


def test_events_of_other_modalities_are_no_runs(tmp_path):
    root = dataset(tmp_path, "01")
    for modality in ("eeg", "meg", "ieeg", "beh", "nirs"):
        table(root / f"sub-01/{modality}/sub-01_task-look_run-9_events.tsv", ("onset", "duration"), (1, 1))
        text(root / f"sub-01/{modality}/sub-01_task-look_events.tsv", "not a table")
    assert len(own(root).trials(1)) == 2


@pytest.mark.parametrize(
    "place", ["task-look_events.tsv", "sub-01/sub-01_task-look_events.tsv", "sub-01/func/sub-01_task-look_events.tsv"]
)
def test_a_run_inherits_the_events_of_the_folders_above(tmp_path, place):
    root = dataset(tmp_path, "01")
    for path in (root / "sub-01/func").iterdir():
        path.unlink()
    for run in ("1", "2"):
        bold(root / f"sub-01/func/sub-01_task-look_run-{run}_bold.nii.gz")
    table(root / place, COLUMNS, *BLOCKS)
    assert own(root).trials(1).run.tolist() == [1, 1, 2, 2]
    # a run's own table replaces the inherited one
    table(root / "sub-01/func/sub-01_task-look_run-2_events.tsv", COLUMNS, (6, 1, "face"))
    assert own(root).trials(1).onset_s.tolist() == [4.0, 16.0, 6.0]
    table(root / "task-rest_events.tsv", COLUMNS, (1, 1, "rest"))
    assert len(own(root).trials(1)) == 3


def test_run_1_is_run_01(tmp_path):
    root = dataset(tmp_path, "01")
    func = root / "sub-01/func"
    for path in func.iterdir():
        path.rename(path.with_name(path.name.replace("look_", f"look_run-{'01' if 'bold' in path.name else '1'}_")))
    text(func / "sub-01_task-look_run-1_bold.json", '{"RepetitionTime": 1.25}')
    assert signal(root).tr_s == 1.25


def test_the_raw_data_of_a_derivative_may_lie_elsewhere(tmp_path):
    raw = study(tmp_path)
    prep = (raw / "derivatives/fmriprep").rename(tmp_path / "prep")
    with pytest.raises(BidsError, match="no events of task look"):
        BidsFolder(prep, "look", "MNI").trials(1)
    settings = {"paths": {"bids": str(prep), "raw": str(raw)}, "dataset": {"task": "look", "space": "MNI"}}
    folder = bids_folder(load_config(None, settings))
    assert len(folder.trials(1)) == 4 * PER_RUN
    assert folder.pictures([0]).shape == (1, 24, 24, 3)
    with pytest.raises(BidsError, match="nowhere is no folder: give the raw data set with --raw"):
        BidsFolder(prep, "look", "MNI", raw=tmp_path / "nowhere")


# ── several images of a run ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("entity", ["acq", "res", "echo"])
def test_one_of_a_runs_images_is_chosen_by_name_and_never_guessed(tmp_path, entity):
    root = dataset(tmp_path, "01")
    plain = root / "sub-01/func/sub-01_task-look_bold.nii.gz"
    for label, value in (("1", 11.0), ("2", 22.0)):
        bold(plain.with_name(f"sub-01_task-look_{entity}-{label}_bold.nii.gz"), value)
    words = rf"belongs to 3 files of bold, .*choose with --{entity} 1 or --{entity} 2 or --{entity} none"
    with pytest.raises(BidsError, match=words):
        signal(root)
    for label, value in (("1", 11), ("2", 22), ("none", 100)):
        assert signal(root, choice=Choice(**{entity: label})).voxels[0, 0] == value
    words = rf"no bold responses of task look {entity}-7: choose with --{entity} 1 or --{entity} 2 or --{entity} none"
    for table_path in (None, root / "task-look_events.tsv"):
        if table_path:  # an inherited table is of no run without an image
            plain.with_name("sub-01_task-look_events.tsv").rename(table_path)
        with pytest.raises(BidsError, match=words):
            signal(root, choice=Choice(**{entity: "7"}))


def test_events_follow_the_acquisition_of_their_image(tmp_path):
    root = dataset(tmp_path, "01")
    func = root / "sub-01/func"
    for path in list(func.iterdir()):
        path.rename(path.with_name(path.name.replace("look_", "look_acq-a_")))
    table(func / "sub-01_task-look_acq-b_events.tsv", COLUMNS, (1, 1, "wrong"))
    assert signal(root).labels == ("face", "house")
    bold(func / "sub-01_task-look_acq-b_bold.nii.gz", 7.0)
    with pytest.raises(BidsError, match="choose with --acq a or --acq b"):
        signal(root)
    assert signal(root, choice=Choice(acq="b")).labels == ("wrong",)


def test_a_table_of_another_acquisition_is_no_table_of_the_plain_image(tmp_path):
    root = dataset(tmp_path, "01")
    table(root / "sub-01/func/sub-01_task-look_acq-b_events.tsv", COLUMNS, (1, 1, "wrong"))
    for choice in (Choice(), Choice(acq="none")):
        assert signal(root, choice=choice).labels == ("face", "house")


def test_magnitude_beside_phase_is_refused_by_name(tmp_path):
    root = dataset(tmp_path, "01")
    for part in ("mag", "phase"):
        bold(root / f"sub-01/func/sub-01_task-look_part-{part}_bold.nii.gz")
    (root / "sub-01/func/sub-01_task-look_bold.nii.gz").unlink()
    with pytest.raises(BidsError, match=r"they differ in part \(mag, phase\): move the others out of the folder"):
        signal(root)


def test_masks_follow_the_resolution_of_the_images(tmp_path):
    root = study(tmp_path) / "derivatives/fmriprep"
    for path in list(root.rglob("sub-S02*_space-MNI_*")):
        path.rename(path.with_name(path.name.replace("space-MNI", "space-MNI_res-2")))
    for path in list(root.rglob("sub-S02*_space-MNI_res-2*.nii.gz")):
        nifti(path.with_name(path.name.replace("res-2", "res-1")), np.zeros((2, 2, 2, 9), np.float32), tr_s=1.5)
    folder = BidsFolder(root, "look", "MNI", estimates="bold", choice=Choice(res="2"))
    assert folder.shape(2) == SHAPE
    assert folder.brainmask(2).sum() == folder.roi_mask(2, ["early"]).sum() * 2


def test_two_tables_that_hold_for_one_run_are_refused(tmp_path):
    root = study(tmp_path)
    stem = root / "sub-S01/ses-01/func/sub-S01_ses-01_task-look"
    for direction in ("AP", "PA"):
        events(stem.with_name(f"{stem.name}_dir-{direction}_run-1_events.tsv"), ["set/p0.jpg"])
    stem.with_name(f"{stem.name}_run-1_events.tsv").unlink()
    with pytest.raises(BidsError, match="_dir-AP_run-1_events.tsv and .*dir-PA_run-1_events.tsv both hold for"):
        BidsFolder(root, "look", "MNI").trials(1)


@pytest.mark.skipif(importlib.util.find_spec("bids") is None, reason="pybids is not installed")
def test_pybids_finds_the_same_tables_and_times(tmp_path):
    from bids import BIDSLayout  # pyright: ignore[reportMissingImports]

    root = dataset(tmp_path, "01", "02")
    (root / "sub-02/func/sub-02_task-look_events.tsv").unlink()
    table(root / "task-look_events.tsv", COLUMNS, (6, 1, "face"))
    text(root / "task-look_bold.json", json.dumps({"RepetitionTime": 2.0, "TaskName": "look"}))
    layout = BIDSLayout(root, validate=False)
    for subject in ("01", "02"):
        (image,) = layout.get(subject=subject, suffix="bold", extension=".nii.gz")
        found = own(root).runs(int(subject))[0].path
        theirs = layout.get_nearest(image.path, suffix="events", extension=".tsv", all_=False, full_search=True)
        assert str(found) == str(theirs)
        assert own(root).bold_signal(int(subject), 1, 1, VOXELS).tr_s == image.get_metadata()["RepetitionTime"]
