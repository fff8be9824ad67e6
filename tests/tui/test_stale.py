"""The monitor's feed and its plain output when the stream is odd: what is said, and what never reaches a terminal."""

import threading

import numpy as np
import pytest

from braind.client import wire
from braind.printable import printable
from braind.tui.connection import LOST_AFTER_S, WAITING_AFTER_S, Connection
from braind.tui.feed import Notice, Stage, follow
from braind.tui.fitted import run_within, shortened
from braind.tui.live.latency import milliseconds
from braind.tui.live.retrieval import bar
from braind.tui.live.state_bar import clock_words
from braind.tui.programs.decode_fields import HEADER
from braind.tui.programs.plain import write_lines


def heard(daemon, n, publish):
    """Publish once a viewer is there; return the first `n` things that are no heartbeats."""
    found = []

    def publish_to_viewer():
        daemon.wait_for_viewer()
        publish()

    publisher = threading.Thread(target=publish_to_viewer)
    publisher.start()
    for one in follow(daemon.endpoints, lambda: len(found) >= n):
        if not isinstance(one, wire.Heartbeat):
            found.append(one)
    publisher.join()
    return found


def decode(daemon, **fields):
    fields = {"seq": 1, "session": "s", "run": "r", "index": 4, "stage": "xz", "timings_s": {}, **fields}
    return wire.Decode(provenance=daemon.provenance, **fields)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ((), "run r, volume 4, xz: the picture that the header announces is missing"),
        ((b"GIF89a",), "run r, volume 4, xz: a picture that is no whole PNG (6 bytes)"),
        ((b"",), "run r, volume 4, xz: a picture that is no whole PNG (0 bytes)"),
    ],
)
def test_a_picture_that_does_not_come_whole_is_a_notice_with_its_volume(daemon, payload, words):
    notice, stage = heard(daemon, 2, lambda: daemon.publish(decode(daemon), *payload))
    assert isinstance(notice, Notice)
    assert notice.sentence.startswith(words)
    assert (stage.decode.index, stage.picture, stage.is_unreadable) == (4, None, True)


def test_scores_without_a_seen_picture_are_a_stage_without_a_picture(daemon):
    (stage,) = heard(daemon, 1, lambda: daemon.publish(decode(daemon, stage="scores", seen=False)))
    assert isinstance(stage, Stage)
    assert stage.picture is None


def test_a_notice_comes_before_what_came_after_it(daemon, red_png):
    def publish():
        daemon.publish_bytes(b"BRD1", b'{"type": "gossip"}')
        daemon.publish(decode(daemon), red_png)

    notice, stage = heard(daemon, 2, publish)
    assert "gossip" in notice.sentence
    np.testing.assert_array_equal(stage.picture[0, 0], [250, 0, 0])


def test_a_hole_whose_messages_are_gone_does_not_hold_up_the_stream(daemon, red_png):
    def publish():
        daemon.publish(decode(daemon, seq=1), red_png)
        daemon.publish(decode(daemon, seq=5, index=5), red_png)

    first, second = heard(daemon, 2, publish)
    assert (first.decode.seq, second.decode.seq) == (1, 5)


@pytest.mark.parametrize(
    ("state", "quiet_s", "words"),
    [
        ("ready", 0.0, "ready"),
        ("ready", 0.9 * LOST_AFTER_S, "ready"),
        ("ready", LOST_AFTER_S + 6.5, "daemon unreachable for 10 s"),
        ("paused", LOST_AFTER_S + 96.5, "daemon unreachable for 2 min"),
        ("stopping", 1.0, "daemon stopping"),
        ("stopping", LOST_AFTER_S + 1, "daemon stopped"),
        ("stopped", 0.0, "daemon stopped"),
        ("stopped", 3600.0, "daemon stopped"),
        ("recording", 1.0, "recording"),
        ("a state of a newer daemon", 1.0, "connected"),
    ],
)
def test_a_stale_viewer_says_since_when_and_never_the_last_words_of_a_daemon_that_is_gone(state, quiet_s, words):
    connection = Connection(0.0, heard_s=50.0, heartbeat=wire.Heartbeat(last_seq=0, state=state))
    assert connection.words(50.0 + quiet_s) == words


def test_a_viewer_that_never_heard_anybody_is_waiting_not_lost():
    connection = Connection(opened_s=10.0)
    assert connection.state(10.0 + WAITING_AFTER_S / 2) == "connecting"
    assert connection.state(10.0 + WAITING_AFTER_S * 100) == "waiting"


# ── plain output ────────────────────────────────────────────────────────────────────────────────────────────────────


def written(daemon, capsys, publish, n_lines):
    """Run `monitor --plain` in this process until stdout has so many lines; return stdout's and stderr's."""
    lines, errors = [], []

    def is_stopped():
        captured = capsys.readouterr()
        lines.extend(captured.out.splitlines())
        errors.extend(captured.err.splitlines())
        return len(lines) >= n_lines

    def publish_to_viewer():
        daemon.wait_for_viewer()
        publish()

    publisher = threading.Thread(target=publish_to_viewer)
    publisher.start()
    assert write_lines(daemon.endpoints, is_stopped) == 0
    publisher.join()
    return lines, errors


def test_plain_says_what_was_skipped_and_what_was_unreadable_on_stderr_only(daemon, capsys):
    def publish():
        daemon.publish_bytes(b"BRD1", b"{")
        daemon.publish(wire.Skipped(seq=1, session="s", run="r\x1b]0;title\x07", index=3, reason="behind\nit all"))
        daemon.decode(4)

    lines, errors = written(daemon, capsys, publish, 2)
    assert lines[0].split("\t") == list(HEADER)
    assert lines[1].split("\t")[HEADER.index("volume")] == "4"
    assert len(lines) == 2
    assert errors[0] == f"listening at {daemon.decodes_endpoint}"
    assert "ignored a published message" in errors[1]
    assert errors[2] == "run r ]0;title , volume 3: skipped, behind it all"


def test_plain_writes_a_line_when_the_last_picture_of_the_mode_is_there(daemon, capsys):
    from msgspec.structs import replace

    layout_only = replace(daemon.provenance, mode="z")

    def publish():
        daemon.decode(0, "scores", "xz")
        daemon.decode(1, "scores", "xz", provenance=layout_only)
        daemon.decode(0, "xzc")

    lines, _ = written(daemon, capsys, publish, 3)
    assert [fields.split("\t")[HEADER.index("volume")] for fields in lines[1:]] == ["1", "0"]


# ── words ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    [
        "\x1b[31mred",
        "\x9b31m",
        "a\rb",
        "bell\x07",
        "\x00",
        "\u202egnp",
        "\u2028",
        "\x7f",
        "\x1b]52;c;aGk=\x07",
        "\ud800",
    ],
)
def test_nothing_that_a_terminal_obeys_is_left_in_printable_text(text):
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown) == len(text)


@pytest.mark.parametrize("text", ["", "plain", "ünïcödé", "脳画像", "🦀", "a b"])
def test_ordinary_text_stays_as_it_is(text):
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "n_cells", "words"),
    [("abc", 1, "…"), ("abc", 2, "a…"), ("脳画", 2, "…"), ("脳画", 3, "脳…"), ("a   bc", 4, "a…")],
)
def test_text_is_cut_to_the_cells_that_there_are(text, n_cells, words):
    assert shortened(text, n_cells) == words


@pytest.mark.parametrize(
    ("session", "run", "words"),
    [
        ("", "run-1", "run-1"),
        ("s", "s", "s"),
        ("s", "s-", "s-"),
        ("s1", "s10", "0"),
        ("a", "b", "b"),
        ("s", "s 2", "2"),
    ],
)
def test_a_runs_own_part_of_its_name_is_never_empty(session, run, words):
    assert run_within(session, run) == words


@pytest.mark.parametrize(("score", "n_cells"), [(0.5, 0), (0.001, 10), (0.5, 1), (1.0, 3), (float("inf"), 4)])
def test_a_bar_never_leaves_its_cells(score, n_cells):
    assert len(bar(score, n_cells)) <= n_cells


@pytest.mark.parametrize("time_ms", [0.0, 9.949, 9.951, 99.5, 999.9, 99_998.0, 99_999.0, 1e7])
def test_a_time_is_at_most_seven_characters_and_reads_back_as_itself(time_ms):
    words = milliseconds(time_ms)
    assert len(words) <= 7
    number = float(words.removesuffix(" s")) * (1e3 if words.endswith(" s") else 1)
    assert number == pytest.approx(time_ms, rel=0.02, abs=0.1)


@pytest.mark.parametrize(
    ("offset_s", "uncertainty_s", "words"),
    [(None, None, "0.0 ± 0.0 ms"), (-0.9999, 0.1, "−999.9 ± 100.0 ms"), (1.0, 0.5, "+1.000 ± 0.500 s")],
)
def test_a_clock_is_in_milliseconds_below_a_second(offset_s, uncertainty_s, words):
    beat = wire.Heartbeat(last_seq=0, state="ready", clock_offset_s=offset_s, clock_uncertainty_s=uncertainty_s)
    assert clock_words(beat) == words


@pytest.mark.parametrize(
    ("state", "words"),
    [("ready", "ready, no volume for 3.2 s"), ("recording", "recording, no volume for 3.2 s"), ("paused", "paused")],
)
def test_the_top_bar_says_how_long_no_volume_has_come_unless_decoding_is_paused(state, words):
    connection = Connection(0.0, heard_s=50.0, heartbeat=wire.Heartbeat(last_seq=0, state=state, stalled_s=3.2))
    assert connection.words(50.5) == words
    assert connection.words(50.0 + LOST_AFTER_S + 1).startswith("daemon unreachable")
