"""The estimator on BOLD of a person (Haxby et al. 2001), with its dead voxels, motion and drift."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from braind.models.bold.estimator import CausalEstimator
from braind.models.bold.finished_run import FinishedRun, estimates_of
from braind.models.bold.fit_prior import fit_prior

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
