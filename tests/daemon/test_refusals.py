"""Messages that fit the protocol and not the run: each is refused by the front's own socket, with a code and a reason.

`test_serve.py` has the refusals that a whole daemon is asked for.
"""

import asyncio
import threading

import pytest
import zmq
from running_daemon import PNG, LdmFacts, Peer, hello, random_candidates, random_weights, values, volume_frames

from braind.client import wire
from braind.config import load_config
from braind.daemon.ingest import Ingest
from braind.daemon.sessions import Sessions
from braind.daemon.sockets import LARGEST_PICTURE_BYTES, bind_sockets
from braind.daemon.state import DaemonState
from braind.models.weights.candidate_names import CandidateNames

LDM = LdmFacts("ldm", (4, 16, 16), (16, 96))
WEIGHTS = random_weights(LDM)
CANDIDATES = CandidateNames(random_candidates(LDM).nsd_id, random_candidates(LDM).labels, ())
ANY_PORT = {"ingest_port": 0, "decodes_port": 0, "control_port": 0}


class FrontThread:
    """A front and its sockets, in a thread of their own."""

    def __init__(self, folder):
        self._folder = folder
        self._bound = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._bound.wait(60)

    async def _serve(self):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        serve = load_config(None, {"paths": {"data": str(self._folder)}, "serve": ANY_PORT}).serve
        sockets = bind_sockets(serve, WEIGHTS.card.shape)
        sessions = Sessions(self._folder, wait_for_disk=False)
        state = DaemonState(sessions, WEIGHTS, preset="live-4", policy="all")
        front = Ingest(sockets.ingest, sessions, state, WEIGHTS, CANDIDATES, store_volumes=False, wake=lambda _: None)
        self.address = sockets.endpoints.ingest
        serving = asyncio.create_task(front.serve())
        self._bound.set()
        await self._stop.wait()
        serving.cancel()
        sockets.close()
        sessions.close()

    def close(self):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


@pytest.fixture(scope="module")
def scanner(tmp_path_factory):
    """A client of a front that has: an open run of betas, one of BOLD, one that announced 3 volumes, one that ended."""
    front, context = FrontThread(tmp_path_factory.mktemp("journals")), zmq.Context()
    with Peer(context, zmq.DEALER, front.address) as scanner:
        for run, fields in (
            ("betas", {"right": 100, "foil": 101}),
            ("bold", {"kind": "bold"}),
            ("three", {"n_volumes": 3}),
            ("ended", {}),
        ):
            assert isinstance(scanner.ask(hello(run=run, **fields)), wire.Welcome)
            assert isinstance(scanner.ask_frames(volume_frames(1, run=run)), wire.Ack)
        onset = wire.Event(session="ses", run="bold", event=3, onset_s=4.0)
        assert isinstance(scanner.ask(onset), wire.Ack)
        assert isinstance(scanner.ask(wire.EndRun(session="ses", run="ended", n_volumes=2)), wire.Ack)
        yield scanner
    context.destroy(linger=0)
    front.close()


def frames_of(message, *payload):
    return wire.encode(message, *payload)


def onset(*payload, **fields):
    return frames_of(wire.Event(session="ses", **{"run": "bold", "event": 0, "onset_s": 1.0, **fields}), *payload)


def end(run, n_volumes):
    return frames_of(wire.EndRun(session="ses", run=run, n_volumes=n_volumes))


REFUSED = {
    "a run's name of 201 letters": (frames_of(hello(run="r" * 201)), "name", "1 to 200 letters"),
    "a session's name of 65 letters": (frames_of(hello(session="s" * 65)), "name", "1 to 64 letters"),
    "a session that Windows takes for a device": (frames_of(hello(session="nul")), "name", "Windows can have no file"),
    "a device with an ending": (frames_of(hello(session="COM1.a")), "name", "give another, such as session-COM1.a"),
    "a session's name with a dot at its end": (frames_of(hello(session="ses.")), "name", "leave the dot out"),
    "a session's name with a space at its end": (frames_of(hello(session="ses ")), "name", "1 to 64 letters"),
    "a negative TR": (frames_of(hello(tr_s=-1.0)), "tr", "tr_s -1.0; give the seconds from volume to volume"),
    "too many volumes": (frames_of(hello(n_volumes=2**31)), "index", "give the number of volumes or null"),
    "another TR": (frames_of(hello(run="betas", tr_s=2.0)), "conflict", "was opened with tr_s 4.0, now it says 2.0"),
    "now simulated": (frames_of(hello(run="three", simulated=True)), "conflict", "simulated False, now it says True"),
    "another pair": (frames_of(hello(run="betas", right=101, foil=100)), "conflict", "right 100, now it says 101"),
    "half a pair": (frames_of(hello(run="new", right=100)), "candidate", "run new: right 100, foil None"),
    "no such picture": (volume_frames(5, run="betas", right=1, foil=100), "candidate", "volume 5: 1 is no label"),
    "one picture twice": (onset(right=100, foil="picture 0"), "candidate", "event 0: right and foil are the same"),
    "beyond the announced": (volume_frames(3, run="three"), "index", "volume 3: its Hello announced 3 volumes"),
    "after the end": (volume_frames(2, run="ended"), "run_ended", "ended after 2 volumes; open another"),
    "other bytes": (volume_frames(1, number=9, run="betas"), "conflict", "other bytes were acked under this index"),
    "a picture too large": (
        volume_frames(5, run="betas", seen_png=PNG + bytes(LARGEST_PICTURE_BYTES)),
        "seen",
        "a PNG of at most 8 MiB",
    ),
    "a negative onset number": (onset(event=-1), "index", "event -1: the number must be from 0"),
    "a negative duration": (onset(duration_s=-1.0), "onset", "onset 1 s for -1 s; give seconds"),
    "a duration of a year": (onset(duration_s=3e7), "onset", "onset 1 s for 3e+07 s; give seconds, a duration from 0"),
    "an onset in another week": (onset(onset_s=-6e5), "onset", "an onset within 86400 s of the run's first volume"),
    "an onset without its picture": (onset(seen=True), "length", "0 payload frames, the header announces 1"),
    "an onset with a picture too many": (onset(PNG), "length", "1 payload frames, the header announces 0"),
    "an onset with a GIF": (onset(b"GIF89a", seen=True), "seen", "event 0: the seen picture must be a PNG"),
    "another onset": (onset(event=3, onset_s=5.0), "conflict", "event 3: another onset has this number already"),
    "an end of -1 volumes": (end("betas", -1), "index", "n_volumes -1; give the number of volumes"),
    "an end before a volume": (end("betas", 1), "conflict", "1 volumes, but volume 1 is acked; count from 0"),
    "another end": (end("ended", 3), "conflict", "ended after 2 volumes already, now it says 3"),
    "an end of no run": (end("never-opened", 3), "run", "run 'never-opened' is not open; send Hello first"),
    "half a clock": (frames_of(wire.ClockRequest(sent_s=0.0, offset_s=1.0)), "clock", "or neither"),
    "a negative uncertainty": (
        frames_of(wire.ClockRequest(sent_s=0.0, offset_s=1.0, uncertainty_s=-0.5)),
        "clock",
        "uncertainty_s -0.5; give seconds, 0 or more",
    ),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_a_message_that_does_not_fit_is_refused_with_its_code_and_the_reason(scanner, wrong):
    frames, code, words = REFUSED[wrong]
    refused = scanner.ask_frames(frames)
    assert isinstance(refused, wire.Refused), refused
    assert (refused.code, refused.retryable) == (code, False)
    assert words in refused.sentence


def test_after_all_refusals_the_runs_take_what_fits(scanner):
    for run in ("betas", "bold", "three", "ended"):
        assert scanner.ask_frames(volume_frames(0, run=run)) == wire.Ack(
            session="ses", run=run, index=0, durability="normal"
        )
    assert scanner.ask_frames(onset(PNG, seen=True)).of == "event"
    assert scanner.ask_frames(onset(event=3, onset_s=4.0)).duplicate
    assert scanner.ask_frames(end("ended", 2)).duplicate
    assert scanner.ask_frames(volume_frames(0, stored=values(0), run="betas")).duplicate
