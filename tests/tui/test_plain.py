"""What programs and pipes get of the monitor: `--plain`, `--json`, `--once`, each from the real command."""

import json
import os
import pty
import signal
import subprocess
import sys

import pytest

from braind.client import wire
from braind.tui.programs.decode_fields import HEADER, DecodeFields, plain_line

SESSION, RUN = "sub-01_ses-14", "sub-01_ses-14_run-03"
"""What the played daemon is sent."""
TIMEOUT_S = 20.0
MADE_S, MADE = 1795943813.672, "2026-11-29T09:16:53.672Z"


def monitor_command(*options):
    return [sys.executable, "-m", "braind", "monitor", *options]


@pytest.fixture
def environment(daemon, tmp_path):
    """The settings of a monitor of the daemon."""
    return {
        **os.environ,
        "XDG_CONFIG_HOME": str(tmp_path),
        "XDG_DATA_HOME": str(tmp_path),
        "BRAIND_SERVE__DECODES_PORT": daemon.decodes_endpoint.rpartition(":")[2],
        "BRAIND_SERVE__CONTROL_PORT": daemon.control_endpoint.rpartition(":")[2],
    }


@pytest.fixture
def start_monitor(daemon, environment):
    """Start monitors with pipes, which hear the daemon when this returns."""
    started = []

    def start(*options, waits=True, **streams):
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
        started.append(subprocess.Popen(monitor_command(*options), text=True, env=environment, **streams))
        if waits:
            daemon.wait_for_viewer()
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()


@pytest.fixture
def plain_monitor(start_monitor):
    """A process that writes the daemon's decodes, ready to hear them."""
    return start_monitor("--plain")


def row(line):
    """Return a line's fields that have a value, by their names in the first line."""
    return {name: word for name, word in zip(HEADER, line.rstrip("\n").split("\t"), strict=True) if word}


def test_a_closed_stdout_is_no_traceback(tmp_path):
    shell = f"exec {sys.executable} -m braind monitor --data {tmp_path} --plain >&-"
    with subprocess.Popen(["sh", "-c", shell], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr.readline().startswith("listening at")
        assert process.stderr.readline().startswith("waiting for a daemon")
        process.send_signal(signal.SIGINT)
        assert "Traceback" not in process.stderr.read()
        assert process.wait() == 130


def test_a_pipe_gets_one_line_a_decode_by_itself_and_no_escape_code(daemon, start_monitor):
    monitor = start_monitor()
    assert monitor.stdout.readline() == "\t".join(HEADER) + "\n"
    assert HEADER[:9] == (
        "session", "run", "volume", "trial", "seq", "time", "score", "retrieved", "feedback",
    )  # fmt: skip
    daemon.decode(0, label="a red\tfox\x1b[2J", trial=31, made_s=MADE_S, feedback=-0.25)
    line = monitor.stdout.readline()
    assert row(line) == {
        "session": SESSION, "run": RUN, "volume": "0", "trial": "31", "seq": "3", "time": MADE, "score": "0.900",
        "retrieved": "a red fox [2J.0", "feedback": "-0.250", "latency_ms": "400", "is_final": "1", "simulated": "1",
    }  # fmt: skip
    monitor.send_signal(signal.SIGINT)
    assert monitor.wait(TIMEOUT_S) == 130
    assert "\x1b" not in line + monitor.stderr.read()


@pytest.mark.parametrize("on_terminal", ["stdout", "stderr", "stdin"])
def test_no_screen_is_drawn_unless_every_stream_is_a_terminal(daemon, start_monitor, on_terminal):
    """`monitor | tee log`, `monitor 2>log` and `monitor </dev/null` have terminals too."""
    ours, theirs = pty.openpty()
    monitor = start_monitor(**{on_terminal: theirs})
    os.close(theirs)
    daemon.decode(0)
    with os.fdopen(ours) as terminal:
        stream = monitor.stdout or terminal
        assert stream.readline().split("\t")[0] == "session"
        assert "\x1b" not in stream.readline()


def test_plain_says_on_stderr_what_was_skipped_and_what_is_missing(daemon, plain_monitor):
    assert plain_monitor.stderr.readline() == f"listening at {daemon.decodes_endpoint}\n"
    daemon.decode(0)
    daemon.skip(1)
    daemon.decode(2)
    daemon.skip(3, "failed: out of memory", failed=True)
    daemon.miss(31, 3)
    plain_monitor.stdout.readline()
    assert [row(plain_monitor.stdout.readline())["volume"] for _ in range(2)] == ["0", "2"]
    assert plain_monitor.stderr.readline() == f"run {RUN}, volume 1: skipped, behind\n"
    assert plain_monitor.stderr.readline() == f"run {RUN}, volume 3: failed, out of memory\n"
    assert plain_monitor.stderr.readline() == f"run {RUN}: volumes 31–33 missing\n"
    plain_monitor.send_signal(signal.SIGINT)
    assert plain_monitor.wait(TIMEOUT_S) == 130
    assert plain_monitor.stderr.read() == ""


def test_json_is_one_object_a_decode_with_the_fields_of_a_line(daemon, start_monitor):
    monitor = start_monitor("--json")
    daemon.decode(7, label="a\nfox", trial=31, made_s=MADE_S)
    daemon.classify(8, {"face": 0.7, "a\t[b]": 0.3}, "face", event=1, since_onset_s=5.0, is_final=False)
    first, second = (json.loads(monitor.stdout.readline()) for _ in range(2))
    assert list(first) == list(HEADER)
    assert first == {
        "session": SESSION, "run": RUN, "volume": 7, "trial": 31, "seq": 3, "time": MADE, "score": 0.9,
        "retrieved": "a\nfox.0", "feedback": None, "latency_ms": 407.0, "event": None, "since_onset_s": None,
        "is_final": True, "sent_class": None, "class": None, "probability": None, "classes": None, "simulated": True,
        "rank": None, "n_candidates": None,
    }  # fmt: skip
    assert (second["event"], second["is_final"], second["sent_class"]) == (1, False, "face")
    assert second["classes"] == {"face": 0.7, "a\t[b]": 0.3}


def test_a_decode_without_a_field_leaves_it_empty_and_a_late_monitor_takes_no_others_scores(daemon):
    fields = DecodeFields()
    message = wire.Decode(
        seq=9, session="s", run="r", index=7, stage="scores", provenance=daemon.provenance, timings_s={},
        retrieved=(wire.Retrieved(label="fox", score=0.5),),
    )  # fmt: skip
    assert fields.take(message) is None
    for place in ({"session": "t"}, {"run": "q"}, {"index": 8}, {"event": 7}):
        other = {name: getattr(message, name) for name in message.__struct_fields__} | place
        finished = fields.take(wire.Decode(**other | {"seq": 10, "stage": "xzc", "retrieved": ()}))
        assert finished is not None
        assert row(plain_line(finished)).keys() == {"session", "run", "volume", "seq", "is_final", "simulated"} | (
            {"event"} if "event" in place else set()
        )


# ── what is said of the daemon ──────────────────────────────────────────────────────────────────────────────────────


def test_without_a_daemon_plain_says_what_it_waits_for_and_when_it_is_there_and_gone(
    start_daemon, daemon, start_monitor
):
    ports = {name: getattr(daemon, name).rpartition(":")[2] for name in ("decodes_endpoint", "control_endpoint")}
    daemon.close()
    monitor = start_monitor("--plain", waits=False)
    assert monitor.stderr.readline() == f"listening at {daemon.decodes_endpoint}\n"
    waiting = f"waiting for a daemon at {daemon.decodes_endpoint}: start it with `braind serve`\n"
    assert monitor.stderr.readline() == waiting
    started = start_daemon(decodes_port=ports["decodes_endpoint"], control_port=ports["control_endpoint"])
    started.wait_for_viewer()
    started.heartbeat("starting")
    assert monitor.stderr.readline() == "the daemon is heard\n"
    assert monitor.stderr.readline() == "the daemon is starting: it decodes when it is warmed up\n"
    started.heartbeat("ready")
    assert monitor.stderr.readline() == "the daemon is ready\n"
    started.close()
    assert monitor.stderr.readline() == f"the daemon is not heard any more; {waiting}"


def test_plain_says_once_that_no_volume_comes_and_nothing_while_paused(daemon, plain_monitor):
    plain_monitor.stderr.readline()
    daemon.heartbeat(state="paused", stalled_s=4.2)
    for stalled_s in (3.2, 4.2, None, 5.0):
        daemon.heartbeat(stalled_s=stalled_s)
    said = [plain_monitor.stderr.readline() for _ in range(4)]
    assert said == [
        "decoding is paused\n",
        "the daemon is ready\n",
        f"run {RUN}: no volume for 3.2 s\n",
        f"run {RUN}: no volume for 5.0 s\n",
    ]


def test_plain_writes_the_classes_of_a_block_at_every_tr_and_of_hostile_names_only_text(daemon, plain_monitor):
    plain_monitor.stdout.readline()
    daemon.classify(4, {"face": 0.7, "a\t[b]\x1b[2J": 0.3}, "face", event=1, since_onset_s=5.0, is_final=False)
    daemon.classify(5, {"face": 0.2, "cat": 0.8}, "dog", "zc", event=2, since_onset_s=7.5, is_final=False)
    daemon.classify(14, {"face": 0.4, "cat": 0.6}, event=1, since_onset_s=30.5)
    place = {"session": SESSION, "run": RUN, "simulated": "1"}
    assert [row(plain_monitor.stdout.readline()) for _ in range(3)] == [
        {**place, "volume": "4", "seq": "1", "latency_ms": "9", "event": "1", "since_onset_s": "5.000", "is_final": "0",
         "sent_class": "face", "class": "face", "probability": "0.7000", "classes": "face 0.7000; a [b] [2J 0.3000"},
        {**place, "volume": "5", "seq": "2", "event": "2", "since_onset_s": "7.500", "is_final": "0",
         "sent_class": "dog", "class": "cat", "probability": "0.8000", "classes": "cat 0.8000; face 0.2000"},
        {**place, "volume": "14", "seq": "3", "latency_ms": "9", "event": "1", "since_onset_s": "30.500",
         "is_final": "1", "class": "cat", "probability": "0.6000", "classes": "cat 0.6000; face 0.4000"},
    ]  # fmt: skip


def test_plain_says_voxels_without_signal_once_a_run(daemon, plain_monitor):
    plain_monitor.stderr.readline()
    for n_without_signal in (None, 0, 412, 412):
        daemon.heartbeat(n_without_signal=n_without_signal)
    daemon.classify(4, {"face": 0.7, "cat": 0.3}, n_without_signal=412)
    daemon.heartbeat(n_without_signal=412)
    daemon.publish(wire.Decode(
        seq=2, session="s", run="next", index=0, stage="scores", provenance=daemon.provenance, timings_s={},
        n_without_signal=1,
    ))  # fmt: skip
    words = "of the weights' voxels have no signal; they count as the training mean"
    assert plain_monitor.stderr.readline() == f"run {RUN}: 412 {words}\n"
    assert plain_monitor.stderr.readline() == f"run next: 1 {words.replace('have', 'has')}\n"


# ── readers that have enough ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("option", ["--plain", "--json"])
@pytest.mark.parametrize("decodes", [True, False])
def test_a_reader_that_has_enough_ends_it_quietly_even_before_the_next_decode(daemon, start_monitor, option, decodes):
    monitor = start_monitor(option)
    assert monitor.stderr.readline() == f"listening at {daemon.decodes_endpoint}\n"
    monitor.stdout.close()
    if decodes:
        daemon.decode(0)
    assert monitor.wait(TIMEOUT_S) == 0
    assert monitor.stderr.read() == ""


def test_both_streams_into_one_pipe_end_quietly_with_it(daemon, start_monitor):
    monitor = start_monitor("--plain", stderr=subprocess.STDOUT)
    monitor.stdout.readline()
    monitor.stdout.close()
    daemon.skip(0)
    assert monitor.wait(TIMEOUT_S) == 0


# ── once ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def once(environment):
    def once(*options):
        return subprocess.run(
            monitor_command("--once", *options), capture_output=True, text=True, env=environment, timeout=60
        )

    return once


def test_once_prints_the_daemons_state_and_the_newest_finished_decode(daemon, once):
    daemon.decode(0, made_s=MADE_S)
    daemon.decode(1, label="fox\x1b[2J", trial=31, made_s=MADE_S, feedback=0.125)
    daemon.decode(2, "scores")
    daemon.skip(2)
    answer = once()
    assert (answer.returncode, answer.stderr) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in answer.stdout.splitlines())
    assert lines["daemon"] == "ready, none, live-4, weights weights, policy all"
    assert lines["run"] == f"{RUN} of session {SESSION}, subject 1, SIMULATED"
    assert lines["volumes"] == "0 acked, 0 decoded, 0 skipped, 0 refused, 0 waiting"
    assert lines["decode"] == f"session {SESSION}, run {RUN}, volume 1, trial 31"
    assert lines["made"].startswith(MADE)
    assert lines["nearest"] == "fox [2J.0 (0.900)"
    assert (lines["feedback"], lines["took"]) == ("+0.125", "401 ms")


def test_once_is_one_json_object_and_a_missing_decode_is_null(daemon, once):
    nothing = json.loads(once("--json").stdout)
    assert (nothing["status"]["state"], nothing["decode"]) == ("ready", None)
    for index in range(250):
        daemon.skip(index)
    daemon.decode(250)
    for index in range(150):
        daemon.skip(index)
    answer = once("--json")
    assert answer.stdout.count("\n") == 1
    assert json.loads(answer.stdout)["decode"]["volume"] == 250


def test_once_without_a_decode_or_without_a_daemon_says_so(daemon, once):
    assert once().stdout.splitlines()[-1] == "decode    none yet"
    daemon.close()
    answer = once()
    assert (answer.returncode, answer.stdout) == (3, "")
    assert answer.stderr.startswith("braind: no daemon answers at 127.0.0.1:")
