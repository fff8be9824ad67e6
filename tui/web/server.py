"""`braind monitor --web`: the monitor's screens in a browser on this machine.

textual-serve carries keys and cells between the page and a monitor process per tab. Everything lies below a path that
starts with a token, new at each start: who does not know the token gets nothing, whatever page or user asks.
"""

import asyncio
import hmac
import json
import logging
import secrets
import shlex
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from subprocess import list2cmdline
from typing import Any

import click
from aiohttp import web
from textual_serve.app_service import AppService
from textual_serve.server import Server

from ...client.endpoints import SOCKETS, Endpoints
from ...config import MonitorConfig
from ...errors import BraindError
from ..drawing.overlay import MESSAGE
from ..drawing.terminal import Drawing
from ..keymap import keymap
from .monitor_process import BrowserMonitor
from .tab_driver import TabDriver

HOST = "127.0.0.1"
PAGE = Path(__file__).parent
HEADERS = {
    "Referrer-Policy": "no-referrer",  # the address holds the token
    "Cache-Control": "no-store",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": (
        "default-src 'self'; connect-src 'self' ws:; img-src 'self' data:; style-src 'self' 'unsafe-inline'"
    ),
}
STOP_S = 3.0
"""How long a tab's process may take to end."""
MOST_CELLS = 1000
"""The largest width or height that a page may ask for."""

log = logging.getLogger(__name__)


class WebError(BraindError):
    """The monitor cannot be served to a browser."""

    code = "web"


def serve_monitor(
    program: str, where: Endpoints, look: MonitorConfig, port: int, *, config_path: Path | None, data: Path | None
) -> None:
    """Serve the monitor on a port of this machine (0: any free port) until Ctrl-C; print its address first.

    Parameters
    ----------
    program : the module that runs the monitor of a tab
    config_path, data : the settings file and the data folder, as on the command line

    Raises
    ------
    WebError
        The port is taken.
    BraindError
        A daemon's address, the key file or a key of the settings is wrong.
    """
    for socket in SOCKETS:
        where.address(socket)
    # Pictures lie over the cells at their own resolution, unless half-blocks or none are asked for.
    drawing: Drawing = look.pictures if look.pictures in ("half", "off") else "browser"
    paths = ("" if path is None else str(path) for path in (config_path, data))
    told = BrowserMonitor(where, drawing, look.theme, keymap(look.keys), *paths).told()
    asyncio.run(_serve(MonitorServer(_shell_words([sys.executable, "-m", program, told])), port))


def _shell_words(command: list[str]) -> str:
    """Return a command for the system's shell, which becomes the command where it can."""
    return list2cmdline(command) if sys.platform == "win32" else f"exec {shlex.join(command)}"


async def _serve(server: "MonitorServer", port: int) -> None:
    runner = web.AppRunner(server.below_token(), handle_signals=True, shutdown_timeout=STOP_S, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, HOST, port).start()
        except OSError as error:
            raise WebError(f"port {port} of {HOST} is not free ({error.strerror}): give another, --web 0") from error
        click.echo(f"http://{HOST}:{runner.addresses[0][1]}/{server.token}/")
        click.echo("the address holds the token: whoever has it can watch and control; Ctrl-C ends it", err=True)
        await asyncio.Event().wait()
    except web.GracefulExit:
        pass
    finally:
        await runner.cleanup()


class MonitorServer(Server):
    """textual-serve's server, below a token, with a page of braind's own."""

    def __init__(self, command: str) -> None:
        super().__init__(command, host=HOST, title="braind monitor")
        self.token = secrets.token_urlsafe(32)
        self._sockets: set[web.WebSocketResponse] = set()

    def below_token(self) -> web.Application:
        """Return the application; every path outside `/TOKEN/` is refused."""
        inner = web.Application()
        inner.add_routes([
            web.get("/", self._page),
            web.get("/overlay.js", self._overlay),
            web.get("/ws", self.handle_websocket),
            web.get("/download/{key}", self.handle_download),
            web.static("/static", self.statics_path),
        ])  # fmt: skip
        inner.on_shutdown.append(self._close_sockets)
        outer = web.Application(middlewares=[self._only_with_token])
        outer.add_subapp(f"/{self.token}", inner)
        outer.on_response_prepare.append(_add_headers)
        return outer

    @web.middleware
    async def _only_with_token(self, request: web.Request, handler: Any) -> web.StreamResponse:
        given = request.path.split("/")[1]
        if not hmac.compare_digest(given.encode(), self.token.encode()):
            return web.Response(
                status=403, text="use the address that braind monitor --web printed; it holds a token\n"
            )
        return await handler(request)

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(PAGE / "index.html")

    async def _overlay(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(PAGE / "overlay.js")

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Run a monitor process as long as a page is connected."""
        socket = web.WebSocketResponse(heartbeat=15)
        await socket.prepare(request)
        self._sockets.add(socket)
        process = MonitorOfTab(
            self.command,
            write_bytes=socket.send_bytes,
            write_str=socket.send_str,
            close=_closing(socket),
            download_manager=self.download_manager,
        )
        try:
            await process.start(_cells(request, "width", 80), _cells(request, "height", 24))
            await self._process_messages(socket, process)
        finally:
            self._sockets.discard(socket)
            await process.end()
        return socket

    async def _close_sockets(self, app: web.Application) -> None:
        for socket in set(self._sockets):
            await socket.close()


class MonitorOfTab(AppService):
    """One tab's monitor process."""

    def _build_environment(self, width: int = 80, height: int = 24) -> dict[str, str]:
        driver = f"{TabDriver.__module__}:{TabDriver.__name__}"
        return super()._build_environment(width, height) | {"TEXTUAL_DRIVER": driver}

    async def on_meta(self, data: bytes) -> None:
        """Hand pictures on to the page; the rest is textual-serve's."""
        message = json.loads(data)
        if message["type"] == MESSAGE:
            await self.remote_write_str(json.dumps([MESSAGE, message]))
        else:
            await super().on_meta(data)

    async def end(self) -> None:
        """Ask the process to end, and end it if it does not."""
        try:
            await asyncio.wait_for(self.stop(), STOP_S)
        except TimeoutError:
            log.warning("a browser's monitor did not end when asked; it is killed")
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


def _closing(socket: web.WebSocketResponse) -> Callable[[], Awaitable[None]]:
    async def close() -> None:
        await socket.close()

    return close


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


def _cells(request: web.Request, side: str, default: int) -> int:
    given = request.query.get(side, "")
    return min(int(given), MOST_CELLS) if given.isdecimal() and int(given) else default
