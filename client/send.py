"""`braind send`: a file, or what comes into a folder, as a run."""

import csv
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from .connection import RefusedByDaemon
from .incoming import Incoming, IncomingError
from .nifti import n_volumes, read_nifti
from .run_feed import RunFeed, RunPlan
from .scanner import Onset, ScannerClient
from .volume_files import POLL_S, FolderWatch

Say = Callable[[str], None]


def read_onsets(path: Path) -> list[Onset]:
    """Read a BIDS events.tsv: `onset`, `duration`, and where there are such columns `trial`, `nsd_id`, `stim_file`.

    `stim_file` is the onset's `stimulus`, also where it says n/a: no picture.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        onsets = [
            Onset(
                event,
                float(row["onset"]),
                float(row["duration"]),
                shown={key: int(row[key]) for key in ("trial", "nsd_id") if row.get(key) not in (None, "", "n/a")}
                | ({"stimulus": row["stim_file"]} if row.get("stim_file") else {}),
            )
            for event, row in enumerate(rows)
        ]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise IncomingError(
            f"{path} cannot be read as events ({error!r}): columns onset and duration in seconds, tabs between"
        ) from error
    return sorted(onsets, key=lambda onset: onset.onset_s)


def send_file(
    path: Path, client: ScannerClient, plan: RunPlan, say: Say, onsets: list[Onset], *, pace_s: float | None = None
) -> int:
    """Send a NIfTI file's volumes, from where the daemon has them on; return how many it acked.

    Parameters
    ----------
    pace_s : from volume to volume; None is as fast as they are acked

    Raises
    ------
    IncomingError, RefusedByDaemon, NoDaemonError
    """
    feed = RunFeed(client, client.grid(), replace(plan, n_volumes=n_volumes(path)), say, onsets)
    first = next(read_nifti(path))
    feed.open(first)
    due_s = time.monotonic()
    for incoming in read_nifti(path, feed.next_index):
        if pace_s is not None:
            time.sleep(max(0.0, due_s - time.monotonic()))
            due_s += pace_s
        feed.take(incoming)
    feed.end()
    return feed.n_acked


class FolderSender:
    """Sends a watched folder's volumes: one series, or with `each_series` every new series as a run of its own.

    Parameters
    ----------
    series : the only series to take; the first that comes if None
    """

    def __init__(
        self,
        watch: FolderWatch,
        client: ScannerClient,
        plan: RunPlan,
        say: Say,
        onsets: list[Onset],
        *,
        series: str | None = None,
        each_series: bool = False,
    ) -> None:
        self._watch, self._client, self._plan, self._say = watch, client, plan, say
        self._onsets, self._series, self._each_series = onsets, series, each_series
        self._grid = client.grid()
        self._feed = self._new_feed(plan)
        self._n_runs = 1
        self._strangers: set[str] = set()
        self.n_acked = 0
        self.n_refused = 0

    def run(self, *, max_volumes: int | None = None, quiet_s: float | None = None) -> None:
        """Send what comes until `max_volumes` are acked, or nothing came for `quiet_s`; then end the run."""
        heard_s = time.monotonic()
        while max_volumes is None or self.n_acked < max_volumes:
            began_s = time.monotonic()
            for found in self._watch.poll():
                heard_s = time.monotonic()
                self._take(found)
            if quiet_s is not None and time.monotonic() - heard_s > quiet_s:
                break
            time.sleep(max(0.0, began_s + POLL_S - time.monotonic()))
        self.end()

    def end(self) -> None:
        """End the run, naming what is not whole."""
        for sentence in self._watch.unfinished():
            self.n_refused += 1
            self._say(sentence)
        self._feed.end()

    def _take(self, found: Incoming | IncomingError) -> None:
        try:
            if isinstance(found, IncomingError):
                raise found
            self._choose_series(found)
            self._feed.take(found)
            self.n_acked += 1
        except _NotOurs:
            return
        except RefusedByDaemon as error:
            if self._feed.series is None:
                raise  # the run itself
            self._name(f"{found.source if isinstance(found, Incoming) else ''}: {error}")
        except IncomingError as error:
            self._name(str(error))

    def _choose_series(self, found: Incoming) -> None:
        bound = self._feed.series or self._series
        if bound is None or found.series == bound:
            return
        if self._each_series and found.series not in self._strangers:
            self._strangers.add(bound)
            self._feed.end()
            self._n_runs += 1
            self._feed = self._new_feed(replace(self._plan, run=f"{self._plan.run}-{self._n_runs}"))
            return
        if found.series in self._strangers:
            raise _NotOurs
        self._strangers.add(found.series)
        raise IncomingError(
            f"{found.source} is of another series, {found.series}, than run {self._plan.run}'s, {bound}: this and what "
            "follows of it are not sent. If the scan was started again, send the new series as a run of its own: "
            f"--series {found.series} --run NAME, or --each-series",
            code="series",
        )

    def _new_feed(self, plan: RunPlan) -> RunFeed:
        return RunFeed(self._client, self._grid, plan, self._say, self._onsets)

    def _name(self, sentence: str) -> None:
        self.n_refused += 1
        self._say(sentence)


class _NotOurs(Exception):
    """A file of a series that was named already."""


def stale(watch: FolderWatch) -> Iterator[str]:
    """Say what is passed over."""
    if watch.n_stale:
        yield f"{watch.n_stale} files that lie in {watch.folder} already are passed over; --existing sends them too"
