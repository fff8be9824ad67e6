"""A person's run (Haxby et al. 2001) through `braind serve` and `braind send`: the classes of the offline estimates.

The run is a simulated one where the data are not beside the repository.
"""

import csv
import subprocess
import sys
from pathlib import Path

import msgspec
import nibabel as nib
import numpy as np
import pytest
from label_weights import CLASSES, expected_labels, label_files, label_map, labels_of
from running_daemon import RunningDaemon

from braind.models.bold.estimator import CausalEstimator
from braind.models.weights.blank import blank_weights
from braind.models.weights.bold_prior import without_signal
from braind.models.weights.roi import gather
from braind.models.weights.weights import Weights

FOLDER = Path(__file__).resolve().parents[2].parent / "shared/data/haxby-slice/func"
N_VOLUMES = 60


def simulated(folder):
    """Write a run of noise with two dead voxels and its events; return their paths."""
    data = 1000 + np.random.default_rng(0).normal(scale=10, size=(6, 5, 2, N_VOLUMES))
    data[:2, 0, 0] = 0
    image = nib.Nifti1Image(data.astype(np.int16), np.diag([3.0, 3.0, 3.0, 1.0]))
    image.header.set_zooms((3.0, 3.0, 3.0, 2.5))
    nib.save(image, folder / "bold.nii.gz")
    rows = [f"{15.0 + 25 * block}\t15.0\t{label}" for block, label in enumerate(("face", "n/a", "7", "cat"))]
    (folder / "events.tsv").write_text("\n".join(["onset\tduration\ttrial_type", *rows]) + "\n")
    return folder / "bold.nii.gz", folder / "events.tsv"


def real(folder):
    """Return the paths of a person's run, cut to its first volumes."""
    if not FOLDER.is_dir():
        pytest.skip("haxby-slice is not beside the repository")
    image = nib.load(FOLDER / "sub-01_task-objects_run-01_bold.nii.gz")
    nib.save(image.slicer[..., :N_VOLUMES], folder / "bold.nii.gz")
    return folder / "bold.nii.gz", FOLDER / "sub-01_task-objects_run-01_events.tsv"


def weights_for(image):
    """Return weights of all voxels of an image, which decode classes with the vague prior."""
    blank = blank_weights(1, np.ones(image.shape[:3], bool), image.affine, "bold")
    n_voxels = len(blank.voxel_index)
    tr_s = float(image.header.get_zooms()[3])
    return Weights(
        voxel_index=blank.voxel_index,
        voxel_mean=np.random.default_rng(1).normal(size=n_voxels).astype(np.float32),
        voxel_std=blank.voxel_std,
        z=blank.z,
        c=blank.c,
        card=msgspec.structs.replace(blank.card, labels=CLASSES, tr_s=tr_s),
        labels=label_map(n_voxels, len(CLASSES), size=0.05),
    )


def offline(weights, image, rows):
    """Return the classes of each estimate by event, volume and finality, as an offline program makes them."""
    estimator = CausalEstimator(weights.card.tr_s, weights.bold_prior)
    for event, row in enumerate(rows):
        estimator.add_event(event, float(row["onset"]), float(row["duration"]))
    found = {}
    first = gather(np.asarray(image.dataobj[..., 0]), weights.voxel_index)
    for index in range(image.shape[3]):
        estimator.add_volume(index, gather(np.asarray(image.dataobj[..., index]), weights.voxel_index))
        for one in estimator.current_estimates():
            found[one.event_number, index, one.is_final] = one
    found |= {(one.event_number, image.shape[3] - 1, True): one for one in estimator.finish()}
    assert without_signal(first).any()
    return {
        key: (
            expected_labels(weights, np.where(one.has_signal, one.betas, weights.voxel_mean)),
            int((~one.has_signal).sum()),
        )
        for key, one in found.items()
    }


@pytest.mark.parametrize("make_run", [real, simulated])
def test_a_sent_run_is_decoded_into_the_classes_of_the_offline_estimates_bit_for_bit(tmp_path, make_run):
    image_path, events_path = make_run(tmp_path)
    image = nib.load(image_path)
    with events_path.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    weights = weights_for(image)
    daemon = RunningDaemon(label_files(weights, tmp_path), tmp_path / "data").start()
    try:
        words = ["send", image_path, "--events", events_path, "--flat-out", "--session", "ses", "--run", "one"]
        words += ["--tr", weights.card.tr_s, "--to", daemon.addresses["ingest"].removeprefix("tcp://")]
        words += ["--data", daemon.data_path]
        command = [sys.executable, "-m", "braind", *map(str, words)]
        sent = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert sent.returncode == 0, sent.stderr
        daemon.wait_until(lambda status: status.n_waiting == 0 and status.n_acked == image.shape[3])
        expected = offline(weights, image, rows)
        n_finals = sum(is_final for *_, is_final in expected)

        def finals(decodes):
            return [decode for decode, _ in decodes if decode.is_final]

        daemon.wait_until(lambda _: len(finals(daemon.decodes())) == n_finals)
        decodes = [decode for decode, _ in daemon.decodes()]
    finally:
        daemon.close()
    found = {
        (decode.event, decode.index, decode.is_final): (labels_of(decode), decode.n_without_signal)
        for decode in decodes
    }
    assert found == expected
    assert n_finals >= 3
    named = {decode.event: decode.label for decode in decodes}
    assert named == {
        event: None if rows[event]["trial_type"] == "n/a" else rows[event]["trial_type"] for event in named
    }
