"""Makes the pictures of docs/monitor.md: the real monitor on a real daemon that decodes a simulated subject.

    python docs/screenshots.py                # minutes; the first time also simulates and fits
    python docs/screenshots.py --data FOLDER  # another folder of simulated data and weights

Textual draws each screen as SVG, and Chromium turns the SVG into pixels.
"""

import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec
from PIL import Image
from textual.pilot import Pilot

from braind.choices import Kind
from braind.client.endpoints import Endpoints
from braind.config import Config, candidates_path, load_config, nsd_path, weights_path
from braind.daemon.child import child_daemon
from braind.offline.data_sets import ensure_tree
from braind.offline.fit.subject import fit_subject, ready_weights
from braind.offline.sessions.recordings import recordings
from braind.tui.app import Monitor
from braind.tui.screenshot import wait_for_decodes
from braind.tui.theme import CONTROL_ROOM, DARK_ROOM

SUBJECT = 1
SIZE = (120, 36)
N_DECODES = 14
PATIENCE_S = 300.0
ANSWERED_WITHIN_S = 3.0
"""Setup and Control ask the daemon each second."""
OUT = Path(__file__).parent / "monitor"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FONT = "'DejaVu Sans Mono', monospace"
CELL_PX = (12.2, 24.4)
"""The width and the height of a cell in rich's SVG."""
FRAME_PX = (9, 41)
"""Where the cells begin in rich's SVG, below and beside the drawn window."""
SIZE_PX = (int(SIZE[0] * CELL_PX[0]), int(SIZE[1] * CELL_PX[1]))
FONT_PX, CELL_TOP_PX = 20, 1.5
"""The height of a letter, and the place of a cell's background above it, in rich's SVG."""
EIGHTHS = " ▁▂▃▄▅▆▇█"
N_COLOURS = 255
MOST_BYTES = 100_000


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help="Folder of simulated data and weights.")
def main(data: Path | None) -> None:
    """Write docs/monitor/*.png."""
    config = load_config(overrides={"paths": {"data": None if data is None else str(data)}})
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise SystemExit(f"none of {', '.join(BROWSERS)} is installed; one turns the screens into pictures")
    ensure_tree(config)
    ready_weights(config, SUBJECT)
    if not weights_path(config, SUBJECT, "bold").exists():
        fit_subject(config, SUBJECT, kind="bold")
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="braind-screens-") as name:
        folder = Path(name)
        svgs = folder / "svg"
        svgs.mkdir()
        with running(config, folder / "beta", "beta", "1.5") as (where, live):
            asyncio.run(visit_screens(where, live, svgs))
            asyncio.run(visit_dark_room(where, svgs))
        with running(config, folder / "bold", "bold", "2") as (where, _):
            asyncio.run(visit_bold(where, svgs))
        for svg in sorted(svgs.iterdir()):
            click.echo(to_png(browser, svg))


@contextmanager
def running(config: Config, folder: Path, kind: Kind, speed: str) -> Iterator[tuple[Endpoints, Config]]:
    """Run a daemon and a replay, at a speed relative to NSD's, until the block ends; journals lie in `folder`."""
    folder.mkdir()
    live = msgspec.structs.replace(config, paths=msgspec.structs.replace(config.paths, data=str(folder)))
    weights = weights_path(config, SUBJECT, kind)
    serve = ["--subject", str(SUBJECT), "--kind", kind, "--weights", str(weights),
             "--candidates", str(candidates_path(config, SUBJECT))]  # fmt: skip
    replay = [sys.executable, "-m", "braind", "replay", "--data", str(folder), "--kind", kind,
              "--subject", str(SUBJECT), "--nsd", str(nsd_path(config)), "--session-id", "pilot",
              "--speed", speed]  # fmt: skip
    with child_daemon(live, serve, ready_within_s=PATIENCE_S) as where:
        with (folder / "replay.log").open("wb") as log, subprocess.Popen(replay, stdout=log, stderr=log) as one:
            try:
                yield where, live
            finally:
                one.terminate()


async def visit_screens(where: Endpoints, live: Config, out: Path) -> None:
    """Walk through the screens as an operator would."""
    monitor = Monitor(where, recordings=recordings(live))
    async with monitor.run_test(size=SIZE) as pilot:
        await wait_for_decodes(monitor, pilot, N_DECODES, PATIENCE_S)
        save(monitor, out, "live")
        await press(pilot, "t", "up")
        save(monitor, out, "trials")
        await press(pilot, "enter")
        await pilot.pause(1)
        save(monitor, out, "trial")
        await press(pilot, "escape", "home", "space", "space", "c")
        await pilot.pause(1)
        save(monitor, out, "compare")
        for key, name in (("c", "control"), ("u", "setup"), ("d", "sessions")):
            await press(pilot, *["escape"] * 2, key)
            await pilot.pause(ANSWERED_WITHIN_S)
            save(monitor, out, name)
        await press(pilot, "escape", "m")
        await pilot.press(*"subject moved")
        await press(pilot, "enter", "p", "y")
        await pilot.pause(ANSWERED_WITHIN_S)
        await press(pilot, "p")
        await pilot.pause(ANSWERED_WITHIN_S)
        await press(pilot, "e")
        save(monitor, out, "events")


async def visit_dark_room(where: Endpoints, out: Path) -> None:
    """Show Live in the theme for a dark room."""
    monitor = Monitor(where, theme=DARK_ROOM.name)
    async with monitor.run_test(size=SIZE) as pilot:
        await wait_for_decodes(monitor, pilot, N_DECODES, PATIENCE_S)
        save(monitor, out, "dark-room")


async def visit_bold(where: Endpoints, out: Path) -> None:
    """Show a run of BOLD volumes."""
    monitor = Monitor(where, theme=CONTROL_ROOM.name)
    async with monitor.run_test(size=SIZE) as pilot:
        await wait_for_decodes(monitor, pilot, N_DECODES, PATIENCE_S)
        save(monitor, out, "live-bold")
        await press(pilot, "y")
        await pilot.pause(1)
        save(monitor, out, "quality")


async def press(pilot: Pilot[None], *keys: str) -> None:
    """Press keys, and wait after each one until the screen is drawn."""
    for key in keys:
        await pilot.press(key)
        await pilot.pause()


def save(monitor: Monitor, folder: Path, name: str) -> None:
    """Write the screen as SVG."""
    monitor.clear_notifications()
    (folder / f"{name}.svg").write_text(monitor.export_screenshot(), encoding="utf-8")


def to_png(browser: str, svg: Path) -> Path:
    """Turn an SVG of the monitor into a small PNG beside docs/monitor.md."""
    svg.write_text(for_a_browser(svg.read_text(encoding="utf-8")), encoding="utf-8")
    png = svg.with_suffix(".png")
    width, height = SIZE_PX
    subprocess.run(
        # A headless window's frame takes some of its height.
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--screenshot={png}",
         f"--window-size={width},{height + 200}", svg.as_uri()],
        check=True, capture_output=True,
    )  # fmt: skip
    out = OUT / png.name
    picture = Image.open(png).convert("RGB").crop((0, 0, width, height))
    picture.quantize(N_COLOURS, dither=Image.Dither.NONE).save(out, optimize=True)
    if out.stat().st_size > MOST_BYTES:
        raise SystemExit(f"{out} has {out.stat().st_size} bytes, more than {MOST_BYTES}")
    return out


def for_a_browser(svg: str) -> str:
    """Return rich's SVG without the window around the cells, in a font of this machine, with blocks that join.

    The font that rich names lies in the web, and its blocks are not as high as a line.
    """
    (left, top), (width, height) = FRAME_PX, SIZE_PX
    view = f'viewBox="{left} {top} {width} {height}" width="{width}" height="{height}"'
    svg = re.sub(r'viewBox="[^"]*"', view, svg, count=1)
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    svg = svg.replace("font-family: Fira Code, monospace;", f"font-family: {FONT};")
    return re.sub(r'<text class="(\S+)" x="(\S+)" y="(\S+)" [^>]*>((?:[▀▁▂▃▄▅▆▇█ ]|&#160;)+)</text>', _rectangles, svg)


def _rectangles(text: re.Match[str]) -> str:
    """Return a rectangle for each block of a text of blocks."""
    style, x, baseline, blocks = text.groups()
    (cell_width, cell_height), top = CELL_PX, float(baseline) - FONT_PX + CELL_TOP_PX
    rectangles = []
    for place, block in enumerate(blocks.replace("&#160;", " ")):
        share = 0.5 if block == "▀" else EIGHTHS.index(block) / 8
        y = top if block == "▀" else top + (1 - share) * cell_height
        rectangles.append(
            f'<rect class="{style}" x="{float(x) + place * cell_width:.2f}" y="{y:.2f}" width="{cell_width + 0.05}" '
            f'height="{share * cell_height:.2f}" shape-rendering="crispEdges"/>'
        )
    return "".join(rectangles)


if __name__ == "__main__":
    main()
