"""The simulated subject in BIDS: valid, and the same numbers as in NSD's form, through fit and evaluation."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import nibabel as nib
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from first_trials import FirstTrials

from braind.cli import main
from braind.client.datasets.bids.files import BidsError
from braind.client.datasets.bids.folder import BidsFolder
from braind.client.datasets.data_set import DataSetError, Trials
from braind.client.datasets.nsd.tree import NsdTree
from braind.config import candidates_path, load_config, weights_path
from braind.daemon.preflight import load_weights
from braind.models.demo.subject.anatomy import STREAMS
from braind.models.demo.subject.nsd_tree import TreeSize, simulate
from braind.models.scores.clip import PictureClip
from braind.models.scores.metrics import pixcorr, two_way
from braind.models.session_scaling import z_score_sessions
from braind.models.weights.bold_prior import BoldPrior
from braind.models.weights.weights import Weights, WeightsError
from braind.offline import decoding
from braind.offline.bids_writing import write_bids
from braind.offline.data_sets import data_set_of
from braind.offline.decoding import DecodingError, SubjectDecoder, is_held_out
from braind.offline.encode.encode import EncodeSettings, chosen_pictures
from braind.offline.encode.features import extract_features
from braind.offline.encode.models import Models
from braind.offline.encode.responses import write_mean_responses
from braind.offline.encode.voxel_fits import VoxelFits
from braind.offline.evaluate.evaluate import bold_rows, held_out_of
from braind.offline.fit import subject as fitting
from braind.offline.fit.bold import final_estimates
from braind.offline.fit.targets import encode_targets

N_TRIALS = 180


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    size = TreeSize(shapes=((10, 12, 8),), n_shared=40, n_bold_sessions=1)
    root = tmp_path_factory.mktemp("bids") / "nsd"
    return NsdTree(simulate(root, subjects=[1], n_sessions=1, seed=8, size=size).root)


@pytest.fixture(scope="module")
def folder(tree, tmp_path_factory):
    root = tmp_path_factory.mktemp("written") / "own"
    write_bids(tree, [1], root, lambda *_: None)
    return root


def settings(data, tree=None, folder=None, **fit):
    paths = {"data": str(data), "nsd": tree and str(tree.root), "bids": folder and str(folder)}
    decode = {"preset": "live-1", "engine": "torch"}
    dataset = {"task": "nsd", "space": "T1w"} if folder else {}
    return load_config(None, {"paths": paths, "decode": decode, "dataset": dataset, "fit": {"folds": 3, **fit}})


@pytest.fixture(scope="module")
def fitted(tree, folder, tmp_path_factory):
    """The settings of both forms, each with weights; the same pictures and captions are encoded once."""
    data, encoded = tmp_path_factory.mktemp("fitted"), {}

    def encode_once(own, ldm, ids, z_px, work=None, pool=None):
        content = hashlib.sha256(own.pictures(ids).tobytes())
        content.update(repr([own.captions(int(number)) for number in ids]).encode())
        if content.digest() not in encoded:
            encoded[content.digest()] = encode_targets(own, ldm, ids, z_px)
        return encoded[content.digest()]

    both = settings(data, tree=tree, z_score="causal"), settings(data, folder=folder, z_score="causal")
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patched:
        for module in (fitting, decoding):
            patched.setattr(module, "data_set_of", lambda config: FirstTrials(data_set_of(config), N_TRIALS))
        patched.setattr(fitting, "encode_targets", encode_once)
        for config in both:
            fitting.fit_subject(config, 1)
        # training and held-out pictures, each once
        assert len(encoded) == 2
        yield both
    torch.set_num_threads(n_threads)


def test_the_validator_has_nothing_to_say_against_it(folder):
    validator = Path(sys.executable).with_name("bids-validator-deno")
    ran = subprocess.run([validator, "--format", "json", folder], capture_output=True, text=True, check=False)
    report = json.loads(ran.stdout)
    errors = [issue for issue in report["issues"]["issues"] if issue["severity"] == "error"]
    assert errors == []
    assert ran.returncode == 0
    assert report["summary"]["totalFiles"] > 20


def test_both_forms_hold_the_same_trials_voxels_pictures_and_captions(tree, folder):
    own = BidsFolder(folder, "nsd", "T1w")
    assert own.is_simulated()
    assert own.subjects() == [1]
    assert own.shape(1) == tree.shape(1)
    assert (own.affine(1) == tree.affine(1)).all()
    for labels in (["early"], ["V1v", "streams:ventral"]):
        assert (own.roi_mask(1, labels) == tree.roi_mask(1, labels)).all()
    assert (own.brainmask(1) == tree.brainmask(1)).all()
    of_nsd, of_bids = tree.trials(1), own.trials(1)
    for name in ("session", "run", "trial_in_run", "is_shared", "repeat"):
        assert (getattr(of_bids, name) == getattr(of_nsd, name)).all(), name
    assert of_bids.onset_s == pytest.approx(of_nsd.onset_s, abs=1e-3)
    voxels = np.flatnonzero(tree.roi_mask(1, ["early"]))
    assert (own.masked_betas(1, [1], voxels) == tree.masked_betas(1, [1], voxels)).all()
    some = [0, 400, 749]
    assert (own.pictures(of_bids.nsd_id[some]) == tree.pictures(of_nsd.nsd_id[some])).all()
    assert own.captions(of_bids.nsd_id[9]) == tree.captions(of_nsd.nsd_id[9])
    novel = set(of_bids.nsd_id[np.isin(of_nsd.nsd_id, tree.novel_kind_ids())].tolist())
    assert set(own.novel_kind_ids()) == novel != set()


def test_scores_of_both_forms_are_equal(fitted):
    scores = []
    for config in fitted:
        decoder = SubjectDecoder.load(config, 1)
        held_out, training = held_out_of(decoder)
        z, c = decoder.weights.predict(held_out.voxels)
        some = range(0, len(z), 10)
        pictures = np.stack([decoder.reconstructor.picture(z[trial], c[trial]) for trial in some])
        seen = held_out.pictures[held_out.picture_of_trial[some]]
        likeness = [pixcorr(seen, pictures), two_way(PictureClip().embed(seen), PictureClip().embed(pictures))]
        scores.append([*likeness, training.voxels, held_out.picture_of_trial])
    for of_nsd, of_bids in zip(*scores, strict=True):
        assert np.array_equal(of_nsd, of_bids)
    assert np.ptp(scores[0][0]) > 0.01


def test_encoding_maps_of_both_forms_are_equal(tree, folder, tmp_path, ldm):
    data, out = tmp_path / "data", tmp_path / "encoding"
    arguments = ["--bids", folder, "--task", "nsd", "--space", "T1w", "--pictures", "30", "--components", "20",
                 "--strengths", "0.8", "--calls", "3", "--data", data, "-o", out, "--json"]  # fmt: skip
    answer = CliRunner().invoke(main, ["encode", *map(str, arguments)], catch_exceptions=False)
    assert answer.exit_code == 0, answer.stderr
    result = json.loads(answer.stdout)
    assert set(result["roi"]) >= {*STREAMS, "V1", "V2", "V3"}
    assert (result["simulated"], result["n_pictures"]["training"]) == (True, 30)

    how = EncodeSettings(n_components=20, max_pictures=30, strengths=(0.8,), n_calls=3)
    trials, brain = tree.trials(1), np.flatnonzero(tree.brainmask(1))
    chosen = chosen_pictures(trials.nsd_id, tree.shared_ids(), how)
    of_nsd = settings(tmp_path / "nsd-data", tree=tree, folds=5)
    files = extract_features(of_nsd, tree, ldm, 1, chosen, how.features, lambda *_: None)
    write_mean_responses(tmp_path / "responses", tree, 1, chosen, brain, lambda *_: None)
    fits = VoxelFits(
        files.folder, tmp_path / "responses", ~np.isin(chosen, tree.shared_ids()),
        {"early": tree.roi_mask(1, ["early"]).reshape(-1)[brain]}, 20, of_nsd.fit.folds, how.seed,
    )  # fmt: skip
    models = Models(fits, lambda *_: None)
    for feature, name in {"z": "z", "c": "c", "zc_strength-0.8": "zcStrength08"}.items():
        path = out / f"sub-01/func/sub-01_task-nsd_space-T1w_desc-{name}_stat-r_statmap.nii.gz"
        image = nib.load(path)
        assert (image.affine == tree.affine(1)).all()
        # float32 of a NIfTI on one side, int16 times a scale on the other
        assert image.get_fdata().reshape(-1)[brain] == pytest.approx(models[feature].correlation, abs=1e-4)
        assert models[feature].correlation.std() > 0.05


def test_the_weights_say_what_they_were_fitted_on(fitted):
    _, config = fitted
    card = SubjectDecoder.load(config, 1).weights.card
    assert (card.nsd, card.estimates, card.sessions, card.kind) == ("own", "singletrial", "1", "beta")


def test_z_scores_are_said_by_the_weights_and_honoured_or_refused(fitted, tree):
    nsd, _ = fitted
    # whatever the settings in force say
    decoder = SubjectDecoder.load(settings(nsd.paths.data, tree=tree, z_score="none"), 1)
    weights = decoder.weights
    assert weights.card.z_score == "causal"
    plain = tree.masked_betas(1, [1], weights.voxel_index)
    trials = tree.trials(1)
    expected = z_score_sessions(plain, trials.session, "causal")[:N_TRIALS][trials.is_shared[:N_TRIALS]]
    assert (decoder.test_voxels == expected).all()
    with pytest.raises(WeightsError, match="daemon does not do: decode with `braind decode`, or fit again"):
        load_weights(1, weights_path(nsd, 1), candidates_path(nsd, 1), None)


def test_trials_of_bold_are_estimated_as_during_a_scan(tree, folder):
    voxels = np.flatnonzero(tree.roi_mask(1, ["early"]))
    own = BidsFolder(folder, "nsd", "T1w", estimates="bold")
    of_nsd, of_bids = (final_estimates(data, 1, voxels, BoldPrior.vague(len(voxels))) for data in (tree, own))
    assert of_bids.voxels.shape == (750, len(voxels))
    assert (of_bids.rows == of_nsd.rows).all()
    # onsets have milliseconds in the tables
    assert of_bids.voxels == pytest.approx(of_nsd.voxels, abs=1e-2)
    published = tree.masked_betas(1, [1], voxels)
    correlation = [np.corrcoef(of_bids.voxels[:, v], published[:, v])[0, 1] for v in range(len(voxels))]
    assert np.median(correlation) > 0.3


@pytest.fixture(scope="module")
def fitted_on_bold(folder, tmp_path_factory):
    """The settings of weights that were fitted on BOLD of runs 1 and 3, with run 2 held out."""
    config = settings(tmp_path_factory.mktemp("bold"), folder=folder)
    dataset = msgspec.structs.replace(config.dataset, test_runs="2")
    config = msgspec.structs.replace(config, dataset=dataset)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fitting, "data_set_of", lambda config: FirstTrials(data_set_of(config), N_TRIALS))
        path = fitting.fit_subject(config, 1, "bold")
    return msgspec.structs.replace(config, dataset=msgspec.structs.replace(dataset, betas="bold")), path


def test_weights_of_a_bids_folders_bold_learn_the_subjects_prior_from_runs_that_are_not_held_out(
    fitted_on_bold, folder
):
    config, path = fitted_on_bold
    weights = Weights.load(path)
    assert path == weights_path(config, 1, "bold")
    assert (weights.card.kind, weights.card.estimates, weights.card.test_runs) == ("bold", "bold", "2")
    assert weights.card.tr_s == pytest.approx(4 / 3, abs=1e-4)
    assert weights.card.prior_runs == ((1, 1), (1, 3))
    own = BidsFolder(folder, "nsd", "T1w", estimates="bold")
    mean = np.mean([own.bold_mean(1, 1, run) for run in (1, 3)], axis=0).reshape(-1)[weights.voxel_index]
    assert weights.bold.mean_signal == pytest.approx(mean, rel=1e-5)
    assert weights.bold.amplitude_variance != BoldPrior.vague(1).amplitude_variance


def test_held_out_runs_are_decoded_from_estimates_under_the_weights_prior(fitted_on_bold, folder):
    config, _ = fitted_on_bold
    decoder = SubjectDecoder.load(config, 1)
    trials = decoder.test_trials
    assert set(trials.run) == {2}
    own = BidsFolder(folder, "nsd", "T1w", estimates="bold", test_runs=[2])
    expected = final_estimates(own, 1, decoder.weights.voxel_index, decoder.weights.bold)
    assert (decoder.test_voxels == expected.voxels[own.trials(1).run == 2]).all()
    held_out, _ = held_out_of(decoder)
    assert (held_out.voxels == decoder.test_voxels).all()


def test_weights_are_not_scored_on_other_runs_than_they_held_out(fitted_on_bold):
    config, _ = fitted_on_bold
    other = msgspec.structs.replace(config, dataset=msgspec.structs.replace(config.dataset, test_runs="3"))
    with pytest.raises(DataSetError, match="fitted with test runs 2, the settings name test runs 3: give --test-runs"):
        SubjectDecoder.load(other, 1)


def test_held_out_trials_of_the_priors_runs_are_not_decoded(fitted_on_bold):
    _, path = fitted_on_bold
    weights = Weights.load(path)
    zeros = np.zeros(3, int)
    trials = Trials(zeros + 1, np.array([1, 2, 3]), zeros, zeros, np.full(3, True), zeros, zeros, zeros)
    assert is_held_out(weights, trials).tolist() == [False, True, False]
    with pytest.raises(DecodingError, match="every held-out trial is of a run that the BOLD prior was learned from"):
        is_held_out(weights, trials.of(np.array([0, 2])))
    with pytest.raises(DecodingError, match="no trial is held out"):
        is_held_out(weights, replace(trials, is_shared=np.full(3, False)))


def test_bold_of_nsd_is_not_scored_on_runs_that_the_prior_was_learned_on(fitted_on_bold, tree):
    _, path = fitted_on_bold
    trials = tree.trials(1)
    picture_ids = np.unique(trials.nsd_id[trials.is_shared])
    row, rows = bold_rows(tree, 1, Weights.load(path), picture_ids)["final"]
    assert trials.is_shared[rows].all()
    assert set(trials.run[rows]) == set(trials.run[trials.is_shared]) - {1, 3}
    assert (picture_ids[row.picture_of_row] == trials.nsd_id[rows]).all()


def test_pictures_of_both_sides_are_not_encoded(fitted_on_bold, folder):
    own = BidsFolder(folder, "nsd", "T1w", test_runs=[2])
    trials = own.trials(1)
    assert set(trials.nsd_id[trials.is_shared]) & set(trials.nsd_id[~trials.is_shared])
    config, _ = fitted_on_bold
    arguments = ["--bids", folder, "--task", "nsd", "--space", "T1w", "--test-runs", "2", "--data", config.paths.data]
    answer = CliRunner().invoke(main, ["encode", *map(str, arguments)])
    assert answer.exit_code == 1
    assert "shown in training runs and in test runs" in answer.stderr


def test_responses_of_another_kind_than_the_weights_are_refused(fitted, tree, tmp_path):
    nsd, _ = fitted
    other = tmp_path / "nsd"
    other.mkdir()
    for path in tree.root.iterdir():
        (other / path.name).symlink_to(path)
    (other / "nsddata_betas").unlink()
    target = other / "nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf"
    target.parent.mkdir(parents=True)
    target.symlink_to(tree.root / "nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf_GLMdenoise_RR")
    config = load_config(
        None, {"paths": {"data": nsd.paths.data, "nsd": str(other)}, "dataset": {"betas": "betas_fithrf"}}
    )
    assert data_set_of(config).estimates == "betas_fithrf"
    with pytest.raises(DataSetError, match=r"fitted on betas_fithrf_GLMdenoise_RR.*give --betas"):
        SubjectDecoder.load(config, 1)


def test_a_taken_folder_is_left_alone(tree, folder):
    with pytest.raises(BidsError, match="is there already"):
        write_bids(tree, [1], folder, lambda *_: None)
