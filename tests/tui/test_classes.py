"""The monitor and its plain output on weights with classes, and on voxels without signal."""

import pytest
from monitor_screens import in_event_loop, until, words_of

from braind.client import wire
from braind.tui.app import Monitor
from braind.tui.live.classes import Classes, verdict_words
from braind.tui.live.latency import Latency
from braind.tui.live.picture_view import PictureView
from braind.tui.live.retrieval import Retrieval
from braind.tui.live.strip import RecentStrip
from braind.tui.recent import DecodedVolume, RecentDecodes

FACE = {"face": 0.71, "house": 0.12, "cat": 0.06, "shoe": 0.05, "chair": 0.03, "bottle": 0.02, "scissors": 0.01}
NAMES = {
    "markup": "[bold]x[/] [link=http://x]y[/link]",
    "control characters": "a\x1b[2J\x1b]52;c;aGk=\x07b\tc\nd",
    "200 characters": "n" * 200,
    "200 wide characters": "脳" * 200,
    "direction and combining": "\u202egnp" + "e\u0301" * 90,
    "nothing": "",
}


def table(app):
    return words_of(app.screen_stack[0].query_one("#class-table"))


def line(app):
    return words_of(app.screen_stack[0].query_one("#class-line"))


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=str)
@in_event_loop
async def test_weights_without_pictures_show_all_classes_and_whether_the_senders_is_the_most_probable(daemon, size):
    async with Monitor(daemon.endpoints).run_test(size=size) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.classify(12, FACE, "face", event=3, since_onset_s=12.5, is_final=False)
        await until(pilot, lambda: "✓ right, sent face" in table(app))
        lines = table(app).splitlines()
        assert lines[0].strip() == "no picture: these weights decode classes"
        assert lines[1].strip() == "event 3 at 12.5 s, provisional"
        rows = [row.replace("━", " ").replace("╸", " ").split() for row in lines[2:9]]
        assert rows[0] == ["face", "0.71", "sent"]
        assert rows[1:] == [[name, f"{p:.2f}"] for name, p in list(FACE.items())[1:]]
        bars = [row.count("━") + row.count("╸") / 2 for row in lines[2:9]]
        assert bars[0] / bars[1] == pytest.approx(0.71 / 0.12, rel=0.1)
        assert bars == sorted(bars, reverse=True)
        assert lines[9].split("  ")[0].strip() == "chance 0.143"
        assert not any(view.region for view in app.query(PictureView))
        assert "decoding" not in words_of(app.screen_stack[0])
        assert not app.query_one(Retrieval).display
        assert [row.split()[0] for row in words_of(app.query_one(Latency)).splitlines()[:3]] == ["ms", "ack", "scores"]


@in_event_loop
async def test_a_running_block_changes_at_every_tr_and_is_one_place_of_the_strip(daemon):
    async with Monitor(daemon.endpoints).run_test(size=(80, 24)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.classify(2, {"face": 0.3, "house": 0.7}, "face", event=0, since_onset_s=5.0, is_final=False)
        await until(pilot, lambda: "✗ wrong, sent face 0.30" in table(app))
        assert words_of(app.query_one(RecentStrip)).split() == ["house", "0.70", "so", "far", "0"]
        daemon.classify(3, {"face": 0.6, "house": 0.4}, "face", event=0, since_onset_s=7.5, is_final=False)
        await until(pilot, lambda: "✓ right, sent face" in table(app))
        assert "event 0 at 7.5 s, provisional" in table(app)
        daemon.classify(13, {"face": 0.9, "house": 0.1}, "face", event=0, since_onset_s=32.5)
        await until(pilot, lambda: "event 0 at 32.5 s, final" in table(app))
        await until(pilot, lambda: words_of(app.query_one(RecentStrip)).split() == ["face", "0.90", "right", "0"])
        daemon.classify(14, {"face": 0.8, "house": 0.2}, "house", event=1, since_onset_s=5.0)
        await until(pilot, lambda: "✗ wrong, sent house 0.20" in table(app))
        assert words_of(app.query_one(RecentStrip)).split("\n")[2].split() == ["wrong", "right"]
        await pilot.press("right")
        await until(pilot, lambda: "event 0 at 32.5 s, final" in table(app))


@in_event_loop
async def test_classes_of_a_running_block_stand_below_the_last_picture(daemon):
    async with Monitor(daemon.endpoints).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.decode(1)
        await until(pilot, lambda: app.recent.n_finished == 1)
        assert not app.query_one("#class-line").display
        daemon.classify(12, FACE, "face", "zc", event=3, since_onset_s=12.5, is_final=False)
        await until(pilot, lambda: "✓ right, sent face" in line(app))
        words = line(app).strip()
        assert words.startswith("event 3 at 12.5 s, provisional: face 0.71 ━━━━━╸ · house 0.12 · cat 0.06")
        assert words.endswith("chance 0.143  ✓ right, sent face")
        assert app.query_one("#xzc", PictureView).picture is not None
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: line(app).strip().startswith("so far 12.5 s: face 0.71 ━━━━━╸ · house 0.12  "))
        assert line(app).endswith("✓ right, sent face")


@in_event_loop
async def test_classes_of_an_earlier_run_do_not_stand_below_the_pictures_of_this_run(daemon):
    async with Monitor(daemon.endpoints).run_test() as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.classify(12, FACE, "face", "zc", event=3, since_onset_s=12.5)
        await until(pilot, lambda: app.query_one("#class-line").display)
        other_run = wire.Decode(
            seq=2, session="s", run="next", index=0, stage="scores", provenance=daemon.provenance, timings_s={}
        )
        daemon.publish(other_run)
        await until(pilot, lambda: len(app.recent.volumes) == 2)
        await until(pilot, lambda: not app.query_one("#class-line").display)


@pytest.mark.parametrize("mode", ["labels", "zc"])
@pytest.mark.parametrize("size", [(80, 24), (120, 40), (10, 3)], ids=str)
@in_event_loop
async def test_a_name_of_a_class_never_obeys_and_never_leaves_its_place(daemon, size, mode):
    async with Monitor(daemon.endpoints).run_test(size=size) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        for index, sent in enumerate([*NAMES.values(), "x" * 200, None]):
            names = [sent or "none", *NAMES.values()]
            probabilities = {name: 0.9 / 2**rank for rank, name in enumerate(dict.fromkeys(names))}
            daemon.classify(index, probabilities, sent, mode, event=index, since_onset_s=5.0)
        await until(pilot, lambda: len(app.recent.volumes) == len(NAMES) + 2)
        for _ in range(len(NAMES) + 2):
            await pilot.press("right")
            await pilot.pause()
            for widget in app.query(Classes):
                drawn = [widget.render_line(y) for y in range(widget.size.height)]
                assert all(strip.cell_length <= widget.size.width for strip in drawn)
                assert all(character.isprintable() for strip in drawn for character in strip.text)
        screen = words_of(app.screen_stack[0])
        assert "\x1b" not in screen
        if size[0] >= 80 and mode == "labels":
            assert "[bold]x" in screen


@in_event_loop
async def test_hundreds_of_classes_are_cut_to_the_screen_and_the_rest_is_counted(daemon):
    async with Monitor(daemon.endpoints).run_test(size=(80, 24)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.classify(0, {f"class {n:03}": 0.4 if n == 7 else 0.6 / 299 for n in range(300)}, "class 007")
        await until(pilot, lambda: "✓ right, sent class 007" in table(app))
        assert "chance 0.00333" in table(app)
        shown = [row for row in table(app).splitlines() if row.strip().startswith("class ")]
        assert f"{300 - len(shown)} more classes, together 0." in table(app)
        assert shown[0].split()[:3] == ["class", "007", "0.40"]


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (None, ""),
        ("", ""),
        ("face", "✓ right, sent face"),
        ("cat", "✗ wrong, sent cat 0.06"),
        ("dog", "sent dog, no class of these weights"),
        ("Face", "sent Face, no class of these weights"),
    ],
)
def test_a_class_that_the_weights_lack_is_neither_right_nor_wrong(sent, words):
    labels = tuple(wire.LabelProbability(label=name, probability=p) for name, p in FACE.items())
    assert verdict_words(DecodedVolume("s", "r", 0, 0, 0.0, labels=labels, label=sent), 20) == words


def test_scores_end_a_decode_of_weights_without_pictures(daemon):
    recent = RecentDecodes()
    daemon.classify(0, FACE)
    ((decode, _),) = daemon.published.values()
    recent.take_decode(decode, None, 0.0)
    assert recent.n_finished == 1
    recent.take_skipped(wire.Skipped(seq=2, session=decode.session, run=decode.run, index=0, reason="behind"), 0.0)
    assert recent.newest(0.0).skipped == ""


# ── voxels without signal ───────────────────────────────────────────────────────────────────────────────────────────


@in_event_loop
async def test_voxels_without_signal_are_an_alarm_before_the_first_decode(daemon):
    async with Monitor(daemon.endpoints).run_test(size=(80, 24)) as pilot:
        app = pilot.app
        alarm = app.query_one("#alarm")
        daemon.wait_for_viewer()
        daemon.heartbeat(n_without_signal=None)
        await until(pilot, lambda: app.connection.heartbeat is not None)
        assert not alarm.display
        daemon.heartbeat(n_without_signal=1412)
        sentence = "run run-03: 1,412 of the weights' voxels have no signal"
        await until(pilot, lambda: words_of(alarm).strip() == sentence)
        assert not app.recent.volumes
        daemon.heartbeat(n_without_signal=1)
        await until(pilot, lambda: words_of(alarm).strip().endswith("1 of the weights' voxels has no signal"))
        daemon.heartbeat("recording", n_without_signal=3)
        await until(pilot, lambda: words_of(alarm).strip() == "run run-03: 3 voxels have no signal")
        daemon.heartbeat(n_without_signal=0)
        await until(pilot, lambda: not alarm.display)
        daemon.classify(0, FACE, n_without_signal=5)
        daemon.heartbeat()
        await until(pilot, lambda: words_of(alarm).strip().startswith("run run-03: 5 of the weights' voxels"))
