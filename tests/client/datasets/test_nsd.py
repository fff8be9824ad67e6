"""Reading a tree gives what the files hold, and a broken tree a sentence."""

import gzip
import json
import os
import shutil

import h5py
import nibabel as nib
import numpy as np
import pytest
from scipy.io import loadmat, savemat

from braind.client.datasets.data_set import DataSetError
from braind.client.datasets.nsd.check import check_tree
from braind.client.datasets.nsd.tree import BETA_SCALE, NsdError, NsdTree
from braind.models.demo.subject.nsd_tree import TreeSize, simulate

BETAS = "nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf_GLMdenoise_RR"
ANATOMY = "nsddata/ppdata/subj01/func1pt8mm"
SERIES = "nsddata_timeseries/ppdata/subj01/func1pt8mm"
DESIGN = "nsddata/experiments/nsd/nsd_expdesign.mat"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    size = TreeSize(shapes=((10, 12, 8), (9, 11, 10)), n_shared=24, n_bold_sessions=1)
    return simulate(tmp_path_factory.mktemp("reader") / "nsd", n_sessions=2, seed=6, size=size).root


@pytest.fixture(scope="module")
def tree(root):
    return NsdTree(root)


@pytest.fixture
def broken(root, tmp_path):
    """A copy that a test may break; unchanged files are shared with the whole one."""
    copy = tmp_path / "nsd"
    shutil.copytree(root, copy, copy_function=os.link)
    return copy


def replace(path, content):
    path.unlink()
    path.write_bytes(content)


def test_it_lists_subjects_sessions_and_shapes(tree):
    assert tree.subjects() == [1, 2]
    assert tree.sessions(1) == [1, 2]
    assert tree.n_sessions(2) == 2
    assert tree.shape(1) == (10, 12, 8)
    assert tree.shape(2) == (9, 11, 10)
    assert tree.affine(1).dtype == np.float64
    assert tree.affine(1) == pytest.approx(nib.load(tree.root / ANATOMY / "brainmask.nii.gz").affine)
    assert tree.is_simulated()


def test_betas_have_their_axes_in_x_y_z_whatever_the_format(tree, broken):
    betas = tree.betas(1, 2)
    assert betas.shape == (750, 10, 12, 8)
    assert betas.dtype == np.int16
    (broken / BETAS / "betas_session02.hdf5").unlink()
    from_nifti = NsdTree(broken).betas(1, 2)
    assert from_nifti.dtype == np.int16
    assert (from_nifti == betas).all()


@pytest.mark.parametrize("missing", ["", "hdf5", "nii.gz"])
def test_masked_betas_are_percent_signal_change_in_the_order_of_the_index(tree, broken, missing):
    if missing:
        (broken / BETAS / f"betas_session02.{missing}").unlink()
    voxel_index = np.flatnonzero(tree.roi_mask(1, ["early"]))[::-3]
    masked = NsdTree(broken).masked_betas(1, [2, 1], voxel_index)
    with h5py.File(tree.root / BETAS / "betas_session02.hdf5") as file:
        second = file["betas"][:].transpose(0, 3, 2, 1).reshape(750, -1)[:, voxel_index]
    assert masked.shape == (1500, len(voxel_index))
    assert masked.dtype == np.float32
    assert masked[:750] == pytest.approx(second / 300, rel=1e-6)
    assert (masked[750:] == tree.masked_betas(1, [1], voxel_index)).all()
    assert BETA_SCALE == 1 / 300


def test_trials_follow_the_design_counted_from_zero(tree):
    design = loadmat(tree.root / DESIGN)
    trials = tree.trials(1)
    order = design["masterordering"].ravel().astype(int)[:1500]
    assert len(trials) == 1500
    assert (trials.nsd_id == design["subjectim"][0, order - 1] - 1).all()
    assert (trials.is_shared == (order <= 24)).all()
    assert trials.repeat.tolist() == [int((order[:n] == order[n]).sum()) for n in range(1500)]
    assert set(trials.nsd_id[trials.is_shared]) == set(tree.shared_ids())
    responses = np.genfromtxt(tree.root / "nsddata/ppdata/subj01/behav/responses.tsv", names=True)
    assert (trials.session == responses["SESSION"]).all()
    assert (trials.run == responses["RUN"]).all()
    assert (trials.trial_in_run == responses["TRIAL"]).all()


def test_trials_of_one_session_are_that_part_of_all(tree):
    every, second = tree.trials(2), tree.trials(2, 2)
    assert (second.nsd_id == every.nsd_id[750:]).all()
    assert (second.repeat == every.repeat[750:]).all()


def test_onsets_of_the_design_and_of_the_bold_runs_agree(tree):
    trials = tree.trials(1, 2)
    assert tree.bold_runs(1, 2) == list(range(1, 13))
    assert tree.bold_runs(1, 1) == []
    for run in tree.bold_runs(1, 2):
        of_run = trials.of(trials.run == run)
        onsets = tree.bold_onsets(1, 2, run)
        assert [onset_s for onset_s, _ in onsets] == pytest.approx(of_run.onset_s.tolist())
        assert [nsd_id for _, nsd_id in onsets] == of_run.nsd_id.tolist()


def test_a_bold_run_is_the_files_volumes(tree):
    volumes = tree.bold_run(1, 2, 3)
    expected = nib.load(tree.root / SERIES / "timeseries/timeseries_session02_run03.nii.gz")
    assert volumes.shape == (10, 12, 8, 226)
    assert volumes.dtype == np.int16
    assert (volumes == np.asarray(expected.dataobj)).all()
    assert tree.bold_tr_s == pytest.approx(4 / 3)


def test_runs_of_sessions_with_resting_state_have_the_trials_numbers(tree, broken):
    names = {folder: broken / SERIES / folder for folder in ("timeseries", "design")}
    for run in range(12, 0, -1):
        for folder, path in names.items():
            suffix = "nii.gz" if folder == "timeseries" else "tsv"
            (path / f"{folder}_session02_run{run:02d}.{suffix}").rename(
                path / f"{folder}_session02_run{run + 1:02d}.{suffix}"
            )
    for run in (1, 14):
        shutil.copy(
            names["timeseries"] / "timeseries_session02_run02.nii.gz",
            names["timeseries"] / f"timeseries_session02_run{run:02d}.nii.gz",
        )
    with_rest, trials = NsdTree(broken), tree.trials(1, 2)
    assert with_rest.bold_runs(1, 2) == list(range(1, 13))
    for run in (1, 12):
        shown = [nsd_id for _, nsd_id in with_rest.bold_onsets(1, 2, run)]
        assert shown == trials.nsd_id[trials.run == run].tolist()
        assert (with_rest.bold_run(1, 2, run) == tree.bold_run(1, 2, run)).all()


def test_labels_come_from_any_atlas_or_a_named_one(tree):
    streams = tree.roi(1, "streams")
    areas = tree.roi(1, "prf-visualrois")
    assert streams.min() == -1
    assert tree.labels("streams")["ventral"] == 5
    assert (tree.roi_mask(1, ["early"]) == (streams == 1)).all()
    assert (tree.roi_mask(1, ["V1v", "V1d"]) == np.isin(areas, [1, 2])).all()
    assert (tree.roi_mask(1, ["streams:ventral", "hV4"]) == ((streams == 5) | (areas == 7))).all()
    assert (tree.roi_mask(1, ["nsdgeneral"]) == (streams > 0)).all()


def test_an_unknown_region_is_answered_with_the_nearest(tree):
    with pytest.raises(NsdError, match="did you mean 'ventral'"):
        tree.roi_mask(1, ["ventrl"])
    with pytest.raises(NsdError, match="streams, prf-visualrois|floc-faces"):
        tree.roi(1, "floc-faces")


def test_ncsnr_and_brainmask_have_the_subjects_shape(tree):
    ncsnr = tree.ncsnr(2)
    assert ncsnr.shape == tree.shape(2)
    assert ncsnr.dtype == np.float32
    assert not ncsnr[~tree.brainmask(2)].any()


def test_pictures_come_in_the_order_asked_for(tree):
    with h5py.File(tree.root / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5") as file:
        brick = file["imgBrick"][:40]
    ids = [31, 2, 2, 17]
    assert (tree.pictures(ids) == brick[ids]).all()
    assert tree.pictures([]).shape == (0, 128, 128, 3)
    with pytest.raises(NsdError, match="picture -1"):
        tree.pictures([-1])


def test_captions_are_five_and_of_the_right_picture(tree):
    with (tree.root / "simulated_scenes.tsv").open() as file:
        kinds = [line.split("\t")[1] for line in file][1:]
    for nsd_id in range(0, len(kinds), 97):
        captions = tree.captions(nsd_id)
        assert len(captions) == 5
        assert all(kinds[nsd_id] in caption.split() for caption in captions)
    with pytest.raises(NsdError, match="picture 999999"):
        tree.captions(999_999)


def test_novel_kinds_exist_in_simulated_trees_only(tree, broken):
    assert set(tree.novel_kind_ids()) < set(tree.shared_ids().tolist())
    (broken / "simulated.json").unlink()
    real = NsdTree(broken)
    assert not real.is_simulated()
    assert real.novel_kind_ids() == []


def test_only_the_sessions_on_disk_are_listed_and_read(broken):
    for suffix in ("hdf5", "nii.gz"):
        (broken / BETAS / f"betas_session01.{suffix}").unlink()
    tree = NsdTree(broken)
    assert tree.sessions(1) == [2]
    trials = tree.trials(1)
    assert set(trials.session) == {2}
    # what was seen in the session that is not on disk still counts as seen
    assert (trials.repeat == NsdTree(broken).trials(2).of(slice(750, None)).repeat).all()
    with pytest.raises(NsdError, match=r"betas of subject 1, session 1.*\[2\]"):
        tree.betas(1, 1)


def test_a_folder_that_is_no_nsd_tree_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(NsdError, match="is not a Natural Scenes Dataset.*braind simulate"):
        NsdTree(tmp_path)
    with pytest.raises(NsdError, match="is not a Natural Scenes Dataset"):
        NsdTree(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("missing", "ask", "words"),
    [
        (DESIGN, lambda tree: tree.trials(1), "the order of trials"),
        (f"{ANATOMY}/brainmask.nii.gz", lambda tree: tree.shape(1), "the brain mask"),
        (f"{BETAS}/ncsnr.nii.gz", lambda tree: tree.ncsnr(1), "noise ceiling"),
        ("nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5", lambda tree: tree.pictures([0]), "the pictures"),
        ("nsddata/experiments/nsd/nsd_stim_info_merged.csv", lambda tree: tree.captions(0), "COCO ids"),
        ("nsddata/freesurfer/fsaverage/label/streams.mgz.ctab", lambda tree: tree.labels("streams"), "label names"),
        (f"{SERIES}/design/design_session02_run05.tsv", lambda tree: tree.bold_onsets(1, 2, 5), "onsets"),
        (f"{SERIES}/timeseries/timeseries_session02_run05.nii.gz", lambda tree: tree.bold_run(1, 2, 5), "BOLD series"),
    ],
)
def test_a_missing_file_is_named_with_its_purpose_and_a_remedy(broken, missing, ask, words):
    (broken / missing).unlink()
    with pytest.raises(NsdError, match=words) as caught:
        ask(NsdTree(broken))
    assert str(broken / missing) in str(caught.value)
    assert "download" in str(caught.value)
    assert caught.value.code == "nsd"


def test_missing_captions_say_where_they_belong(broken):
    shutil.rmtree(broken / "nsddata_stimuli/stimuli/nsd/annotations")
    with pytest.raises(NsdError, match=r"captions_(train|val)2017.json is missing.*cocodataset.org"):
        NsdTree(broken).captions(0)


@pytest.mark.parametrize(
    ("name", "ask"),
    [
        (f"{BETAS}/betas_session01.hdf5", lambda tree: tree.betas(1, 1)),
        (DESIGN, lambda tree: tree.trials(1)),
        (f"{ANATOMY}/roi/streams.nii.gz", lambda tree: tree.roi_mask(1, ["early"])),
        (f"{SERIES}/timeseries/timeseries_session02_run05.nii.gz", lambda tree: tree.bold_run(1, 2, 5)),
    ],
)
@pytest.mark.parametrize("damage", ["half", "noise"])
def test_a_damaged_file_is_refused_with_its_name(broken, name, ask, damage):
    whole = (broken / name).read_bytes()
    replace(broken / name, whole[: len(whole) // 2] if damage == "half" else b"\x07" * 1000)
    with pytest.raises(DataSetError, match="download (it|or copy it) again") as caught:
        ask(NsdTree(broken))
    assert str(broken / name) in str(caught.value)


def test_a_design_without_its_tables_is_refused(broken):
    design = loadmat(broken / DESIGN)
    (broken / DESIGN).unlink()
    savemat(broken / DESIGN, {"masterordering": design["masterordering"]})
    with pytest.raises(NsdError, match="has no subjectim, sharedix, stimpattern"):
        NsdTree(broken).trials(1)


def test_an_absent_subject_is_answered_with_those_present(tree):
    with pytest.raises(NsdError, match=r"no subject 5.*\[1, 2\]"):
        tree.trials(5)
    with pytest.raises(NsdError, match=r"\[1, 2\]"):
        tree.shape(5)


def test_a_float_roi_volume_as_some_tools_write_it_reads_the_same(broken, tree):
    path = broken / ANATOMY / "roi/streams.nii.gz"
    image = nib.load(path)
    as_float = nib.Nifti1Image(np.asarray(image.dataobj, np.float32), image.affine)
    replace(path, gzip.compress(as_float.to_bytes()))
    assert (NsdTree(broken).roi(1, "streams") == tree.roi(1, "streams")).all()


def test_captions_in_the_root_annotations_folder_are_found(broken, tree):
    shutil.move(broken / "nsddata_stimuli/stimuli/nsd/annotations", broken / "annotations")
    captions = json.loads((broken / "annotations/captions_train2017.json").read_text())
    assert captions["annotations"]
    assert NsdTree(broken).captions(0) == tree.captions(0)


def test_sessions_can_be_chosen(root):
    second = NsdTree(root, sessions=[2])
    assert second.sessions(1) == [2]
    assert set(second.trials(1).session) == {2}
    assert (second.trials(1).repeat == NsdTree(root).trials(1, 2).repeat).all()
    with pytest.raises(DataSetError, match="subject 1 of .* has no session 4; it has 1-2"):
        NsdTree(root, sessions=[2, 4]).trials(1)


def test_another_version_of_the_betas_is_another_folder(broken):
    version = broken / BETAS.replace("fithrf_GLMdenoise_RR", "assumehrf")
    version.mkdir()
    (broken / BETAS / "betas_session02.nii.gz").rename(version / "betas_session02.nii.gz")
    assumed = NsdTree(broken, betas_version="betas_assumehrf")
    assert assumed.sessions(1) == [2]
    assert (assumed.betas(1, 2) == NsdTree(broken).betas(1, 2)).all()
    with pytest.raises(NsdError, match=r"--betas: betas_assumehrf, betas_fithrf_GLMdenoise_RR"):
        NsdTree(broken, betas_version="betas_fithrf").trials(1)


def test_a_cache_gives_the_same_betas_and_volumes_without_the_files_being_read_again(broken, tmp_path):
    cached = NsdTree(broken, cache=tmp_path / "cache")
    voxels = np.flatnonzero(cached.roi_mask(1, ["early"]))
    masked, volumes = NsdTree(broken).masked_betas(1, [1, 2], voxels), NsdTree(broken).betas(1, 1)
    assert (cached.masked_betas(1, [1, 2], voxels) == masked).all()
    chosen = [5, 700]
    for row, volume in zip(chosen, cached.beta_volumes(1, 1, chosen), strict=True):
        assert volume.dtype == np.int16
        assert (volume == volumes[row]).all()
    assert len(list((tmp_path / "cache").iterdir())) == 3


def test_regions_can_be_mask_files(tree, tmp_path):
    streams = nib.load(tree.root / ANATOMY / "roi/streams.nii.gz")
    mask = nib.Nifti1Image((np.asarray(streams.dataobj) == 5).astype(np.float32), streams.affine)
    nib.save(mask, tmp_path / "sub1.nii.gz")
    from_file = tree.roi_mask(1, [str(tmp_path / "sub{subject}.nii.gz")])
    assert (from_file == tree.roi_mask(1, ["ventral"])).all()
    with pytest.raises(DataSetError, match="subject 2's volumes.*resample"):
        tree.roi_mask(2, [str(tmp_path / "sub1.nii.gz")])
    with pytest.raises(DataSetError, match="sub2.nii.gz is missing"):
        tree.roi_mask(2, [str(tmp_path / "sub{subject}.nii.gz")])


def test_a_check_says_what_is_there_and_what_each_command_lacks(broken):
    (subject,) = check_tree(NsdTree(broken), [1])
    assert not any(subject.lacking.values())
    betas = next(part for part in subject.parts if part.name.startswith("betas"))
    assert betas.there == "sessions 1-2 of 2"
    assert betas.n_bytes == sum(path.stat().st_size for path in (broken / BETAS).glob("betas_session*"))

    shutil.rmtree(broken / SERIES)
    (broken / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5").unlink()
    shutil.rmtree(broken / "nsddata_stimuli/stimuli/nsd/annotations")
    (broken / "simulated.json").unlink()
    (subject,) = check_tree(NsdTree(broken), [1])
    assert subject.lacking["fit"] == ["pictures", "captions"]
    assert subject.lacking["replay --kind beta"] == ["pictures"]
    assert subject.lacking["replay --kind bold"] == ["pictures", "BOLD series and their onsets"]
    parts = {part.name.partition(" (")[0]: part for part in subject.parts}
    # what NSD's own manual says: 73,000 pictures of 425 px; 40 sessions of subject 1
    assert parts["pictures"].missing_bytes == 39_556_875_000
    assert parts["betas"].there == "sessions 1-2 of 40"
    assert parts["betas"].missing_bytes == 38 * 750 * 10 * 12 * 8 * 2
    assert "cocodataset.org" in parts["captions"].how
    assert "aws s3 cp s3://natural-scenes-dataset/nsddata_stimuli" in parts["pictures"].how
