"""MURFI's vsend protocol: one TCP connection per image, an optional pre-header, a C struct, int16 pixels."""

import asyncio
import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..address import Address
from ..sending.dicom_mosaic import untile
from ..sending.incoming import Incoming
from ..wire import Motion
from .runs import PEER_PATIENCE_S, BridgeRuns, PeerError, Reader, Writer, announce, listen, port_of

PORT = 15000
HEADER_BYTES = 616
# The struct's layout on x86-64, padding included: doubles are aligned to 8 bytes.
LAYOUT = "5s3xi64s64s16s256s16s??2x4d3i16f4i?5s6x6d"
MOST_VOXELS = 512**3


@dataclass(frozen=True)
class VsendHeader:
    """The fields of the struct that are used.

    `affine` is (4, 4), RAS+; `tr_s` is None if the header does not say it; `number` counts from 0.
    """

    series: str
    dtype: str
    is_little_endian: bool
    is_mosaic: bool
    shape: tuple[int, int, int]
    affine: Any
    tr_s: float | None
    number: int
    motion: Motion | None

    @property
    def n_pixels(self) -> int:
        """How many pixels follow; a mosaic is a full square of tiles."""
        x, y, z = self.shape
        return x * y * (math.ceil(math.sqrt(z)) ** 2 if self.is_mosaic else z)


async def serve_murfi(runs: BridgeRuns, host: str, port: int = PORT) -> None:
    """Serve MURFI's image connections for ever. Raises PeerError if the port cannot be listened at."""
    one_at_a_time = asyncio.Lock()

    async def talk(reader: Reader, writer: Writer) -> None:
        async with asyncio.timeout(PEER_PATIENCE_S):
            incoming = await read_vsend(reader)
        async with one_at_a_time:
            runs.peer_came()
            await runs.take(incoming)

    async with await listen(talk, host, port, runs) as server:
        announce(f"listening {Address(host, port_of(server)).url}")
        await server.serve_forever()


async def read_vsend(reader: Reader) -> Incoming:
    """Read one image and return its volume.

    Raises
    ------
    PeerError
        The header is not an image's.
    asyncio.IncompleteReadError
        The connection closes before the image is complete.
    """
    start = await reader.readexactly(8)
    announced = None
    if HEADER_BYTES in (struct.unpack("<i", start[:4])[0], struct.unpack(">i", start[:4])[0]):
        order = "<" if struct.unpack("<i", start[:4])[0] == HEADER_BYTES else ">"
        announced = struct.unpack(f"{order}i", start[4:])[0]
        start = b""
    header = parse_header(start + await reader.readexactly(HEADER_BYTES - len(start)))
    n_bytes = 2 * header.n_pixels
    if announced is not None and announced != n_bytes:
        raise PeerError(f"the pre-header announces {announced} bytes; {header.shape} in int16 has {n_bytes}")
    pixels = np.frombuffer(await reader.readexactly(n_bytes), "<i2" if header.is_little_endian else ">i2")
    x, y, z = header.shape
    if header.is_mosaic:
        side = math.ceil(math.sqrt(z))
        voxels = untile(pixels.reshape(side * y, side * x), z, "vsend")
    else:
        voxels = pixels.reshape(z, y, x).T
    return Incoming(
        voxels, header.affine, header.number, header.series, f"TR {header.number + 1} of {header.series}",
        tr_s=header.tr_s, motion=header.motion,
    )  # fmt: skip


def parse_header(data: bytes) -> VsendHeader:
    """Read the 616 bytes of the struct, of either byte order. Raises PeerError if they are not an image's."""
    order = "<" if struct.unpack_from("<i", data, 8)[0] < 2**16 else ">"
    values = struct.unpack(order + LAYOUT, data)
    series, dtype = _text(values[2]) or "no series UID", _text(values[6])
    is_little_endian, is_mosaic = values[7:9]
    x, y, z = shape = values[13:16]
    affine = np.array(values[16:32], np.float64).reshape(4, 4)
    tr_ms, _, current, _ = values[32:36]
    if dtype not in ("int16_t", "short"):
        raise PeerError(f"pixels of type {dtype!r}; MURFI's are int16_t")
    if min(shape) < 1 or x * y * z > MOST_VOXELS or not np.isfinite(affine).all() or current < 1 or tr_ms < 0:
        raise PeerError(f"a header of shape {shape}, TR number {current}, {tr_ms} ms: not an image's")
    moved = values[38:44]
    motion = _motion(moved) if values[36] and np.isfinite(moved).all() else None
    tr_s = tr_ms / 1000 or None  # MURFI's simulators send 0
    return VsendHeader(series, dtype, is_little_endian, is_mosaic, shape, affine, tr_s, current - 1, motion)


def _motion(moved: tuple[float, ...]) -> Motion:
    """Return translations in mm and rotations in rad; MURFI's rotations are degrees."""
    x_mm, y_mm, z_mm, about_x, about_y, about_z = moved
    return (x_mm, y_mm, z_mm, math.radians(about_x), math.radians(about_y), math.radians(about_z))


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("ascii", "replace")
