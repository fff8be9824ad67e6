"""What the bridges share: a peer's volumes become runs; what is wrong ends the peer's connection only."""

import asyncio
import logging
import sys
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from ..errors import BraindError
from .connection import RefusedByDaemon
from .incoming import Incoming, IncomingError
from .run_feed import RunFeed, RunPlan
from .scanner import ScannerClient
from .wire import Ack

logger = logging.getLogger(__name__)

PEER_PATIENCE_S = 10.0
"""A peer that began to say something finishes within this."""


class PeerError(BraindError):
    """A peer that does not speak its protocol."""

    code = "peer"


class BridgeRuns:
    """Sends a bridge's volumes as runs NAME-1, NAME-2, … A volume is durable when `take` returns.

    A new run begins with another series. A peer that comes back goes on with its run, unless it begins again at 0 with
    other voxels: then that is a new run too.
    """

    def __init__(self, client: ScannerClient, plan: RunPlan, say: Callable[[str], None]) -> None:
        self._client, self._plan, self.say = client, plan, say
        # The client is for one thread.
        self._thread = ThreadPoolExecutor(1, "scanner")
        self._grid = client.grid()
        self.largest_bytes = 8 * self._grid.shape[0] * self._grid.shape[1] * self._grid.shape[2] * 4
        self._n_runs = 0
        self._feed = self._new_feed()
        self._may_begin = True

    def peer_came(self) -> None:
        """Note that a peer connected: its first volume may begin a new run."""
        self._may_begin = True

    async def take(self, incoming: Incoming) -> Ack:
        """Send a volume.

        Raises
        ------
        IncomingError, RefusedByDaemon, NoDaemonError
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._take, incoming)

    async def end_run(self) -> None:
        """End the run, if one is open; the next volume begins another."""
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
    """Return what serves one TCP peer: whatever goes wrong is said and closes this connection."""

    async def serve(reader: Reader, writer: Writer) -> None:
        name = "{}:{}".format(*writer.get_extra_info("peername")[:2])
        try:
            await talk(reader, writer)
        except asyncio.IncompleteReadError as error:
            runs.say(f"{name} closed in the middle of a message, after {len(error.partial)} bytes of it")
        except (BraindError, TimeoutError, OSError) as error:
            runs.say(f"{name}: {error or 'said nothing more'}; its connection is closed")
        except Exception:
            # No peer ends the bridge.
            logger.exception("%s: its connection is closed", name)
        finally:
            writer.close()

    return serve


async def listen(
    talk: Callable[[Reader, Writer], Awaitable[None]], host: str, port: int, runs: BridgeRuns
) -> asyncio.Server:
    """Listen for a protocol's TCP peers; port 0 takes any that is free."""
    try:
        return await asyncio.start_server(serving(talk, runs), host, port, limit=2**16)
    except OSError as error:
        raise PeerError(
            f"{host}:{port} cannot be listened at ({error.strerror}); free it or give --port", code="in_use"
        ) from error


def port_of(server: asyncio.Server) -> int:
    """Return where a server listens."""
    return server.sockets[0].getsockname()[1]


def announce(words: str) -> None:
    """Say on stdout that the bridge listens, for scripts to wait for."""
    sys.stdout.write(words + "\n")
    sys.stdout.flush()
