"""Runs as a scanner sends them, the clients that send and hear them, and what an undisturbed daemon decodes of them."""

import random
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
from running_daemon import PATIENCE_S, SHAPE, Files, RunningDaemon, hello, values

from braind.client import wire
from braind.client.scanner import NoDaemonError, Onset, OpenRun, ScannerClient
from braind.client.subscriber import DecodeSubscriber

SECONDS_BETWEEN_ONSETS = 7.5
LAST_RUN = "last"
UNUSED_BY_CONNECTIONS = 10_000, 32_768
"""Ports from, and below: Linux gives outgoing connections higher ones."""
# These differ between two decodes of the same volume in two sessions.
OF_ONE_DECODE = ("seq", "timings_s", "session", "made_s")

Key = tuple[str, int, int | None, bool, str]
"""Run, volume, event, `is_final` and stage of a decode. At a run's end its last volume has trials a second time."""
Decodes = dict[Key, tuple[dict[str, Any], bytes | None]]
"""Each decode's fields and its PNG."""


@dataclass(frozen=True)
class Scan:
    """A run's volumes and onsets, the same at each call."""

    kind: str
    n_volumes: int
    run: str = "scan"
    session: str = "ses"

    @property
    def tr_s(self) -> float:
        return 4 / 3 if self.kind == "bold" else 4.0

    def hello(self) -> wire.Hello:
        return hello(session=self.session, run=self.run, kind=self.kind, tr_s=self.tr_s)

    def voxels(self, index: int) -> Any:
        """Return a volume's stored numbers: (X, Y, Z) int16."""
        if self.kind == "beta":
            return values(index)
        return (1000 + np.random.default_rng(index).normal(scale=10, size=SHAPE)).astype(np.int16)

    @property
    def scale(self) -> float:
        return 1.0 if self.kind == "bold" else 1 / 300

    def onsets(self, index: int) -> list[Onset]:
        """Return the onsets between a volume and the volume after it."""
        if self.kind == "beta":
            return []
        numbers = range(int(self.n_volumes * self.tr_s / SECONDS_BETWEEN_ONSETS))
        onsets = [Onset(number, 2.0 + number * SECONDS_BETWEEN_ONSETS) for number in numbers]
        return [onset for onset in onsets if index <= onset.onset_s / self.tr_s < index + 1]


class Sender:
    """A scanner client in a thread. It sends only as many volumes as were released; `acked` holds their numbers."""

    def __init__(self, port: int, scan: Scan, **options: Any) -> None:
        self._scan, self._options = scan, {"port": port, "give_up_s": PATIENCE_S, **options}
        self._released = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._send, daemon=True)
        self.acked: set[int] = set()
        self.error: Exception | None = None
        self.opened = threading.Event()
        self._thread.start()

    def release(self, n_volumes: int) -> None:
        for _ in range(n_volumes):
            self._released.release()

    def finish(self) -> None:
        """Release the rest and wait until everything is acked."""
        self.release(self._scan.n_volumes)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), f"acked: {sorted(self.acked)}"
        if self.error:
            raise self.error

    def _send(self) -> None:
        try:
            with ScannerClient(**self._options) as client:
                run = self._open(client)
                self.opened.set()
                for index in range(self._scan.n_volumes):
                    self._released.acquire()
                    onsets = self._scan.onsets(index)
                    run.send(self._scan.voxels(index), index=index, onsets=onsets, scale=self._scan.scale)
                    self.acked.add(index)
                run.end()
                # One volume more. It is decoded last: what is decoded of the scan was published before it.
                client.open_run(hello(session=self._scan.session, run=LAST_RUN)).send(values(0), scale=1 / 300)
        except Exception as error:  # noqa: BLE001 - `finish` raises it
            self.error = error

    def _open(self, client: ScannerClient) -> OpenRun:
        # A client that has never met the daemon gives up soon. The daemon of a test may be killed just then.
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return client.open_run(self._scan.hello())
            except NoDaemonError:
                if time.monotonic() > deadline:
                    raise


class Watch:
    """A subscriber in a thread, which hears everything from the daemon's first message on."""

    def __init__(self, decodes_port: int, control_port: int) -> None:
        self.heard: list[tuple[Any, bytes | None]] = []
        self.n_lost = 0
        self._news = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._hear, args=(decodes_port, control_port), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        self._thread.join(PATIENCE_S)

    def until(self, wanted: Callable[[list[Any]], bool], patience_s: float = PATIENCE_S) -> bool:
        """Wait until the messages heard so far are as wanted; return whether they are."""
        with self._news:
            return self._news.wait_for(lambda: wanted([message for message, _ in self.heard]), patience_s)

    def volumes(self) -> list[int]:
        """Return the numbers of the volumes heard of so far, in order, each once."""
        with self._news:
            return list(dict.fromkeys(message.index for message, _ in self.heard))

    def _hear(self, decodes_port: int, control_port: int) -> None:
        with DecodeSubscriber(decodes_port=decodes_port, control_port=control_port, history=10**9) as subscriber:
            while not self._stopped:
                received = subscriber.receive(0.2)
                self.n_lost = subscriber.n_lost
                if received is not None and isinstance(received.message, wire.Numbered):
                    with self._news:
                        self.heard.append((received.message, received.png))
                        self._news.notify_all()


def free_ports() -> dict[str, int]:
    """Return the settings of three free ports, for a daemon that is started again at the same address.

    The ports lie below those that the kernel gives to outgoing connections. While the daemon is down, no connection of
    another test takes one of the ports.
    """
    with ExitStack() as stack:
        names = ("ingest_port", "decodes_port", "control_port")
        return {name: stack.enter_context(_listening_below_outgoing()).getsockname()[1] for name in names}


def _listening_below_outgoing() -> socket.socket:
    while True:
        with suppress(OSError):
            return socket.create_server(("127.0.0.1", random.randrange(*UNUSED_BY_CONNECTIONS)))


def restart(daemon: RunningDaemon) -> None:
    """Start a daemon again that was killed; return when its sockets are bound."""
    daemon.close()
    daemon.__init__(daemon.files, daemon.data_path, **daemon.settings)
    daemon.start(wait=False).wait_bound()


def content(message: Any, png: bytes | None) -> tuple[Key, tuple[dict[str, Any], bytes | None]]:
    """Return a decode's key, and its content without its times and its number."""
    fields = msgspec.to_builtins(message)
    kept = {name: value for name, value in fields.items() if name not in OF_ONE_DECODE}
    trial = getattr(message, "event", None), getattr(message, "is_final", True)
    return (message.run, message.index, *trial, getattr(message, "stage", "skipped")), (kept, png)


def decodes_of(published: list[tuple[Any, Any]], scan: Scan) -> Decodes:
    """Return the decodes and skipped volumes of a scan's session by their key; fail if one was published twice."""
    found: Decodes = {}
    for message, png in published:
        if message.session == scan.session and isinstance(message, wire.Decode | wire.Skipped):
            key, one = content(message, png)
            assert key not in found, f"published twice: {key}"
            found[key] = one
    return found


def all_of(scan: Scan) -> Callable[[list[Any]], bool]:
    """Return a test for `Watch.until`: whether the newest message is the last one of a `Sender`'s scan."""

    def is_all(heard: list[Any]) -> bool:
        if not heard or (heard[-1].session, heard[-1].run) != (scan.session, LAST_RUN):
            return False
        if isinstance(heard[-1], wire.Decode):
            return heard[-1].stage == wire.last_stage(heard[-1].provenance.mode)
        return isinstance(heard[-1], wire.Skipped)

    return is_all


def sent(daemon: RunningDaemon, scan: Scan, **options: Any) -> list[tuple[Any, bytes | None]]:
    """Send a scan to a daemon; return everything that it has published when the scan is decoded."""
    ports = [int(daemon.addresses[name].rsplit(":", 1)[1]) for name in ("ingest", "decodes", "control")]
    with Watch(*ports[1:]) as watch:
        Sender(ports[0], scan, **options).finish()
        assert watch.until(all_of(scan)), daemon.words()
    return watch.heard


def undisturbed(files: Files, folder: Path, scan: Scan, **settings: Any) -> Decodes:
    """Return what a daemon of its own decodes of a scan that nothing disturbs."""
    daemon = RunningDaemon(files, folder, **settings)
    try:
        return decodes_of(sent(daemon.start(), scan), scan)
    finally:
        daemon.close()
