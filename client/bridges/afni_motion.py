"""AFNI's messages to realtime_receiver: six motion values per TR, and ROI means or voxels; versions 0 to 4."""

import asyncio
import math
import struct
from dataclasses import dataclass, replace

from ..sending.incoming import Incoming
from ..wire import Motion
from .runs import PeerError, Reader

HELLO = bytes([0xAB, 0xCD, 0xEF])
BYE = bytes([0xDE, 0xAD, 0xDE, 0xAD])
MOST_VALUES = 100_000
MOST_ROIS = 1000
# index, i, j, k, x, y, z, value
VOXEL_FLOATS = 8


@dataclass(frozen=True)
class OfTr:
    """One TR's motion and ROI means."""

    motion: Motion
    roi_values: tuple[float, ...]

    def beside(self, incoming: Incoming) -> Incoming:
        """Return the volume with this motion and these ROI means."""
        return replace(incoming, motion=self.motion, roi_values=self.roi_values)


class MotionValues:
    """The current run's motion, by TR."""

    def __init__(self) -> None:
        self._of_run: list[OfTr] = []
        self._changed = asyncio.Condition()
        self.is_connected = False

    async def begin(self) -> None:
        """Begin a run: AFNI opens one connection per run."""
        async with self._changed:
            self._of_run, self.is_connected = [], True

    async def add(self, block: OfTr) -> None:
        """Add the next TR's motion."""
        async with self._changed:
            self._of_run.append(block)
            self._changed.notify_all()

    async def end(self) -> None:
        """End the run, so that no volume waits any longer."""
        async with self._changed:
            self.is_connected = False
            self._changed.notify_all()

    async def of(self, index: int, wait_s: float) -> OfTr | None:
        """Return the motion of a TR; None if it does not come within `wait_s` seconds or before the run's end."""
        async with self._changed:
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait_for(lambda: len(self._of_run) > index or not self.is_connected)
            except TimeoutError:
                return None
            return self._of_run[index] if index < len(self._of_run) else None


async def read_motion(reader: Reader, values: MotionValues) -> None:
    """Read one connection, which is a run, to its end.

    Raises
    ------
    PeerError
        The hello is not AFNI's, its counts are impossible, or motion values are not finite.
    asyncio.IncompleteReadError
        The connection closes inside a block.
    """
    hello = await reader.readexactly(4)
    version = hello[3] - 0xAB
    if hello[:3] != HELLO or not 0 <= version <= 4:
        raise PeerError(f"{hello.hex(' ')} is no hello of AFNI's; AFNI_REALTIME_MP_HOST_PORT leads here")
    counts, order = await _counts(reader, 0 if version == 0 else 2 if version == 4 else 1)
    n_rois = counts[0] if version in (1, 4) else 0
    n_extra = {0: 0, 1: n_rois, 2: VOXEL_FLOATS * counts[0], 3: counts[0], 4: sum(counts)}[version] if counts else 0
    await values.begin()
    try:
        while (block := await _block(reader, 6 + n_extra)) is not None:
            order = order or _order(block)
            numbers = struct.unpack(f"{order}{6 + n_extra}f", block)
            if not all(map(math.isfinite, numbers[:6])):
                raise PeerError("motion values that are not finite")
            rois = tuple(number for number in numbers[6 : 6 + n_rois] if math.isfinite(number))
            await values.add(OfTr(_motion(numbers), rois if n_rois <= MOST_ROIS else ()))
    finally:
        await values.end()


async def _counts(reader: Reader, n: int) -> tuple[list[int], str]:
    """Return the hello's counts and the byte order that they imply; "" if all counts are 0 or there are none."""
    data = await reader.readexactly(4 * n)
    for order in "<>":
        counts = list(struct.unpack(f"{order}{n}i", data))
        if all(0 <= count <= MOST_VALUES for count in counts):
            return counts, order if any(counts) else ""
    raise PeerError(f"{data.hex(' ')} are no counts of ROIs or voxels")


async def _block(reader: Reader, n_floats: int) -> bytes | None:
    """Return one TR's bytes; None at the end. A displacement that looks like a bye is followed by more bytes."""
    try:
        start = await reader.readexactly(4)
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    try:
        return start + await reader.readexactly(4 * (n_floats - 1))
    except asyncio.IncompleteReadError as error:
        if start == BYE and not error.partial:
            return None
        raise


def _order(block: bytes) -> str:
    """Return the byte order in which a head can make the block's six motion values."""
    for order in "<>":
        values = struct.unpack(f"{order}6f", block[:24])
        if all(value == 0 or 1e-9 < abs(value) < 1e3 for value in values):
            return order
    return "<"


def _motion(numbers: tuple[float, ...]) -> Motion:
    """Return translations along x, y, z in mm, then rotations in rad; AFNI's pitch, yaw, roll turn about x, y, z."""
    x_mm, y_mm, z_mm, roll, pitch, yaw = numbers[:6]
    return (x_mm, y_mm, z_mm, math.radians(pitch), math.radians(yaw), math.radians(roll))
