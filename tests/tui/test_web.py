"""`braind monitor --web`: a real server, its monitor process per tab, and a real browser."""

import asyncio
import io
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager

import numpy as np
import psutil
import pytest
from journaled_decodes import journal_decodes
from monitor_screens import in_event_loop
from PIL import Image

from braind.client.address import Address

pytest.importorskip("textual_serve", reason="braind[web] is not installed")

import aiohttp  # noqa: E402  textual-serve brings it
from browser import CHROMIUM, open_page  # noqa: E402

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
RED, GREEN, BLUE = (230, 30, 30), (30, 200, 60), (40, 60, 230)


def large_png(colour):
    """A picture of one colour, as large as the model makes it."""
    file = io.BytesIO()
    Image.new("RGB", (512, 512), colour).save(file, "PNG")
    return file.getvalue()


@contextmanager
def served(daemon, tmp_path, *options):
    """Run `braind monitor --web` on a free port beside a daemon; give its address and process."""
    ports = {
        f"BRAIND_SERVE__{name.upper()}_PORT": str(Address.parse(getattr(daemon.endpoints, name)).port)
        for name in ("ingest", "decodes", "control")
    }
    command = [sys.executable, "-m", "braind", "monitor", "--data", tmp_path, "--web", "0", *options]
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), **ports}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process.stdout.readline().strip(), process
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)


def status_of(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_only_the_address_with_the_token_shows_anything(daemon, tmp_path):
    with served(daemon, tmp_path) as (url, _):
        assert url.startswith("http://127.0.0.1:")
        root, token = url.rstrip("/").rsplit("/", 1)
        assert len(token) >= 40
        others = ["", "x" * len(token) + "/", token[:-1] + "/", token.lower() + "x/"]
        for other in others:
            for path in ("", "ws", "overlay.js", "static/js/textual.js", "download/x"):
                assert status_of(f"{root}/{other}{path}") == 403
        assert status_of(f"{root}/%C3%A9/") == 403
        assert [status_of(url + path) for path in ("", "overlay.js", "static/js/textual.js")] == [200] * 3
        with urllib.request.urlopen(url) as answer:
            # a page that links elsewhere would tell the token there
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert b"https://" not in answer.read()


@in_event_loop
async def test_without_the_token_no_monitor_is_started(daemon, tmp_path):
    with served(daemon, tmp_path) as (url, process):
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                await session.ws_connect(url.rstrip("/").rsplit("/", 1)[0] + "/ws")
            assert psutil.Process(process.pid).children() == []


@in_event_loop
async def test_a_browser_lists_the_recorded_sessions_of_the_machine_that_serves(daemon, tmp_path):
    (tmp_path / "journals").mkdir()
    journal_decodes(tmp_path / "journals/monday.sqlite3", 3)
    with served(daemon, tmp_path) as (url, _):
        async with aiohttp.ClientSession() as session, session.ws_connect(url + "ws?width=80&height=24") as socket:
            await until_said(socket, b"daemon")
            await socket.send_json(["stdin", "d"])
            await until_said(socket, b"monday")
            await socket.send_json(["stdin", "\r"])
            await until_said(socket, b"3 trials")


async def until_said(socket, words):
    """Read what the monitor draws until it has drawn these words."""
    drawn = b""
    async with asyncio.timeout(60):
        while words not in drawn:
            message = await socket.receive()
            drawn += message.data if message.type == aiohttp.WSMsgType.BINARY else b""


@in_event_loop
async def test_a_tabs_monitor_ends_with_its_tab(daemon, tmp_path):
    with served(daemon, tmp_path) as (url, process):
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(url + "ws?width=80&height=24") as socket:
                message = await socket.receive(timeout=60)
                assert message.type == aiohttp.WSMsgType.BINARY
                (monitor,) = psutil.Process(process.pid).children()
            monitor.wait(20)
        assert not monitor.is_running()


@in_event_loop
async def test_a_killed_server_leaves_no_monitor_behind(daemon, tmp_path):
    with served(daemon, tmp_path) as (url, process):
        async with aiohttp.ClientSession() as session, session.ws_connect(url + "ws?width=80&height=24") as socket:
            await socket.receive(timeout=60)
            (monitor,) = psutil.Process(process.pid).children()
            process.kill()
            monitor.wait(20)


def test_nobody_but_this_machine_reaches_it(daemon, tmp_path):
    with served(daemon, tmp_path) as (_, process):
        addresses = {one.laddr.ip for one in psutil.Process(process.pid).net_connections() if one.status == "LISTEN"}
        assert addresses == {"127.0.0.1"}


def test_a_port_that_is_taken_is_named(daemon, tmp_path):
    with served(daemon, tmp_path) as (url, _):
        port = url.split(":")[2].split("/")[0]
        command = [sys.executable, "-m", "braind", "monitor", "--data", tmp_path, "--web", port]
        second = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert second.returncode == 1
        assert second.stdout == ""
        assert f"port {port} of 127.0.0.1 is not free" in second.stderr
        assert "Traceback" not in second.stderr


@pytest.mark.parametrize("option", ["--plain", "--once", "--json"])
def test_a_browser_and_lines_are_not_served_at_once(tmp_path, option):
    command = [sys.executable, "-m", "braind", "monitor", "--data", tmp_path, "--web", "0", option]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2
    assert "leave out --plain, --once and --json" in refused.stderr


@needs_chromium
@in_event_loop
async def test_a_browser_shows_the_monitor_with_its_pictures_at_their_own_resolution(daemon, tmp_path):
    with served(daemon, tmp_path) as (url, _):
        async with open_page(url, tmp_path / "profile") as page:
            daemon.wait_for_viewer()
            daemon.heartbeat()
            daemon.decode(7, "scores", seen_png=large_png(RED))
            daemon.decode(7, "xz", decoded_png=large_png(GREEN))
            daemon.decode(7, "xzc", decoded_png=large_png(BLUE))
            pictures = "[...document.querySelectorAll('.picture')]"
            await page.until(f"{pictures}.length == 3 && {pictures}.every(one => one.complete && one.naturalWidth)")
            # figures, strip and footer lie below: the first layout, of a terminal of unknown size, is over
            await page.until("[...shown.values()].every(one => one.region[1] + one.region[3] < one.cells[1] - 10)")
            assert await page.value(f"{pictures}.map(one => [one.naturalWidth, one.naturalHeight])") == [[512, 512]] * 3
            boxes = await page.value(
                f"{pictures}.map(one => one.getBoundingClientRect()).map(box => [box.x, box.y, box.width, box.height])"
            )
            png = await page.screenshot()
            (tmp_path / "monitor.png").write_bytes(png)  # to look at
            shown = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
            middles = [tuple(shown[int(y + height / 2), int(x + width / 2)]) for x, y, width, height in sorted(boxes)]
            assert middles == [RED, GREEN, BLUE]
            # no dialog lies below a picture
            await page.type_key("?")
            await page.until(f"{pictures}.length == 0")
            await page.type_key("?")
            await page.until(f"{pictures}.length == 3")
            await page.type_key("z")
            await page.until(f"{pictures}.length == 1 && {pictures}[0].getBoundingClientRect().height > {boxes[0][3]}")
            (tmp_path / "zoomed.png").write_bytes(await page.screenshot())
