"""`braind check`: what would spoil a scan has its own line and exit status, and the rest is still checked."""

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace

import numpy as np
import psutil
import pytest
from label_weights import label_files, label_weights
from msgspec import structs
from nifti_files import nifti
from running_daemon import N_VOXELS, SHAPE, RunningDaemon

from braind.models.weights.bold_prior import BoldPrior

LINES = ["weights", "candidates", "ldm", "libzmq", "ports", "keys", "disk", "writing", "daemon", "speed", "clock"]
RECORDING = ["mask", *LINES[3:]]


class Checked:
    """The report of a `braind check` that has ended."""

    def __init__(self, done):
        self.status, self.stderr = done.returncode, done.stderr
        assert "Traceback" not in done.stderr
        self.report = json.loads(done.stdout)
        assert self.report["exit_status"] == self.status
        self.lines = self.report["checks"]

    def of(self, name):
        """Return the only line of a check."""
        (line,) = [line for line in self.lines if line["check"] == name]
        return line

    def names(self):
        return [line["check"] for line in self.lines]

    def failed(self):
        return {line["check"]: line["exit_status"] for line in self.lines if line["level"] == "fail"}


def command(data, *options):
    ports = [word for name in ("ingest", "decodes", "control") for word in (f"--{name}-port", "0")]
    base = [sys.executable, "-m", "braind", "check", "--data", data, "--engine", "torch", "--threads", "1", *ports]
    return [str(word) for word in (*base, *options)]


def checked(data, *options, **process):
    done = subprocess.run(
        command(data, "--json", *options), capture_output=True, text=True, timeout=240, check=False, **process
    )
    assert done.stdout, done.stderr
    return Checked(done)


@pytest.fixture
def served(files):
    """The options that name the tests' weights."""
    return ["--weights", files.weights_path, "--candidates", files.candidates_path]


@pytest.fixture
def mask(tmp_path):
    """A mask of the voxels to record: a check with a mask starts no decoder, and is quick."""
    return nifti(tmp_path / "mask.nii", np.ones(SHAPE, np.uint8))


# ── when all is well ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_scan_that_will_work_is_all_ok_and_leaves_nothing_behind(served, tmp_path):
    done = subprocess.run(command(tmp_path / "data", *served, "--tr", 100), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[1] for line in lines] == LINES
    assert not [line for line in lines if line.startswith("fail")]
    assert "\x1b" not in done.stdout + done.stderr
    assert "8 pictures received" in lines[LINES.index("daemon")]
    assert list((tmp_path / "data").iterdir()) == []


def test_bold_weights_get_volumes_and_onsets_until_every_trial_has_its_picture(files, tmp_path):
    card = structs.replace(files.weights.card, kind="bold", tr_s=1.0)
    prior = replace(BoldPrior.vague(N_VOXELS), mean_signal=np.full(N_VOXELS, 700, np.float32))
    bold = replace(files.weights, card=card, bold=prior, fingerprint="")
    bold.save(tmp_path / "bold.safetensors")
    report = checked(
        tmp_path / "data", "--weights", tmp_path / "bold.safetensors", "--candidates", files.candidates_path
    )
    assert report.failed().keys() <= {"speed"}  # a busy machine may take longer than the TR
    assert "8 pictures received" in report.of("daemon")["sentence"]
    figures = report.of("speed")["figures"]
    assert 0 < figures["ack_s"] < figures["ridge_s"] < figures["xzc_s"] <= figures["p95_s"]
    assert "TR of 1 s" in report.of("speed")["sentence"]


@pytest.mark.parametrize("kind", ["beta", "bold"])
def test_weights_that_decode_classes_need_neither_candidates_nor_a_model(tmp_path, kind):
    card = {"tr_s": 1.0} if kind == "bold" else {}
    files = label_files(label_weights(kind, **card), tmp_path)
    report = checked(tmp_path / "data", "--weights", files.weights_path, "--tr", 1, "--refine", "quality-20")
    assert report.failed().keys() <= {"speed"}  # as above
    assert report.names() == LINES
    for line in ("candidates", "ldm"):
        assert report.of(line)["sentence"] == "not needed: the weights decode 8 classes and no pictures"
    assert "8 decodes of classes received" in report.of("daemon")["sentence"]
    assert "none" not in report.of("daemon")["sentence"]


def test_recording_with_a_mask_is_checked_without_weights(mask, tmp_path):
    report = checked(tmp_path / "data", "--mask", mask, "--kind", "bold", "--tr", 100)
    assert report.status == 0
    assert report.names() == RECORDING
    assert report.of("mask")["figures"] == {"n_voxels": np.prod(SHAPE)}
    assert "8 volumes sent, acked after" in report.of("daemon")["sentence"]
    assert report.of("writing")["figures"]["commit_s"] > 0


def test_settings_of_the_environment_reach_the_daemon_that_is_tried(mask, tmp_path):
    variables = {"BRAIND_SERVE__STORE_VOLUMES": "true", "BRAIND_PATHS__DATA": str(tmp_path / "never")}
    report = checked(tmp_path / "data", "--mask", mask, "--volumes", 1000, env={**os.environ, **variables})
    assert not report.failed()
    # The whole volume is kept beside the voxels of the mask, which are all voxels here.
    assert report.of("disk")["figures"]["least_bytes"] == 1000 * 2 * 4 * np.prod(SHAPE)
    assert not (tmp_path / "never").exists()


# ── 2: settings and files ───────────────────────────────────────────────────────────────────────────────────────────


def test_missing_weights_are_2_and_the_rest_is_still_checked(files, tmp_path):
    report = checked(tmp_path / "data", "--weights", tmp_path / "none.safetensors", "--subject", 3)
    assert report.status == 2
    assert report.failed() == {"weights": 2, "candidates": 2}
    assert "braind fit --subject 3" in report.of("weights")["sentence"]
    for name in ("libzmq", "ports", "keys", "disk", "writing"):
        assert not report.of(name)["sentence"].startswith("left out: ")
    for name in ("ldm", "daemon"):
        assert report.of(name)["level"] == "warn"
        assert report.of(name)["sentence"].startswith("left out: ")


def test_a_model_that_does_not_load_is_2_in_the_words_of_the_decoder(files, served, tmp_path):
    ldm_path = tmp_path / "ldm"
    (ldm_path / "unet").mkdir(parents=True)
    for path in files.ldm_path.iterdir():
        if path.name != "unet":
            (ldm_path / path.name).symlink_to(path)
    # The fingerprint that the weights name is of the autoencoder and the text encoder.
    (ldm_path / "unet" / "config.json").write_bytes((files.ldm_path / "unet" / "config.json").read_bytes())
    report = checked(tmp_path / "data", *served, "--ldm", ldm_path)
    assert report.of("ldm")["level"] == "ok"
    assert report.failed() == {"daemon": 2}
    assert "unet holds no .safetensors file" in report.of("daemon")["sentence"]


@pytest.mark.parametrize("options", [["--tr", "nan"], ["--tr", "inf"], ["--preset", "life-4"], ["--volumes", "0"]])
def test_options_that_are_wrong_are_2_before_anything_is_checked(tmp_path, options):
    done = subprocess.run(command(tmp_path, *options), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")


# ── 4: ports and keys ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_port_in_use_is_4_and_named(mask, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        report = checked(tmp_path / "data", "--mask", mask, "--decodes-port", port)
    assert (report.status, report.failed()) == (4, {"ports": 4})
    assert f"port {port}" in report.of("ports")["sentence"]
    assert "decodes_port" in report.of("ports")["sentence"]
    # The daemon that is tried has ports of its own.
    assert report.of("daemon")["level"] == "ok"


# ── 5 and 6: disk and speed ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_disk_that_takes_no_bytes_is_5(mask, tmp_path):
    # With `-f` the shell limits the size of every file: writing fails as on a full disk.
    words = command(tmp_path / "data", "--json", "--mask", mask)
    limited = ["bash", "-c", 'ulimit -f 8; exec "$@"', "bash", *words]
    report = Checked(subprocess.run(limited, capture_output=True, text=True, timeout=120))
    assert (report.status, report.failed()) == (5, {"writing": 5})
    assert report.of("daemon")["sentence"].startswith("left out: ")


def test_volumes_that_come_faster_than_they_are_kept_are_6(mask, tmp_path):
    report = checked(tmp_path / "data", "--mask", mask, "--tr", 1e-6)
    assert report.failed()["speed"] == 6
    assert "too slow for a TR of 1e-06 s" in report.of("speed")["sentence"]


def test_the_first_line_that_fails_gives_the_status(mask, tmp_path):
    empty = nifti(tmp_path / "empty.nii", np.zeros(SHAPE, np.uint8))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        report = checked(tmp_path / "data", "--mask", empty, "--ingest-port", port, "--volumes", 10**13)
    assert report.failed() == {"mask": 2, "ports": 4, "disk": 5}
    assert report.status == 2


# ── beside a running daemon ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def recording(files, mask, tmp_path):
    daemon = RunningDaemon(files, tmp_path / "running", mask=mask)
    daemon.start()
    yield daemon
    daemon.close()


def test_a_running_daemon_of_the_folder_is_not_disturbed(recording, mask):
    before = recording.status()
    files_before = sorted(recording.data_path.rglob("*"))
    report = checked(recording.data_path, "--mask", mask, "--config", recording.data_path / "config.toml")
    assert report.status == 0
    assert f"process {before.pid}" in report.of("ports")["sentence"]
    for name in ("writing", "speed"):
        assert report.of(name)["sentence"].startswith("left out: ")
    assert sorted(recording.data_path.rglob("*")) == files_before
    assert structs.replace(recording.status(), uptime_s=0.0) == structs.replace(before, uptime_s=0.0)


def test_a_running_daemon_that_does_not_answer_is_1(recording, mask):
    os.kill(recording.process.pid, signal.SIGSTOP)
    try:
        report = checked(recording.data_path, "--mask", mask)
    finally:
        os.kill(recording.process.pid, signal.SIGCONT)
    assert (report.status, report.failed()) == (1, {"daemon": 1})
    assert "does not answer" in report.of("daemon")["sentence"]


def test_a_running_daemon_with_other_weights_is_a_warning(recording, served):
    line = checked(recording.data_path, *served).of("daemon")
    assert line["level"] == "warn"
    assert recording.status().weights in line["sentence"]


def test_a_check_that_is_ended_ends_the_daemon_that_it_tried(served, tmp_path):
    check = subprocess.Popen(command(tmp_path / "data", *served), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    children: list[psutil.Process] = []
    for line in check.stdout:
        if b"writing" in line:  # The trial run is next.
            while len(children) < 2:  # The daemon and its decoder.
                children = psutil.Process(check.pid).children(recursive=True)
            break
    check.send_signal(signal.SIGTERM)
    assert check.wait(120) == 130
    _, alive = psutil.wait_procs(children, 60)
    assert not alive
    assert list((tmp_path / "data").iterdir()) == []
    check.stdout.close()
    check.stderr.close()
