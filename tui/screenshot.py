"""Save pictures of the monitor on a live stream, without a terminal."""

import asyncio
import time
from pathlib import Path

from textual.pilot import Pilot

from ..client.endpoints import Endpoints
from ..errors import BraindError
from .app import Monitor


class ScreenshotError(BraindError):
    """Too few decodes came."""

    code = "screenshot"


def screenshot(
    where: Endpoints,
    n_decodes: int,
    out_svg: Path,
    size: tuple[int, int] = (120, 36),
    timeout_s: float = 300.0,
) -> None:
    """Watch until `n_decodes` volumes have their last picture, then write the screen of `size` cells as SVG.

    Raises
    ------
    ScreenshotError
        Fewer volumes are decoded within `timeout_s` seconds.
    """
    asyncio.run(_screenshot(Monitor(where), n_decodes, out_svg, size, timeout_s))


async def _screenshot(monitor: Monitor, n_decodes: int, out_svg: Path, size: tuple[int, int], timeout_s: float) -> None:
    async with monitor.run_test(size=size) as pilot:
        await wait_for_decodes(monitor, pilot, n_decodes, timeout_s)
        out_svg.write_text(monitor.export_screenshot(title=""), encoding="utf-8")


async def wait_for_decodes(monitor: Monitor, pilot: Pilot[None], n_decodes: int, timeout_s: float) -> None:
    """Return when `n_decodes` volumes of the strip have their last picture and are drawn.

    Raises
    ------
    ScreenshotError
        Fewer volumes are decoded within `timeout_s` seconds.
    """
    deadline_s = time.monotonic() + timeout_s
    while (n_finished := monitor.recent.n_finished) < n_decodes or monitor.connection.heartbeat is None:
        if time.monotonic() > deadline_s:
            raise ScreenshotError(f"{n_finished} decodes came within {timeout_s:.0f} s, {n_decodes} were asked for")
        await pilot.pause(0.05)
    monitor.show()
    await pilot.pause()
