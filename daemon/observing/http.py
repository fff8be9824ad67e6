"""Pages over HTTP on the loopback address, in a thread with its own event loop: no request delays an ack."""

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple

from ..sockets import SocketError

HOST = "127.0.0.1"
LARGEST_HEAD_BYTES = 8192
CLOSING_TURNS = 5
PATIENCE_S = 5.0
"""A request that takes longer, from its connection to its answer, is given up."""
MOST_CONNECTIONS = 16

logger = logging.getLogger(__name__)


class Page(NamedTuple):
    """An answer: status, content type and body."""

    status: int
    content_type: str
    body: bytes


class PageServer:
    """Answers GET requests with pages, one request a connection.

    With `MOST_CONNECTIONS` connections open, a new connection ends the oldest one: slow clients cannot lock others out.

    Parameters
    ----------
    port : int
        0 takes any free port.
    pages : functions by path
        Each returns a page; called in the server's thread.

    Raises
    ------
    SocketError
        The port cannot be bound.
    """

    def __init__(self, port: int, pages: Mapping[str, Callable[[], Page]]) -> None:
        self._pages = pages
        self._open: dict[asyncio.StreamWriter, None] = {}
        try:
            self._socket = socket.create_server((HOST, port), backlog=MOST_CONNECTIONS)
        except OSError as error:
            raise SocketError(
                f"port {port} on {HOST} cannot be bound ({error.strerror}); stop the program that uses it, or set "
                "[serve] metrics_port to another",
                code="port_in_use",
            ) from error
        self.address = f"http://{HOST}:{self._socket.getsockname()[1]}"
        self._loop, self._stop = asyncio.new_event_loop(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close the port and every connection."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._answer, sock=self._socket, limit=LARGEST_HEAD_BYTES)
        await self._stop.wait()
        # No further connection is taken. A connection that was taken just now gets its task: a server that is closed
        # before that loses the connection's socket.
        self._loop.remove_reader(self._socket)
        await _turns()
        server.close()
        while len(asyncio.all_tasks()) > 1:
            for writer in list(self._open):
                writer.transport.abort()
            await asyncio.sleep(0)
        await _turns()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= MOST_CONNECTIONS:
            next(iter(self._open)).transport.abort()
        self._open[writer] = None
        try:
            async with asyncio.timeout(PATIENCE_S):
                page = await self._page(reader)
                writer.write(_response(page))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            # The client is gone or too slow. A scraper asks again.
            pass
        finally:
            self._open.pop(writer, None)
            writer.transport.abort()

    async def _page(self, reader: asyncio.StreamReader) -> Page:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _sentence(431, f"a request has at most {LARGEST_HEAD_BYTES} bytes")
        words = head.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return _sentence(400, "not an HTTP/1 request")
        if words[0] != b"GET":
            return _sentence(405, "only GET is answered")
        make = self._pages.get(words[1].split(b"?")[0].decode("latin-1"))
        if make is None:
            return _sentence(404, f"the pages are {', '.join(self._pages)}")
        try:
            return make()
        except Exception:
            logger.exception("a page could not be made")
            return _sentence(500, "the daemon's log says what went wrong")


async def _turns() -> None:
    """Let the loop do what it has begun: a transport, for example, closes its socket in a later turn."""
    for _ in range(CLOSING_TURNS):
        await asyncio.sleep(0)


def _sentence(status: int, sentence: str) -> Page:
    return Page(status, "text/plain; charset=utf-8", sentence.encode() + b"\n")


def _response(page: Page) -> bytes:
    allow = "Allow: GET\r\n" if page.status == 405 else ""
    head = (
        f"HTTP/1.1 {page.status} {HTTPStatus(page.status).phrase}\r\nContent-Type: {page.content_type}\r\n"
        f"Content-Length: {len(page.body)}\r\n{allow}Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + page.body
