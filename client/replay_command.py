"""`braind replay`: a replay to the daemon of this data folder, with a progress bar, resumed if it was interrupted."""

from typing import TYPE_CHECKING

from .config import Config
from .control import ControlClient
from .endpoints import endpoints
from .progress_bar import progress_bar, say
from .replay import ReplaySummary, replay
from .replay_runs import TRIAL_S, Repeats
from .scanner import ScannerClient
from .subscriber import DecodeSubscriber
from .unfinished import UnfinishedReplay
from .wire import Kind

if TYPE_CHECKING:
    from .nsd import NsdTree


def replay_subject(
    config: Config,
    tree: "NsdTree",
    subject: int,
    *,
    session: int | None = None,
    kind: Kind = "beta",
    repeats: Repeats = "single",
    with_foils: bool = False,
    speed: float | None = 1.0,
    max_volumes: int | None = None,
    session_id: str | None = None,
    fresh: bool = False,
) -> ReplaySummary:
    """Replay a subject's test trials at `speed` times NSD's pace (None: flat out); see `replay` for the rest.

    Without `session_id` an interrupted replay of the same trials is gone on with, unless `fresh`.
    """
    where = endpoints(config)
    with ControlClient(*where.address("control")) as control:
        status = control.status()
    volume_s = tree.bold_tr_s if kind == "bold" else TRIAL_S
    unfinished = None
    if session_id is None:
        unfinished = UnfinishedReplay(config, subject, kind, repeats, session, fresh=fresh)
        session_id = unfinished.session_id
        if unfinished.is_resumed:
            say(f"going on with the interrupted replay {session_id}; --fresh starts anew")
    with (
        ScannerClient(*where.address("ingest")) as client,
        DecodeSubscriber(
            *where.address("decodes"), where.address("control")[1], from_seq=status.last_seq + 1
        ) as subscriber,
        progress_bar() as progress,
    ):
        summary = replay(
            tree,
            subject,
            client,
            # one that only records decodes nothing that could be waited for
            None if status.state == "recording" else subscriber,
            session=session,
            kind=kind,
            repeats=repeats,
            with_foils=with_foils,
            pace_s=None if speed is None else volume_s / speed,
            max_volumes=max_volumes,
            session_id=session_id,
            progress=progress,
        )
    if unfinished is not None:
        unfinished.finish()
    return summary
