"""`braind replay`: a replay to the running daemon, with a progress bar, that can be interrupted and continued."""

from dataclasses import replace
from typing import TYPE_CHECKING

from ...config import Config
from ..control import ControlClient
from ..endpoints import endpoints
from ..scanner import ScannerClient
from ..stderr import say
from ..subscriber import DecodeSubscriber
from .plan import ReplayPlan
from .progress_bar import progress_bar
from .replay import ReplaySummary, replay
from .runs import TRIAL_S
from .unfinished import UnfinishedReplay

if TYPE_CHECKING:
    from ..datasets.nsd.tree import NsdTree

WAITING_DAEMON = {
    "starting": "the daemon is starting: it takes the volumes now and decodes them when it is warmed up",
    "paused": "decoding is paused: the daemon keeps the volumes and decodes none; `braind monitor`, key p, goes on",
    "recording": "the daemon has no weights: it keeps the volumes and decodes none",
}
"""What keeps decodes from coming, by the daemon's state."""


def replay_subject(
    config: Config,
    tree: "NsdTree",
    plan: ReplayPlan,
    *,
    speed: float | None = 1.0,
    session_id: str | None = None,
    fresh: bool = False,
) -> ReplaySummary:
    """Replay a plan's trials at `speed` times NSD's pace; None is as fast as volumes are acked.

    Parameters
    ----------
    session_id : names this replay; None continues an interrupted replay of the same trials
    fresh : start anew instead of continuing

    Raises
    ------
    RefusedByDaemon, NoDaemonError, ReplayError, NsdError
    """
    where = endpoints(config)
    with ControlClient(*where.address("control")) as control:
        status = control.status()
    if status.state in WAITING_DAEMON:
        say(WAITING_DAEMON[status.state])
    volume_s = tree.bold_tr_s if plan.kind == "bold" else TRIAL_S
    unfinished = None
    if session_id is None:
        unfinished = UnfinishedReplay(config, plan, fresh=fresh)
        session_id = unfinished.session_id
        if unfinished.is_resumed:
            say(f"going on with the interrupted replay {session_id}; --fresh starts anew")
    with (
        ScannerClient(*where.address("ingest")) as client,
        DecodeSubscriber.at(where, from_seq=status.last_seq + 1) as subscriber,
        progress_bar() as progress,
    ):
        summary = replay(
            tree,
            replace(plan, pace_s=None if speed is None else volume_s / speed),
            client,
            # A daemon that only records decodes nothing that could be awaited.
            None if status.state == "recording" else subscriber,
            session_id=session_id,
            progress=progress,
        )
    if unfinished is not None:
        unfinished.finish()
    return summary
