"""Trials of a BIDS folder: classes with and without pictures, splits by run, BOLD, and what tables say wrong."""

import logging

import nibabel as nib
import numpy as np
import pytest
from bids_study import AFFINE, PER_RUN, SHAPE, nifti, study, table, text
from haxby import FUNC, haxby_folder

from braind.client import wire
from braind.client.datasets.bids import events
from braind.client.datasets.bids.files import BidsError
from braind.client.datasets.bids.folder import BidsFolder
from braind.client.datasets.data_set import BoldDataSet, DataSetError
from braind.models.weights.bold_prior import BoldPrior
from braind.offline.fit.bold import final_estimates

KINDS = ("face", "house")
N_VOLUMES, TR_S = 30, 2.0
VOXELS = np.arange(4)


def classes(root, rows=None, runs=(1, 2, 3), columns=("onset", "duration", "trial_type")):
    """Raw BOLD with blocks of two classes: no pictures, no derivatives."""
    text(root / "dataset_description.json", '{"Name": "own", "BIDSVersion": "1.10.0"}')
    rng = np.random.default_rng(3)
    blocks = [(4.0 + 12 * n, 6.0, KINDS[n % 2]) for n in range(4)]
    for run in runs:
        stem = root / f"sub-1/func/sub-1_task-look_run-{run}"
        nifti(
            stem.with_name(stem.name + "_bold.nii.gz"),
            rng.normal(1000, 9, (*SHAPE, N_VOLUMES)).astype(np.float32),
            tr_s=TR_S,
        )
        table(stem.with_name(stem.name + "_events.tsv"), columns, *(blocks if rows is None else rows))
    return root


def own(root, **more):
    return BidsFolder(root, "look", "", **{"labels": "trial_type", **more})


def events_of(root, run=1):
    return root / f"sub-1/func/sub-1_task-look_run-{run}_events.tsv"


def test_classes_without_pictures_are_trials_of_raw_bold(tmp_path):
    folder = own(classes(tmp_path))
    assert isinstance(folder, BoldDataSet)
    assert folder.estimates == "bold"
    trials = folder.trials(1)
    assert trials.label.tolist() == ["face", "house"] * 6
    assert trials.nsd_id.tolist() == [-1] * 12
    assert not trials.has_picture.any()
    assert trials.repeat.tolist() == [0] * 12
    assert not trials.is_shared.any()
    signal = folder.bold_signal(1, 1, 2, VOXELS)
    assert signal.labels == ("face", "house", "face", "house")
    assert signal.durations_s.tolist() == [6.0] * 4
    assert signal.tr_s == TR_S


def test_rows_with_a_picture_a_class_both_or_neither_are_told_apart(tmp_path):
    root = study(tmp_path)
    rows = [
        (2, 3, "set/p4.jpg", "cat"),
        (6, 3, "n/a", "blank "),
        (10, 3, "set/p5.jpg", "n/a"),
        (14, "n/a", "n/a", "n/a"),
        (18, 3, "", ""),
    ]
    for path in root.rglob("sub-S02*_events.tsv"):
        table(path, ("onset", "duration", "stim_file", "trial_type"), *rows)
    folder = BidsFolder(root, "look", "MNI", estimates="bold", labels="trial_type", sessions=[1])
    trials = folder.trials(2)
    assert trials.nsd_id.tolist() == [4, -1, 5] * 2
    assert trials.label.tolist() == ["cat", "blank", ""] * 2
    assert trials.repeat.tolist() == [0, 0, 0, 1, 0, 1]
    assert folder.bold_signal(2, 1, 1, VOXELS).labels == ("cat", "blank", "")
    # without the column, only rows with a picture are trials
    plain = BidsFolder(root, "look", "MNI", estimates="bold", sessions=[1]).trials(2)
    assert plain.nsd_id.tolist() == [4, 5] * 2
    assert plain.label.tolist() == [""] * 4


def test_a_trial_with_a_picture_needs_the_table_of_captions_also_beside_classes(tmp_path):
    columns = ("onset", "duration", "trial_type", "stim_file")
    folder = own(classes(tmp_path, [(4.0, 3.0, "face", "a.png"), (20.0, 3.0, "house", "n/a")], columns=columns))
    with pytest.raises(BidsError, match=r"captions\.tsv is missing"):
        folder.trials(1)


def test_events_before_the_first_volume_and_impulses_are_trials(tmp_path):
    rows = [(20.0, 0, "house"), (-1.5, 0.0, "face")]
    folder = own(classes(tmp_path, rows))
    assert folder.trials(1).onset_s[:2].tolist() == [-1.5, 20.0]
    found = final_estimates(folder, 1, VOXELS, BoldPrior.vague(4))
    assert found.rows.tolist() == [0, 1, 2, 3, 4, 5]
    assert np.isfinite(found.voxels).all()


def test_trials_of_unknown_duration_are_impulses_and_said_once(tmp_path, caplog):
    folder = own(classes(tmp_path, [(4, 6, "face"), (20, "n/a", "house"), (30, "", "face"), (40, "n/a", "n/a")]))
    with caplog.at_level(logging.WARNING):
        assert folder.bold_signal(1, 1, 1, VOXELS).durations_s.tolist() == [6.0, 0.0, 0.0]
    said = [record.getMessage() for record in caplog.records if "run-1_events.tsv" in record.getMessage()]
    assert len(said) == 1
    assert "2 trials have the duration n/a (row 2 is the first)" in said[0]


def test_events_of_one_time_and_different_durations_are_trials(tmp_path):
    folder = own(classes(tmp_path, [(10.0, 20.0, "face"), (10.0, 0.0, "house")]))
    assert len(folder.bold_signal(1, 1, 1, VOXELS).onsets_s) == 2


def test_trials_that_no_volume_shows_are_left_out_and_named_once(tmp_path, caplog):
    rows = [(4.0, 3.0, "face"), (20.0, 3.0, "house"), (57.0, 3.0, "face"), (400.0, 3.0, "house")]
    folder = own(classes(tmp_path, rows, runs=(1, 2)))
    with caplog.at_level(logging.WARNING):
        found = final_estimates(folder, 1, VOXELS, BoldPrior.vague(4))
    assert found.rows.tolist() == [0, 1, 4, 5]
    (record,) = caplog.records
    assert "4 of 8 trials are left out" in record.getMessage()
    assert "session 1, run 1, 57.0 s; session 1, run 1, 400.0 s; session 1, run 2, 57.0 s" in record.getMessage()


def test_a_block_that_the_runs_end_cuts_has_its_estimate_there(tmp_path, caplog):
    folder = own(classes(tmp_path, [(4.0, 3.0, "face"), (50.0, 60.0, "house")], runs=(1, 2)))
    found = final_estimates(folder, 1, VOXELS, BoldPrior.vague(4))
    assert found.rows.tolist() == [0, 1, 2, 3]
    assert not caplog.records


def test_single_trial_responses_have_a_volume_for_each_class_too(tmp_path):
    root = study(tmp_path)
    rows = [(2.0 + 4 * n, 3.0, KINDS[n % 2]) for n in range(PER_RUN)]
    for path in root.rglob("sub-S01*_events.tsv"):
        table(path, ("onset", "duration", "trial_type"), *rows)
    folder = BidsFolder(root, "look", "MNI", labels="trial_type", cache=tmp_path / "cache")
    assert folder.estimates == "singletrial"
    assert folder.masked_betas(1, [1, 2], VOXELS).shape == (len(folder.trials(1)), 4)
    for path in root.rglob("sub-S01*_events.tsv"):
        table(
            path, ("onset", "duration", "trial_type", "other"), *((*row, row[2]) for row in rows[:5]), (1, 1, "", "x")
        )
    other = BidsFolder(root, "look", "MNI", labels="trial_type", cache=tmp_path / "cache")
    with pytest.raises(BidsError, match="has 6 volumes, but .* show 5 trials"):
        other.masked_betas(1, [1], VOXELS)


@pytest.mark.parametrize(("test_runs", "held_out"), [([3], [3]), ([1, 2], [1, 2])])
def test_test_runs_hold_out_their_trials_in_every_session(tmp_path, test_runs, held_out):
    trials = own(classes(tmp_path), test_runs=test_runs).trials(1)
    assert np.unique(trials.run[trials.is_shared]).tolist() == held_out
    assert not np.isin(trials.run[~trials.is_shared], held_out).any()


def test_test_runs_replace_the_split_of_the_pictures_which_need_none_then(tmp_path):
    root = study(tmp_path)
    rows = [(f"set/p{n}.jpg", "words") for n in range(8)]
    table(root / "stimuli/captions.tsv", ("stim_file", "caption"), *rows)
    folder = BidsFolder(root, "look", "MNI", test_runs=[2])
    trials = folder.trials(1)
    assert (trials.is_shared == (trials.run == 2)).all()
    assert set(trials.session[trials.is_shared]) == {1, 2}
    assert set(trials.nsd_id[trials.is_shared]) & set(trials.nsd_id[~trials.is_shared])
    assert folder.novel_kind_ids() == []
    with pytest.raises(BidsError, match="no column split"):
        BidsFolder(root, "look", "MNI").trials(1)


@pytest.mark.parametrize(
    ("test_runs", "words"),
    [
        ([2, 7, 9], "test runs 2, 7, 9: sub-1 of .* has no run 7, 9; it has 1-3: choose .* --test-runs"),
        ([1, 2, 3], "test runs 1-3: .* no other run, so none is left for training"),
    ],
)
def test_test_runs_that_do_not_exist_or_are_all_runs_are_refused(tmp_path, test_runs, words):
    with pytest.raises(DataSetError, match=words):
        own(classes(tmp_path), test_runs=test_runs).trials(1)


def test_a_tr_in_the_headers_milliseconds_is_seconds(tmp_path):
    root = classes(tmp_path)
    for path in root.rglob("*_bold.nii.gz"):
        image = nib.load(path)
        image = nib.Nifti1Image(image.get_fdata(dtype=np.float32), AFFINE, image.header)
        image.header.set_zooms((2.0, 2.0, 2.0, 2000.0))
        image.header.set_xyzt_units("mm", "msec")
        nib.save(image, path)
    assert own(root).bold_signal(1, 1, 1, VOXELS).tr_s == TR_S


def test_a_time_in_milliseconds_is_asked_about_and_never_taken(tmp_path):
    root = classes(tmp_path)
    for content, words in (
        ('{"RepetitionTime": 2000}', "its JSON says a RepetitionTime of 2000 s, .*, 2 if these are milliseconds"),
        ('{"StartTime": 500}', "its JSON says a StartTime of 500 s"),
        ('{"RepetitionTime": -2}', "its JSON says a RepetitionTime of -2 s"),
    ):
        text(root / "task-look_bold.json", content)
        with pytest.raises(BidsError, match=words):
            own(root).bold_signal(1, 1, 1, VOXELS)
    (root / "task-look_bold.json").unlink()
    nifti(root / "sub-1/func/sub-1_task-look_run-1_bold.nii.gz", np.zeros((*SHAPE, 9), np.float32), tr_s=1333)
    with pytest.raises(BidsError, match=r"its header says a RepetitionTime of 1333 s.*, 1\.333 if these are milli"):
        own(root).bold_signal(1, 1, 1, VOXELS)


def test_null_in_a_json_is_absent_and_takes_back_what_a_folder_above_says(tmp_path):
    """As in pybids: tests/conformance/test_bids_pybids.py."""
    root = classes(tmp_path)
    text(root / "task-look_bold.json", '{"StartTime": 0.5, "RepetitionTime": 1.5}')
    for run in (1, 2, 3):
        text(root / f"sub-1/func/sub-1_task-look_run-{run}_bold.json", '{"StartTime": null}')
    signal = own(root).bold_signal(1, 1, 1, VOXELS)
    assert (signal.tr_s, signal.onsets_s[0]) == (1.5, 4.0)
    text(root / "task-look_bold.json", '{"StartTime": null, "RepetitionTime": null}')
    signal = own(root).bold_signal(1, 1, 1, VOXELS)
    assert (signal.tr_s, signal.onsets_s[0]) == (TR_S, 4.0)


def test_a_voxel_that_is_not_a_number_is_named(tmp_path):
    root = classes(tmp_path)
    path = root / "sub-1/func/sub-1_task-look_run-1_bold.nii.gz"
    numbers = nib.load(path).get_fdata(dtype=np.float32)
    numbers[1, 2, 0, 7] = np.nan
    nifti(path, numbers, tr_s=2.0)
    folder = own(root)
    index = np.ravel_multi_index((1, 2, 0), SHAPE)
    with pytest.raises(BidsError, match=r"run-1_bold\.nii\.gz: voxel \(1, 2, 0\) of volume 7 is nan, and 0 more"):
        folder.bold_signal(1, 1, 1, np.array([0, index, 3]))
    folder.bold_signal(1, 1, 1, np.array([0, 3]))


def test_raw_bold_is_read_only_where_no_preprocessed_bold_is(tmp_path):
    root = classes(tmp_path)
    for run in (1, 2, 3):
        stem = f"sub-1_task-look_run-{run}"
        nifti(root / f"sub-1/func/{stem}_space-T1w_desc-preproc_bold.nii.gz", np.zeros((*SHAPE, 9), np.float32), tr_s=2)
    with pytest.raises(BidsError, match="spaces T1w, none in the name .*choose with --space"):
        own(root).trials(1)
    of_space = BidsFolder(root, "look", "T1w", labels="trial_type")
    assert of_space.bold_signal(1, 1, 1, VOXELS).voxels.shape == (9, 4)


def other_tr(root):
    nifti(root / "sub-1/func/sub-1_task-look_run-2_bold.nii.gz", np.zeros((*SHAPE, 9), np.float32), tr_s=1.5)


def tr_in_words(root):
    text(root / "task-look_bold.json", '{"RepetitionTime": "2 s"}')


def start_that_is_no_time(root):
    text(root / "task-look_bold.json", '{"StartTime": true}')


def of_rows(*rows, columns=("onset", "duration", "trial_type")):
    return lambda root: table(events_of(root), columns, *rows)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            of_rows((4, 6, "face"), columns=("onset", "duration", "category")),
            r"run-1_events\.tsv has no column trial_type; it has onset, duration, category: name each trial's class in "
            r"trial_type .*or another column in --labels",
        ),
        (of_rows((4, "six", "face")), "row 1: duration is 'six'; give seconds"),
        (of_rows(("n/a", 6, "face")), "row 1: onset is 'n/a'; give seconds"),
        (of_rows((4, 7200, "face")), r"row 1: duration is 7200; give seconds from 0 \(an impulse\) to 3600"),
        (of_rows((4, -1, "face")), "row 1: duration is -1; give seconds from 0"),
        (of_rows((1e6, 6, "face")), "row 1: onset is 1000000.0; give seconds within 86400 of the run's first volume"),
        (
            of_rows((4, 6, "n/a"), (9, 6, "face"), (9, 6, "house")),
            "rows 2 and 3 are trials of the same onset, 9 s, and",
        ),
        (of_rows((9, 6, "face"), (9, 6, "face")), "rows 1 and 2 are trials of the same onset"),
        (of_rows((4, 6, "fa\x1bce")), "row 1: trial_type .* holds control characters: name the class in plain text"),
        (other_tr, r"run-2_bold\.nii\.gz has a TR of 1\.5 s, sub-1_task-look_run-1_bold\.nii\.gz of 2 s: weights hold"),
        (tr_in_words, r"bold\.nii\.gz: its JSON says a RepetitionTime of '2 s': correct it, in seconds"),
        (start_that_is_no_time, "its JSON says a StartTime of True"),
    ],
)
def test_what_events_and_runs_say_wrong_is_one_sentence_with_its_place(tmp_path, damage, words):
    damage(classes(tmp_path))
    with pytest.raises(BidsError, match=words) as caught:
        own(tmp_path).bold_signal(1, 1, 1, VOXELS)
    assert "\n" not in str(caught.value)


def test_a_column_without_any_class_is_refused(tmp_path):
    with pytest.raises(BidsError, match="name no stim_file and no trial_type: name each trial's class"):
        own(classes(tmp_path, [(4, 6, "n/a")])).trials(1)


def test_events_have_the_limits_of_the_protocol():
    assert events.LONGEST_DURATION_S == wire.LONGEST_DURATION_S
    assert events.LATEST_ONSET_S == wire.LATEST_ONSET_S


@pytest.mark.skipif(not FUNC.is_dir(), reason="haxby-slice is not beside the repository")
def test_a_persons_raw_runs_are_blocks_of_eight_classes(tmp_path):
    folder = BidsFolder(haxby_folder(tmp_path / "own"), "objects", "", labels="trial_type", test_runs=[11, 12])
    trials = folder.trials(1)
    assert (folder.estimates, len(trials), len(set(trials.label))) == ("bold", 96, 8)
    assert (trials.is_shared.sum(), set(trials.run[trials.is_shared])) == (16, {11, 12})
    image = nib.load(FUNC / "sub-01_task-objects_run-02_bold.nii.gz")
    voxels = np.flatnonzero(np.asarray(image.dataobj).mean(3) > 500)[:7]
    signal = folder.bold_signal(1, 1, 2, voxels)
    assert signal.tr_s == pytest.approx(2.5)
    assert signal.voxels == pytest.approx(np.asarray(image.dataobj).reshape(-1, 121)[voxels].T)
    assert signal.durations_s == pytest.approx(22.5)
    assert signal.labels == tuple(trials.label[trials.run == 2])
