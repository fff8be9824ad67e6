"""What stands above each picture: its name, and by a mark's shape how far it is. No meaning hangs on a colour."""

from typing import Literal

from .recent import DecodedVolume

PictureName = Literal["seen", "xz", "xzc"]

NAMES: dict[PictureName, str] = {"seen": "seen", "xz": "Xz (z)", "xzc": "Xzc"}
SHORT_NAMES: dict[PictureName, str] = {**NAMES, "xz": "Xz"}
MODE_WITHOUT = {"xz": "c", "xzc": "z"}
"""The mode in which a picture is not made."""
THERE, PROVISIONAL, PENDING, NONE = "●", "◐", "○", "×"
"""A picture that is final, one that a later volume will replace, one that is being made, and one that will not come."""


def captions(name: PictureName, volume: DecodedVolume | None) -> tuple[str, ...]:
    """Return a picture's caption, such as `Xz (z) ●`, in forms from long to short."""
    mark = "" if volume is None else f" {_mark(name, volume)}"
    return f"{NAMES[name]}{mark}", f"{SHORT_NAMES[name]}{mark}"


def missing_words(name: PictureName, volume: DecodedVolume) -> str:
    """Return what to say in the place of a picture that is not there."""
    if name in volume.unreadable:
        return "unreadable"
    if name == "seen":
        return "not sent"
    return f"not in mode {volume.mode}" if volume.mode == MODE_WITHOUT[name] else volume.pending_words


def _mark(name: PictureName, volume: DecodedVolume) -> str:
    if getattr(volume, name) is not None:
        # The seen picture is the sender's, and never provisional.
        is_final = volume.is_final and name not in volume.superseded
        return THERE if is_final or name == "seen" else PROVISIONAL
    is_made = name != "seen" and volume.mode != MODE_WITHOUT[name]
    return PENDING if is_made and volume.is_awaited else NONE
