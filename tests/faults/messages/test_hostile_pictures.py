"""Seen pictures that are bombs, or no pictures: no viewer dies of one or takes memory for it."""

import asyncio
import json
import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from hostile_pictures import PICTURES, PNG
from running_daemon import PATIENCE_S, RunningDaemon, hello, volume_frames

from braind.client import wire
from braind.client.endpoints import Endpoints
from braind.client.pictures import PictureError, read_picture
from braind.client.subscriber import DecodeSubscriber
from braind.tui.app import Monitor

N_DAMAGED = 3000
MOST_GROWTH_KB = 64 * 1024
READ = """
import json, resource, sys
sys.path.insert(0, sys.argv[1])
from hostile_pictures import PICTURES
from braind.client.pictures import PictureError, read_picture
read_picture(PICTURES["whole"])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name, content in PICTURES.items():
    try:
        outcome = list(read_picture(content).shape)
    except PictureError as error:
        outcome = str(error)
    except Exception as error:
        outcome = {"raised": repr(error)}
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps([name, outcome, after - before]), flush=True)
"""


@pytest.fixture(scope="module")
def outcomes():
    """What became of each hostile picture in a process that read them all, and how far its memory had grown."""
    support = Path(__file__).parents[2] / "support"
    read = subprocess.run([sys.executable, "-c", READ, support], capture_output=True, text=True, timeout=PATIENCE_S)
    assert read.returncode == 0, read.stderr
    return {name: (outcome, growth_kb) for name, outcome, growth_kb in map(json.loads, read.stdout.splitlines())}


@pytest.mark.parametrize("name", PICTURES)
def test_a_hostile_picture_is_read_or_refused_in_words_within_its_memory(outcomes, name):
    outcome, growth_kb = outcomes[name]
    assert not isinstance(outcome, dict), outcome
    # A picture of the largest sides that are read has 48 MiB.
    assert growth_kb <= MOST_GROWTH_KB


def test_a_picture_cut_or_changed_anywhere_is_read_or_refused_in_words(chance):
    for _ in range(N_DAMAGED):
        damaged = bytearray(PNG)
        if chance.random() < 0.3:
            del damaged[chance.randrange(len(damaged)) :]
        for _ in range(chance.randrange(3)):
            if damaged:
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        with suppress(PictureError):
            assert read_picture(bytes(damaged)).shape[2] == 3


@pytest.fixture(scope="module")
def daemon(files, tmp_path_factory):
    daemon = RunningDaemon(files, tmp_path_factory.mktemp("pictures"), decode={"mode": "z"})
    yield daemon.start()
    daemon.close()


def send_pictures(daemon, run):
    """Send each hostile picture as the one that was seen; return how many volumes were acked."""
    n_acked = 0
    with daemon.connect("ingest") as peer:
        peer.ask(hello(run=run))
        for content in PICTURES.values():
            answer = peer.ask_frames(volume_frames(n_acked, run=run, seen_png=content))
            assert isinstance(answer, wire.Ack) or answer.code == "seen"
            n_acked += isinstance(answer, wire.Ack)
        assert isinstance(peer.ask_frames(volume_frames(n_acked, run=run)), wire.Ack)
    return n_acked + 1


def test_every_viewer_hears_what_follows_a_hostile_picture(daemon):
    memory = psutil.Process(daemon.process.pid).memory_info().rss
    ports = [int(daemon.addresses[name].rsplit(":", 1)[1]) for name in ("decodes", "control")]

    async def monitor():
        app = Monitor(Endpoints(**{name: daemon.addresses[name] for name in ("ingest", "decodes", "control")}))
        async with app.run_test() as pilot, asyncio.timeout(PATIENCE_S):
            n_acked = await asyncio.to_thread(send_pictures, daemon, "monitored")
            await asyncio.to_thread(daemon.wait_until, lambda status: status.n_decoded == n_acked)
            # The monitor has the last volume on its screen.
            while not any(volume.index == n_acked - 1 for volume in app.recent.newest_first()):
                await pilot.pause(0.05)

    with DecodeSubscriber(decodes_port=ports[0], control_port=ports[1], history=0) as subscriber:
        subscriber.receive(PATIENCE_S)
        asyncio.run(monitor())
        last = daemon.status().last_seq
        while (received := subscriber.receive(PATIENCE_S)) and getattr(received.message, "seq", 0) < last:
            pass
    assert psutil.Process(daemon.process.pid).memory_info().rss - memory < MOST_GROWTH_KB * 1024


def test_a_random_picture_is_not_decoded_differently_from_none(daemon):
    picture = random.Random(0).randbytes(5000)
    with daemon.connect("ingest") as peer:
        peer.ask(hello(run="seen"))
        assert isinstance(peer.ask_frames(volume_frames(0, run="seen", seen_png=PNG[:8] + picture)), wire.Ack)
        assert isinstance(peer.ask_frames(volume_frames(1, number=0, run="seen")), wire.Ack)
    daemon.wait_until(lambda status: status.n_waiting == 0)
    pictures = [payload[0] for message, payload in daemon.decodes() if message.run == "seen" and message.stage == "xz"]
    assert len(pictures) == 2
    assert pictures[0] == pictures[1]
