"""Dimon's stream to AFNI's realtime plugin: a header of KEY value lines, a zero byte, then raw voxels."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..sending.incoming import LPS_TO_RAS, Incoming, sendable
from .runs import PEER_PATIENCE_S, PeerError, Reader

MAX_HEADER_BYTES = 32 * 1024
END_OF_RUN = b"Et Earello Endorenna utulien!!"
HEADER_START = re.compile(rb"[A-Z_]{2,}\s")
HEADER_START_BYTES = 24
DATUM = {"short": "i2", "float": "f4", "byte": "u1"}
# The axis and the sign of AFNI's direction letters, in LPS.
DIRECTION = {"R": (0, -1), "L": (0, 1), "A": (1, -1), "P": (1, 1), "I": (2, -1), "S": (2, 1)}


@dataclass(frozen=True)
class StreamHeader:
    """The fields of the header that are used.

    `affine` is (4, 4), RAS+; `tr_s` is 0 if the header does not say it; `slice_order` is the index of each sent slice.
    """

    shape: tuple[int, int, int]
    dtype: Any
    affine: Any
    tr_s: float
    slice_order: list[int]

    @property
    def n_bytes(self) -> int:
        """The number of bytes of a volume."""
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize


async def read_images(reader: Reader, largest_bytes: int) -> AsyncIterator[Incoming | None]:
    """Yield the volumes of one connection, and None at the end of each run, until the connection closes.

    A connection is a run, or a session: after AFNI's end-of-run text the next header opens the next run.

    Raises
    ------
    PeerError
        A header is wrong, a volume is larger than `largest_bytes`, or the last volume is partial.
    """
    start: bytes | None = b""
    while start is not None:
        header = await _read_header(reader, start, largest_bytes)
        index = 0
        while data := await _read_volume(reader, header.n_bytes, index):
            if data == END_OF_RUN:
                break
            yield _volume(header, data, index)
            index += 1
        yield None
        start = await _next_header(reader, header) if data else None


async def _read_header(reader: Reader, start: bytes, largest_bytes: int) -> StreamHeader:
    """Read a header to its zero byte; `start` is the part of it that came already."""
    async with asyncio.timeout(PEER_PATIENCE_S):
        try:
            text = start + await reader.readuntil(b"\0")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise PeerError("a header without an end; AFNI's ends with a zero byte") from error
    header = parse_header(text[:-1])
    if len(text) > MAX_HEADER_BYTES or header.n_bytes > largest_bytes:
        raise PeerError(
            f"a header of {len(text)} bytes, volumes of {header.n_bytes}: too large for these weights' grid"
        )
    return header


async def _read_volume(reader: Reader, n_bytes: int, index: int) -> bytes:
    """Return a volume's bytes, `END_OF_RUN`, or nothing if the connection is closed."""
    start = b""
    try:
        start = await reader.readexactly(min(n_bytes, len(END_OF_RUN)))
        return start if start == END_OF_RUN else start + await reader.readexactly(n_bytes - len(start))
    except asyncio.IncompleteReadError as error:
        came = start + error.partial
        if came:
            raise PeerError(
                f"volume {index} is partial, {len(came)} of {n_bytes} bytes; not sent", code="partial"
            ) from error
        return b""


async def _next_header(reader: Reader, header: StreamHeader) -> bytes | None:
    """Skip the rest of the end-of-run block; return the next header's first bytes, or None if the connection closes.

    Dimon pads the block to the size of an image of the scanner's files, which is a slice or a volume. The padding holds
    old voxels.
    """
    n_read = len(END_OF_RUN)
    for n_block in (header.n_bytes // header.shape[2], header.n_bytes):
        if n_block < n_read:
            continue
        try:
            await reader.readexactly(n_block - n_read)
            start = await reader.readexactly(HEADER_START_BYTES)
        except asyncio.IncompleteReadError:
            return None
        if HEADER_START.match(start):
            return start
        n_read = n_block + HEADER_START_BYTES
    raise PeerError("after the end of a run came no header of the next run")


def _volume(header: StreamHeader, data: bytes, index: int) -> Incoming:
    x, y, z = header.shape
    stored, _ = sendable(np.frombuffer(data, header.dtype).reshape(z, y, x))
    voxels = np.empty((x, y, z), stored.dtype)
    voxels[:, :, header.slice_order] = stored.T
    return Incoming(voxels, header.affine, index, "afni", f"AFNI's image {index}", tr_s=header.tr_s or None)


def parse_header(text: bytes) -> StreamHeader:
    """Return the header of its text. Raises PeerError if a needed field is missing or wrong."""
    lines = (line.split() for line in text.decode("latin-1").splitlines())
    fields = {words[0]: words[1:] for words in lines if words}
    try:
        return _header(fields)
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise PeerError(f"a header that is not AFNI's, or lacks what a volume needs ({error!r})") from error


def _header(fields: dict[str, list[str]]) -> StreamHeader:
    if int(fields.get("NUM_CHAN", ["1"])[0]) != 1:
        raise PeerError(f"{fields['NUM_CHAN'][0]} channels (echoes); send the combined volumes")
    matrix = [int(word) for word in fields["XYMATRIX"]]
    shape = (matrix[0], matrix[1], matrix[2] if len(matrix) > 2 else int(fields["ZNUM"][0]))
    if min(shape) < 1:
        raise ValueError(f"shape {shape}")
    datum, order = fields.get("DATUM", ["short"])[0], fields.get("BYTEORDER", ["LSB_FIRST"])[0]
    dtype = np.dtype({"LSB_FIRST": "<", "MSB_FIRST": ">"}[order] + DATUM[datum])
    is_alternating = (
        fields.get("ACQUISITION_TYPE", ["2D+zt"])[0].startswith("2D") and fields.get("ZORDER", ["alt"])[0] == "alt"
    )
    slices = list(range(shape[2]))
    return StreamHeader(
        shape, dtype, LPS_TO_RAS @ _affine(fields, shape), float(fields.get("TR", ["0"])[0]),
        slices[::2] + slices[1::2] if is_alternating else slices,
    )  # fmt: skip


def _affine(fields: dict[str, list[str]], shape: tuple[int, int, int]) -> Any:
    """Return the LPS affine: OBLIQUE_XFORM if given, else made from the axes, field of view and first voxel."""
    if len(fields.get("OBLIQUE_XFORM", [])) >= 16:
        return np.array(fields["OBLIQUE_XFORM"][:16], np.float64).reshape(4, 4)
    field_mm = [float(word) for word in fields["XYFOV"]]
    sizes_mm = [field_mm[0] / shape[0], (field_mm[1] if len(field_mm) > 1 else field_mm[0]) / shape[1]]
    sizes_mm.append(field_mm[2] / shape[2] if len(field_mm) > 2 else float(fields["ZDELTA"][0]))
    affine = np.eye(4)
    affine[:3] = 0
    for axis, code in enumerate(fields["XYZAXES"][:3]):
        start, _, end = code.partition("-")
        row, sign = DIRECTION[(end or code[-1])[0]]
        affine[row, axis] = sign * sizes_mm[axis]
        first = (
            fields["XYZFIRST"][axis]
            if len(fields.get("XYZFIRST", [])) > axis
            else f"{(shape[axis] - 1) * sizes_mm[axis] / 2}"
        )
        letter = first[-1] if first[-1] in DIRECTION else start[0]
        _, first_sign = DIRECTION[letter]
        affine[row, 3] = first_sign * float(first.rstrip("RLAPIS"))
    if abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise ValueError(f"axes {fields['XYZAXES']}")
    return affine
