"""BIDS as other laboratories lay it out: what the standard allows is read, what it does not is a sentence."""

import json

import nibabel as nib
import numpy as np
import pytest
from bids_study import AFFINE, PER_RUN, SHAPE, events, nifti, study, table, text

from braind.client.datasets.bids.files import BidsError, bids_file, read_tsv, seconds_in, sidecar
from braind.client.datasets.bids.folder import BidsFolder
from braind.client.datasets.data_set import DataSetError

PREP = "derivatives/fmriprep/sub-S01"
STEM = "ses-01/func/sub-S01_ses-01_task-look_run-1"
IMAGE = f"{PREP}/{STEM}_space-MNI_desc-singletrial_statmap.nii.gz"


@pytest.fixture
def raw(tmp_path):
    return study(tmp_path)


def own(root, **more):
    return BidsFolder(root, "look", "MNI", **more)


def bold_times(root):
    """The TR and the first onset of session 1, run 1."""
    signal = own(root, estimates="bold", sessions=[1]).bold_signal(1, 1, 1, np.array([0, 1]))
    return [signal.tr_s, signal.onsets_s[0]]


def test_one_file_of_a_whole_session_is_cut_by_its_events(raw):
    runs = sorted((raw / PREP / "ses-01/func").glob("*_statmap.nii.gz"))
    together = np.concatenate([np.asarray(nib.load(path).dataobj) for path in runs], axis=3)
    for path in runs:
        path.unlink()
    nifti(runs[0].with_name("sub-S01_ses-01_task-look_space-MNI_desc-singletrial_statmap.nii.gz"), together)
    voxels = np.array([1, 30])
    betas = own(raw).masked_betas(1, [1], voxels)
    assert betas == pytest.approx(together.reshape(-1, 2 * PER_RUN)[voxels].T)


def test_a_scaled_image_is_read_as_its_header_says(raw):
    stored = np.arange(np.prod(SHAPE) * PER_RUN, dtype=np.int16).reshape(*SHAPE, PER_RUN)
    image = nib.Nifti1Image(stored * 0.5 + 3, AFFINE)
    image.set_data_dtype(np.int16)
    nib.save(image, raw / IMAGE)
    betas = own(raw).masked_betas(1, [1], np.array([0, 59]))
    assert betas[:PER_RUN] == pytest.approx(nib.load(raw / IMAGE).get_fdata().reshape(-1, PER_RUN)[[0, 59]].T)


def test_a_runs_own_json_goes_before_the_inherited_ones(raw):
    for path in (raw / PREP).rglob("*_bold.json"):
        path.unlink()
    text(raw / "derivatives/fmriprep/task-look_bold.json", '{"RepetitionTime": 3.0, "StartTime": 1.0}')
    assert bold_times(raw) == [3.0, 1.0]
    text(raw / PREP / "ses-01/func/sub-S01_ses-01_task-look_bold.json", '{"RepetitionTime": 2.5}')
    assert bold_times(raw) == [2.5, 1.0]
    for path in (raw / PREP / "ses-01").rglob("*_desc-preproc_bold.nii.gz"):
        text(path.with_name(path.name.replace(".nii.gz", ".json")), '{"StartTime": 0.25}')
    assert bold_times(raw) == [2.5, 1.75]


def test_a_json_of_another_task_is_not_inherited(tmp_path):
    text(tmp_path / "sub-1/sub-1_task-rest_bold.json", '{"RepetitionTime": 9}')
    text(tmp_path / "task-look_bold.json", '{"RepetitionTime": 1}')
    assert sidecar(bids_file(tmp_path / "sub-1/sub-1_task-look_bold.nii.gz"), tmp_path) == {"RepetitionTime": 1}


def test_without_any_json_the_tr_is_the_headers_and_without_that_it_is_asked_for(raw):
    for path in (raw / PREP).rglob("*_bold.json"):
        path.unlink()
    assert bold_times(raw) == [2.0, 2.0]
    path = raw / f"{PREP}/{STEM}_space-MNI_desc-preproc_bold.nii.gz"
    nifti(path, np.zeros((*SHAPE, 9), np.float32), tr_s=1e-12)
    header = nib.load(path).header
    for tr_s in (0, np.nan, np.inf):
        header["pixdim"][4] = tr_s
        nib.save(nib.Nifti1Image(np.zeros((*SHAPE, 9), np.float32), AFFINE, header), path)
        with pytest.raises(BidsError, match="neither its JSON nor its header says the RepetitionTime: add it, in sec"):
            bold_times(raw)


def test_a_derivatives_own_events_replace_those_of_the_raw_data_above_it(raw):
    names = [f"set/p{n}.jpg" for n in (7, 6, 5, 4, 3, 2)]
    events(raw / f"{PREP}/{STEM}_events.tsv", names)
    assert own(raw / "derivatives/fmriprep").trials(1).nsd_id[:PER_RUN].tolist() == [7, 6, 5, 4, 3, 2]


def test_events_out_of_order_are_trials_in_order(raw):
    rows = [(10.0, 3.0, "set/p1.jpg"), (2.0, 3.0, "set/p4.jpg"), (6.0, 3.0, "set/p0.jpg")]
    for run in (1, 2):
        path = raw / f"sub-S01/ses-01/func/sub-S01_ses-01_task-look_run-{run}_events.tsv"
        table(path, ("onset", "duration", "stim_file"), *rows)
    trials = own(raw).trials(1)
    first = trials.of(trials.session == 1)
    assert first.nsd_id[:3].tolist() == [4, 0, 1]
    assert first.onset_s[:3].tolist() == [2.0, 6.0, 10.0]
    assert first.repeat[3:6].tolist() == [1, 1, 1]


def test_tables_from_a_spreadsheet_with_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    path = tmp_path / "events.tsv"
    path.write_bytes("\ufeffonset\tduration\tstim_file\r\n1\t3\tä b.png\r\n\t3\t\r\n".encode())
    first, second = read_tsv(path, ("onset", "stim_file"), "")
    assert (first["onset"], first["stim_file"]) == ("1", "ä b.png")
    assert (second["onset"], second["stim_file"]) == ("n/a", "n/a")


@pytest.mark.parametrize(
    ("on_disk", "in_table", "in_events"),
    [
        ("set/caf\u00e9.jpg", "set/cafe\u0301.jpg", "set/caf\u00e9.jpg"),
        ("set/cafe\u0301.jpg", "set/caf\u00e9.jpg", "set/cafe\u0301.jpg"),
        ("set/Dog.JPG", "set/dog.jpg", "SET/DOG.jpg"),
        ("set/a.jpg", "set\\a.jpg", ".\\set\\a.jpg"),
        ("set/a.jpg", "stimuli/set/a.jpg", "./set/a.jpg"),
    ],
)
def test_a_pictures_name_may_be_spelled_as_another_system_spells_it(raw, on_disk, in_table, in_events):
    (raw / "stimuli/set/p0.jpg").rename(raw / "stimuli" / on_disk)
    rows = [(in_table, "a", "test"), ("set/p1.jpg", "b", "train")]
    table(raw / "stimuli/captions.tsv", ("stim_file", "caption", "split"), *rows)
    for path in raw.rglob("sub-S01*_events.tsv"):
        events(path, [in_events, "set/p1.jpg"] * 3)
    folder = own(raw)
    assert set(folder.trials(1).nsd_id) == {0, 1}
    assert folder.pictures([0]).shape[0] == 1


def test_a_spelling_that_fits_two_pictures_or_leads_out_of_the_folder_is_refused(raw):
    (raw / "stimuli/set/P0.jpg").write_bytes((raw / "stimuli/set/p1.jpg").read_bytes())
    rows = [("set/p0.jpg", "a", "test"), ("set/P0.jpg", "b", "train"), ("set\\P0.JPG", "c", "train")]
    table(raw / "stimuli/captions.tsv", ("stim_file", "caption", "split"), *rows, ("../secret.png", "d", "train"))
    for path in raw.rglob("sub-S01*_events.tsv"):
        events(path, ["set/P0.Jpg"])
    with pytest.raises(BidsError, match=r"captions\.tsv has 'set/p0.jpg' and 'set/P0.jpg' and .*: spell one of them"):
        own(raw).trials(1)
    with pytest.raises(BidsError, match=r"may be set/P0.jpg or set/p0.jpg in .*: spell one"):
        own(raw).pictures([2])
    with pytest.raises(BidsError, match="leads out of"):
        own(raw).pictures([3])


def test_a_json_with_a_byte_order_mark_is_read(raw):
    for path in raw.rglob("*.json"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert bold_times(raw) == [1.5, 1.5]
    assert not own(raw).is_simulated()


def test_quotes_in_a_table_are_letters(tmp_path):
    path = tmp_path / "captions.tsv"
    path.write_text('stim_file\tcaption\na.png\t"a dog" says "hi\n', encoding="utf-8")
    assert read_tsv(path, ("caption",), "")[0]["caption"] == '"a dog" says "hi'


@pytest.mark.parametrize("cell", ["", "n/a", "nan", "inf", "-inf", "1,5", "soon"])
def test_what_is_no_number_of_seconds_is_said(cell):
    with pytest.raises(ValueError, match="onset is .*; give seconds"):
        seconds_in({"onset": cell}, "onset")


def latin1_table(raw):
    path = raw / "sub-S01/ses-01/func/sub-S01_ses-01_task-look_run-1_events.tsv"
    path.write_bytes("onset\tduration\tstim_file\n1\t3\tcafé.jpg\n".encode("latin-1"))


def broken_json(raw):
    text(raw / f"{PREP}/{STEM}_space-MNI_desc-preproc_bold.json", "{RepetitionTime: 2}")


def json_of_a_list(raw):
    text(raw / f"{PREP}/{STEM}_space-MNI_desc-preproc_bold.json", "[1, 2]")


def volume_in_place_of_a_series(raw):
    for path in (raw / PREP).rglob("*_statmap.nii.gz"):
        nifti(path, np.zeros(SHAPE, np.float32))


def cut_image(raw):
    path = raw / IMAGE
    path.write_bytes(path.read_bytes()[:500])


def picture_that_is_text(raw):
    (raw / "stimuli/set/p3.jpg").write_text("no picture")


def both_splits(raw):
    rows = [("set/p0.jpg", "one", "test"), ("set/p0.jpg", "two", "train")]
    table(raw / "stimuli/captions.tsv", ("stim_file", "caption", "split"), *rows)


def no_rows(raw):
    table(raw / "stimuli/captions.tsv", ("stim_file", "caption", "split"))


def no_pictures_in_events(raw):
    for path in raw.rglob("sub-S01*_events.tsv"):
        table(path, ("onset", "duration", "stim_file"), (1.0, 3.0, "n/a"))


def no_events(raw):
    for path in raw.rglob("sub-S01*_events.tsv"):
        path.unlink()


def events_of_another_session(raw):
    for path in (raw / PREP).rglob("*_statmap.nii.gz"):
        if "ses-02" in path.name:
            path.unlink()
    for path in raw.rglob("sub-S01_ses-01*_events.tsv"):
        path.unlink()


def two_images_of_a_run(raw):
    (raw / IMAGE).with_name(
        "sub-S01_ses-01_task-look_run-1_echo-1_space-MNI_desc-singletrial_statmap.nii.gz"
    ).write_bytes((raw / IMAGE).read_bytes())


def no_brain_mask(raw):
    for path in raw.rglob("sub-S01*_mask.nii.gz"):
        path.unlink()


def no_label_table(raw):
    (raw / "derivatives/fmriprep/desc-aparc_dseg.tsv").unlink()


def odd_label_table(raw):
    table(raw / "derivatives/fmriprep/desc-aparc_dseg.tsv", ("index", "name"), ("one", "early"))


def responses(raw):
    return own(raw, estimates="singletrial").masked_betas(1, [1], np.array([0]))


def trials_of_one(raw):
    return own(raw).trials(1)


def masks_of_two(raw):
    return own(raw, estimates="bold").roi_mask(2, ["early"])


@pytest.mark.parametrize(
    ("damage", "ask", "words"),
    [
        (latin1_table, responses, r"run-1_events\.tsv cannot be read as a table .*save it as tab-separated UTF-8"),
        (broken_json, bold_times, r"bold\.json cannot be read as a JSON object"),
        (json_of_a_list, bold_times, r"bold\.json cannot be read as a JSON object"),
        (volume_in_place_of_a_series, responses, r"is not a series: its shape is \(4, 5, 3\)"),
        (cut_image, responses, r"statmap\.nii\.gz (is damaged or cut short|cannot be read)"),
        (picture_that_is_text, lambda raw: own(raw).pictures([3]), r"p3\.jpg cannot be read as a picture"),
        (both_splits, trials_of_one, "set/p0.jpg is in both splits"),
        (no_rows, trials_of_one, r"captions\.tsv has no rows"),
        (no_pictures_in_events, trials_of_one, "name no stim_file: name each trial's picture"),
        (no_events, trials_of_one, r"no events of task look; add …_events\.tsv of each run"),
        (events_of_another_session, trials_of_one, "no events of task look have trials in its session: add them"),
        (two_images_of_a_run, responses, "belongs to 2 files of singletrial in space MNI, .*: there must be one"),
        (no_brain_mask, lambda raw: own(raw).brainmask(1), r"has no …_desc-brain_mask\.nii\.gz in space MNI: add it"),
        (no_label_table, masks_of_two, r"has no table of labels: add sub-S02_space-MNI_desc-aparc_dseg\.tsv"),
        (odd_label_table, masks_of_two, "an index is no whole number"),
        (lambda raw: None, lambda raw: own(raw).captions(99), "picture 99: .* has the pictures 0 to 7"),
        (lambda raw: None, lambda raw: own(raw).captions(-1), "picture -1: .* has the pictures 0 to 7"),
    ],
)
def test_what_a_folder_lacks_or_says_wrong_is_one_sentence(raw, damage, ask, words):
    damage(raw)
    with pytest.raises(DataSetError, match=words) as caught:
        ask(raw)
    assert "\n" not in str(caught.value)


def test_a_segmentation_may_be_named_in_the_three_ways_of_its_history(raw):
    labels = np.zeros(SHAPE, np.int16)
    labels[2] = 5
    for entity, name, region in (("seg", "wang", "V3"), ("atlas", "kay", "FFA"), ("desc", "own", "mine")):
        stem = raw / "derivatives/fmriprep/sub-S02/anat" / f"sub-S02_space-MNI_{entity}-{name}_dseg"
        nifti(stem.with_name(stem.name + ".nii.gz"), labels)
        table(stem.with_name(stem.name + ".tsv"), ("index", "name"), (0, "Unknown"), (5, region))
        assert (own(raw, estimates="bold").roi_mask(2, [f"{name}:{region}"]) == (labels == 5)).all()
    regions = own(raw, estimates="bold").regions(2)
    assert {"V3", "FFA", "mine", "early", "EVC"} <= set(regions)
    assert "Unknown" not in regions


def test_a_folder_that_braind_made_says_so_and_one_that_others_made_does_not(raw):
    path = raw / "dataset_description.json"
    for steps, simulated in (([{"Name": "fMRIPrep"}], False), ([{"Name": "braind simulate"}], True), (["odd"], False)):
        path.write_text(json.dumps({"Name": "x", "BIDSVersion": "1.10.0", "GeneratedBy": steps}))
        assert own(raw).is_simulated() is simulated


def test_the_table_marks_pictures_of_kinds_that_training_lacks(raw):
    rows = [("a.png", "a", "test", "1"), ("b.png", "b", "test", "0"), ("c.png", "c", "train", "n/a")]
    table(raw / "stimuli/captions.tsv", ("stim_file", "caption", "split", "novel"), *rows)
    assert own(raw).novel_kind_ids() == [0]
