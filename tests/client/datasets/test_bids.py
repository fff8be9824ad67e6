"""A BIDS folder as fMRIPrep and a laboratory leave it, written here by hand; and a sentence for whatever is wrong."""

import nibabel as nib
import numpy as np
import pytest
from bids_study import AFFINE, PER_RUN, SHAPE, events, nifti, study, table
from PIL import Image

from braind.client.datasets.bids.files import BidsError
from braind.client.datasets.bids.folder import BidsFolder
from braind.client.datasets.data_set import DataSetError


@pytest.fixture
def raw(tmp_path):
    return study(tmp_path)


def own(root, **more):
    return BidsFolder(root, "look", "MNI", **more)


@pytest.mark.parametrize("where", [".", "derivatives/fmriprep"])
def test_images_of_a_derivative_and_events_of_the_raw_data_are_found_from_either(raw, where):
    folder = own(raw / where)
    assert folder.subjects() == [1, 2]
    assert folder.estimates == "singletrial"
    assert not folder.is_simulated()
    assert folder.shape(1) == SHAPE
    trials = folder.trials(1)
    assert len(trials) == 4 * PER_RUN
    assert trials.session.tolist() == [1] * 12 + [2] * 12
    assert trials.run.tolist() == ([1] * 6 + [2] * 6) * 2
    assert trials.onset_s[:3].tolist() == [2.0, 6.0, 10.0]
    assert (trials.is_shared == (trials.nsd_id < 2)).all()
    shown = (raw / "sub-S01/ses-02/func/sub-S01_ses-02_task-look_run-1_events.tsv").read_text().splitlines()[1:7]
    assert [f"set/p{number}.jpg" for number in trials.nsd_id[12:18]] == [line.split("\t")[2] for line in shown]
    assert folder.captions(3) == ["first words of set/p3.jpg", "second words of set/p3.jpg"]


def test_responses_are_those_of_the_files_and_come_from_the_cache_the_second_time(raw, tmp_path):
    voxels = np.array([7, 0, 33])
    paths = sorted((raw / "derivatives/fmriprep/sub-S01").rglob("*_statmap.nii.gz"))
    expected = np.concatenate([nib.load(path).get_fdata().reshape(-1, PER_RUN)[voxels].T for path in paths])
    for _ in range(2):
        folder = own(raw, cache=tmp_path / "cache")
        assert folder.masked_betas(1, [1, 2], voxels) == pytest.approx(expected, abs=1e-6)
        assert len(list((tmp_path / "cache").iterdir())) == 2
    chosen = own(raw, sessions=[2])
    assert set(chosen.trials(1).session) == {2}
    with pytest.raises(DataSetError, match="no ses-3; it has ses-01, ses-02"):
        own(raw, sessions=[2, 3]).trials(1)


def test_bold_runs_are_read_with_the_sidecars_times(raw):
    folder = own(raw, estimates="bold")
    assert folder.bold_runs(2, 1) == [1, 2]
    signal = folder.bold_signal(2, 1, 2, np.array([5, 6]))
    path = raw / "derivatives/fmriprep/sub-S02/ses-01/func/sub-S02_ses-01_task-look_run-2_space-MNI_desc-preproc_bold"
    volumes = nib.load(f"{path}.nii.gz").get_fdata()
    assert signal.voxels == pytest.approx(volumes.reshape(-1, 30)[[5, 6]].T)
    assert signal.index.tolist() == list(range(30))
    assert signal.tr_s == 1.5
    # the first volume is half a second after the time that onsets count from
    assert signal.onsets_s[:2].tolist() == [1.5, 5.5]
    assert set(signal.durations_s) == {3.0}
    assert signal.labels == ("",) * PER_RUN
    assert folder.bold_mean(2, 1, 2) == pytest.approx(volumes.mean(3), rel=1e-5)
    with pytest.raises(BidsError, match="is read for its BOLD: responses are estimated, not read"):
        folder.masked_betas(2, [1], np.array([5]))


def test_regions_are_segmentations_masks_and_files(raw, tmp_path):
    folder = own(raw, estimates="bold")
    labels = np.zeros(SHAPE, int)
    labels[0], labels[1] = 1, 2
    assert (folder.roi_mask(2, ["early"]) == (labels == 1)).all()
    assert (folder.roi_mask(2, ["aparc:early", "EVC"]) == (labels > 0)).all()
    assert (folder.brainmask(2) == (labels > 0)).all()
    nifti(tmp_path / "mine-2.nii.gz", (labels == 2).astype(np.float32))
    assert (folder.roi_mask(2, [str(tmp_path / "mine-{subject}.nii.gz")]) == (labels == 2)).all()


def test_pictures_are_squares_of_the_first_ones_size(raw):
    pictures = own(raw).pictures([0, 1, 0])
    assert pictures.shape == (3, 24, 24, 3)
    assert pictures.dtype == np.uint8
    assert (pictures[0] == np.asarray(Image.open(raw / "stimuli/set/p0.jpg").convert("RGB"))).all()
    assert own(raw).pictures([]).shape == (0, 24, 24, 3)


FUNC = "derivatives/fmriprep/sub-S01/ses-01/func/sub-S01_ses-01_task-look_run-1"
EVENTS = "sub-S01/ses-01/func/sub-S01_ses-01_task-look_run-1_events.tsv"


def without_column(raw):
    table(raw / EVENTS, ("onset", "duration"), (2.0, 3.0))


def one_volume_short(raw):
    path = raw / f"{FUNC}_space-MNI_desc-singletrial_statmap.nii.gz"
    nifti(path, np.zeros((*SHAPE, PER_RUN - 1), np.float32))


def unknown_picture(raw):
    events(raw / EVENTS, ["set/p1.jpg", "set/other.jpg"])


def no_split(raw):
    table(raw / "stimuli/captions.tsv", ("stim_file", "caption"), ("set/p0.jpg", "words"))


def odd_split(raw):
    table(raw / "stimuli/captions.tsv", ("stim_file", "caption", "split"), ("set/p0.jpg", "words", "valid"))


def no_caption(raw):
    table(raw / "stimuli/captions.tsv", ("stim_file", "caption", "split"), ("set/p0.jpg", "n/a", "test"))


def no_seconds(raw):
    table(raw / EVENTS, ("onset", "duration", "stim_file"), ("soon", 3.0, "set/p0.jpg"))


def moved_image(raw):
    path = raw / f"{FUNC}_space-MNI_desc-singletrial_statmap.nii.gz"
    moved = AFFINE.copy()
    moved[0, 3] = 7
    nifti(path.with_name(path.name.replace("run-1", "run-2")), np.zeros((*SHAPE, PER_RUN), np.float32), moved)


def no_image_of_a_run(raw):
    (raw / f"{FUNC}_space-MNI_desc-singletrial_statmap.nii.gz").unlink()


def nothing(raw):
    pass


@pytest.mark.parametrize(
    ("damage", "ask", "words"),
    [
        (nothing, lambda raw: BidsFolder(raw / "stimuli", "look", "MNI"), "no dataset_description.json"),
        (nothing, lambda raw: BidsFolder(raw, "listen", "MNI").trials(1), "tasks look: choose with --task"),
        (nothing, lambda raw: BidsFolder(raw, "listen", "MNI").shape(1), "no images of task listen; .*tasks look: ch"),
        (nothing, lambda raw: BidsFolder(raw, "look", "T1w").shape(1), "spaces MNI .*choose with --space"),
        (
            nothing,
            lambda raw: own(raw, estimates="glmsingle").trials(1),
            "no glmsingle .*preproc, singletrial",
        ),
        (nothing, lambda raw: own(raw).trials(2), "no singletrial responses of task look"),
        (nothing, lambda raw: own(raw).trials(3), r"no subject 3; it has 1 \(sub-S01\), 2 \(sub-S02\)"),
        (nothing, lambda raw: own(raw).roi_mask(1, ["erly"]), "no region 'erly' .*did you mean 'early'.*mask's path"),
        (nothing, lambda raw: own(raw).roi_mask(1, ["none.nii"]), "mask none.nii is missing"),
        (nothing, lambda raw: own(raw).pictures([8]), "has the pictures 0 to 7"),
        (
            without_column,
            lambda raw: own(raw).trials(1),
            "events.tsv has no column stim_file.*name each.*--labels",
        ),
        (no_seconds, lambda raw: own(raw).trials(1), r"run-1_events.tsv, row 1: onset is 'soon'; give seconds"),
        (
            unknown_picture,
            lambda raw: own(raw).trials(1),
            "no row for set/other.jpg, which sub-S01.*: add",
        ),
        (no_split, lambda raw: own(raw).trials(1), r"captions.tsv has no column split.*\(train\) or held out \(test\)"),
        (odd_split, lambda raw: own(raw).trials(1), "split of set/p0.jpg is 'valid'"),
        (no_caption, lambda raw: own(raw).trials(1), "no caption for set/p0.jpg"),
        (one_volume_short, lambda raw: own(raw).masked_betas(1, [1], [0]), "has 5 volumes, but .* show 6 trials"),
        (moved_image, lambda raw: own(raw).masked_betas(1, [1], [0]), "lies up to 7.0 mm away.*resample"),
        (no_image_of_a_run, lambda raw: own(raw).masked_betas(1, [1], [0]), "belongs to 0 files of singletrial"),
    ],
)
def test_what_is_wrong_is_said_with_its_place_and_what_to_do(raw, damage, ask, words):
    damage(raw)
    with pytest.raises(DataSetError, match=words) as caught:
        ask(raw)
    assert "\n" not in str(caught.value)


def test_missing_stimuli_are_named(raw):
    (raw / "stimuli/set/p3.jpg").unlink()
    with pytest.raises(BidsError, match="p3.jpg is missing: put the picture there"):
        own(raw).pictures([3])
    (raw / "stimuli/captions.tsv").unlink()
    with pytest.raises(BidsError, match="captions.tsv is missing.*stim_file, caption and split"):
        own(raw).trials(1)


def test_a_mask_on_another_grid_is_refused(raw, tmp_path):
    nifti(tmp_path / "small.nii.gz", np.ones((4, 5, 2), np.uint8))
    with pytest.raises(DataSetError, match=r"grid \(4, 5, 2\), subject 1's volumes \(4, 5, 3\): resample"):
        own(raw).roi_mask(1, [str(tmp_path / "small.nii.gz")])
