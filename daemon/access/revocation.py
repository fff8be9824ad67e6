"""A key that is revoked while its programs are connected.

ZeroMQ cannot close one viewer's connection. The socket of decodes is therefore bound again: this closes every viewer's
connection. Viewers connect again within 0.1 s and show their keys again. They fetch the decodes that they missed.
At ingest and control every message is checked, so that a revoked key disturbs no other sender.
"""

import asyncio
import logging

import zmq
import zmq.asyncio

from ..logs import Outage
from .keyring import Keyring

CHECK_EVERY_S = 0.2
BIND_AGAIN_S = 0.01

logger = logging.getLogger(__name__)


async def end_revoked(keyring: Keyring, decodes: zmq.asyncio.Socket, endpoint: str) -> None:
    """End the connections of viewers whose keys are revoked, for ever."""
    while True:
        revoked = keyring.take_revoked()
        if revoked:
            logger.info("revoked or changed: key %s", ", ".join(client.name for client in revoked))
        if any("view" in client.roles for client in revoked):
            await bind_again(decodes, endpoint)
            logger.info("viewers were disconnected; those with a key connect again")
        await asyncio.sleep(CHECK_EVERY_S)


async def bind_again(socket: zmq.asyncio.Socket, endpoint: str) -> None:
    """Close every connection of a socket, and bind it to the same endpoint."""
    outage = Outage(logger, f"{endpoint} cannot be bound again, and no viewer is served")
    socket.unbind(endpoint)
    while True:
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            # ZeroMQ closes the listening socket in another thread, a moment after the call.
            if error.errno != zmq.EADDRINUSE:
                outage.failed(error)
            await asyncio.sleep(BIND_AGAIN_S)
            continue
        outage.passed()
        return
