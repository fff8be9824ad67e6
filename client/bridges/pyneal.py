"""Pyneal's protocol: over a ZeroMQ PAIR socket, a JSON header and the array's bytes, answered by an ack in words."""

import asyncio
import json
import time
from typing import Any

import msgspec
import numpy as np
import zmq
import zmq.asyncio

from ...errors import BraindError
from ..address import Address
from ..sending.incoming import Incoming, sendable
from .runs import BridgeRuns, PeerError, announce

PORT = 5555
LONGEST_TR_S = 20.0
"""A larger TR is in milliseconds, as Pyneal's simulator sends it."""
REBIND_S = 2.0


class PynealHeader(msgspec.Struct, frozen=True):
    """Pyneal's header of a volume; `affine` is JSON text, `TR` a string of seconds or milliseconds, 0 if not known."""

    volIdx: int  # noqa: N815
    dtype: str
    shape: tuple[int, int, int]
    affine: str
    TR: str | float


async def serve_pyneal(runs: BridgeRuns, host: str, port: int = PORT) -> None:
    """Serve one Pyneal sender after another, for ever. Raises PeerError if the port cannot be bound."""
    context = zmq.asyncio.Context()
    try:
        while True:
            socket, port = await _bind(context, host, port, runs.largest_bytes)
            announce(f"listening {Address(host, port).url}")
            try:
                while True:
                    await _answer(socket, await socket.recv_multipart(), runs)
            except BraindError as error:
                # A PAIR socket has one peer, so closing the socket ends the peer's connection.
                runs.say(f"Pyneal's sender: {error}; its connection is closed")
            finally:
                socket.close(linger=200)
    finally:
        context.term()


async def _answer(socket: Any, message: list[bytes], runs: BridgeRuns) -> None:
    if len(message) == 1 and message[0].startswith(b"hello"):
        runs.peer_came()
        await socket.send(message[0])
        return
    incoming = read_pyneal(message)
    await runs.take(incoming)
    await socket.send_string(f"received volIdx {incoming.index}")


def read_pyneal(message: list[bytes]) -> Incoming:
    """Return the volume of a Pyneal message.

    Raises
    ------
    PeerError
        The message has other parts, or the header contradicts itself or the array's bytes.
    """
    if len(message) != 2:
        raise PeerError(f"{len(message)} parts; Pyneal sends a JSON header and the array's bytes")
    try:
        header = msgspec.json.decode(message[0], type=PynealHeader)
        dtype = np.dtype(header.dtype)
        affine = np.array(json.loads(header.affine), np.float64)
        tr = float(header.TR)
    except (msgspec.MsgspecError, TypeError, ValueError, SyntaxError, RecursionError) as error:
        raise PeerError(f"a header that is not Pyneal's: {error}") from error
    if dtype.kind not in "iuf" or affine.shape != (4, 4) or not np.isfinite(affine).all() or not 0 <= tr < 1e6:
        raise PeerError(f"volume {header.volIdx}: dtype {dtype}, affine of {affine.shape}, TR {tr}: not a volume's")
    n_bytes = int(np.prod(header.shape, dtype=object)) * dtype.itemsize
    if min(header.shape) < 1 or len(message[1]) != n_bytes:
        raise PeerError(
            f"volume {header.volIdx}: {len(message[1])} bytes; shape {header.shape} of {dtype} has {n_bytes}"
        )
    voxels, _ = sendable(np.frombuffer(message[1], dtype).reshape(header.shape))
    tr_s = (tr / 1000 if tr > LONGEST_TR_S else tr) or None
    return Incoming(voxels, affine, header.volIdx, "pyneal", f"volIdx {header.volIdx}", tr_s=tr_s)


async def _bind(context: Any, host: str, port: int, largest_bytes: int) -> tuple[Any, int]:
    socket = context.socket(zmq.PAIR)
    socket.setsockopt(zmq.MAXMSGSIZE, largest_bytes)
    socket.setsockopt(zmq.RCVHWM, 4)
    wanted = Address(host, port)
    socket.setsockopt(zmq.IPV6, int(wanted.is_v6))
    deadline = time.monotonic() + REBIND_S
    while True:
        try:
            socket.bind(wanted.url)
            return socket, Address.parse(socket.getsockopt_string(zmq.LAST_ENDPOINT)).port
        except zmq.ZMQError as error:
            # ZeroMQ closes the last peer's socket in another thread, a moment after the call.
            if error.errno != zmq.EADDRINUSE or time.monotonic() > deadline:
                socket.close(linger=0)
                raise PeerError(f"{wanted} cannot be bound ({error}); free it or give --port", code="in_use") from error
        await asyncio.sleep(0.05)
