"""A note on a trial is a mark of it."""

from textual.screen import Screen

from ...client.wire import Mark
from ..fitted import run_within
from ..state.trials import TrialRecord
from .earlier import Source
from .mark import MarkDialog


def note_on(screen: Screen[None], record: TrialRecord, source: Source) -> None:
    """Ask for a note on a trial, and have the daemon keep it. A recorded session takes no notes: say so."""
    if source.mark is None:
        screen.notify(
            "a recorded session takes no notes: the daemon keeps notes of the sessions that it has open",
            severity="warning",
        )
        return
    kind = "volume" if record.event is None else "event"
    words = f"run {run_within(record.session, record.run)}, {kind} {record.number}"
    mark = Mark(note="", session=record.session, run=record.run, index=record.index, event=record.event)
    screen.app.push_screen(MarkDialog(source.mark, mark, words))
