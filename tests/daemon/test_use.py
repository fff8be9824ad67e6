"""A daemon that begins without weights: it records, is told which weights to use between two runs, and goes on."""

import subprocess
import sys
from pathlib import Path

import msgspec
import nibabel as nib
import numpy as np
import pytest
from running_daemon import AFFINE, SHAPE, LdmFacts, RunningDaemon, hello, random_weights, volume_frames

from braind.client import wire
from braind.client.control import ControlClient
from braind.client.subscriber import DecodeSubscriber
from braind.daemon.journal.recording import Recording
from braind.models.fit_profiles import FitError
from braind.offline.fit.calibrate import follow_calibration


@pytest.fixture(scope="module")
def daemon(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("use")
    mask = np.zeros(SHAPE, np.uint8)
    mask.flat[files.weights.voxel_index] = 1
    nib.save(nib.Nifti1Image(mask, np.array(AFFINE)), folder / "mask.nii.gz")
    daemon = RunningDaemon(files, folder, mask=folder / "mask.nii.gz")
    yield daemon.start()
    daemon.close()


@pytest.fixture
def scanner(daemon):
    with daemon.connect("ingest") as scanner:
        yield scanner


def address(daemon, socket):
    host, port = daemon.addresses[socket].removeprefix("tcp://").split(":")
    return host, int(port)


def use(daemon, weights_path):
    (answer,) = daemon.ask(wire.Use(weights=str(weights_path), candidates=str(daemon.files.candidates_path)))
    return answer


def record(scanner, run, n_volumes=2):
    welcome = scanner.ask(hello(run=run))
    for index in range(n_volumes):
        answer = scanner.ask_frames(
            volume_frames(index, run=run, stimulus=f"{index}.png", captions=("a red ball", "a ball"))
        )
        assert isinstance(answer, wire.Ack)
    return welcome


def end(scanner, run, n_volumes=2):
    assert isinstance(scanner.ask(wire.EndRun(session="ses", run=run, n_volumes=n_volumes)), wire.Ack)


def test_without_weights_volumes_are_recorded_with_what_they_show_and_nothing_is_decoded(daemon, scanner):
    assert daemon.status().state == "recording"
    record(scanner, "calibration")
    end(scanner, "calibration")
    status = daemon.status()
    assert (status.state, status.n_acked, status.n_waiting, status.engine) == ("recording", 2, 0, "")
    with Recording(daemon.data_path / "journals/ses.sqlite3") as recording:
        (run,) = recording.runs()
        assert recording.voxel_index(run).tolist() == daemon.files.weights.voxel_index.tolist()
        headers = [header for _, header in recording.volumes(run)]
    assert [header.stimulus for header in headers] == ["0.png", "1.png"]
    assert headers[0].captions == ("a red ball", "a ball")


def test_after_each_run_that_ends_a_fit_is_made_and_viewers_hear_how_good_it_is(daemon, scanner):
    told = wire.Calibration(session="ses", n_trials=24, n_pictures=20, minutes=1.6, two_way=0.71, low=0.65, high=0.77)
    fitted, said = [], []

    class Fit:
        def fit(self, paths):
            fitted.append([path.name for path in paths])
            if len(fitted) == 1:
                raise FitError("2 pictures are too few for 5 folds; take more sessions")
            return Path("sub-01_0123.safetensors"), told

    def say(words):
        said.append(words)
        record(scanner, f"calibration-{len(said)}")
        end(scanner, f"calibration-{len(said)}")

    earlier = [Path("monday.sqlite3")]
    with (
        ControlClient(*address(daemon, "control")) as control,
        DecodeSubscriber(*address(daemon, "decodes"), address(daemon, "control")[1]) as subscriber,
    ):
        follow_calibration(Fit(), earlier, control, subscriber, say, lambda: len(said) == 2)
    assert fitted == [["monday.sqlite3", "ses.sqlite3"]] * 2
    assert said[0].startswith("2 pictures are too few")
    assert said[1] == (
        "sub-01_0123.safetensors\t24 trials of 20 pictures in 1.6 minutes: two-way 0.71 (0.65–0.77, chance 0.50)"
    )
    with daemon.watch() as viewer:
        beat = viewer.receive()
    assert beat.calibration == told


def test_weights_that_do_not_fit_or_come_at_the_wrong_time_are_refused_by_name(daemon, scanner, tmp_path):
    files = daemon.files
    other_ldm = random_weights(LdmFacts("another", files.ldm.latent_shape, files.ldm.text_shape))
    moved = np.array(AFFINE)
    moved[0, 3] += 5
    card = msgspec.structs.replace(files.weights.card, affine=tuple(tuple(row) for row in moved.tolist()))
    other_grid = type(files.weights)(
        **{**{name: getattr(files.weights, name) for name in ("voxel_index", "voxel_mean", "voxel_std", "z", "c")},
           "card": card}
    )  # fmt: skip
    other_ldm.save(tmp_path / "ldm.safetensors")
    other_grid.save(tmp_path / "grid.safetensors")
    for name, code, words in (
        ("ldm", "ldm", "fitted for the LDM another"),
        ("grid", "affine", "are of another grid than this daemon's"),
        ("missing", "weights", "is missing"),
    ):
        refused = use(daemon, tmp_path / f"{name}.safetensors")
        assert (refused.code, words in refused.sentence) == (code, True), refused
    record(scanner, "open")
    refused = use(daemon, files.weights_path)
    assert (refused.code, "run open is open" in refused.sentence) == ("run_open", True)
    end(scanner, "open")
    assert daemon.status().state == "recording"


def test_other_weights_are_taken_between_two_runs_and_nothing_is_lost(daemon, scanner, tmp_path):
    files, pid = daemon.files, daemon.status().pid
    command = [sys.executable, "-m", "braind", "use", files.weights_path, "--candidates", files.candidates_path]
    ran = subprocess.run([*command, "--data", daemon.data_path], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, f"weights {files.weights.fingerprint} in use\n"), ran.stderr
    status = daemon.status()
    assert (status.state, status.weights, status.pid) == ("ready", files.weights.fingerprint, pid)

    # a run goes on under the weights that it began with, or not at all
    refused = scanner.ask_frames(volume_frames(2, run="open"))
    assert refused.code == "weights"
    with daemon.watch() as viewer:
        assert record(scanner, "first").weights == files.weights.fingerprint
        heard = viewer.until(lambda message: (message.run, message.index, message.stage) == ("first", 1, "xzc"))
    assert {message.provenance.weights for message, _ in heard} == {files.weights.fingerprint}
    end(scanner, "first")

    other = random_weights(files.ldm, seed=5)
    other.save(tmp_path / "other.safetensors")
    daemon.wait_until(lambda status: status.n_waiting == 0)
    n_restarts = daemon.status().decoder_restarts
    assert isinstance(use(daemon, tmp_path / "other.safetensors"), wire.Done)
    # acked while the decoder warms up, decoded when it has
    with daemon.watch() as viewer:
        assert record(scanner, "second").weights == other.fingerprint
        heard = viewer.until(lambda message: (message.run, message.index, message.stage) == ("second", 1, "xzc"))
    assert {message.provenance.weights for message, _ in heard} == {other.fingerprint}
    status = daemon.status()
    assert (status.weights, status.pid, status.decoder_restarts) == (other.fingerprint, pid, n_restarts)
    published = {(message.run, message.index) for message, _ in daemon.decodes()}
    assert published == {(run, index) for run in ("first", "second") for index in (0, 1)}
    assert status.n_acked == 12


def test_a_busy_decoder_is_waited_for(daemon, scanner):
    daemon.ask(wire.Pause(paused=True))
    record(scanner, "third")
    end(scanner, "third")
    refused = use(daemon, daemon.files.weights_path)
    assert (refused.code, refused.retryable) == ("busy", True)
    daemon.ask(wire.Pause(paused=False))
    daemon.wait_until(lambda status: status.n_waiting == 0)
    assert isinstance(use(daemon, daemon.files.weights_path), wire.Done)
