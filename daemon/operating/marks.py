"""Marks: what an operator notes during a session, kept in the session's journal and told to the viewers."""

import time

import msgspec

from ...client import wire
from ..checks import Refusal
from ..sessions import Sessions
from ..state import DaemonState


def keep_mark(mark: wire.Mark, sessions: Sessions, state: DaemonState) -> wire.Done:
    """Commit a mark, and have the next heartbeats tell it.

    Raises
    ------
    Refusal
        The note is empty or too long, the time is out of bounds, or the run was not opened.
    JournalError
    """
    note = mark.note.strip()
    if not 0 < len(note) <= wire.LONGEST_NOTE:
        raise Refusal(f"a mark's note has 1 to {wire.LONGEST_NOTE} characters, this one {len(note)}", code="note")
    if not 0 <= mark.age_s <= wire.EARLIEST_MARK_S:
        raise Refusal(f"a mark's age_s is 0 to {wire.EARLIEST_MARK_S:g} s, this one {mark.age_s:g}", code="note")
    session = mark.session or state.session
    run = mark.run or (state.run if session == state.session else "")
    journal = sessions.find(session) if session else None
    if journal is None or journal.run(run) is None:
        what = f"session {session[:80]!r}, run {run[:80]!r} is not open" if session else "no run was opened yet"
        raise Refusal(f"{what}: a mark needs a run; note it after the run's first volume", code="run")
    made_s = round(time.time() - mark.age_s, 3)
    index = mark.index
    if index is None and mark.event is None:
        index = journal.index_before(run, made_s)
    kept = msgspec.structs.replace(mark, note=note, session=session, run=run, index=index, age_s=0.0, made_s=made_s)
    journal.add_mark(kept)
    state.marks.append(kept)
    return wire.Done(note=f"the mark is in the journal of session {session}, {about(kept)}")


def about(mark: wire.Mark) -> str:
    """Return what a mark is about, in words."""
    if mark.event is not None:
        return f"run {mark.run}, event {mark.event}"
    return f"run {mark.run}, " + ("before its first volume" if mark.index is None else f"volume {mark.index}")
