"""What the terminal can draw: one question before the monitor starts, with a deadline.

The question is put to the terminal itself, not guessed from variables, so it holds over SSH and in tmux. Its last part
is one that every terminal answers, and terminals answer in order: a terminal without pictures costs one round trip.
"""

import os
import re
import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

Drawing = Literal["kitty", "sixel", "half", "off", "browser"]
"""How pictures are drawn. `browser`: the page of `braind monitor --web` lays them over the cells."""

ANSWER_S = 1.0
"""How long an answer is waited for: a slow SSH connection answers in this time, a terminal without a voice never."""
CELL_PX = (10, 20)
"""A cell's width and height in pixels where the terminal tells none: the VT340's."""

# kitty: is a picture of one pixel for placeholders taken (action q: nothing is stored)? kitty before 0.28 knows no
# placeholders, and so no key U: it answers nothing. Then the cell's size, then the attributes.
QUESTION = b"\x1b_Gi=31,s=1,v=1,a=q,U=1,t=d,f=24;AAAA\x1b\\" + b"\x1b[16t" + b"\x1b[c"
_KITTY_OK = re.compile(rb"\x1b_Gi=31;OK\x1b\\")
_CELL_PX = re.compile(rb"\x1b\[6;(\d+);(\d+)t")
_ATTRIBUTES = re.compile(rb"\x1b\[\?([\d;]*)c")
_SIXEL = b"4"
"""The attribute of a terminal that draws Sixel (DEC's DA1)."""


@dataclass(frozen=True)
class Terminal:
    """How pictures are drawn here, and a cell's (width, height) in pixels."""

    drawing: Drawing = "half"
    cell_px: tuple[int, int] = CELL_PX


HALF_BLOCKS = Terminal()
"""Half-blocks, which every terminal with colours draws."""


def terminal_of(app: object) -> Terminal:
    """Return the app's attribute `terminal`; half-blocks for an app that has none."""
    return getattr(app, "terminal", HALF_BLOCKS)


def terminal_for(pictures: str) -> Terminal:
    """Return how to draw pictures; `pictures` is a way to draw, or `auto` to ask the terminal.

    Never blocks longer than `ANSWER_S`. Without a terminal, without colours and without an answer: half-blocks.
    """
    terminal = _terminal_for(pictures)
    if terminal.drawing == "kitty":
        # A placeholder's colour is its picture's number; SSH hands no COLORTERM on, and 256 colours would round it.
        os.environ["COLORTERM"] = "truecolor"
    return terminal


def _terminal_for(pictures: str) -> Terminal:
    match pictures:
        case "auto":
            # A program without colours, and placeholders that carry a number as their colour, do not go together.
            if os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb":
                return HALF_BLOCKS
            answer = _answer()
            return Terminal(drawing_of(answer), _cell_px(answer))
        case "kitty" | "sixel":
            return Terminal(pictures, _cell_px(b"") if _window_cell_px() else _cell_px(_answer()))
        case "off" | "browser":
            return Terminal(pictures)
        case _:
            return HALF_BLOCKS


def drawing_of(answer: bytes) -> Drawing:
    """Return the best way to draw pictures of a terminal that answered `QUESTION` so.

    Sixel goes first: Konsole and WezTerm take kitty's pictures but not its placeholders, and both draw Sixel. kitty and
    Ghostty draw no Sixel. iTerm2 and WezTerm answer for Sixel, so iTerm2's own protocol is not needed.
    """
    attributes = _ATTRIBUTES.search(answer)
    if attributes and _SIXEL in attributes[1].split(b";")[1:]:
        return "sixel"
    return "kitty" if _KITTY_OK.search(answer) else "half"


def _cell_px(answer: bytes) -> tuple[int, int]:
    """Return a cell's (width, height) in pixels: the kernel's word, else the terminal's, else the VT340's."""
    if told := _window_cell_px():
        return told
    said = _CELL_PX.search(answer)
    height, width = (int(said[1]), int(said[2])) if said else (0, 0)
    return (width, height) if width and height else CELL_PX


def _window_cell_px() -> tuple[int, int] | None:
    """Return a cell's (width, height) in pixels by the terminal's window size, None if the kernel does not know it."""
    try:
        import fcntl  # noqa: TID251  Windows has no such modules
        import termios  # noqa: TID251
    except ImportError:
        return None
    for stream in (sys.__stdout__, sys.__stderr__, sys.__stdin__):
        try:
            packed = fcntl.ioctl(stream.fileno(), termios.TIOCGWINSZ, bytes(8)) if stream else bytes(8)
        except (OSError, ValueError):
            continue
        rows, columns, width, height = memoryview(packed).cast("H")
        if rows and columns and width >= columns and height >= rows:
            return width // columns, height // rows
    return None


def forget_exported_size() -> None:
    """Have the screens take their size from the terminal, also after it is resized.

    A size that the shell exports counts for more in `shutil.get_terminal_size`, which textual asks.
    """
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)


def _answer() -> bytes:
    """Return what the terminal answers `QUESTION` within `ANSWER_S`; nothing without a terminal."""
    if not all(stream and stream.isatty() for stream in (sys.__stdin__, sys.__stderr__)):
        return b""  # the monitor reads stdin and draws on stderr
    try:
        with _unbuffered_terminal() as terminal:
            return _asked(terminal)
    except (ImportError, OSError):
        return b""


def _asked(terminal: int) -> bytes:
    os.write(terminal, QUESTION)
    answer, deadline_s = b"", time.monotonic() + ANSWER_S
    while not _ATTRIBUTES.search(answer):
        left_s = deadline_s - time.monotonic()
        if left_s <= 0 or not select.select([terminal], [], [], left_s)[0]:
            break
        piece = os.read(terminal, 4096)
        if not piece:
            break
        answer += piece
    return answer


@contextmanager
def _unbuffered_terminal() -> Iterator[int]:
    """Open the process's terminal, without echo and without waiting for a line's end; put it back afterwards."""
    import termios  # noqa: TID251
    import tty  # noqa: TID251

    terminal = os.open(os.ctermid(), os.O_RDWR | os.O_NOCTTY)  # noqa: TID251
    try:
        before = termios.tcgetattr(terminal)
        tty.setcbreak(terminal, termios.TCSANOW)
        try:
            yield terminal
        finally:
            termios.tcsetattr(terminal, termios.TCSANOW, before)
    except termios.error as error:
        raise OSError(str(error)) from error
    finally:
        os.close(terminal)
