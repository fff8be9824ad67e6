"""Markup, escapes and line ends in every name and label: shown as what they are, everywhere they are shown."""

import asyncio
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
from mutations import header
from running_daemon import PATIENCE_S, RunningDaemon, hello, volume_frames

from braind.client import wire
from braind.client.endpoints import Endpoints
from braind.client.outlets.scores import follow_scores
from braind.client.outlets.udp import UdpOutlet
from braind.tui.app import Monitor
from braind.tui.programs.decode_fields import HEADER

HOSTILE = (
    "<script>alert(1)</script>",
    "[bold red]markup[/] [link=file:///etc/passwd]x[/link] [/]",
    "\x1b]0;title\x07\x1b[2J\x1b[31m",
    "line\nend\r\ntab\t\x0b\x0c\x00nul",
    "right\u202eto left\u200b\u2028\u2029",
    "%s %d {0} {self} ${x} $(reboot) `reboot` ' \" ; --",
    "\x9b31m\x90C1\x9c",
    "a" * 3000,
)
N_LABELS = 12
# Markup begins every label, so that it is on every screen.
LABELS = [f"[red]{number}[/] {HOSTILE[number % len(HOSTILE)]}" for number in range(N_LABELS)]
# The other controls of a terminal, but what ends a line.
CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
PLAIN = """
import sys
from braind.client.endpoints import Endpoints
from braind.tui.programs.plain import write_lines
sys.exit(write_lines(Endpoints(ingest=sys.argv[1], decodes=sys.argv[1], control=sys.argv[2])))
"""


@pytest.fixture(scope="module")
def hostile_files(files, tmp_path_factory):
    """The files of a daemon whose candidate pictures have hostile labels."""
    path = tmp_path_factory.mktemp("hostile") / "candidates.safetensors"
    replace(files.candidates, labels=LABELS).save(path)
    return SimpleNamespace(**{**vars(files), "candidates_path": path})


@pytest.fixture(scope="module")
def daemon(hostile_files, tmp_path_factory):
    daemon = RunningDaemon(hostile_files, tmp_path_factory.mktemp("text"), decode={"mode": "z"})
    yield daemon.start()
    daemon.close()


def endpoints_of(daemon):
    return Endpoints(**{name: daemon.addresses[name] for name in ("ingest", "decodes", "control")})


def messages_with(text, run):
    """Return messages with a text in every field that takes one, for ingest and for control."""
    opening, volume = (
        hello(run=run),
        wire.Volume(session="ses", run=run, index=0, shape=(7, 8, 9), dtype="int16", crc32=0),
    )
    event = wire.Event(session="ses", run=run, event=0, onset_s=1.0)
    ending = wire.EndRun(session="ses", run=run, n_volumes=1)
    calibration = wire.Calibration(session="s", n_trials=1, n_pictures=1, minutes=1, two_way=0.5, low=0.4, high=0.6)
    use = wire.Use(weights="w", candidates="c")
    captions = {"captions": [text, text], "stimulus": text}
    ingest = [
        *({**header(opening), name: text} for name in ("type", "session", "run", "kind", "dtype", "space", "producer")),
        {**header(opening), "right": text, "foil": LABELS[0]},
        *(
            {**header(volume, **captions), name: text}
            for name in ("session", "run", "dtype", "right", "stimulus", "label")
        ),
        *({**header(event, **captions), name: text} for name in ("session", "run", "stimulus", "foil", "label")),
        *({**header(ending), name: text} for name in ("session", "run")),
        {text: text, "type": "hello"},
    ]
    control = [
        {**header(calibration), "session": text},
        *({**header(use), name: text} for name in ("weights", "candidates")),
        {"type": text},
    ]
    return ingest, control


def send_hostile(daemon, run):
    """Send every hostile text in every field, then a good volume with texts; wait until it is decoded."""
    for text in HOSTILE:
        for name, messages in zip(("ingest", "control"), messages_with(text, run), strict=True):
            with daemon.connect(name) as peer:
                for fields in messages:
                    peer.ask_frames([b"BRD1", json.dumps(fields).encode()])
    with daemon.connect("ingest") as peer, daemon.watch() as viewer:
        assert isinstance(peer.ask(hello(run=run, producer="\n".join(HOSTILE))), wire.Welcome)
        for index, text in enumerate(HOSTILE):
            fields = {
                "stimulus": text,
                "captions": (text,),
                "label": text[:200] or None,
                "right": LABELS[index],
                "foil": LABELS[-1],
            }
            answer = peer.ask_frames(volume_frames(index, run=run, **fields))
            assert isinstance(answer, wire.Ack), answer
        viewer.until(lambda message: (message.run, message.index) == (run, len(HOSTILE) - 1))
    daemon.wait_until(lambda status: status.n_waiting == 0)


def assert_printable(text):
    assert not CONTROLS.search(text), CONTROLS.search(text)
    assert not re.search("[\u202a-\u202e\u2028\u2029]", text)


def test_a_log_file_has_one_json_object_a_line_without_controls(daemon):
    send_hostile(daemon, "log")
    for line in daemon.words().splitlines():
        assert_printable(line)
        assert json.loads(line)["message"]


def test_a_log_on_a_terminal_has_no_control_that_a_message_brought(hostile_files, tmp_path):
    reading, writing = pty.openpty()
    shown = bytearray()

    def read():
        while True:
            try:
                shown.extend(os.read(reading, 65536))
            except OSError:
                return

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    daemon = RunningDaemon(hostile_files, tmp_path, decode={"mode": "z"})
    # The daemon's standard error is the terminal.
    daemon.log_path = tmp_path / "terminal"
    daemon.log_path.symlink_to(os.ttyname(writing))
    daemon.words = lambda: shown.decode(errors="replace")
    try:
        send_hostile(daemon.start(), "terminal")
    finally:
        daemon.close()
        os.close(writing)
        thread.join(PATIENCE_S)
        os.close(reading)
    text = shown.decode()
    assert "refused" in text
    assert_printable(text.replace("\r\n", "\n"))


@contextmanager
def plain_monitor(command):
    """Run a program; it ends with the block, whatever happens there."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as monitor:
        try:
            yield monitor
        finally:
            monitor.kill()


def test_plain_lines_have_all_their_fields_and_no_controls(daemon):
    command = [sys.executable, "-c", PLAIN, daemon.addresses["decodes"], daemon.addresses["control"]]
    with plain_monitor(command) as monitor:
        monitor.stderr.readline()
        daemon.wait_until(lambda _: True)
        send_hostile(daemon, "plain")
        lines = [monitor.stdout.readline()]
        while lines[-1].split("\t")[1:3] != ["plain", str(len(HOSTILE) - 1)]:
            lines.append(monitor.stdout.readline())
            assert lines[-1], monitor.stderr.read()
        monitor.send_signal(signal.SIGINT)
        lines += monitor.stderr.readlines()
    for line in lines:
        assert_printable(line.removesuffix("\n").replace("\t", ""))
    assert {line.count("\t") for line in lines if "\tplain\t" in line} == {len(HEADER) - 1}


def test_the_monitor_shows_markup_as_text(daemon):
    async def shown():
        app = Monitor(endpoints_of(daemon))
        async with app.run_test(size=(140, 45)) as pilot, asyncio.timeout(PATIENCE_S):
            await asyncio.to_thread(send_hostile, daemon, "monitor")
            while not any(volume.run == "monitor" for volume in app.recent.newest_first()):
                await pilot.pause(0.05)
            await pilot.pause(0.2)
            words = []
            for widget in app.screen.query("*"):
                if widget.display and not widget.children:
                    words += [widget.render_line(y).text for y in range(widget.size.height)]
            return words

    words = asyncio.run(shown())
    for line in words:
        assert_printable(line)
    assert any("[red]" in line for line in words), words


def test_an_outlet_sends_one_line_of_sixteen_fields(daemon):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        lines = outlet_lines(daemon, receiver)
    assert {len(fields) for fields in lines} == {16}


def outlet_lines(daemon, receiver):
    """Return the fields of the lines that an outlet sends while hostile texts come."""
    receiver.settimeout(PATIENCE_S)
    outlet = UdpOutlet(f"127.0.0.1:{receiver.getsockname()[1]}", print)
    addresses = endpoints_of(daemon)
    said = threading.Event()
    thread = threading.Thread(target=follow_scores, args=(addresses, outlet.give, lambda _: said.set()), daemon=True)
    thread.start()
    assert said.wait(PATIENCE_S)
    send_hostile(daemon, "outlet")
    lines = []
    while not lines or lines[-1][2:4] != ["outlet", str(len(HOSTILE) - 1)]:
        text = receiver.recv(65536).decode()
        assert text.endswith("\n")
        assert_printable(text[:-1].replace("\t", ""))
        lines.append(text[:-1].split("\t"))
    outlet.close()
    return lines
