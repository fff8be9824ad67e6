"""`braind send`: send a file, or the new files of a folder, as a run."""

import io
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..connection import RefusedByDaemon
from ..datasets.bids.files import NOT_AVAILABLE, BidsError, duration_in, read_tsv, seconds_in
from ..datasets.bids.stimuli import picture_path
from ..scanner import Onset, ScannerClient
from ..wire import LONGEST_DURATION_S, LONGEST_LABEL
from . import nifti, parrec
from .folder_watch import POLL_S, FolderWatch
from .incoming import Incoming, IncomingError
from .run_feed import RunFeed, RunPlan
from .series_choice import SeriesChoice, Wanted

Say = Callable[[str], None]

TRIAL_TYPE = "trial_type"
"""The BIDS column of each trial's class."""


def read_onsets(
    path: Path, trigger_at_s: float = 0.0, stimuli: Path | None = None, labels: str = TRIAL_TYPE
) -> list[Onset]:
    """Return the onsets of a BIDS events.tsv, sorted by time.

    The columns `onset` and `duration` are required. `trial`, `nsd_id`, `right`, `foil`, `stim_file` and `trial_type`
    are optional; `stim_file` becomes the onset's `stimulus`, and `trial_type` its `label`. A duration of n/a is an
    impulse. In a table with pictures, a row without a picture is no trial, such as a key press, and is left out, as
    `braind fit` leaves it out; a class in a column that `--labels` names makes the row a trial.

    Parameters
    ----------
    trigger_at_s : the time of the run's first volume, by the clock of the file's onsets; 0 in BIDS
    stimuli : folder of the pictures that `stim_file` names, which viewers show beside the decodes
    labels : the column of each trial's class; required if it is not `trial_type`

    Raises
    ------
    IncomingError
        A column, a value or a picture is wrong; `code` is events, and the sentence has the file and the row.
    """
    try:
        rows = read_tsv(path, ("onset", "duration"), "give both in seconds, with tabs between")
        if labels != TRIAL_TYPE:
            read_tsv(path, (labels,), "name in --labels the column of each trial's class")
    except BidsError as error:
        raise IncomingError(str(error), code="events") from error
    shows_pictures = any(row.get("stim_file", NOT_AVAILABLE) != NOT_AVAILABLE for row in rows)
    onsets = []
    for event, row in enumerate(rows):
        if shows_pictures and _is_no_trial(row, labels):
            continue
        try:
            onset = _onset(event, row, trigger_at_s, stimuli)
            onsets.append(replace(onset, shown=(onset.shown or {}) | _label(row, labels)))
        except (ValueError, OSError, BidsError) as error:
            raise IncomingError(f"{path}, row {event + 1}: {error}", code="events") from error
    onsets.sort(key=lambda onset: onset.onset_s)
    if onsets and onsets[-1].onset_s < 0:
        raise IncomingError(
            f"{path}: even the last onset lies {-onsets[-1].onset_s:g} s before the first volume; give in --trigger-at "
            "when that was taken, by the clock of the onsets",
            code="events",
        )
    return onsets


def _onset(event: int, row: dict[str, str], trigger_at_s: float, stimuli: Path | None) -> Onset:
    """Return a row's onset. Raises ValueError or OSError with the wrong value."""
    onset_s, duration_s = seconds_in(row, "onset"), duration_in(row)
    if not 0 <= duration_s <= LONGEST_DURATION_S:
        raise ValueError(f"a duration of {duration_s:g} s; give 0 (an impulse) to {LONGEST_DURATION_S:g}")
    given = {name: value for name, value in row.items() if value != NOT_AVAILABLE}
    if ("right" in given) != ("foil" in given):
        raise ValueError(f"right {row.get('right')}, foil {row.get('foil')}; name both pictures, or n/a for both")
    shown: dict[str, Any] = {name: candidate(given[name]) for name in ("right", "foil") if name in given}
    for name in ("trial", "nsd_id"):
        if name in given:
            if not given[name].isdecimal():
                raise ValueError(f"{name} is {given[name]!r}; give a whole number, or n/a")
            shown[name] = int(given[name])
    if row.get("stim_file"):
        shown["stimulus"] = row["stim_file"]  # "n/a" too: it means that no picture was shown
    seen_png = None
    if stimuli and "stim_file" in given:
        seen_png = _png(picture_path(stimuli, given["stim_file"]) or stimuli / given["stim_file"])
    return Onset(event, onset_s - trigger_at_s, duration_s, seen_png, shown)


def _is_no_trial(row: dict[str, str], labels: str) -> bool:
    """Return whether a row of a table with pictures shows none and has no class in a column of the user's choice."""
    named = ("stim_file", "nsd_id", *(() if labels == TRIAL_TYPE else (labels,)))
    return all(row.get(column, NOT_AVAILABLE) == NOT_AVAILABLE for column in named)


def _label(row: dict[str, str], column: str) -> dict[str, str]:
    """Return a row's class as a field of an onset; no field if the row names none."""
    label = row.get(column, NOT_AVAILABLE)
    if label in ("", NOT_AVAILABLE):
        return {}
    if len(label) > LONGEST_LABEL:
        raise ValueError(f"{column} {label[:40]!r}… has {len(label)} characters; give at most {LONGEST_LABEL}")
    return {"label": label}


def _png(path: Path) -> bytes:
    """Return a picture file as PNG bytes. Raises OSError if it cannot be read."""
    from PIL import Image

    with Image.open(path) as image, io.BytesIO() as content:
        image.convert("RGB").save(content, "PNG", compress_level=1)
        return content.getvalue()


def candidate(name: str) -> int | str:
    """Return a candidate picture as messages name it: an nsd_id if the text is a number, else a file or a label."""
    return int(name) if name.isdecimal() else name


def send_file(
    path: Path, client: ScannerClient, plan: RunPlan, say: Say, onsets: list[Onset], *, is_paced: bool = False
) -> int:
    """Send the volumes of a file that the daemon does not have; return their number.

    If the run was begun earlier, its last volume is sent again first: the daemon refuses it if the file is of another
    scan.

    Parameters
    ----------
    path : a NIfTI file, or a file of a PAR/REC pair
    plan : the run
    say : called with sentences for the operator
    onsets : the run's trials, sorted by time
    is_paced : send one volume a TR; False sends as fast as volumes are acked

    Raises
    ------
    IncomingError
        A volume cannot be sent, the file is of another scan than the run, the daemon has all volumes already, or it
        did not take an onset.
    RefusedByDaemon, NoDaemonError
    """
    read = parrec.read_parrec if parrec.is_parrec(path) else nifti.read_nifti
    n_in_file = parrec.n_volumes(path) if parrec.is_parrec(path) else nifti.n_volumes(path)
    feed = RunFeed(client, client.grid(), replace(plan, n_volumes=n_in_file), say, onsets)
    first = next(read(path))
    feed.open(first)
    due_s = time.monotonic()
    last_known = max(0, min(feed.next_index, n_in_file) - 1)
    for incoming in read(path, last_known):
        if is_paced:
            time.sleep(max(0.0, due_s - time.monotonic()))
            due_s += feed.tr_s
        feed.take(incoming)
    feed.end()
    if feed.n_onsets_refused:
        raise IncomingError(
            f"run {plan.run}: {feed.n_onsets_refused} onsets were not taken, as named; its volumes were", code="events"
        )
    if not feed.n_sent:
        raise IncomingError(
            f"{path}: session {plan.session}, run {plan.run} has all {n_in_file} volumes of this file already; nothing "
            "is sent. To send them once more, give another --run NAME",
            code="nothing_sent",
        )
    return feed.n_sent


N_TO_TAKE_OVER = 3
"""A series with so many volumes takes over from a series that stayed at one volume."""


class FolderSender:
    """Sends a watched folder's volumes: one series, or with `each_series` every new series as a run of its own.

    A series that stays at one volume is no run: the first series that reaches `N_TO_TAKE_OVER` volumes meanwhile is
    sent as the next run.

    Parameters
    ----------
    watch : the folder
    plan : the run; with `each_series` later runs are named RUN-2, RUN-3, …
    say : called with sentences for the operator
    onsets : the run's trials, sorted by time
    wanted : the series to take; by default the first series of magnitude images on the weights' grid
    """

    def __init__(
        self,
        watch: FolderWatch,
        client: ScannerClient,
        plan: RunPlan,
        say: Say,
        onsets: list[Onset],
        *,
        wanted: Wanted | None = None,
        each_series: bool = False,
    ) -> None:
        self._watch, self._client, self._plan, self._say = watch, client, plan, say
        self._onsets, self._each_series = onsets, each_series
        self._grid = client.grid()
        self._choice = SeriesChoice(wanted or Wanted(), self._grid)
        self._held: dict[str, list[Incoming]] = {}
        self._feed = self._new_feed(plan)
        self._n_runs = 1
        self._strangers: set[str] = set()
        self.n_acked = 0
        self.n_refused = 0

    def run(self, *, max_volumes: int | None = None, quiet_s: float | None = None) -> None:
        """Send new volumes until `max_volumes` are acked, or no file came for `quiet_s` seconds; then end the run."""
        came_s = time.monotonic()
        while max_volumes is None or self.n_acked < max_volumes:
            began_s = time.monotonic()
            for found in self._watch.poll():
                came_s = time.monotonic()
                self._take(found)
            if self._watch.is_filling:
                came_s = time.monotonic()
            if quiet_s is not None and time.monotonic() - came_s > quiet_s:
                break
            time.sleep(max(0.0, began_s + POLL_S - time.monotonic()))
        self.end()

    def end(self) -> None:
        """End the run; report each incomplete file and volume."""
        for sentence in self._watch.unfinished():
            self.n_refused += 1
            self._say(sentence)
        self._end_feed()

    def _take(self, found: Incoming | IncomingError) -> None:
        try:
            if isinstance(found, IncomingError):
                raise found
            chosen = self._chosen(found)
        except IncomingError as error:
            self._name(str(error))
            chosen = []
        for sentence in self._choice.left:
            self._say(sentence)
        self._choice.left.clear()
        for volume in chosen:
            self._send(volume)

    def _send(self, volume: Incoming) -> None:
        try:
            self._feed.take(volume)
            self.n_acked += 1
        except RefusedByDaemon as error:
            if self._feed.series is None:
                raise  # the daemon refuses the run
            self._name(f"{volume.source}: {error}")
        except IncomingError as error:
            self._name(str(error))

    def _chosen(self, found: Incoming) -> list[Incoming]:
        """Return the volumes to send now. Raises IncomingError for the first volume of a series that is not sent."""
        bound = self._feed.series
        if not self._choice.takes(found, is_bound=found.series == bound):
            return []
        if bound is None or found.series == bound:
            return [found]
        if self._each_series and found.series not in self._strangers:
            self._strangers.add(bound)
            self._next_run()
            return [found]
        if self._feed.n_acked == 1:
            held = self._held.setdefault(found.series, [])
            held.append(found)
            if len(held) == N_TO_TAKE_OVER:
                self._say(f"series {bound} stayed at one volume; series {found.series} is sent from its beginning")
                self._strangers.add(bound)
                self._strangers.discard(found.series)
                self._held.clear()
                self._next_run()
                return held
        else:
            self._held.clear()
        if found.series in self._strangers:
            return []
        self._strangers.add(found.series)
        raise IncomingError(
            f"{found.source} is of another series, {found.series}, than run {self._plan.run}'s, {bound}: this and what "
            "follows of it are not sent. If the scan was started again, or this is the run: stop, and start again with "
            f"--existing --series {found.series} --run NAME; --each-series makes every series a run",
            code="series",
        )

    def _next_run(self) -> None:
        self._end_feed()
        self._n_runs += 1
        self._feed = self._new_feed(replace(self._plan, run=f"{self._plan.run}-{self._n_runs}"))

    def _end_feed(self) -> None:
        self._feed.end()
        self.n_refused += self._feed.n_onsets_refused

    def _new_feed(self, plan: RunPlan) -> RunFeed:
        return RunFeed(self._client, self._grid, plan, self._say, self._onsets)

    def _name(self, sentence: str) -> None:
        self.n_refused += 1
        self._say(sentence)


def stale(watch: FolderWatch) -> Iterator[str]:
    """Yield a sentence if files lay in the folder at the start and are not sent."""
    if watch.n_stale:
        yield f"{watch.n_stale} files that lie in {watch.folder} already are passed over; --existing sends them too"
