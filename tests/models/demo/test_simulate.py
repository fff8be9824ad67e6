"""The simulated tree is what NSD's manual says NSD is, read here with nibabel, h5py and scipy alone."""

import csv
import hashlib
import json
import os
import subprocess
import sys

import h5py
import nibabel as nib
import numpy as np
import pytest
from scipy.io import loadmat
from scipy.stats import gamma

from braind.models.demo import scenes
from braind.models.demo.subject.nsd_tree import SimulationError, TreeSize, simulate

SIZE = TreeSize(shapes=((10, 12, 8), (9, 11, 10)), n_shared=24, n_bold_sessions=1)
N_SESSIONS = 2
BETAS = "nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf_GLMdenoise_RR"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("simulate") / "nsd"
    return simulate(root, n_sessions=N_SESSIONS, seed=5, size=SIZE)


@pytest.fixture(scope="module")
def tree(made):
    return made.root


@pytest.fixture(scope="module")
def design(tree):
    return loadmat(tree / "nsddata/experiments/nsd/nsd_expdesign.mat")


def load(path):
    return nib.load(path)


def roi(tree, name, subject=1):
    image = load(tree / f"nsddata/ppdata/subj{subject:02d}/func1pt8mm/roi/{name}.nii.gz")
    return np.asarray(image.dataobj)


def scene_rows(tree):
    with (tree / "simulated_scenes.tsv").open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_the_design_counts_from_one_and_shows_each_picture_three_times(design):
    n_pictures = (N_SESSIONS + 1) * 250
    order = design["masterordering"]
    assert order.shape == (1, 3 * n_pictures)
    assert (np.bincount(order.ravel().astype(int))[1:] == 3).all()
    assert design["subjectim"].shape == (2, n_pictures)
    assert design["subjectim"].min() == 1
    assert design["stimpattern"].shape == (N_SESSIONS + 1, 12, 75)
    assert design["stimpattern"].sum((0, 2)).tolist() == [63 * 3, 62 * 3] * 6


def test_the_design_holds_integers_as_nsd_does_so_that_it_can_index(design):
    names = ("masterordering", "subjectim", "sharedix", "stimpattern", "basiccnt")
    assert {name: design[name].dtype.kind for name in names if design[name].dtype.kind not in "iu"} == {}
    ids = design["subjectim"][0][design["masterordering"][0] - 1]
    assert ids.shape == design["masterordering"][0].shape


def test_shared_pictures_are_the_first_of_every_subjects_row_and_no_other_is_common(design):
    rows = design["subjectim"]
    assert (rows[:, :24] == design["sharedix"]).all()
    assert not set(rows[0, 24:]) & set(rows[1, 24:])


def test_the_last_planned_session_is_not_scanned_so_some_repeats_are_missing(tree, design):
    order = design["masterordering"].ravel().astype(int)[: 750 * N_SESSIONS]
    seen = np.bincount(order, minlength=751)[1:]
    assert set(seen) == {0, 1, 2, 3}
    assert seen[:24].min() >= 1
    assert not (tree / BETAS / "betas_session03.hdf5").exists()
    assert design["basiccnt"][:, N_SESSIONS - 1].tolist() == [(seen >= n).sum() for n in (1, 2, 3)]


def test_responses_tsv_follows_the_design(tree, design):
    with (tree / "nsddata/ppdata/subj02/behav/responses.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    order = design["masterordering"].ravel().astype(int)[: 750 * N_SESSIONS]
    assert [int(row["10KID"]) for row in rows] == order.tolist()
    assert [int(row["73KID"]) for row in rows] == design["subjectim"][1, order - 1].tolist()
    in_first_run = [row for row in rows if row["SESSION"] == "1" and row["RUN"] == "1"]
    assert [int(row["TRIAL"]) for row in in_first_run] == list(range(1, 64))
    assert sum(row["SESSION"] == "2" and row["RUN"] == "2" for row in rows) == 62


def test_shared_pictures_show_what_no_training_picture_shows(tree, design):
    shared = set((design["sharedix"].ravel() - 1).astype(int).tolist())
    rows = scene_rows(tree)
    combination = [(row["kind"], row["place"], row["above"]) for row in rows]
    held_out = {combination[id_] for id_ in shared}
    trained = {combination[id_] for id_ in range(len(rows)) if id_ not in shared}
    assert not held_out & trained
    novel = json.loads((tree / "simulated.json").read_text())["novel_kind_ids"]
    assert set(novel) < shared
    assert novel
    assert {rows[id_]["kind"] for id_ in novel} <= set(scenes.NOVEL_KINDS)
    assert not {rows[id_]["kind"] for id_ in range(len(rows)) if id_ not in shared} & set(scenes.NOVEL_KINDS)


def test_pictures_and_captions_belong_to_the_same_scene(tree):
    with (tree / "nsddata/experiments/nsd/nsd_stim_info_merged.csv").open() as file:
        info = list(csv.DictReader(file))
    folder = tree / "nsddata_stimuli/stimuli/nsd"
    with h5py.File(folder / "nsd_stimuli.hdf5") as stimuli:
        brick = stimuli["imgBrick"]
        assert brick.dtype == np.uint8
        assert brick.shape == (len(info), 128, 128, 3)
    rows = scene_rows(tree)
    for split in ("train2017", "val2017"):
        annotations = json.loads((folder / f"annotations/captions_{split}.json").read_text())["annotations"]
        of_picture = {}
        for annotation in annotations:
            of_picture.setdefault(annotation["image_id"], []).append(annotation["caption"])
        ids = [int(row["nsdId"]) for row in info if row["cocoSplit"] == split]
        assert ids
        for id_ in ids:
            captions = of_picture[int(info[id_]["cocoId"])]
            assert len(captions) == 5
            assert all(rows[id_]["kind"] in caption.split() for caption in captions)


def test_both_formats_hold_the_same_betas(tree):
    with h5py.File(tree / BETAS / "betas_session02.hdf5") as file:
        assert file["betas"].chunks == (750, 1, 1, 1)
        assert file["betas"].compression is None
        from_hdf5 = file["betas"][:]
    image = load(tree / BETAS / "betas_session02.nii.gz")
    assert image.get_data_dtype() == np.int16
    assert image.shape == (10, 12, 8, 750)
    assert from_hdf5.shape == (750, 8, 12, 10)
    assert (np.asarray(image.dataobj) == from_hdf5.T).all()
    brain = np.asarray(load(tree / "nsddata/ppdata/subj01/func1pt8mm/brainmask.nii.gz").dataobj) > 0
    assert not np.asarray(image.dataobj)[~brain].any()


def test_roi_volumes_are_minus_one_outside_cortex_and_named_by_their_tables(tree):
    for atlas in ("streams", "prf-visualrois", "nsdgeneral"):
        volume = roi(tree, atlas)
        table = (tree / f"nsddata/freesurfer/fsaverage/label/{atlas}.mgz.ctab").read_text().split()
        assert set(np.unique(volume)) == {-1} | {int(value) for value in table[::2]}
        left, right = roi(tree, f"lh.{atlas}"), roi(tree, f"rh.{atlas}")
        assert (np.maximum(left, right) == volume).all()
    assert ((roi(tree, "prf-visualrois") > 0) == (roi(tree, "streams") == 1)).all()


def test_affines_have_nsds_voxel_size_and_subjects_their_own_shapes(tree):
    masks = [load(tree / f"nsddata/ppdata/subj{s:02d}/func1pt8mm/brainmask.nii.gz") for s in (1, 2)]
    assert [mask.shape for mask in masks] == list(SIZE.shapes)
    for mask in masks:
        assert nib.affines.voxel_sizes(mask.affine) == pytest.approx([1.8] * 3)
        assert nib.aff2axcodes(mask.affine) == ("R", "A", "S")


def test_ncsnr_is_what_nsds_definition_gives_on_the_written_betas(tree, design):
    sessions = [np.asarray(load(tree / BETAS / f"betas_session{s:02d}.nii.gz").dataobj) for s in (1, 2)]
    streams = roi(tree, "streams")
    ventral = np.concatenate([betas[streams == 5].T for betas in sessions]).reshape(2, 750, -1) / 300
    normalised = ((ventral - ventral.mean(1, keepdims=True)) / ventral.std(1, keepdims=True)).reshape(1500, -1)
    order = design["masterordering"].ravel().astype(int)[:1500]
    whole = [trials for n in range(1, 751) if len(trials := np.flatnonzero(order == n)) == 3]
    noise = np.mean([normalised[trials].var(0, ddof=1) for trials in whole], axis=0)
    expected = np.sqrt(np.maximum(1 - noise, 0) / noise)
    written = np.asarray(load(tree / BETAS / "ncsnr.nii.gz").dataobj)[streams == 5]
    assert written == pytest.approx(expected, abs=1e-3)
    assert 0.4 < np.median(written) < 0.6


def test_an_independent_glm_finds_the_trials_responses_in_the_bold_series(tree):
    streams = roi(tree, "streams")
    visual = streams > 0
    folder = tree / "nsddata_timeseries/ppdata/subj01/func1pt8mm"
    betas = np.asarray(load(tree / BETAS / "betas_session02.nii.gz").dataobj)[visual].T / 300
    estimates = []
    for run in range(1, 13):
        image = load(folder / f"timeseries/timeseries_session02_run{run:02d}.nii.gz")
        assert image.shape[3] == 226
        assert image.header.get_zooms()[3] == pytest.approx(4 / 3)
        series = np.asarray(image.dataobj)[visual].T.astype(float)
        design = np.loadtxt(folder / f"design/design_session02_run{run:02d}.tsv")
        estimates.append(single_trial_glm(series, np.flatnonzero(design) * 4 / 3))
    estimates = np.concatenate(estimates)
    assert estimates.shape == betas.shape
    correlation = [np.corrcoef(estimates[:, v], betas[:, v])[0, 1] for v in range(betas.shape[1])]
    assert np.median(correlation) > 0.45


def single_trial_glm(series, onsets_s):
    """Fit one double-gamma regressor a trial and slow polynomials: (n_trials, n_voxels) % signal change."""
    time_s = np.arange(len(series)) * 4 / 3
    since = time_s[:, None] - onsets_s
    response = sum(gamma.pdf(since - lag, 6) - gamma.pdf(since - lag, 16) / 6 for lag in (0.5, 1.5, 2.5)) / 0.55
    slow = np.polynomial.legendre.legvander(np.linspace(-1, 1, len(series)), 4)
    fit = np.linalg.lstsq(np.hstack([response, slow]), 100 * (series / series.mean(0) - 1), rcond=None)
    return fit[0][: len(onsets_s)]


def test_everything_says_that_it_is_simulated(tree):
    assert json.loads((tree / "simulated.json").read_text())["simulated"] is True
    assert "SIMULATED" in (tree / "README.txt").read_text()


def test_the_same_seed_gives_the_same_files_and_another_seed_others(tmp_path):
    size = TreeSize(shapes=((7, 8, 7),), n_shared=12, n_bold_sessions=1)

    def digests(name, seed):
        root = simulate(tmp_path / name, subjects=[1], n_sessions=1, seed=seed, size=size).root
        files = sorted(path for path in root.rglob("*") if path.is_file() and path.suffix != ".mat")
        return {path.relative_to(root): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    first = digests("first", 3)
    assert digests("again", 3) == first
    betas = next(path for path in first if path.name == "betas_session01.hdf5")
    assert digests("other", 4)[betas] != first[betas]


def test_processors_of_two_kinds_simulate_one_subject(tmp_path):
    program = (
        "import sys; from pathlib import Path; from braind.models.demo.subject.nsd_tree import TreeSize, simulate\n"
        "size = TreeSize(shapes=((10, 12, 8),), n_shared=24, n_bold_sessions=0)\n"
        "simulate(Path(sys.argv[1]), [1], n_sessions=1, seed=5, size=size)"
    )
    betas = []
    for kind in ("Haswell", "Nehalem"):  # OpenBLAS's kernels for them round differently
        root = tmp_path / kind
        subprocess.run([sys.executable, "-c", program, root], check=True, env={**os.environ, "OPENBLAS_CORETYPE": kind})
        with h5py.File(root / BETAS / "betas_session01.hdf5") as file:
            betas.append(np.array(file["betas"], int))
    assert np.abs(betas[0] - betas[1]).max() <= 1  # of 300 a % signal change
    assert (betas[0] != betas[1]).mean() < 1e-3


def test_an_interrupted_simulation_leaves_nothing_behind(tmp_path):
    def interrupt(what, done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path / "nsd", subjects=[1], n_sessions=1, progress=interrupt, size=SIZE)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_taken_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SimulationError, match="there already"):
        simulate(tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_subject_can_be_simulated_without_the_one_before_it(tmp_path):
    size = TreeSize(shapes=((7, 8, 7), (8, 8, 7)), n_shared=12, n_bold_sessions=0)
    report = simulate(tmp_path / "nsd", subjects=[2], n_sessions=1, size=size)
    assert [subject.shape for subject in report.subjects] == [(8, 8, 7)]
    assert not (report.root / "nsddata/ppdata/subj01").exists()


def test_the_simulated_brain_knows_no_network():
    code = (
        "import sys, braind.models.demo.subject.nsd_tree; "
        "sys.exit(str({'torch', 'diffusers', 'transformers', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "set()"
