"""Send a scanner's volumes to the daemon and know that they are durable.

```python
with ScannerClient("tcp://127.0.0.1:5560") as client:
    run = client.open_run(session="2026-11-23", run="run-01", kind="bold", ...)
    run.send(voxels, onsets=[Onset(0, 3.2)])
    run.end()
```

An acked volume is in the daemon's journal and is never lost. A message without an answer is sent again until it has
one, so a lost ack, a lost connection and a restarted daemon cost only time.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ..arrays import Array
from . import wire
from .address import Address
from .clock import ClockOffset
from .connection import NoDaemonError, RefusedByDaemon
from .key import Key
from .resending import END_OF_RUN, ResendingConnection, ScannerError

__all__ = ["NoDaemonError", "Onset", "OpenRun", "RefusedByDaemon", "ScannerClient", "ScannerError"]


@dataclass(frozen=True)
class Onset:
    """One trial's onset in a BOLD run.

    Parameters
    ----------
    event : the trial's number in the run, from 0
    onset_s : seconds after the run's first volume
    duration_s : how long the picture was on screen, s
    seen_png : the picture that was on screen, as a PNG file's bytes, for viewers
    shown : other fields of `wire.Event`, where they are known: `trial`, `nsd_id`, `stimulus`, `captions`, `right`,
        `foil`, `label`
    """

    event: int
    onset_s: float
    duration_s: float = 3.0
    seen_png: bytes | None = None
    shown: dict[str, Any] | None = None


class ScannerClient:
    """A connection that opens runs and sends volumes; not for use from several threads at once.

    The client keeps only messages that have no answer yet: at most `window` volumes.

    Parameters
    ----------
    host : a name or address, or with the port as `host:port` or `tcp://host:port`
    port : the daemon's ingest port, if `host` does not name it
    key : a key or the path of its file, for a daemon that requires keys
    timeout_s : how long an answer may take before the message is sent again
    give_up_s : how long the daemon may be silent in a run before `NoDaemonError` is raised; at the first `open_run` the
        limit is twice `timeout_s`
    window : how many volumes `send_nowait` leaves unanswered

    Raises
    ------
    AddressError, KeyFileError
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 5560,
        key: Key | Path | str | None = None,
        *,
        timeout_s: float = 3,
        give_up_s: float = 60,
        window: int = 8,
    ) -> None:
        self.window = window
        self._connection = ResendingConnection(Address.parse(host, port, key), timeout_s, give_up_s)

    @property
    def host(self) -> str:
        """The daemon's host."""
        return self._connection.address.host

    @property
    def port(self) -> int:
        """The daemon's ingest port."""
        return self._connection.address.port

    @property
    def clock_offset(self) -> ClockOffset | None:
        """How far the daemon's clock is ahead of this machine's, and the uncertainty; None before a measurement."""
        return self._connection.clock_offset

    # ── runs ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def grid(self) -> wire.Grid:
        """Ask for the grid on which the daemon takes volumes: shape, affine, subject and kind of its weights.

        Raises
        ------
        RefusedByDaemon
            The daemon has no weights.
        NoDaemonError
        """
        return self._connection.ask(wire.GridRequest(), wire.Grid)

    def open_run(self, hello: wire.Hello | None = None, **fields: Any) -> "OpenRun":
        """Open a run, or reopen an interrupted one; send from its `next_index` on.

        Parameters
        ----------
        hello : the run; None makes one of `fields`
        fields : the fields of `wire.Hello`

        Raises
        ------
        RefusedByDaemon
            The weights do not fit the run's subject, shape, affine or kind; the code and the sentence are the daemon's.
        NoDaemonError
        """
        hello = hello or wire.Hello(**fields)
        return OpenRun(self, hello, self._connection.open_run(hello))

    def end_run(self, n_volumes: int) -> wire.Ack:
        """End the run after `n_volumes` volumes; return when that is durable.

        Raises
        ------
        RefusedByDaemon
            A volume with the index `n_volumes` or higher is acked, or the run ended after another number of volumes.
        ScannerError
            No run is open.
        NoDaemonError
        """
        hello = self._connection.hello
        message = wire.EndRun(session=hello.session, run=hello.run, n_volumes=n_volumes)
        return self._connection.settle(END_OF_RUN, wire.encode(message))

    # ── volumes and events ──────────────────────────────────────────────────────────────────────────────────────────

    def send_volume(self, voxels: Array, index: int, *, seen_png: bytes | None = None, **fields: Any) -> wire.Ack:
        """Send one volume; return when it is durable.

        Parameters
        ----------
        voxels : array of shape (X, Y, Z), as NIfTI orders axes, of the run's dtype
        index : the volume's number in the run, from 0
        seen_png : the picture that was on screen, as a PNG file's bytes
        fields : `scale`, `trial`, `nsd_id`, `stimulus`, `n_averaged`, `right`, `foil` and others of `wire.Volume`

        Raises
        ------
        RefusedByDaemon
            The volume is wrong; the run stays open and the next volume may be sent.
        NoDaemonError
            The daemon was silent for `give_up_s`.
        ScannerError
            No run is open, or the array does not have three axes.
        """
        ack = self._connection.settle(("volume", index), self._volume_frames(voxels, index, seen_png, fields))
        self._connection.refresh_clock()
        return ack

    def send_nowait(
        self, voxels: Array, index: int, *, seen_png: bytes | None = None, **fields: Any
    ) -> list[wire.Ack | wire.Refused]:
        """Send one volume as `send_volume` does, but wait only while `window` volumes have no answer.

        Returns
        -------
        The answers that came meanwhile, to this volume or earlier ones; `wait_answers` returns the rest. A refusal is
        returned, not raised.

        Raises
        ------
        NoDaemonError, ScannerError
        """
        self._connection.post(("volume", index), self._volume_frames(voxels, index, seen_png, fields))
        self._connection.wait(lambda: self._connection.n_unanswered < self.window)
        return self._connection.take_answers()

    def wait_answers(self) -> list[wire.Ack | wire.Refused]:
        """Wait until every volume has its answer; return the answers that no call has returned yet.

        Raises
        ------
        NoDaemonError
        """
        self._connection.wait_answered()
        self._connection.refresh_clock()
        return self._connection.take_answers()

    def send_event(self, event: int, onset_s: float, *, seen_png: bytes | None = None, **fields: Any) -> wire.Ack:
        """Send a trial's onset in a `bold` run, before the volumes that follow it; return when it is durable.

        Parameters
        ----------
        event : the trial's number in the run, from 0
        onset_s : seconds after the run's first volume
        seen_png : the picture that was on screen, as a PNG file's bytes
        fields : `duration_s`, `trial`, `nsd_id`, `stimulus`, `captions`, `right`, `foil`, `label` of `wire.Event`

        Raises
        ------
        RefusedByDaemon, NoDaemonError, ScannerError
        """
        hello = self._connection.hello
        message = wire.Event(
            session=hello.session, run=hello.run, event=event, onset_s=onset_s, seen=seen_png is not None, **fields
        )
        # A refusal names an index only: it could be a volume's or the event's.
        self._connection.wait_answered()
        payload = [seen_png] if seen_png is not None else []
        return self._connection.settle(("event", event), wire.encode(message, *payload))

    def close(self) -> None:
        """Close the connection; the daemon keeps the run open until `end_run` or another run."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _volume_frames(self, voxels: Array, index: int, seen_png: bytes | None, fields: dict[str, Any]) -> list[Any]:
        hello = self._connection.hello
        if voxels.ndim != 3:
            raise ScannerError(f"run {hello.run}, volume {index}: an array of {voxels.ndim} axes; send X, Y, Z")
        return wire.volume_frames(
            voxels, seen_png=seen_png, session=hello.session, run=hello.run, index=index, sent_s=time.time(), **fields
        )


class OpenRun:
    """An open run: sends its volumes and the onsets before them, and ends it.

    `welcome` is the daemon's answer to the Hello. An interrupted run continues at `next_index`.
    """

    def __init__(self, client: ScannerClient, hello: wire.Hello, welcome: wire.Welcome) -> None:
        self._client, self.hello, self.welcome = client, hello, welcome
        self.next_index = welcome.next_index

    def send(self, voxels: Array, *, index: int | None = None, onsets: Iterable[Onset] = (), **fields: Any) -> wire.Ack:
        """Send the onsets, then the volume; return when all are durable.

        Parameters
        ----------
        voxels : array of shape (X, Y, Z), of the run's dtype
        index : the volume's number in the run, from 0; None is the number after the last volume
        onsets : trials that begin before the next volume
        fields : as for `ScannerClient.send_volume`

        Raises
        ------
        RefusedByDaemon, NoDaemonError, ScannerError
        """
        for onset in onsets:
            self.send_onset(onset)
        index = self.next_index if index is None else index
        ack = self._client.send_volume(voxels, index, **fields)
        self.next_index = max(self.next_index, index + 1)
        return ack

    def send_onset(self, onset: Onset) -> wire.Ack:
        """Send an onset, before the volumes that follow it; return when it is durable.

        Raises
        ------
        RefusedByDaemon, NoDaemonError, ScannerError
        """
        return self._client.send_event(
            onset.event,
            onset.onset_s,
            duration_s=onset.duration_s,
            seen_png=onset.seen_png,
            **(onset.shown or {}),
        )

    def end(self, n_volumes: int | None = None) -> wire.Ack:
        """End the run; return when that is durable.

        Parameters
        ----------
        n_volumes : the run's length; None is `next_index`

        Raises
        ------
        RefusedByDaemon, NoDaemonError, ScannerError
        """
        return self._client.end_run(self.next_index if n_volumes is None else n_volumes)
