"""From a volume to what an experiment's programs get: each the real program, hearing one real daemon."""

import queue
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from running_daemon import AFFINE, SHAPE, RunningDaemon, values

from braind.client.scanner import ScannerClient

EXAMPLES = Path(__file__).parent.parent / "examples"
PATIENCE_S = 60.0
PAIR = {"right": 103, "foil": "picture 5"}


@pytest.fixture(scope="module")
def daemon(files, tmp_path_factory):
    daemon = RunningDaemon(files, tmp_path_factory.mktemp("outputs"), decode={"preset": "live-1"})
    yield daemon.start()
    daemon.close()


@pytest.fixture
def run(daemon, request):
    """A run of betas, open for volumes."""
    with ScannerClient(daemon.addresses["ingest"]) as client:
        yield client.open_run(
            session="ses", run=request.node.name, subject=1, kind="beta", shape=SHAPE, affine=AFFINE, tr_s=4.0,
            dtype="int16", **PAIR,
        )  # fmt: skip


@contextmanager
def program(*command, hears):
    """A program that follows the daemon; gives its lines, from after the one that says so."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = queue.Queue()
    pump = threading.Thread(target=lambda: [lines.put(line) for line in process.stdout])
    pump.start()
    try:
        while hears not in lines.get(timeout=PATIENCE_S):
            pass
        yield lines
    finally:
        process.kill()
        process.wait()
        pump.join()
        process.stdout.close()


def braind(daemon, *words):
    return [sys.executable, "-m", "braind", *words, "--data", str(daemon.data_path)]


def scores_of(daemon, run):
    """The `scores` messages that were published of a run."""
    found = [message for message, _ in daemon.decodes() if message.run == run]
    return [message for message in found if message.stage == "scores"]


def test_each_decode_is_a_line_in_a_datagram(daemon, run):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stimulus_computer:
        stimulus_computer.bind(("127.0.0.1", 0))
        stimulus_computer.settimeout(PATIENCE_S)
        port = stimulus_computer.getsockname()[1]
        with program(*braind(daemon, "outlet", "udp", f"127.0.0.1:{port}"), hears="is heard"):
            for number in range(2):
                run.send(values(number), scale=1 / 300, trial=40 + number)
            datagrams = [stimulus_computer.recv(65536) for _ in range(2)]
    for number, (datagram, decode) in enumerate(zip(datagrams, scores_of(daemon, run.hello.run), strict=True)):
        best = decode.retrieved[0]
        assert datagram.decode() == (
            f"{decode.seq}\tses\t{run.hello.run}\t{number}\t{40 + number}\tn/a\tn/a\t1\t{decode.feedback:.4f}\t"
            f"{best.score:.4f}\t{best.nsd_id}\t{best.label}\tn/a\tn/a\tn/a\tn/a\n"
        )
        assert decode.feedback != 0


def test_each_decode_is_a_sample_of_an_lsl_stream(daemon, run):
    from braind.client.outlets.lsl import CHANNELS, load_pylsl
    from braind.errors import BraindError

    try:
        pylsl = load_pylsl()
    except BraindError as error:
        pytest.skip(str(error))
    with program(*braind(daemon, "outlet", "lsl", "--name", "decodes of a test"), hears="is heard"):
        source_id = f"braind {daemon.addresses['decodes']}"
        (info,) = pylsl.resolve_byprop("source_id", source_id, timeout=PATIENCE_S)
        assert (info.name(), info.type(), info.channel_format()) == ("decodes of a test", "Decode", pylsl.cf_double64)
        inlet = pylsl.StreamInlet(info, recover=False)
        inlet.open_stream(PATIENCE_S)
        assert inlet.info().get_channel_labels() == list(CHANNELS)
        run.send(values(2), scale=1 / 300)
        sample, _ = inlet.pull_sample(PATIENCE_S)
        inlet.close_stream()
    (decode,) = scores_of(daemon, run.hello.run)
    best = decode.retrieved[0]
    expected = [decode.seq, 0, np.nan, np.nan, np.nan, 1, decode.feedback, best.score, best.nsd_id, np.nan, np.nan]
    np.testing.assert_array_equal(sample, expected)


def test_the_feedback_example_prints_the_score_and_draws_the_picture(daemon, run):
    ports = [word for name in ("decodes", "control")
             for word in (f"--{name}", daemon.addresses[name].rpartition(":")[2])]  # fmt: skip
    command = [sys.executable, str(EXAMPLES / "feedback.py"), "--terminal", "--pictures", "1", *ports]
    with program(*command, hears="the daemon is heard") as lines:
        run.send(values(3), scale=1 / 300)
        said = []
        while not said or "drawn" not in said[-1]:
            said.append(lines.get(timeout=PATIENCE_S))
    (decode,) = scores_of(daemon, run.hello.run)
    said = [line for line in said if "heard" not in line]
    assert said[0] == f"volume 0: feedback {decode.feedback:+.3f} (right: 103, foil: picture 5)\n"
    assert [line.count("▀") for line in said[1:-1]] == [48] * 24


def test_the_senders_clock_is_in_the_status(daemon, run):
    run.send(values(4), scale=1 / 300)
    said = subprocess.run(braind(daemon, "status"), capture_output=True, text=True, check=True).stdout
    words = dict(line.split(maxsplit=1) for line in said.splitlines())
    # Both programs read the same machine's clock.
    assert abs(float(words["clock_offset_s"])) <= float(words["clock_uncertainty_s"]) < 1
