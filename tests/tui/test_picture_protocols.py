"""What the monitor sends to terminals with pictures, read back as kitty's protocol and Sixel say."""

import io
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from pseudo_terminal import in_terminal
from terminal_pictures import kitty_commands, kitty_pictures, sixel_picture

from braind.tui.drawing import kitty
from braind.tui.drawing.png import png
from braind.tui.drawing.sixel import sixel_strips, sixels
from braind.tui.drawing.terminal import CELL_PX, QUESTION, Terminal, drawing_of, terminal_for

NOISE = np.random.default_rng(3).integers(0, 256, (200, 200, 3), dtype=np.uint8)
DIACRITICS = (
    "import json; from textual_image.renderable.tgp import _NUMBER_TO_DIACRITIC as numbers; print(json.dumps(numbers))"
)


@pytest.fixture(autouse=True)
def _outside_tmux(monkeypatch):
    monkeypatch.delenv("TMUX", raising=False)


# ── kitty ──


def test_kitty_gets_the_picture_in_chunks_of_at_most_4096_characters():
    commands = kitty_commands(kitty.send(77, NOISE, 40, 20, (10, 20)))
    assert len(commands) > 20
    assert [command.keys["m"] for command in commands] == ["1"] * (len(commands) - 1) + ["0"]
    assert commands[0].keys["c"], commands[0].keys["r"] == ("40", "20")
    np.testing.assert_array_equal(kitty_pictures(commands)[77], NOISE)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 9, 3), (9, 1, 3), (33, 64, 3)], ids=str)
def test_a_png_holds_every_pixel(shape):
    picture = np.random.default_rng(5).integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png(picture)))), picture)
    transposed = picture.transpose(1, 0, 2)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png(transposed)))), transposed)


@pytest.mark.parametrize(("cells", "height"), [((10, 5), 100), ((20, 10), 200), ((80, 40), 200)])
def test_kitty_gets_no_more_pixels_than_its_cells_have_and_no_more_than_there_are(cells, height):
    pictures = kitty_pictures(kitty_commands(kitty.send(1, NOISE, *cells, (10, 20))))
    assert pictures[1].shape == (height, height, 3)


def test_kitty_placeholders_name_the_picture_its_rows_and_its_columns():
    numbers = json.loads(subprocess.run([sys.executable, "-c", DIACRITICS], capture_output=True, check=True).stdout)
    assert [ord(one) for one in kitty.DIACRITICS] == numbers
    strips = kitty.placeholders(0x123456, 5, 3)
    assert [strip.cell_length for strip in strips] == [5] * 3
    for row, strip in enumerate(strips):
        (segment,) = strip
        assert tuple(segment.style.color.triplet) == (0x12, 0x34, 0x56)
        assert segment.text == "".join(f"\U0010eeee{chr(numbers[row])}{chr(numbers[column])}" for column in range(5))


def test_kitty_placeholders_that_a_dialog_covers_in_part_show_the_right_part():
    (strip,) = kitty.placeholders(9, 8, 1)
    left, middle, right = strip.divide([3, 5, 8])
    assert [part.cell_length for part in (left, middle, right)] == [3, 2, 3]
    assert left.text + middle.text + right.text == strip.text
    assert right.text == "".join(f"\U0010eeee{kitty.DIACRITICS[0]}{kitty.DIACRITICS[column]}" for column in (5, 6, 7))


def test_kitty_deletes_the_picture_with_its_data():
    (command,) = kitty_commands(kitty.delete(5))
    # a lower-case i keeps the data, and no d at all deletes no placeholders' picture
    assert (command.keys["a"], command.keys["d"], command.keys["i"]) == ("d", "I", "5")


def test_pictures_numbers_travel_as_colours_and_do_not_repeat():
    numbers = [kitty.next_number() for _ in range(1000)]
    assert len(set(numbers)) == 1000
    assert all(0 < number < 2**24 for number in numbers)


def test_in_tmux_commands_are_wrapped_for_the_terminal_outside(monkeypatch):
    plain = kitty.send(3, NOISE, 4, 2, (10, 20))
    monkeypatch.setenv("TMUX", "/tmp/tmux-0/default,1,0")
    wrapped = kitty.send(3, NOISE, 4, 2, (10, 20))
    parts = wrapped.split("\x1bPtmux;")[1:]
    # tmux hands on what is inside, with every escape character halved
    assert all(part.endswith("\x1b\\") and "\x1b" not in part[:-2].replace("\x1b\x1b", "") for part in parts)
    assert "".join(part[:-2].replace("\x1b\x1b", "\x1b") for part in parts) == plain


def test_the_question_is_one_that_a_kitty_without_placeholders_does_not_understand_and_so_does_not_answer():
    # kitty 0.26 said OK to a picture, and then drew an empty box in the place of each placeholder
    keys = kitty_commands(QUESTION.decode())[0].keys
    assert (keys["a"], keys["U"]) == ("q", "1")


# ── Sixel ──


def test_sixel_covers_its_cells_whole_with_the_picture():
    smooth = np.asarray(Image.fromarray(NOISE[:6, :6]).resize((512, 512), Image.Resampling.BICUBIC))
    drawn = sixel_picture(sixels(smooth, 30, 15, (9, 19)))
    assert drawn.shape == (15 * 19, 30 * 9, 3)
    expected = np.asarray(Image.fromarray(smooth).resize((270, 270), Image.Resampling.BOX))
    # 285 rows of pixels are 15 more than the square picture's: black, above and below
    inside = drawn[7 : 7 + 270]
    assert np.abs(inside.astype(int) - expected).mean() < 12  # of 256 colours
    assert drawn[:6].max() < 12
    assert drawn[-6:].max() < 12


def test_sixel_defines_every_colour_before_its_first_pixel_because_xterm_draws_gaps_otherwise():
    smooth = np.asarray(Image.fromarray(NOISE[:6, :6]).resize((512, 512), Image.Resampling.BICUBIC))
    definition = r"#\d+;2;\d+;\d+;\d+"
    sixel = sixels(smooth, 30, 15, (9, 19))
    colours = re.search(rf'"1;1;\d+;\d+((?:{definition})+)', sixel)
    assert colours is not None
    assert len(re.findall(definition, sixel)) == len(re.findall(definition, colours[1])) > 50


def test_sixel_is_drawn_at_its_place_and_writes_no_cell():
    strips = sixel_strips("\x1bPq\x1b\\", kitty_offset(), 7, 4)
    assert [strip.cell_length for strip in strips] == [7] * 4
    assert all(segment.control for strip in strips for segment in strip)
    assert [strip.text for strip in strips[:3]] == ["\x1b[7C"] * 3
    # columns and rows count from 1; the cursor is put back
    assert strips[3].text == "\x1b[7C\x1b7\x1b[6;4H\x1bPq\x1b\\\x1b8"


def kitty_offset():
    from textual.geometry import Offset

    return Offset(3, 5)


# ── what the terminal answers ──

ASK = "from braind.tui.drawing.terminal import terminal_for; print(terminal_for({!r}), 'asked')"
KITTY, GHOSTTY = b"\x1b_Gi=31;OK\x1b\\\x1b[6;18;9t\x1b[?62;c", b"\x1b_Gi=31;OK\x1b\\\x1b[6;34;16t\x1b[?62;22;52c"
FOOT, WEZTERM = b"\x1b[6;22;11t\x1b[?62;4;22;28c", b"\x1b_Gi=31;OK\x1b\\\x1b[6;20;10t\x1b[?65;4;6;18;22c"
XTERM, XTERM_WITHOUT = b"\x1b[6;13;6t\x1b[?64;1;2;4;6;9c", b"\x1b[?64;1;2;6;9;15;22c"
ITERM2, TMUX, LINUX = b"\x1b[6;17;8t\x1b[?62;4c", b"\x1b[?1;2;4c", b"\x1b[?6c"
BAD_KITTY = b"\x1b_Gi=31;ENOTSUPPORTED:no\x1b\\\x1b[?62;c"


@pytest.mark.parametrize(
    ("answer", "drawing"),
    [
        (KITTY, "kitty"), (GHOSTTY, "kitty"), (FOOT, "sixel"), (WEZTERM, "sixel"), (XTERM, "sixel"), (ITERM2, "sixel"),
        (TMUX, "sixel"), (XTERM_WITHOUT, "half"), (LINUX, "half"), (BAD_KITTY, "half"), (b"", "half"),
        # an operating level of 64 or a typed 4 is no attribute 4
        (b"\x1b[?4;6c", "half"), (b"4", "half"), (b"q\x1b[?62;4c", "sixel"),
    ],
)  # fmt: skip
def test_the_terminals_answer_chooses_how_to_draw(answer, drawing):
    assert drawing_of(answer) == drawing


def environment(**variables):
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TMUX", "COLORTERM")}
    return {**kept, "TERM": "xterm-256color", **variables}


@pytest.mark.parametrize(
    ("pieces", "terminal"),
    [
        ([KITTY], Terminal("kitty", (9, 18))),
        ([FOOT[:7], FOOT[7:]], Terminal("sixel", (11, 22))),
        ([b"typed", LINUX], Terminal("half")),
    ],
    ids=["kitty", "foot, in two pieces", "the console, while someone types"],
)
def test_a_real_terminal_is_asked_once_and_left_as_it_was(pieces, terminal):
    with in_terminal([sys.executable, "-c", ASK.format("auto")], environment()) as (side, _):
        side.until(lambda output: QUESTION.decode() in output)
        for piece in pieces:
            side.type(piece)
        output = side.until(lambda output: "asked" in output)
        assert output.count("\x1b[c") == 1
        assert f"{terminal} asked" in output
        # the answer is not echoed: a terminal that is asked does not show it
        assert b"".join(pieces).decode() not in output


def test_a_terminal_that_never_answers_gets_half_blocks():
    with in_terminal([sys.executable, "-c", ASK.format("auto")], environment()) as (side, _):
        assert f"{Terminal('half')} asked" in side.until(lambda output: "asked" in output)


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_without_colours_is_not_asked(variables):
    with in_terminal([sys.executable, "-c", ASK.format("auto")], environment(**variables)) as (side, _):
        output = side.until(lambda output: "asked" in output)
        assert "\x1b" not in output
        assert f"{Terminal('half')} asked" in output


def test_without_a_terminal_nothing_is_asked_and_nothing_hangs():
    for options in ({"stdin": subprocess.DEVNULL}, {"stdin": subprocess.PIPE, "start_new_session": True}):
        ran = subprocess.run(
            [sys.executable, "-c", ASK.format("auto")], capture_output=True, text=True,
            env=environment(), timeout=60, check=True, **options,
        )  # fmt: skip
        assert ran.stdout == f"{Terminal('half')} asked\n"
        assert ran.stderr == ""


def test_a_cells_size_comes_from_the_kernel_where_it_knows_it():
    for pictures in ("kitty", "sixel"):
        with in_terminal([sys.executable, "-c", ASK.format(pictures)], environment(), cell_px=(8, 17)) as (side, _):
            output = side.until(lambda output: "asked" in output)
            assert f"{Terminal(pictures, (8, 17))} asked" in output
            assert "\x1b" not in output


@pytest.mark.parametrize("pictures", ["half", "off"])
def test_who_says_how_to_draw_is_not_asked(pictures, monkeypatch):
    monkeypatch.setattr("os.write", lambda *_: pytest.fail("asked"))
    assert terminal_for(pictures) == Terminal(pictures, CELL_PX)
