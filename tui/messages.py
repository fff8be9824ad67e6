"""Messages from the monitor's workers to its app. Workers post messages and touch no widget."""

from dataclasses import dataclass

from textual.message import Message

from ..client.wire import Heartbeat, Skipped
from .feed import Heard, Notice, Stage
from .recent import DecodedVolume


@dataclass
class StageDecoded(Message):
    """One stage of a volume's decode, with its picture if it has one."""

    heard: Stage


@dataclass
class VolumeSkipped(Message):
    """A volume has no picture because it was not decoded in time."""

    heard: Skipped


@dataclass
class DaemonHeard(Message):
    """The daemon's heartbeat; a newer heartbeat replaces an older one that still waits."""

    heard: Heartbeat

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, DaemonHeard)


@dataclass
class NoticeGiven(Message):
    """A problem that people should see and that stops nothing, such as an unreadable message."""

    heard: Notice


@dataclass
class ControlAnswered(Message):
    """The daemon's answer to a key press, as a sentence, or the reason why there is none."""

    sentence: str
    carried_out: bool


@dataclass
class VolumeChosen(Message):
    """A volume in the strip was clicked."""

    volume: DecodedVolume


def message_of(heard: Heard) -> StageDecoded | VolumeSkipped | DaemonHeard | NoticeGiven:
    """Return the message that tells the app what the daemon published."""
    match heard:
        case Stage():
            return StageDecoded(heard)
        case Skipped():
            return VolumeSkipped(heard)
        case Heartbeat():
            return DaemonHeard(heard)
        case Notice():
            return NoticeGiven(heard)
