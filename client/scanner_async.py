"""The scanner client for asyncio programs: the same calls, awaited. One thread makes them, one after another.

```python
async with AsyncScannerClient("tcp://127.0.0.1:5560") as client:
    run = await client.open_run(session="2026-11-23", run="run-01", kind="bold", ...)
    await run.send(voxels)
```
"""

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from . import wire
from .key import Key
from .scanner import Onset, OpenRun, ScannerClient

Result = TypeVar("Result")


class AsyncScannerClient:
    """A `ScannerClient` that does not block the event loop; calls are carried out in the order in which they are made.

    `ScannerClient` describes the parameters and errors. Cancelling a task that awaits a call does not cancel the call.
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 5560, key: Key | Path | str | None = None, **options: Any
    ) -> None:
        self._thread = ThreadPoolExecutor(1, "scanner")
        self._client = ScannerClient(host, port, key, **options)

    async def grid(self) -> wire.Grid:
        """Ask for the grid on which the daemon takes volumes."""
        return await self.call(self._client.grid)

    async def open_run(self, hello: wire.Hello | None = None, **fields: Any) -> "AsyncOpenRun":
        """Open a run, or reopen an interrupted one; send from its `next_index` on."""
        return AsyncOpenRun(self, await self.call(self._client.open_run, hello, **fields))

    async def call(self, function: Callable[..., Result], *arguments: Any, **fields: Any) -> Result:
        """Call a function in the blocking client's thread; return its result or raise its error."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(function, *arguments, **fields))

    async def close(self) -> None:
        """Close the connection after the calls made so far."""
        await self.call(self._client.close)
        self._thread.shutdown()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class AsyncOpenRun:
    """An open run, as `OpenRun`, awaited."""

    def __init__(self, client: AsyncScannerClient, run: OpenRun) -> None:
        self._client, self._run = client, run

    @property
    def next_index(self) -> int:
        """The number after the last volume."""
        return self._run.next_index

    async def send(
        self, voxels: wire.Array, *, index: int | None = None, onsets: Iterable[Onset] = (), **fields: Any
    ) -> wire.Ack:
        """Send the onsets, then the volume; return when all are durable."""
        return await self._client.call(self._run.send, voxels, index=index, onsets=onsets, **fields)

    async def send_onset(self, onset: Onset) -> wire.Ack:
        """Send an onset, before the volumes that follow it; return when it is durable."""
        return await self._client.call(self._run.send_onset, onset)

    async def end(self, n_volumes: int | None = None) -> wire.Ack:
        """End the run; return when that is durable. The run has `next_index` volumes unless `n_volumes` is given."""
        return await self._client.call(self._run.end, n_volumes)
