"""An NSD tree that is partial, damaged or older than expected, read file by file."""

import gzip
import os
import shutil

import h5py
import numpy as np
import pytest

from braind.client.datasets.nsd.check import check_tree
from braind.client.datasets.nsd.design import read_onsets
from braind.client.datasets.nsd.tree import BOLD_TR_S, NsdError, NsdTree
from braind.models.demo.subject.nsd_tree import TreeSize, simulate

BETAS = "nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf_GLMdenoise_RR"
ANATOMY = "nsddata/ppdata/subj01/func1pt8mm"
DESIGNS = "nsddata_timeseries/ppdata/subj01/func1pt8mm/design"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    size = TreeSize(shapes=((8, 9, 8),), n_shared=6, n_bold_sessions=1)
    return simulate(tmp_path_factory.mktemp("odd") / "nsd", [1], n_sessions=2, size=size).root


@pytest.fixture
def broken(root, tmp_path):
    """A copy that a test may break; unchanged files are shared with the whole one."""
    copy = tmp_path / "nsd"
    shutil.copytree(root, copy, copy_function=os.link)
    return copy


def replace(path, content):
    path.unlink()
    path.write_bytes(content)


def without(tree, path):
    (tree / path).unlink()
    return NsdTree(tree)


def test_voxels_read_alone_are_those_of_the_whole_session_in_the_order_asked_for(root):
    tree = NsdTree(root)
    index = np.array([500, 3, 77, 3])
    whole = tree.betas(1, 2).reshape(750, -1)
    np.testing.assert_allclose(tree.masked_betas(1, [2], index), whole[:, index] / 300, rtol=1e-6)
    assert tree.masked_betas(1, [2], np.array([], np.int64)).shape == (750, 0)
    assert tree.masked_betas(1, [], index).shape == (0, 4)


def test_volumes_are_those_of_the_rows_and_zero_outside_the_brain(root):
    tree = NsdTree(root)
    brain, whole = tree.brainmask(1), tree.betas(1, 1)
    volumes = list(tree.beta_volumes(1, 1, [700, 0]))
    for row, volume in zip((700, 0), volumes, strict=True):
        np.testing.assert_array_equal(volume[brain], whole[row][brain])
        assert not volume[~brain].any()


def test_a_bold_signal_is_the_runs_voxels_with_its_onsets(root):
    tree = NsdTree(root)
    session = next(number for number in tree.sessions(1) if tree.bold_runs(1, number))
    run = tree.bold_runs(1, session)[0]
    signal = tree.bold_signal(1, session, run, np.array([9, 100]))
    series = tree.bold_run(1, session, run)
    np.testing.assert_array_equal(signal.voxels, series.reshape(-1, series.shape[3])[[9, 100]].T)
    assert signal.onsets_s.tolist() == [onset_s for onset_s, _ in tree.bold_onsets(1, session, run)]
    np.testing.assert_allclose(tree.bold_mean(1, session, run), series.mean(3), rtol=1e-5)


def test_a_design_file_counts_volumes_and_one_based_pictures(tmp_path):
    path = tmp_path / "design.tsv"
    path.write_text("0\n17\n0\n0\n1\n")
    assert read_onsets(path, BOLD_TR_S) == [(pytest.approx(4 / 3), 16), (pytest.approx(16 / 3), 0)]
    path.write_text("5\n")
    assert read_onsets(path, 2.0) == [(0.0, 4)]
    path.write_text("0\n0\n")
    assert read_onsets(path, 2.0) == []


def test_a_series_without_its_design_names_the_file_that_is_missing(broken):
    session = next(number for number in (1, 2) if NsdTree(broken).bold_runs(1, number))
    for path in (broken / DESIGNS).glob(f"design_session{session:02d}_run01.tsv"):
        path.unlink()
    with pytest.raises(NsdError, match=r"run01\.tsv is missing; it holds the onsets of a run's trials"):
        NsdTree(broken).bold_runs(1, session)


@pytest.mark.parametrize(
    ("path", "ask", "words"),
    [
        (f"{ANATOMY}/brainmask.nii.gz", lambda tree: tree.shape(1), "it holds the brain mask and the affine"),
        (f"{ANATOMY}/roi/streams.nii.gz", lambda tree: tree.roi(1, "streams"), "or choose one of .*prf-visualrois"),
        (f"{BETAS}/ncsnr.nii.gz", lambda tree: tree.ncsnr(1), "it holds the voxels' noise ceiling"),
        ("nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5", lambda tree: tree.pictures([0]), "it holds the pictures"),
    ],
)
def test_each_missing_file_is_named_with_its_purpose(broken, path, ask, words):
    with pytest.raises(NsdError, match=words) as error:
        ask(without(broken, path))
    assert path.rpartition("/")[2] in str(error.value)
    assert "\n" not in str(error.value)


def test_a_session_that_was_not_downloaded_is_answered_with_those_that_were(broken):
    for suffix in ("hdf5", "nii.gz"):
        (broken / BETAS / f"betas_session02.{suffix}").unlink(missing_ok=True)
    tree = NsdTree(broken)
    with pytest.raises(NsdError, match=r"betas_session02\.hdf5 .* choose among the sessions there: \[1\]"):
        tree.betas(1, 2)
    assert (tree.sessions(1), tree.n_sessions(1)) == ([1], 1)


def test_without_any_betas_the_other_versions_that_are_there_are_offered(broken):
    (broken / BETAS).rename(broken / BETAS.replace("_GLMdenoise_RR", ""))
    tree = NsdTree(broken)
    assert tree.sessions(1) == []
    with pytest.raises(NsdError, match="or another version with --betas: betas_fithrf$"):
        tree.trials(1)


def test_an_hdf5_file_with_other_contents_lists_what_it_has(broken):
    path = broken / BETAS / "betas_session01.hdf5"
    path.unlink()
    with h5py.File(path, "w") as file:
        file["responses"] = np.zeros(3)
    with pytest.raises(NsdError, match=r"has no dataset 'betas'; it has \['responses'\]: download it again"):
        NsdTree(broken).betas(1, 1)


@pytest.mark.parametrize("session", [0, -1, 99])
def test_a_session_that_the_experiment_never_had_is_refused(root, session):
    with pytest.raises(NsdError, match=f"session {session}: the experiment has sessions 1 to"):
        NsdTree(root).trials(1, session)


@pytest.mark.parametrize("nsd_id", [-1, 10**6])
def test_a_picture_that_there_is_not_is_refused_by_its_number(root, nsd_id):
    for ask in (lambda: NsdTree(root).pictures([0, nsd_id]), lambda: NsdTree(root).captions(nsd_id)):
        with pytest.raises(NsdError, match=f"picture {nsd_id}: .* 0 to"):
            ask()


def test_no_pictures_are_an_array_of_no_pictures(root):
    assert NsdTree(root).pictures([]).shape[0] == 0


def test_captions_that_end_too_early_say_which_file_is_not_whole(broken):
    tree = NsdTree(broken)
    for path in broken.rglob("captions_*.json"):
        replace(path, b'{"annotations": []}')
    with pytest.raises(NsdError, match=r"captions_\w+\.json has nothing for COCO picture \d+: download the whole file"):
        tree.captions(0)


def test_a_table_of_pictures_of_another_project_is_refused(broken):
    replace(broken / "nsddata/experiments/nsd/nsd_stim_info_merged.csv", b"name,size\na,1\n")
    with pytest.raises(NsdError, match="has no columns cocoId and cocoSplit"):
        NsdTree(broken).captions(0)


def test_a_mask_cut_in_its_download_is_named(broken):
    path = broken / ANATOMY / "brainmask.nii.gz"
    replace(path, gzip.compress(gzip.decompress(path.read_bytes())[:400]))
    with pytest.raises(Exception, match=r"brainmask\.nii\.gz is damaged or cut short") as error:
        NsdTree(broken).brainmask(1)
    assert error.value.code == "data"


def test_a_check_of_a_damaged_tree_is_an_answer(broken):
    replace(broken / ANATOMY / "brainmask.nii.gz", b"no image")
    (broken / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5").unlink()
    (check,) = check_tree(NsdTree(broken), [1])
    assert "pictures" in check.lacking["decode"]
    assert all("pictures" in lacking for lacking in check.lacking.values())


def test_a_check_of_an_absent_subject_lacks_everything_of_that_subject(root):
    (check,) = check_tree(NsdTree(root), [5])
    assert {"brain mask", "regions and their labels"} <= set(check.lacking["fit"])
    assert "pictures" not in check.lacking["fit"]
