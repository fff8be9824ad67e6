"""The decoder process as the front sees it: started, listened to, started again when it dies."""

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable

import msgspec

from ..errors import BraindError
from . import link

BACK_OFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
STOP_S = 10.0
LONGEST_LINE_BYTES = 1024 * 1024
COMMAND = (sys.executable, "-P", "-m", "braind.daemon.decoder_process")

logger = logging.getLogger(__name__)


class Supervisor:
    """Keeps one decoder process running.

    Parameters
    ----------
    setup : function
        Returns the first line for a new decoder.
    on_line, on_death : coroutine functions
        Called with each line the decoder says but `Unfit`, and after it died by itself.
    lock : int
        File descriptor that the decoder keeps open: as long as it lives, no other daemon uses the data folder.
    is_wanted : bool
        False: start nothing before `renew`.
    command : sequence of str
        How to start the process.
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
        self._wanted = asyncio.Event()
        if is_wanted:
            self._wanted.set()
        self._n_renewals = self._n_renewals_at_start = 0
        self._process: asyncio.subprocess.Process | None = None
        self._is_ready = False
        self._stopping = False

    async def run(self) -> None:
        """Start the decoder and, whenever it dies, start it again, until `stop`.

        Raises
        ------
        BraindError
            What the very first decoder said it cannot load: nothing would change by starting it again.
        """
        has_been_ready = False
        n_failures = 0
        await self._wanted.wait()
        while not self._stopping:
            await asyncio.sleep(BACK_OFF_S[min(n_failures, len(BACK_OFF_S) - 1)])
            said = await self._live()
            if self._stopping:
                return
            if self._n_renewals != self._n_renewals_at_start:
                n_failures = 0
                continue
            became_ready = any(isinstance(line, link.Ready) for line in said)
            unfit = next((line for line in said if isinstance(line, link.Unfit)), None)
            # One that was asked for later must not end the daemon, which goes on recording.
            if unfit and not has_been_ready and not self._n_renewals:
                raise BraindError(unfit.sentence, code=unfit.code)
            has_been_ready |= became_ready
            n_failures = 0 if became_ready else n_failures + 1
            why = unfit.sentence if unfit else f"exit status {self._process.returncode if self._process else None}"
            logger.warning("the decoder process died (%s); starting it again", why)
            await self._on_death()

    def say(self, line: link.ToDecoder) -> None:
        """Pass a line on, if there is a decoder to hear it; a new one finds everything in its setup and the journal."""
        if self._process and self._process.returncode is None and self._process.stdin:
            self._process.stdin.write(link.encode(line))

    def renew(self) -> None:
        """Let the decoder go, which has nothing to finish, and start one anew from what `setup` says now."""
        self._n_renewals += 1
        self._wanted.set()
        self.kill()

    async def stop(self) -> None:
        """Let the decoder finish its volume, or kill it when that takes too long."""
        self._stopping = True
        self._wanted.set()
        if not self._is_ready:
            # It is loading and has nothing to finish.
            self.kill()
        self.say(link.Stop())
        if self._process:
            try:
                await asyncio.wait_for(self._process.wait(), STOP_S)
            except TimeoutError:
                logger.warning("the decoder did not finish within %.0f s; its volume stays in the journal", STOP_S)
                self.kill()
                await self._process.wait()

    def kill(self) -> None:
        """End the process now."""
        if self._process and self._process.returncode is None:
            self._process.kill()

    async def _live(self) -> list[link.ToFront]:
        """Run one decoder to its end; return what it said first about itself: whether it is ready, or unfit."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(self._lock,),
            limit=LONGEST_LINE_BYTES,
            # Libraries draw progress bars while they load; stderr is for lines.
            env={**os.environ, "TQDM_DISABLE": "1"},
        )
        self._process = process
        self._is_ready = False
        self._n_renewals_at_start = self._n_renewals
        assert process.stdout is not None
        self.say(self._setup())
        if self._stopping:
            self.kill()
        said: list[link.ToFront] = []
        async for text in process.stdout:
            try:
                line = link.decode_for_front(text)
            except msgspec.MsgspecError:
                # A process that is killed may leave half a line.
                continue
            if isinstance(line, link.Ready | link.Unfit):
                said.append(line)
                self._is_ready = isinstance(line, link.Ready)
            if not isinstance(line, link.Unfit):
                await self._on_line(line)
        await process.wait()
        return said
