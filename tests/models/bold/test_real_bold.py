"""The estimator on BOLD of a person (Haxby et al. 2001), with its dead voxels, motion and drift."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from braind.models.bold.estimator import CausalEstimator
from braind.models.bold.finished_run import FinishedRun, estimates_of
from braind.models.bold.fit_prior import fit_prior
from braind.models.bold.label_decoder import fit_label_decoder

FOLDER = Path(__file__).resolve().parents[3].parent / "shared/data/haxby-slice/func"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="haxby-slice is not beside the repository")


def read_run(number):
    name = f"sub-01_task-objects_run-{number:02d}"
    image = nib.load(FOLDER / f"{name}_bold.nii.gz")
    volumes = np.asarray(image.dataobj).reshape(-1, image.shape[-1]).T.astype(np.float32)
    rows = [line.split("\t") for line in (FOLDER / f"{name}_events.tsv").read_text().splitlines()[1:]]
    motion = np.loadtxt(FOLDER / f"{name}_motion.par")[:, [3, 4, 5, 0, 1, 2]]
    onsets_s, durations_s = (np.array([float(row[column]) for row in rows]) for column in (0, 1))
    run = FinishedRun(volumes, onsets_s, float(image.header.get_zooms()[3]), motion, durations_s)
    return run, [row[2] for row in rows]


@pytest.fixture(scope="module")
def run():
    return read_run(1)[0]


@pytest.fixture(scope="module")
def prior():
    return fit_prior([read_run(number)[0] for number in (2, 3)])


@pytest.fixture(scope="module")
def finals(run, prior):
    return {one.event_number: one for one in estimates_of(run, prior) if one.is_final}


def test_a_slice_with_dead_voxels_teaches_a_prior_that_can_be_used(run, prior):
    assert (run.volumes.max(axis=0) <= 0).sum() > 200
    prior.check()
    assert all(np.isfinite(tensor).all() for tensor in prior.tensors().values())


def test_every_block_has_one_finite_final_estimate(run, finals):
    assert sorted(finals) == list(range(len(run.onsets_s)))
    for final in finals.values():
        assert np.isfinite(final.betas).all()
        assert (final.std > 0).all()
        assert 0 <= final.uncertainty <= 1.001


def test_dead_voxels_have_no_response(run, finals):
    dead = run.volumes.max(axis=0) <= 0
    assert all(np.abs(final.betas[dead]).max() < 1e-3 for final in finals.values())


def test_betas_stay_in_the_range_of_percent_signal_change(run, finals):
    brain = run.volumes.mean(axis=0) > 0.3 * run.volumes.mean(axis=0).max()
    assert brain.sum() > 400
    assert np.percentile(np.abs(np.array([final.betas[brain] for final in finals.values()])), 99) < 10


def test_a_corrupted_volume_is_flagged_and_moves_betas_little(run, prior, finals):
    spoiled = run.volumes.copy()
    spoiled[9] *= 1.5
    estimator = CausalEstimator(run.tr_s, prior)
    run.add_events(estimator)
    spikes = []
    for index, voxels in enumerate(spoiled):
        estimator.add_volume(index, voxels)
        spikes.append(estimator.flags.is_spike)
    assert spikes[9]
    brain = run.volumes.mean(axis=0) > 500
    found, whole = estimator.estimate(0).betas[brain], finals[0].betas[brain]
    assert np.abs(found - whole).mean() < 2


def test_a_run_that_joins_late_gives_finite_estimates_of_the_later_blocks(run, prior):
    late = FinishedRun(
        run.volumes[30:], run.onsets_s, run.tr_s, run.motion[30:], run.durations_s, np.arange(30, len(run.volumes))
    )
    found = {one.event_number: one for one in estimates_of(late, prior) if one.is_final}
    assert set(found) >= {3, 4, 5, 6, 7}
    assert 0 not in found
    assert all(np.isfinite(one.betas).all() for one in found.values())


def test_motion_estimates_of_a_calm_run_flag_few_volumes(run, prior):
    estimator = CausalEstimator(run.tr_s, prior)
    run.add_events(estimator)
    flagged, displacements_mm = 0, []
    for _ in run.add_volumes(estimator):
        flagged += estimator.flags.is_spike
        displacements_mm.append(estimator.flags.displacement_mm)
    wanted = np.abs(np.diff(run.motion, axis=0) * [1, 1, 1, 50, 50, 50]).sum(axis=1)
    assert displacements_mm == pytest.approx([0, *wanted])
    assert flagged < len(run.volumes) / 10


@pytest.fixture(scope="module")
def labelled():
    """Return all twelve runs with the classes of their blocks."""
    return [run.with_labels(tuple(labels)) for run, labels in map(read_run, range(1, 13))]


@pytest.fixture(scope="module")
def decoder(labelled):
    return fit_label_decoder(labelled[:8])


def accuracy(decoder, runs, delay_s=None):
    """Return the number of blocks, and the share that is decoded at a delay after onset or finally."""
    right = {}
    for number, run in enumerate(runs):
        for estimate in estimates_of(run, decoder.prior):
            is_meant = estimate.is_final if delay_s is None else estimate.since_onset_s >= delay_s - 1e-6
            if is_meant and (number, estimate.event_number) not in right:
                decoded = decoder.classes[decoder.probabilities(estimate).argmax()]
                right[number, estimate.event_number] = decoded == run.label(estimate.event_number)
    return len(right), np.mean(list(right.values()))


@pytest.mark.parametrize("delay_s", [12.5, None], ids=["at 12.5 s", "finally"])
def test_classes_of_new_runs_are_decoded(decoder, labelled, delay_s):
    n_blocks, share = accuracy(decoder, labelled[8:], delay_s)
    assert n_blocks == 32
    assert share > 0.5  # chance is 0.125


@pytest.mark.parametrize("seed", [0, 1])
def test_37_voxels_that_die_in_the_test_runs_cost_little(decoder, labelled, seed):
    brain = np.flatnonzero(labelled[0].volumes.mean(axis=0) > 0.3 * labelled[0].volumes.mean(axis=0).max())
    dead = np.random.default_rng(seed).choice(brain, 37, replace=False)
    spoiled = [replace(run, volumes=np.where(np.isin(np.arange(800), dead), 0, run.volumes)) for run in labelled[8:]]
    for delay_s in (12.5, None):
        assert accuracy(decoder, spoiled, delay_s)[1] >= accuracy(decoder, labelled[8:], delay_s)[1] - 0.1
