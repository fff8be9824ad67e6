"""Recorded sessions as a data set: the same numbers as in NSD's form, through the same fit; and what is refused."""

import hashlib
import sqlite3

import nibabel as nib
import numpy as np
import pytest
import torch
from first_trials import FirstTrials
from PIL import Image

from braind.client import wire
from braind.client.datasets.data_set import DataSetError
from braind.client.datasets.nsd.tree import NsdTree
from braind.client.replays.runs import beta_runs, bold_runs, picture_file
from braind.config import candidates_beside, load_config
from braind.daemon.ingest import Ingest
from braind.daemon.journal.database import JournalError
from braind.daemon.sessions import Sessions
from braind.daemon.state import DaemonState
from braind.models.demo.subject.nsd_tree import TreeSize, simulate
from braind.models.fit_profiles import FitError
from braind.models.weights.blank import blank_weights
from braind.models.weights.bold_prior import BoldPrior
from braind.models.weights.candidate_names import CandidateNames
from braind.models.weights.candidates import Candidates
from braind.models.weights.weights import Weights
from braind.offline.fit import bold
from braind.offline.fit import calibrate as calibrating
from braind.offline.fit import subject as fitting
from braind.offline.fit.calibrate import SessionFit, ShownPictures, with_regions
from braind.offline.fit.recorded_sessions import RecordedSessions
from braind.offline.fit.targets import encode_targets

N_TRIALS = 120
N_FOLDS = 3


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    size = TreeSize(shapes=((8, 9, 8),), n_shared=12, n_bold_sessions=1)
    root = tmp_path_factory.mktemp("recorded") / "nsd"
    return NsdTree(simulate(root, subjects=[1], n_sessions=1, seed=8, size=size).root)


@pytest.fixture(scope="module")
def masks(tree, tmp_path_factory):
    """Mask files of two regions."""
    folder = tmp_path_factory.mktemp("masks")
    for name in ("early", "ventral"):
        mask = tree.roi_mask(1, [name]).astype(np.uint8)
        nib.save(nib.Nifti1Image(mask, tree.affine(1)), folder / f"{name}.nii.gz")
    return {name: str(folder / f"{name}.nii.gz") for name in ("early", "ventral")}


@pytest.fixture(scope="module")
def stimuli(tree, tmp_path_factory):
    """The pictures as files, and the table that says which are held out."""
    folder = tmp_path_factory.mktemp("stimuli")
    trials = tree.trials(1)
    rows = ["stim_file\tcaption\tsplit"]
    for nsd_id in np.unique(trials.nsd_id[:N_TRIALS]):
        Image.fromarray(tree.pictures([nsd_id])[0]).save(folder / picture_file(nsd_id))
        split = "test" if trials.is_shared[trials.nsd_id == nsd_id].any() else "train"
        rows += [f"{picture_file(nsd_id)}\t{caption}\t{split}" for caption in tree.captions(int(nsd_id))]
    (folder / "captions.tsv").write_text("\n".join(rows) + "\n")
    return folder


def record(tree, folder, runs, most=None, trial=None):
    """Have a daemon's front record runs; return the journal's path."""
    mask = tree.roi_mask(1, ["early", "ventral"])
    weights = blank_weights(1, mask, tree.affine(1), "beta")
    sessions = Sessions(folder, wait_for_disk=False)
    state = DaemonState(sessions, weights, preset="", policy="all")
    no_candidates = CandidateNames(np.empty(0, np.int64), ())
    front = Ingest(None, sessions, state, weights, no_candidates, store_volumes=False, wake=lambda _: None)

    def give(frames):
        assert not isinstance(answer := front.take(frames), wire.Refused), answer

    for run in runs:
        hello = run.hello
        place = {"session": hello.session, "run": hello.run}
        give(wire.encode(hello))
        for event in run.events:
            fields = event.shown._asdict() | (trial or {})
            give(wire.encode(wire.Event(**place, event=event.event, onset_s=event.onset_s, **fields)))
        for volume in run.volumes_from(0):
            if volume.index == most:
                break
            fields = (volume.shown._asdict() if volume.shown else {}) | (trial or {})
            give(wire.volume_frames(volume.voxels, **place, index=volume.index, scale=volume.scale, **fields))
    path = sessions.newest().path
    sessions.close()
    return path


@pytest.fixture(scope="module")
def betas(tree, tmp_path_factory):
    """A recorded session of the first trials."""
    runs = beta_runs(tree, 1, "betas", None, "calibration")
    return record(tree, tmp_path_factory.mktemp("betas"), runs, N_TRIALS)


@pytest.fixture(scope="module")
def bold_session(tree, tmp_path_factory):
    """A recorded session of two runs of BOLD, of which one lacks some volumes."""
    first, second, *_ = bold_runs(tree, 1, "bold", None, "calibration")

    def without_some(next_index):
        return (volume for volume in second.volumes_from(next_index) if volume.index not in (40, 41, 200))

    return record(tree, tmp_path_factory.mktemp("bold"), [first, second._replace(volumes_from=without_some)])


@pytest.fixture(scope="module")
def encode_once():
    """Encode pictures and captions, the same ones once, whatever data set they come from."""
    encoded = {}

    def encode(data, ldm, ids, z_px, work=None, pool=None):
        content = hashlib.sha256(data.pictures(ids).tobytes())
        content.update(repr([data.captions(int(number)) for number in ids]).encode())
        if content.digest() not in encoded:
            encoded[content.digest()] = encode_targets(data, ldm, ids, z_px)
        return encoded[content.digest()]

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield encode
    torch.set_num_threads(n_threads)


def settings(data, masks, **paths):
    config = load_config(None, {"paths": {"data": str(data), **paths}, "fit": {"folds": N_FOLDS}})
    return with_regions(config, [masks["early"]], [masks["ventral"]])


def test_weights_of_a_recorded_session_are_those_of_the_same_trials_in_nsds_form(
    tree, betas, stimuli, masks, encode_once, tmp_path, monkeypatch
):
    asked = []

    def encode_for_session(data, ldm, ids, z_px, work=None):
        asked.append(len(ids))
        return encode_once(data, ldm, ids, z_px)

    monkeypatch.setattr(fitting, "encode_targets", encode_once)
    monkeypatch.setattr(calibrating, "encode_targets", encode_for_session)
    monkeypatch.setattr(fitting, "data_set_of", lambda config: FirstTrials(tree, N_TRIALS))
    of_nsd = Weights.load(fitting.fit_subject(settings(tmp_path / "nsd", masks, nsd=str(tree.root)), 1))
    fit = SessionFit(settings(tmp_path, masks), ShownPictures(stimuli, stimuli / "captions.tsv"))
    path, calibration = fit.fit([betas])
    own = Weights.load(path)
    assert own.card.scores["z_correlation"] == of_nsd.card.scores["z_correlation"] != 0
    assert {name: own.card.scores[name] for name in of_nsd.card.scores} == of_nsd.card.scores
    voxels = tree.masked_betas(1, [1], own.voxel_index)[:N_TRIALS]
    for ours, theirs in zip(own.predict(voxels), of_nsd.predict(voxels), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    card = own.card
    assert (card.subject, card.kind, card.nsd, card.simulated) == (1, "beta", "betas", True)
    assert card.z_rois == (masks["early"],)
    trained = ~tree.trials(1).is_shared[:N_TRIALS]
    assert calibration.n_trials == card.n_trials == trained.sum()
    assert calibration.minutes == pytest.approx(N_TRIALS * 4 / 60)
    assert calibration.low < calibration.two_way < calibration.high
    assert card.scores["two_way"] == pytest.approx(calibration.two_way, abs=1e-4)
    assert path.with_suffix(".md").is_file()

    # without a table of what is held out every picture is trained on, and is a candidate; none is encoded again
    fit.shown = ShownPictures(stimuli)
    path, calibration = fit.fit([betas])
    n_pictures = len(list(stimuli.glob("*.png")))
    assert sum(asked) == n_pictures == calibration.n_pictures
    assert calibration.n_trials == N_TRIALS
    assert len(Candidates.load(candidates_beside(path)).labels) == n_pictures


@pytest.fixture(scope="module")
def names(tree, tmp_path_factory):
    """Files of all pictures, which nobody reads."""
    folder = tmp_path_factory.mktemp("names")
    for nsd_id in np.unique(tree.trials(1).nsd_id):
        (folder / picture_file(nsd_id)).touch()
    return folder


def test_bold_runs_come_back_as_they_were_recorded(tree, bold_session, names, monkeypatch):
    voxel_index = np.flatnonzero(tree.roi_mask(1, ["early"]))
    data = RecordedSessions([bold_session], names)
    assert (data.kind, data.estimates, data.bold_runs(1, 1)) == ("bold", "bold", [1, 2])
    whole, theirs = data.bold_signal(1, 1, 1, voxel_index), tree.bold_signal(1, 1, 1, voxel_index)
    np.testing.assert_array_equal(whole.voxels, theirs.voxels)
    np.testing.assert_array_equal(whole.onsets_s, theirs.onsets_s)
    gappy = data.bold_signal(1, 1, 2, voxel_index)
    assert np.setdiff1d(np.arange(226), gappy.index).tolist() == [40, 41, 200]
    mean = data.bold_mean(1, 1, 1)
    inside = tree.roi_mask(1, ["early", "ventral"])
    np.testing.assert_allclose(mean[inside], tree.bold_mean(1, 1, 1)[inside], rtol=1e-5)
    assert np.isnan(mean[~inside]).all()
    # the same trials are estimated, as NSD's are
    own = bold.final_estimates(data, 1, voxel_index, BoldPrior.vague(len(voxel_index)))
    assert data.minutes == pytest.approx((226 + 223) * 4 / 3 / 60)
    trials, of_nsd = data.trials(1), tree.trials(1)
    n_first = int((trials.run == 1).sum())
    assert trials.onset_s[:n_first].tolist() == theirs.onsets_s.tolist()
    shown = [data.picture_names[number] for number in trials.nsd_id]
    assert shown == [picture_file(number) for number in of_nsd.nsd_id[: len(trials)]]
    monkeypatch.setattr(tree, "bold_runs", lambda subject, session: [1])
    nsd = bold.final_estimates(tree, 1, voxel_index, BoldPrior.vague(len(voxel_index)))
    in_first = own.rows < n_first
    np.testing.assert_array_equal(own.rows[in_first], nsd.rows)
    np.testing.assert_array_equal(own.voxels[in_first], nsd.voxels)
    assert (~in_first).sum() > 50
    # what later volumes are compared with is known from the recorded voxels alone
    vague = BoldPrior.vague(len(voxel_index))
    monkeypatch.setattr("braind.models.bold.fit_prior.fit_prior", lambda runs, progress, labelled: vague)
    prior = bold.read_bold(data, 1, voxel_index)[0].prior
    assert 0 < prior.misaligned_below < 1
    data.close()


# ── what is refused ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def few(tree):
    """The runs of a session of a few trials, to be recorded with something changed."""

    def runs():
        return beta_runs(tree, 1, "few", None, "calibration")

    return runs


def test_pictures_that_are_missing_or_not_named_are_refused_by_name(tree, few, betas, tmp_path):
    with pytest.raises(DataSetError, match=r"picture-\d+.png is missing, which run ses-01 of .*--stimuli"):
        RecordedSessions([betas], tmp_path)
    nameless = record(tree, tmp_path, few(), 3, trial={"stimulus": None})
    with pytest.raises(DataSetError, match=r"volume 0 of run ses-01 names no picture \(and 2 more of the run\)"):
        RecordedSessions([nameless], tmp_path)
    (tmp_path / "other").mkdir()
    outside = record(tree, tmp_path / "other", few(), 3, trial={"stimulus": "../../etc/passwd"})
    with pytest.raises(DataSetError, match="lies outside"):
        RecordedSessions([outside], tmp_path)


def test_an_id_is_the_one_file_of_that_name_whatever_its_ending(tree, few, tmp_path):
    path = record(tree, tmp_path, few(), 3, trial={"stimulus": "ball"})
    Image.new("RGB", (20, 10), "red").save(tmp_path / "ball.jpg")
    data = RecordedSessions([path], tmp_path)
    assert data.picture_names == ["ball.jpg"]
    assert data.pictures([0]).shape == (1, 10, 10, 3)
    (tmp_path / "ball.png").touch()
    with pytest.raises(DataSetError, match="may be ball.jpg or ball.png"):
        RecordedSessions([path], tmp_path)


def test_pictures_without_captions_are_refused_or_described_by_a_model(tree, few, stimuli, tmp_path):
    path = record(tree, tmp_path, few(), 3, trial={"captions": ()})
    with pytest.raises(DataSetError, match=r"3 of 3 pictures have no caption, such as picture-.*--captioner DIR"):
        RecordedSessions([path], stimuli)
    data = RecordedSessions([path], stimuli, describe=("blip (0123)", lambda pictures: ["a ball"] * len(pictures)))
    assert (data.captioner, data.captions(2)) == ("blip (0123)", ["a ball"])
    described = RecordedSessions([path], stimuli, stimuli / "captions.tsv")
    assert described.captioner == ""
    assert len(described.captions(0)) > 1


def test_sessions_that_are_not_alike_are_refused(tree, few, betas, bold_session, stimuli, tmp_path, monkeypatch):
    with pytest.raises(DataSetError, match="is of kind bold, run ses-01 of .* of kind beta"):
        RecordedSessions([betas, bold_session], stimuli)
    moved = tree.affine(1).copy()
    moved[0, 3] += 5
    monkeypatch.setattr(tree, "affine", lambda subject: moved)
    path = record(tree, tmp_path, few(), 3)
    with pytest.raises(DataSetError, match="run ses-01 lies 5.0 mm away from run ses-01 of"):
        RecordedSessions([betas, path], stimuli)


def test_regions_that_are_no_masks_of_the_grid_or_were_not_recorded_are_refused(tree, betas, stimuli, tmp_path):
    data = RecordedSessions([betas], stimuli)
    with pytest.raises(DataSetError, match="has no atlas; give NIfTI files"):
        data.roi_mask(1, ["early"])
    nib.save(nib.Nifti1Image(np.ones((3, 3, 3), np.uint8), tree.affine(1)), tmp_path / "small.nii.gz")
    with pytest.raises(DataSetError, match=r"small.nii.gz has the grid \(3, 3, 3\)"):
        data.roi_mask(1, [str(tmp_path / "small.nii.gz")])
    recorded = tree.roi_mask(1, ["early", "ventral"])
    assert (data.roi_mask(1, ["recorded"]) == recorded).all()
    beyond = np.flatnonzero(~recorded)[:2]
    with pytest.raises(DataSetError, match=f"run ses-01 has {recorded.sum()} voxels, and not 2 of the 2"):
        data.masked_betas(1, [1], beyond)


def test_a_session_that_does_not_say_which_voxels_it_has_is_refused(tree, few, stimuli, tmp_path):
    path = record(tree, tmp_path, few(), 3)
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE masks")
    database.close()
    with pytest.raises(JournalError, match="run ses-01 does not say which voxels it has"):
        RecordedSessions([path], stimuli).brainmask(1)


def test_an_onset_that_showed_no_picture_is_no_trial(tree, names, tmp_path):
    first, *_ = bold_runs(tree, 1, "blank", None, "calibration")
    blank = [event._replace(shown=event.shown._replace(stimulus="n/a")) for event in first.events[::2]]
    others = first.events[1::2]
    path = record(tree, tmp_path, [first._replace(events=blank + others)])
    data = RecordedSessions([path], names)
    assert data.trials(1).onset_s.tolist() == [event.onset_s for event in others]
    voxel_index = np.flatnonzero(tree.roi_mask(1, ["early"]))
    # it is a response all the same
    signal = data.bold_signal(1, 1, 1, voxel_index)
    assert signal.onsets_s.tolist() == [event.onset_s for event in others + blank]
    estimates = bold.final_estimates(data, 1, voxel_index, BoldPrior.vague(len(voxel_index)))
    assert set(estimates.rows) <= set(range(len(others)))
    assert len(estimates.rows) > len(others) - 4


def test_too_few_trials_and_no_session_are_refused(tree, few, stimuli, masks, tmp_path):
    with pytest.raises(JournalError, match="no such session"):
        RecordedSessions([tmp_path / "none.sqlite3"], stimuli)
    path = record(tree, tmp_path, few(), 4)
    with pytest.raises(FitError, match="4 pictures are too few for 3 folds"):
        SessionFit(settings(tmp_path, masks), ShownPictures(stimuli)).fit([path])
