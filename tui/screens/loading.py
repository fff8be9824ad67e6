"""A trial with its pictures: from the newest decodes that the monitor keeps, else fetched."""

from collections.abc import Callable

from ..feed import Notice, Stage
from ..recent import DecodedVolume, RecentDecodes
from ..state.monitor_state import MonitorState
from ..state.trials import TrialRecord, key_of

Fetch = Callable[[tuple[int, ...]], list[Stage | Notice]]
"""Returns decodes by their numbers, with their pictures. It blocks, and may raise BraindError."""


def kept_volume(state: MonitorState, record: TrialRecord) -> DecodedVolume | None:
    """Return a trial that the monitor keeps with its pictures; None for an older trial."""
    kept = [volume for volume in state.recent.volumes if key_of(volume) == record.key]
    return kept[-1] if kept else None


def fetched_volume(record: TrialRecord, fetch: Fetch) -> tuple[DecodedVolume | None, list[str]]:
    """Return a trial made from its fetched messages, and the sentences on unreadable pictures; None without a message.

    Raises
    ------
    BraindError
        The messages cannot be fetched.
    """
    heard = fetch(tuple(record.seqs.values())) if record.seqs else []
    decodes, notices = RecentDecodes(), [one.sentence for one in heard if isinstance(one, Notice)]
    volumes = [
        decodes.take_decode(one.decode, one.picture, 0.0, is_unreadable=one.is_unreadable)
        for one in heard
        if isinstance(one, Stage)
    ]
    return (volumes[-1] if volumes else None), notices
