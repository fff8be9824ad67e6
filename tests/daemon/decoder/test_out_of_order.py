"""A daemon that gets volumes out of order, and not all of them."""

import random

import msgspec
import numpy as np
import pytest
from running_daemon import RunningDaemon, hello, values, volume_frames

from braind.client import wire

TR_S = 4 / 3
SHORT_TR_S = 0.25
"""A missing volume is waited for twice as long."""
N_VOLUMES = 48
ONSETS_S = (2.0, 5.0, 9.5)


@pytest.fixture(scope="module")
def daemon(files, tmp_path_factory):
    daemon = RunningDaemon(files, tmp_path_factory.mktemp("order"))
    yield daemon.start()
    daemon.close()


@pytest.fixture(scope="module")
def ordered(daemon):
    """The messages of a run whose volumes came in order."""
    return send_run(daemon, "ordered", range(N_VOLUMES))


def bold_frames(run, index):
    return volume_frames(index, stored=(1000 + values(index) / 100).astype(np.float32), run=run, scale=1.0)


def open_bold(scanner, run, onsets_s=ONSETS_S, tr_s=TR_S):
    assert isinstance(scanner.ask(hello(run=run, kind="bold", tr_s=tr_s)), wire.Welcome)
    for event, onset_s in enumerate(onsets_s):
        scanner.ask(wire.Event(session="ses", run=run, event=event, onset_s=onset_s))


def send_run(daemon, run, order, *, before=None):
    """Send a BOLD run's volumes in this order; return the run's messages when all is decoded.

    `before` is called with the number of volumes sent so far.
    """
    with daemon.connect("ingest") as scanner:
        open_bold(scanner, run)
        for n_sent, index in enumerate(order):
            if before:
                before(n_sent)
            assert isinstance(scanner.ask_frames(bold_frames(run, index)), wire.Ack)
        assert isinstance(scanner.ask(wire.EndRun(session="ses", run=run, n_volumes=N_VOLUMES)), wire.Ack)
    daemon.wait_until(lambda status: status.n_waiting == 0 and is_finished(daemon, run))
    return messages_of(daemon, run)


def is_finished(daemon, run):
    """Return whether the last trial has its picture: it is final at the run's end at the latest."""
    last = len(ONSETS_S) - 1
    return any(
        isinstance(message, wire.Decode) and (message.run, message.event, message.stage) == (run, last, "xzc")
        for message, _ in daemon.decodes()
    )


def messages_of(daemon, run):
    """Return a run's messages without their numbers, times and names, and the messages' payloads."""
    return [(plain(message), payload) for message, payload in daemon.decodes() if message.run == run]


def plain(message):
    without_times = {"timings_s": {}} if isinstance(message, wire.Decode) else {}
    return msgspec.structs.replace(message, seq=0, run="", made_s=None, **without_times)


def gaps(messages):
    return [(message.index, message.n_missing) for message, _ in messages if isinstance(message, wire.Gap)]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_run_whose_volumes_come_out_of_order_is_decoded_as_the_ordered_run_to_the_byte(daemon, ordered, seed):
    chance = random.Random(seed)
    order = [index for first in range(0, N_VOLUMES, 8) for index in chance.sample(range(first, first + 8), 8)]
    assert order != sorted(order)
    assert send_run(daemon, f"permuted-{seed}", order) == ordered
    assert {message.stage for message, _ in ordered} == {"scores", "xz", "xzc"}


def test_a_kill_of_the_decoder_amid_volumes_out_of_order_changes_no_byte(daemon, ordered):
    chance = random.Random(3)
    order = [index for first in range(0, N_VOLUMES, 8) for index in chance.sample(range(first, first + 8), 8)]
    kills = {13, 30}
    found = send_run(
        daemon, "killed", order, before=lambda n_sent: daemon.decoder.kill() if n_sent in kills else None
    )  # fmt: skip
    assert found == ordered


def test_a_gap_is_published_when_its_time_is_up_though_nothing_more_comes_and_a_late_volume_is_left_out(daemon):
    with daemon.connect("ingest") as scanner, daemon.watch() as viewer:
        open_bold(scanner, "late", onsets_s=(), tr_s=SHORT_TR_S)
        for index in (0, 1, 4):
            scanner.ask_frames(bold_frames("late", index))
        ((gap, _),) = viewer.until(lambda message: message.run == "late")
        assert (gap.session, gap.index, gap.n_missing) == ("ses", 2, 2)
        before = daemon.status()
        assert isinstance(scanner.ask_frames(bold_frames("late", 3)), wire.Ack)
        ((skipped, _),) = viewer.until(lambda message: message.run == "late")
        assert (type(skipped), skipped.index, skipped.failed) == (wire.Skipped, 3, False)
        assert skipped.seq == gap.seq + 1
    after = daemon.status()
    assert after.n_skipped == before.n_skipped + 1
    assert after.n_waiting == 0
    assert "run late: volumes 2–3 missing" in daemon.words()


def test_the_gaps_of_a_beta_run_are_published_when_it_ends_and_a_volume_that_fills_one_is_decoded(daemon):
    with daemon.connect("ingest") as scanner, daemon.watch() as viewer:
        scanner.ask(hello(run="betas"))
        for index in (3, 1):
            scanner.ask_frames(volume_frames(index, run="betas"))
        viewer.until(lambda message: message.index == 1 and getattr(message, "stage", "") == "xzc")
        scanner.ask(wire.EndRun(session="ses", run="betas", n_volumes=6))
        found = viewer.until(lambda message: isinstance(message, wire.Gap) and message.index == 4)
        assert gaps(found) == [(0, 1), (2, 1), (4, 2)]
        scanner.ask_frames(volume_frames(2, run="betas"))
        viewer.until(lambda message: message.index == 2 and getattr(message, "stage", "") == "xzc")


def test_the_end_of_a_run_without_volumes_is_one_gap_and_holds_up_no_other_weights(daemon):
    with daemon.connect("ingest") as scanner, daemon.watch() as viewer:
        for session, kind in (("empty-beta", "beta"), ("empty-bold", "bold")):
            scanner.ask(hello(session=session, kind=kind, tr_s=TR_S))
            scanner.ask(wire.EndRun(session=session, run="run-01", n_volumes=5))
            ((gap, _),) = viewer.until(lambda message: True)
            assert (gap.session, gap.index, gap.n_missing) == (session, 0, 5)


def test_published_gaps_hold_after_a_kill_of_everything(daemon):
    with daemon.connect("ingest") as scanner, daemon.watch() as viewer:
        open_bold(scanner, "killed-whole")
        for index in (0, *range(3, 12)):
            scanner.ask_frames(bold_frames("killed-whole", index))
        viewer.until(lambda message: isinstance(message, wire.Gap) and message.run == "killed-whole")
        daemon.kill()
    daemon.close()
    daemon.__init__(daemon.files, daemon.data_path)
    daemon.start()
    with daemon.connect("ingest") as scanner, daemon.watch() as viewer:
        assert scanner.ask(hello(run="killed-whole", kind="bold", tr_s=TR_S)).next_index == 1
        for index in (1, 2, 12):
            scanner.ask_frames(bold_frames("killed-whole", index))
        viewer.until(lambda message: (message.run, message.index) == ("killed-whole", 2))
        daemon.wait_until(lambda status: status.n_waiting == 0)
    words = [
        (type(message).__name__, message.index)
        for message, _ in daemon.decodes()
        if message.run == "killed-whole" and not isinstance(message, wire.Decode)
    ]
    assert words == [("Gap", 1), ("Skipped", 1), ("Skipped", 2)]
