"""A headless Chromium for tests, driven over its DevTools protocol."""

import asyncio
import base64
import itertools
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE_S = 60.0


class Page:
    """The one page of a browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol; return its result."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            answer = await self._socket.receive_json(timeout=PATIENCE_S)
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    async def value(self, script: str) -> Any:
        """Return the value of a JavaScript expression."""
        result = await self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, script: str) -> Any:
        """Return the value of a JavaScript expression when it is true."""
        async with asyncio.timeout(PATIENCE_S):
            while not (value := await self.value(script)):
                await asyncio.sleep(0.05)
        return value

    async def type_key(self, key: str) -> None:
        """Press a key that writes a character."""
        await self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=key)
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def screenshot(self) -> bytes:
        """Return the page as PNG."""
        return base64.b64decode((await self.call("Page.captureScreenshot", format="png"))["data"])


@asynccontextmanager
async def open_page(url: str, profile: Path, size: tuple[int, int] = (1280, 800)) -> AsyncIterator[Page]:
    """Open a page in a browser of its own, which ends with the block."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
               "--remote-debugging-port=0", f"--user-data-dir={profile}",
               f"--window-size={size[0]},{size[1]}", "about:blank"]  # fmt: skip
    browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        async with aiohttp.ClientSession() as session:
            port = await _port(profile / "DevToolsActivePort")
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                (target,) = [one for one in await answer.json() if one["type"] == "page"]
            async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                page = Page(socket)
                await page.call("Emulation.setFocusEmulationEnabled", enabled=True)  # as a page that someone looks at
                await page.call("Page.navigate", url=url)
                yield page
                await page.call("Browser.close")
                browser.wait(PATIENCE_S)
    finally:
        browser.kill()
        browser.wait()


async def _port(path: Path) -> str:
    async with asyncio.timeout(PATIENCE_S):
        while not path.exists() or not path.read_text(encoding="utf-8").strip():
            await asyncio.sleep(0.05)
    return path.read_text(encoding="utf-8").split()[0]
