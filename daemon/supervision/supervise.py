"""Supervision: the front starts the decoder process, reads its lines, and starts it again after a crash."""

import asyncio
import logging
import math
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from ...errors import BraindError
from .. import link
from ..logs import Throttle
from .watchdog import Watchdog, loading_s

BACK_OFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
CALM_S = 60.0
"""A decoder that was ready for so long without work has not failed."""
STOP_S = 10.0
LONGEST_LINE_BYTES = 1024 * 1024
SHOWN_BYTES = 80
COMMAND = (sys.executable, "-P", "-m", "braind.daemon.decoder.process")

logger = logging.getLogger(__name__)


class Supervisor:
    """Keeps one decoder process running.

    Parameters
    ----------
    setup : function
        Returns the first line for a new decoder.
    on_line, on_death : coroutine functions
        `on_line` is called with each line of the decoder except `Alive` and `Unfit`. `on_death` is called after a crash
        and after a hang.
    lock : int
        File descriptor that the decoder keeps open: no other daemon uses the data folder while the decoder lives.
    on_hang : function
        Called when a decoder hangs, before it has ended.
    is_wanted : bool
        False: start no process before `renew`.
    command : sequence of str
        The command that starts the process.
    """

    def __init__(
        self,
        setup: Callable[[], link.Setup],
        on_line: Callable[[link.ToFront], Awaitable[None]],
        on_death: Callable[[], Awaitable[None]],
        *,
        lock: int,
        on_hang: Callable[[], None] = lambda: None,
        is_wanted: bool = True,
        command: tuple[str, ...] = COMMAND,
    ) -> None:
        self._setup, self._on_line, self._on_death = setup, on_line, on_death
        self._on_hang, self._lock, self._command = on_hang, lock, command
        self._unreadable = Throttle(logger)
        self._hurried = asyncio.Event()
        """Set to end the wait before the next start."""
        self._wanted = asyncio.Event()
        if is_wanted:
            self._wanted.set()
        self._n_renewals = self._n_renewals_at_start = 0
        self._process: asyncio.subprocess.Process | None = None
        self._is_ready = False
        self._last_ready: link.Ready | None = None
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """Return the decoder's process id; None while no decoder runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def run(self) -> None:
        """Run one decoder after the other until `stop`.

        Raises
        ------
        BraindError
            If the first decoder cannot load its files: another process could not load them either.
        """
        n_failures = 0
        await self._wanted.wait()
        while not self._stopping:
            try:
                process = await self._start()
            except OSError as error:
                # The machine has no process or memory left; volumes are still acked.
                n_failures += 1
                logger.error(
                    "the decoder process cannot be started (%s); trying again in %g s", error, _back_off_s(n_failures)
                )
                await self._rest(_back_off_s(n_failures))
                continue
            life = await self._live(process)
            if self._stopping:
                return
            if self._n_renewals != self._n_renewals_at_start:
                n_failures = 0
                continue
            # Weights that a client named later must not end the daemon: it goes on recording.
            if life.unfit and not self._last_ready and not self._n_renewals:
                raise BraindError(life.unfit.sentence, code=life.unfit.code)
            n_failures = 0 if life.has_worked else n_failures + 1
            why = life.end(process.returncode)
            back_off_s = _back_off_s(n_failures)
            logger.warning("the decoder process died (%s); starting it again in %g s", why, back_off_s)
            await self._on_death()
            await self._rest(back_off_s)

    def send(self, line: link.ToDecoder) -> None:
        """Send a line, if a decoder runs. A new decoder finds everything in its setup and in the journal."""
        if self._process and self._process.returncode is None and self._process.stdin:
            self._process.stdin.write(link.encode(line))

    def renew(self) -> None:
        """Kill the decoder, which must have nothing to finish, and start a new one with a new setup."""
        self._renewed()
        self.kill()

    def renew_after_volume(self) -> None:
        """Let the decoder finish its volume, then start a new one with a new setup."""
        self._renewed()
        if self._is_ready:
            self.send(link.Stop())
        else:
            self.kill()

    def _renewed(self) -> None:
        self._n_renewals += 1
        # Other settings may take longer to load than the last ones took.
        self._last_ready = None
        self._wanted.set()
        self._hurried.set()

    async def stop(self) -> None:
        """Let the decoder finish its volume; kill it after `STOP_S` seconds."""
        self._stopping = True
        self._wanted.set()
        self._hurried.set()
        if not self._is_ready:
            # The decoder is still loading and has nothing to finish.
            self.kill()
        self.send(link.Stop())
        if self._process:
            try:
                await asyncio.wait_for(self._process.wait(), STOP_S)
            except TimeoutError:
                logger.warning("the decoder did not finish within %g s; its volume stays in the journal", STOP_S)
                self.kill()
                await self._process.wait()

    def kill(self) -> None:
        """End the process now."""
        if self._process and self._process.returncode is None:
            self._process.kill()

    def _end(self, why: str) -> None:
        """End a decoder that hangs. One that waits for a GPU's driver may end late or never."""
        logger.error("the decoder hangs (%s) and is killed", why)
        self._on_hang()
        self.kill()

    async def _rest(self, back_off_s: float) -> None:
        """Wait before the next start; `stop` and `renew` end the wait."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._hurried.wait(), back_off_s)

    async def _start(self) -> asyncio.subprocess.Process:
        self._hurried.clear()
        return await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(self._lock,),
            # Ctrl-C reaches the terminal's process group. It must not reach a decoder that is still importing.
            process_group=0,
            limit=LONGEST_LINE_BYTES,
            # Libraries draw progress bars on stderr while they load, and stderr is the log.
            env={**os.environ, "TQDM_DISABLE": "1"},
        )

    async def _live(self, process: asyncio.subprocess.Process) -> "_Life":
        """Read a decoder's lines until it ends; end it if it hangs."""
        self._process = process
        self._is_ready = False
        self._n_renewals_at_start = self._n_renewals
        assert process.stdout is not None
        self.send(self._setup())
        if self._stopping:
            self.kill()
        life = _Life()
        ready_s = math.inf
        watchdog = Watchdog(loading_s(self._last_ready))
        async for line in self._lines(process.stdout, watchdog):
            match line:
                case link.Alive():
                    continue
                case link.Unfit():
                    life.unfit = line
                    continue
                case link.Ready():
                    self._is_ready, self._last_ready, ready_s = True, line, time.monotonic()
                case link.Taking():
                    ready_s = math.inf
                case link.Committed() | link.Settled():
                    life.has_worked = True
            await self._on_line(line)
        await process.wait()
        life.hung = watchdog.verdict
        life.has_worked |= time.monotonic() - ready_s > CALM_S
        return life

    async def _lines(self, stdout: asyncio.StreamReader, watchdog: Watchdog) -> AsyncIterator[link.ToFront]:
        """Yield the decoder's lines until it ends; log and pass over everything else on its stdout."""
        while True:
            try:
                text = await watchdog.read(stdout, lambda: self._end(watchdog.verdict))
            except ValueError:
                # The rest of the long line is read as further lines.
                self._unreadable.warn(f"ignored a line of the decoder of more than {LONGEST_LINE_BYTES} bytes")
                continue
            if not text:
                return
            try:
                line = link.decode_for_front(text)
            except ValueError as error:
                # A killed process may leave half a line. Its death is logged elsewhere.
                if text.endswith(b"\n"):
                    self._unreadable.warn(f"ignored a line of the decoder: {error}: {text[:SHOWN_BYTES]!r}")
                continue
            watchdog.heard(line)
            yield line


@dataclass
class _Life:
    """One decoder's life.

    `has_worked`: it decoded something, or was ready for `CALM_S` and had nothing to decode. `hung` says how it hung.
    """

    has_worked: bool = False
    hung: str = ""
    unfit: link.Unfit | None = None

    def end(self, exit_status: int | None) -> str:
        """Return why the process ended."""
        if self.unfit:
            return self.unfit.sentence
        return f"it hung: {self.hung}" if self.hung else f"exit status {exit_status}"


def _back_off_s(n_failures: int) -> float:
    return BACK_OFF_S[min(n_failures, len(BACK_OFF_S) - 1)]
