"""Supervision: the front starts the decoder process, reads its lines, and starts it again after a crash."""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

from ..errors import BraindError
from . import link
from .logs import Throttle

BACK_OFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
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
        `on_line` is called with each line of the decoder except `Unfit`. `on_death` is called after a crash.
    lock : int
        File descriptor that the decoder keeps open: no other daemon uses the data folder while the decoder lives.
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
        is_wanted: bool = True,
        command: tuple[str, ...] = COMMAND,
    ) -> None:
        self._setup, self._on_line, self._on_death = setup, on_line, on_death
        self._lock, self._command = lock, command
        self._unreadable = Throttle(logger)
        self._hurried = asyncio.Event()
        """Set to end the wait before the next start."""
        self._wanted = asyncio.Event()
        if is_wanted:
            self._wanted.set()
        self._n_renewals = self._n_renewals_at_start = 0
        self._process: asyncio.subprocess.Process | None = None
        self._is_ready = False
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
        has_been_ready = False
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
            answers = await self._live(process)
            if self._stopping:
                return
            if self._n_renewals != self._n_renewals_at_start:
                n_failures = 0
                continue
            became_ready = any(isinstance(line, link.Ready) for line in answers)
            unfit = next((line for line in answers if isinstance(line, link.Unfit)), None)
            # Weights that a client named later must not end the daemon: it goes on recording.
            if unfit and not has_been_ready and not self._n_renewals:
                raise BraindError(unfit.sentence, code=unfit.code)
            has_been_ready |= became_ready
            n_failures = 0 if became_ready else n_failures + 1
            why = unfit.sentence if unfit else f"exit status {process.returncode}"
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
        self._n_renewals += 1
        self._wanted.set()
        self._hurried.set()
        self.kill()

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
            limit=LONGEST_LINE_BYTES,
            # Libraries draw progress bars on stderr while they load, and stderr is the log.
            env={**os.environ, "TQDM_DISABLE": "1"},
        )

    async def _live(self, process: asyncio.subprocess.Process) -> list[link.ToFront]:
        """Read a decoder's lines until it ends; return its `Ready` and `Unfit` lines."""
        self._process = process
        self._is_ready = False
        self._n_renewals_at_start = self._n_renewals
        assert process.stdout is not None
        self.send(self._setup())
        if self._stopping:
            self.kill()
        answers: list[link.ToFront] = []
        async for line in self._lines(process.stdout):
            if isinstance(line, link.Ready | link.Unfit):
                answers.append(line)
                self._is_ready = isinstance(line, link.Ready)
            if not isinstance(line, link.Unfit):
                await self._on_line(line)
        await process.wait()
        return answers

    async def _lines(self, stdout: asyncio.StreamReader) -> AsyncIterator[link.ToFront]:
        """Yield the decoder's lines until it ends; log and pass over everything else on its stdout."""
        while True:
            try:
                text = await stdout.readline()
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
            yield line


def _back_off_s(n_failures: int) -> float:
    return BACK_OFF_S[min(n_failures, len(BACK_OFF_S) - 1)]
