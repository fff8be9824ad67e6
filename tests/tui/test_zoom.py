"""Pictures on the monitor's screens: in a terminal that draws them, zoomed, switched off, and in every theme."""

import os
import re
import sys

import pytest
from monitor_screens import in_event_loop, until, words_of
from pseudo_terminal import in_terminal
from terminal_pictures import kitty_commands, kitty_pictures, sixel_picture

from braind.client.address import Address
from braind.tui.app import Monitor
from braind.tui.captions import NONE, PENDING, PROVISIONAL, THERE
from braind.tui.drawing.terminal import Terminal
from braind.tui.live.picture_view import PictureView
from braind.tui.zoom import Zoom

CELL_PX = (8, 16)


@pytest.fixture
def in_monitor(daemon, tmp_path):
    """Run `braind monitor` in a pseudo-terminal beside a daemon."""
    ports = {
        f"BRAIND_SERVE__{name.upper()}_PORT": str(Address.parse(getattr(daemon.endpoints, name)).port)
        for name in ("ingest", "decodes", "control")
    }
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TMUX", "COLORTERM")}
    environment = {**kept, "TERM": "xterm-256color", "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), **ports}

    def run(*options):
        command = [sys.executable, "-m", "braind", "monitor", "--data", str(tmp_path), *options]
        return in_terminal(command, environment, (120, 40), CELL_PX)

    return run


def alive_after(commands):
    """The numbers of the pictures that kitty keeps after the commands."""
    sent = [int(one.keys["i"]) for one in commands if one.keys.get("a") == "T"]
    deleted = [int(one.keys["i"]) for one in commands if one.keys.get("a") == "d"]
    assert len(set(deleted)) == len(deleted)
    return [number for number in sent if number not in deleted]


def placeholders_of(number, output):
    colour = f"38;2;{number >> 16};{number >> 8 & 255};{number & 255}"
    return re.search(rf"\x1b\[[\d;]*{colour}[\d;]*m\U0010eeee", output)


def test_kitty_keeps_the_pictures_on_show_and_no_other(daemon, in_monitor, red_png):
    with in_monitor("--pictures", "kitty") as (side, process):
        daemon.wait_for_viewer()
        for index in range(5):
            daemon.decode(index, colour=(10 * index, 200, 50), seen_png=red_png)
            daemon.heartbeat(n_decoded=index)
            shown = (10 * index, 200, 50)
            side.until(
                lambda output, shown=shown: any(
                    tuple(picture[0, 0]) == shown for picture in kitty_pictures(whole(output)).values()
                )
            )
        side.until(lambda output: len(alive_after(kitty_commands(output))) <= 3)
        output = side.output
        commands = kitty_commands(output)
        alive = alive_after(commands)
        pictures = kitty_pictures(commands)
        assert [tuple(pictures[number][0, 0]) for number in alive].count((40, 200, 50)) == 2
        for number in pictures:
            sent_at = next(one.at for one in commands if one.keys.get("i") == str(number))
            drawn = placeholders_of(number, output)
            if drawn is not None:  # another may have replaced it before it was drawn
                assert sent_at < drawn.start(), "the terminal has the picture before the cells that show it"
        for one in commands:
            if one.keys.get("a") == "d":
                # steady: a newer picture is drawn before the old one goes
                newer = list(pictures)[list(pictures).index(int(one.keys["i"])) + 1 :]
                assert any(placeholders_of(number, output[: one.at]) for number in newer)
        side.type(b"q")
        process.wait(30)
        assert alive_after(kitty_commands(side.output)) == []


def whole(output):
    """The commands up to the last picture that came whole."""
    commands = kitty_commands(output)
    while commands and commands[-1].keys.get("m") == "1":
        commands.pop()
    return commands


def test_sixel_draws_the_pictures_over_their_cells(daemon, in_monitor, red_png):
    with in_monitor("--pictures", "sixel") as (side, _):
        daemon.wait_for_viewer()
        daemon.decode(0, colour=(30, 60, 220), seen_png=red_png)
        sixel = re.compile(r"\x1b\[(\d+);(\d+)H(\x1bP[^\x1b]*\x1b\\)")

        def colours(output):
            middles = [sixel_picture(one[3])[40, 40] for one in sixel.finditer(output)]
            return {"red" if middle[0] > 200 else "blue" if middle[2] > 200 else "" for middle in middles}

        output = side.until(lambda output: {"blue", "red"} <= colours(output))
        for one in sixel.finditer(output):
            height, width, _ = sixel_picture(one[3]).shape
            assert (height % CELL_PX[1], width % CELL_PX[0]) == (0, 0)
            # the picture stays inside the screen, so that the terminal does not scroll
            assert int(one[1]) + height // CELL_PX[1] <= 40
            assert int(one[2]) + width // CELL_PX[0] <= 121


def captions_of(app):
    return [words_of(app.query_one(f"#{name}-caption")).strip() for name in ("seen", "xz", "xzc")]


@in_event_loop
async def test_captions_say_by_a_marks_shape_how_far_a_picture_is(daemon, red_png):
    async with Monitor(daemon.endpoints).run_test(size=(120, 40)) as pilot:
        daemon.wait_for_viewer()
        daemon.decode(0, "scores", "xz", event=3, is_final=False)
        app = pilot.app
        await until(pilot, lambda: captions_of(app) == [f"seen {NONE}", f"Xz (z) {PROVISIONAL}", f"Xzc {PENDING}"])
        daemon.decode(1, seen_png=red_png, event=3)
        await until(pilot, lambda: captions_of(app) == [f"seen {THERE}", f"Xz (z) {THERE}", f"Xzc {THERE}"])
        daemon.decode(2, "scores", run="betas")
        await until(pilot, lambda: captions_of(app) == [f"seen {NONE}", f"Xz (z) {PENDING}", f"Xzc {PENDING}"])
        daemon.skip(2, "too late", run="betas")
        app.held = app.recent.volumes[-1]
        await until(pilot, lambda: captions_of(app) == [f"seen {NONE}", f"Xz (z) {NONE}", f"Xzc {NONE}"])
        assert "skipped: too late" in words_of(app.query_one("#xzc"))
        # the message of Xz was lost
        daemon.decode(3, "scores", "xzc", run="betas")
        await until(pilot, lambda: app.recent.volumes[-1].is_finished)
        app.held = app.recent.volumes[-1]
        await until(pilot, lambda: captions_of(app) == [f"seen {NONE}", f"Xz (z) {NONE}", f"Xzc {THERE}"])
        assert "no picture came" in words_of(app.query_one("#xz"))
        assert len({THERE, PROVISIONAL, PENDING, NONE}) == 4


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 40), (200, 60)], ids=lambda size: f"{size[0]}x{size[1]}")
@in_event_loop
async def test_z_shows_one_picture_as_large_as_the_terminal_allows(daemon, size, red_png):
    async with Monitor(daemon.endpoints).run_test(size=size) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.decode(4, colour=(40, 200, 90), seen_png=red_png)
        await until(pilot, lambda: app.volume_on_show is not None and app.volume_on_show.is_finished)
        await pilot.press("z")
        await until(pilot, lambda: isinstance(app.screen, Zoom) and colour_at_the_middle(app) == (40, 200, 90))
        view = app.screen.query_one(PictureView)
        assert view.size == (size[0], size[1] - 2)
        words = words_of(app.screen.query_one("#zoom-words"))
        assert words.strip().startswith(f"Xzc {THERE} · volume 4 · ")
        if size[0] >= 80:
            assert words.strip() == f"Xzc {THERE} · volume 4 · sub-01_ses-14_run-03 · sub-01_ses-14"
        await pilot.press("tab")
        await until(pilot, lambda: colour_at_the_middle(app) == (250, 0, 0))
        await pilot.press("2")
        await until(pilot, lambda: words_of(app.screen).count("Xz (z)") == 1)
        # the words change with the picture
        daemon.decode(5, colour=(1, 2, 3))
        await until(pilot, lambda: colour_at_the_middle(app) == (1, 2, 3))
        assert "volume 5" in words_of(app.screen)
        await pilot.press("z")
        await until(pilot, lambda: not isinstance(app.screen, Zoom))


def colour_at_the_middle(app):
    view = app.screen.query_one(PictureView)
    line = view.render_line(view.size.height // 2).crop(view.size.width // 2, view.size.width // 2 + 1)
    colour = next(iter(line)).style.color
    return colour and tuple(colour.triplet)


@in_event_loop
async def test_pictures_can_be_switched_off(daemon, red_png):
    async with Monitor(daemon.endpoints, Terminal("off")).run_test(size=(120, 40)) as pilot:
        daemon.wait_for_viewer()
        daemon.decode(0, seen_png=red_png)
        await until(pilot, lambda: "pictures are off" in words_of(pilot.app.query_one("#xzc")))
        assert "▀" not in words_of(pilot.app.screen)
        assert "picture 0.0" in words_of(pilot.app.screen)


@pytest.mark.parametrize("drawing", ["kitty", "sixel", "browser"])
@in_event_loop
async def test_no_picture_lies_over_a_dialog(daemon, drawing, red_png):
    async with Monitor(daemon.endpoints, Terminal(drawing)).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.decode(0, seen_png=red_png)
        view = app.query_one("#xzc", PictureView)

        def drawn():
            return view.render_lines(view.size.region)[view.size.height // 2 :]

        await until(pilot, lambda: view.picture is not None)
        await pilot.press("question_mark")
        await until(pilot, lambda: not view.screen.is_active)
        assert all(strip.text.strip() == "" for strip in drawn())
        await pilot.press("escape")
        await until(pilot, lambda: view.screen.is_active)
        if drawing != "browser":
            assert any(strip.text.strip() for strip in drawn())
