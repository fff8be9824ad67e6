"""One trial as a row of the table of trials."""

from rich.text import Text

from ...signs import MINUS, number
from ..fitted import run_within, shortened
from ..live.latency import milliseconds
from ..state.trials import COLUMNS, TrialRecord

LABEL_CELLS, RUN_CELLS = 28, 60
WHOLE = 10_000
NUMBER = [name for name, _ in COLUMNS].index("no.")
"""The place of the trial's number among the columns."""


def row_of(record: TrialRecord, label_cells: int = LABEL_CELLS) -> list[Text]:
    """Return a trial's row in the order of `COLUMNS`, with shortened labels; an unknown value is "–"."""
    words = (
        shortened(run_within(record.session, record.run), RUN_CELLS),
        str(record.number),
        str(record.index),
        _whole(record.trial),
        record.outcome,
        _number(record.score, ".2f"),
        _whole(record.rank),
        shortened(record.best, label_cells) or "–",
        _number(record.feedback, "+.2f"),
        shortened(record.likely, label_cells) or "–",
        _number(record.probability, ".2f"),
        shortened(record.sent_class, label_cells) or "–",
        "–" if record.latency_s is None else milliseconds(1e3 * record.latency_s),
    )
    return [Text(one) for one in words]


def has_words(record: TrialRecord, words: str) -> bool:
    """Return whether a trial has all these words, in any column, in upper or lower case; also where a label is cut."""
    row = " ".join(cell.plain for cell in row_of(record, WHOLE)).lower()
    # A keyboard has no true minus sign.
    return all(word in row.replace(MINUS, "-") for word in words.lower().replace(MINUS, "-").split())


def _whole(value: int | None) -> str:
    return "–" if value is None else str(value)


def _number(value: float | None, spec: str) -> str:
    return "–" if value is None else number(value, spec)
