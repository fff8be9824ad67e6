"""Crashes of the decoder, counted against the volume that was being decoded."""

import logging
import time

from ...client.wire import Skipped
from .. import link
from ..journal.database import JournalError
from ..sessions import Sessions
from ..state import DaemonState

MOST_CRASHES = 2
"""After so many crashes over one volume, the daemon passes over the volume."""

logger = logging.getLogger(__name__)


def count_crash(volume: link.Taking, sessions: Sessions, state: DaemonState) -> None:
    """Count a crash against a volume.

    After `MOST_CRASHES` crashes the journal gets the volume's `Skipped` message, and no decoder takes the volume.
    """
    try:
        journal = sessions.find(volume.session)
        if journal is None:
            return
        if journal.count_crash(volume.run, volume.index) < MOST_CRASHES:
            return
        skipped = Skipped(
            seq=state.last_seq + 1,
            session=volume.session,
            run=volume.run,
            index=volume.index,
            reason=f"failed: the decoder process died over it {MOST_CRASHES} times",
            failed=True,
            events=volume.events,
            made_s=round(time.time(), 3),
        )
        journal.add_decode(skipped, outcome="failed")
    except JournalError as error:
        logger.error("%s", error)
