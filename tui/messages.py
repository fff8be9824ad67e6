"""Messages from the monitor's workers to its app. Workers post messages and touch no widget."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from textual.message import Message

from ..client.wire import Decode, Heartbeat, Skipped
from .recent import DecodedVolume

Array = NDArray[Any]


@dataclass
class StageDecoded(Message):
    """One stage of a volume's decode, with its picture (height, width, 3) uint8 if it has one."""

    decode: Decode
    picture: Array | None


@dataclass
class VolumeSkipped(Message):
    """A volume has no picture because it was not decoded in time."""

    skipped: Skipped


@dataclass
class DaemonHeard(Message):
    """The daemon's heartbeat; a newer heartbeat replaces an older one that still waits."""

    heartbeat: Heartbeat

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, DaemonHeard)


@dataclass
class NoticeGiven(Message):
    """A problem that people should see and that stops nothing, such as an unreadable message."""

    sentence: str


@dataclass
class ControlAnswered(Message):
    """The daemon's answer to a key press, as a sentence, or the reason why there is none."""

    sentence: str
    carried_out: bool


@dataclass
class VolumeChosen(Message):
    """A volume in the strip was clicked."""

    volume: DecodedVolume
