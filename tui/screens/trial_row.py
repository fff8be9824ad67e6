"""One trial as a row of the table of trials."""

from typing import NamedTuple

from rich.text import Text

from ...signs import MINUS, number
from ..fitted import run_within, shortened
from ..live.latency import milliseconds
from ..names import short_name
from ..state.trials import COLUMNS, TrialRecord

WHOLE = 10_000


class Room(NamedTuple):
    """The cells that a run's name and a label take at most."""

    run: int
    label: int


def room_of(width: int) -> Room:
    """Return the room in a terminal of so many cells. Beside both, the columns up to the score fit."""
    return next(room for least, room in ROOMS if width >= least)


ROOMS = ((160, Room(40, 56)), (110, Room(24, 32)), (72, Room(16, 24)), (0, Room(12, 16)))
"""The least width of a terminal for a room: few, because the table is filled anew for another room."""
NUMBER = [name for name, _ in COLUMNS].index("no.")
"""The place of the trial's number among the columns."""


def row_of(record: TrialRecord, room: Room) -> list[Text]:
    """Return a trial's row in the order of `COLUMNS`, with shortened labels; an unknown value is "–"."""
    words = (
        short_name(run_within(record.session, record.run), room.run),
        str(record.number),
        record.outcome,
        shortened(record.best, room.label) or "–",
        _number(record.score, ".2f"),
        _whole(record.rank),
        shortened(record.likely, room.label) or "–",
        _number(record.probability, ".2f"),
        shortened(record.sent_class, room.label) or "–",
        _number(record.feedback, "+.2f"),
        "–" if record.latency_s is None else milliseconds(1e3 * record.latency_s),
        _whole(record.trial),
        str(record.index),
    )
    return [Text(one) for one in words]


def has_words(record: TrialRecord, words: str) -> bool:
    """Return whether a trial has all these words, in any column, in upper or lower case; also where a label is cut."""
    row = " ".join(cell.plain for cell in row_of(record, Room(WHOLE, WHOLE))).lower()
    # A keyboard has no true minus sign.
    return all(word in row.replace(MINUS, "-") for word in words.lower().replace(MINUS, "-").split())


def _whole(value: int | None) -> str:
    return "–" if value is None else str(value)


def _number(value: float | None, spec: str) -> str:
    return "–" if value is None else number(value, spec)
