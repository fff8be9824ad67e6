"""The common part of all bridges: a peer's volumes become runs, and an error ends only the peer's connection."""

import asyncio
import logging
import sys
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from ...errors import BraindError
from ..address import Address
from ..connection import RefusedByDaemon
from ..scanner import ScannerClient
from ..sending.incoming import Incoming, IncomingError
from ..sending.run_feed import RunFeed, RunPlan
from ..wire import Ack

logger = logging.getLogger(__name__)

PEER_PATIENCE_S = 10.0
"""The longest time for a peer to finish a message that it began."""


class PeerError(BraindError):
    """The peer does not follow its protocol, or the bridge cannot listen; `code` is peer, partial or in_use."""

    code = "peer"


class BridgeRuns:
    """Sends a bridge's volumes as runs NAME-1, NAME-2, …

    Another series begins a new run. A peer that reconnects continues its run, unless it begins again at volume 0 with
    other voxels: that begins a new run too.

    Parameters
    ----------
    plan : the runs' common fields; `plan.run` is NAME
    say : called with sentences for the operator
    """

    def __init__(self, client: ScannerClient, plan: RunPlan, say: Callable[[str], None]) -> None:
        self._client, self._plan, self.say = client, plan, say
        # A ScannerClient may be used from one thread only.
        self._thread = ThreadPoolExecutor(1, "scanner")
        self._grid = client.grid()
        self.largest_bytes = 8 * self._grid.shape[0] * self._grid.shape[1] * self._grid.shape[2] * 4
        self._n_runs = 0
        self._feed = self._new_feed()
        self._may_begin = True

    def peer_came(self) -> None:
        """Note that a peer connected, so that its first volume may begin a new run."""
        self._may_begin = True

    async def take(self, incoming: Incoming) -> Ack:
        """Send a volume; return when it is durable.

        Raises
        ------
        IncomingError, RefusedByDaemon, NoDaemonError
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._take, incoming)

    async def end_run(self) -> None:
        """End the open run, if there is one; the next volume begins another run."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._end_run)

    def _take(self, incoming: Incoming) -> Ack:
        if self._feed.series not in (None, incoming.series):
            self._end_run()
        try:
            ack = self._feed.take(incoming)
        except (IncomingError, RefusedByDaemon) as error:
            begins_again = self._may_begin and incoming.index == 0
            is_other = error.code in ("index", "conflict", "run_ended")
            if not (begins_again and is_other):
                raise
            self._end_run()
            ack = self._feed.take(incoming)
        self._may_begin = False
        return ack

    def _end_run(self) -> None:
        if self._feed.series is not None:
            self._feed.end()
            self._feed = self._new_feed()

    def _new_feed(self) -> RunFeed:
        self._n_runs += 1
        plan = replace(self._plan, run=f"{self._plan.run}-{self._n_runs}")
        return RunFeed(self._client, self._grid, plan, self.say)


def serving(
    talk: Callable[[Reader, Writer], Awaitable[None]], runs: BridgeRuns
) -> Callable[[Reader, Writer], Awaitable[None]]:
    """Return a server of one TCP peer; any error is reported and closes the peer's connection."""

    async def serve(reader: Reader, writer: Writer) -> None:
        name = "{}:{}".format(*writer.get_extra_info("peername")[:2])
        try:
            await talk(reader, writer)
        except asyncio.IncompleteReadError as error:
            runs.say(f"{name} closed in the middle of a message, after {len(error.partial)} bytes of it")
        except (BraindError, TimeoutError, OSError) as error:
            runs.say(f"{name}: {error or 'said nothing more'}; its connection is closed")
        except Exception:
            # No peer may end the bridge.
            logger.exception("%s: its connection is closed", name)
        finally:
            writer.close()

    return serve


async def listen(
    talk: Callable[[Reader, Writer], Awaitable[None]], host: str, port: int, runs: BridgeRuns
) -> asyncio.Server:
    """Listen for TCP peers; port 0 is any free port. Raises PeerError if the address cannot be listened at."""
    try:
        return await asyncio.start_server(serving(talk, runs), host, port, limit=2**16)
    except OSError as error:
        raise PeerError(
            f"{Address(host, port)} cannot be listened at ({error.strerror}); free it or give --port", code="in_use"
        ) from error


def port_of(server: asyncio.Server) -> int:
    """Return the port at which a server listens."""
    return server.sockets[0].getsockname()[1]


def announce(words: str) -> None:
    """Write a line to stdout that the bridge listens; scripts wait for it."""
    sys.stdout.write(words + "\n")
    sys.stdout.flush()
