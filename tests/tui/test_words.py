import math

import pytest
from rich.cells import cell_len

from braind.client.wire import Heartbeat
from braind.printable import printable
from braind.tui.connection import LOST_AFTER_S, WAITING_AFTER_S, Connection
from braind.tui.fitted import run_within, shortened, wrapped
from braind.tui.live.latency import milliseconds
from braind.tui.live.retrieval import bar
from braind.tui.names import short_name, told_apart


def test_control_characters_from_the_wire_never_reach_the_terminal():
    assert printable("a\x1b[2Jb\nc\td\x07") == "a [2Jb c d "


def test_a_long_label_is_cut_by_cells_not_characters():
    assert shortened("a red fox", 9) == "a red fox"
    assert shortened("a red fox", 6) == "a red…"
    assert shortened("脳画像脳画像", 7) == "脳画像…"
    assert shortened("fox", 0) == ""


@pytest.mark.parametrize(
    ("run", "words"), [("ses-01_run-03", "run-03"), ("run-03", "run-03"), ("ses-01", "ses-01"), ("", "")]
)
def test_a_run_is_named_within_its_session(run, words):
    assert run_within("ses-01", run) == words


@pytest.mark.parametrize(
    ("score", "drawn"), [(0.0, ""), (-0.4, ""), (math.nan, ""), (0.25, "━━╸"), (1.0, "━" * 10), (3.0, "━" * 10)]
)
def test_a_bar_is_as_long_as_the_score(score, drawn):
    assert bar(score, 10) == drawn


@pytest.mark.parametrize(
    ("time_ms", "words"), [(3.14, "3.1"), (9.97, "10"), (411.6, "412"), (99_000.0, "99000"), (250_000.0, "250 s")]
)
def test_times_fit_their_column(time_ms, words):
    assert milliseconds(time_ms) == words


def test_a_connection_goes_from_connecting_to_unreachable_and_back():
    connection = Connection(opened_s=100.0)
    assert connection.words(100.0 + 0.5 * WAITING_AFTER_S) == "connecting"
    assert connection.words(100.0 + 2 * WAITING_AFTER_S) == "no daemon"
    connection.heard_s = 200.0
    assert connection.words(200.0) == "connected"
    for state, words in (("starting", "decoder loading"), ("ready", "ready"), ("paused", "paused"), ("?", "connected")):
        connection.heartbeat = Heartbeat(last_seq=0, state=state)
        assert connection.words(200.0 + 0.9 * LOST_AFTER_S) == words
    assert connection.words(212.0) == "daemon unreachable for 12 s"
    connection.heard_s = 213.0
    connection.heartbeat = Heartbeat(last_seq=0, state="ready")
    assert connection.words(213.0) == "ready"


def test_a_long_name_keeps_both_of_its_ends():
    name = "task-imagery_acq-multiband_run-04"
    assert [short_name(name, n) for n in (40, 24, 12, 4, 1)] == [
        name,
        "task-imagery_acq…run-04",
        "task…run-04",
        "…04",
        "…",
    ]
    assert short_name("localiserwithoutaseparator04", 8) == "…rator04"


@pytest.mark.parametrize("n_cells", range(9))
def test_names_from_the_wire_fit_any_room_and_bring_no_control_characters(n_cells):
    names = told_apart(["\x1b[2J脳画像 03", "\x1b[2J脳画像 04"], n_cells)
    assert all(cell_len(name) <= n_cells and name.isprintable() for name in names)


def test_names_that_are_cut_alike_are_cut_elsewhere():
    assert told_apart(["early_visual", "higher_visual"], 11) == ["early…", "higher…"]
    assert told_apart(["higher_visual_left", "higher_visual_right"], 11) == ["higher…left", "…right"]
    assert told_apart(["a dog", "a fox in the snow", "a fox in the sun"], 12, shortened) == [
        "a dog",
        "a fox…snow",
        "a fox in…sun",
    ]


def test_lines_are_as_long_as_the_terminal_counts_cells():
    assert wrapped("a red fox", 6) == ["a red", "fox"]
    assert wrapped("run task-imagery_run-04 is live", 16) == ["run task-", "imagery_run-04", "is live"]
    assert wrapped("脳画像 脳画像脳", 8) == ["脳画像", "脳画像脳"]
    assert wrapped("0.9  脳画像脳画像", 8) == ["0.9  脳", "画像脳画", "像"]
    assert wrapped("", 8) == [""]
