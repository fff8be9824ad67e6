"""What a replay sends: NSD's held-out test trials as runs of volumes, in the order in which they were seen.

`single` sends each repeat of a picture. `running` sends each repeat as the mean of the repeats so far. `mean` sends one
volume at a picture's last repeat, the mean of all repeats. `calibration` sends every trial, held out or not, with its
picture's file name and captions. This module knows no sockets.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from ...arrays import Array
from ...choices import Kind
from ...errors import BraindError
from ..datasets.data_set import span
from ..wire import Hello
from .plan import Repeats

if TYPE_CHECKING:
    from ..datasets.nsd.tree import NsdTree

TRIAL_S = 4.0
"""NSD shows a picture for 3 s and nothing for 1 s."""


class ReplayError(BraindError):
    """The data set does not have the trials or the volumes that the replay asks for."""

    code = "replay"


class ReplayTrial(NamedTuple):
    """The picture on screen. `trial` counts a subject's trials over all sessions, from 0.

    `stimulus`, `captions` and `label` have the meaning that they have in `wire.Event`.
    """

    trial: int
    nsd_id: int
    stimulus: str | None = None
    captions: tuple[str, ...] = ()
    label: str | None = None


@dataclass(frozen=True)
class ReplayVolume:
    """A volume to send: `voxels` (X, Y, Z), of the run's dtype.

    Betas times `scale` are % signal change. A BOLD volume has no trial.
    """

    index: int
    voxels: Array
    scale: float
    shown: ReplayTrial | None
    n_averaged: int = 1


class ReplayEvent(NamedTuple):
    """A trial's onset: seconds after the run's first volume."""

    event: int
    onset_s: float
    shown: ReplayTrial


class ReplayRun(NamedTuple):
    """A run: its Hello, its onsets (BOLD only), and a function that reads its volumes from an index on."""

    hello: Hello
    n_volumes: int
    events: list[ReplayEvent]
    volumes_from: Callable[[int], Iterator[ReplayVolume]]


class ReplayedTrials(NamedTuple):
    """The trials that a replay sends; each field is an array of shape (n_trials,).

    `session` counts from 1; `row` counts from 0 within the session, `trial` from 0 over all sessions. `nsd_id` is the
    0-based 73k id. `is_last` marks a picture's last repeat. `label` (str) is the trial's class, "" if it is not known.
    """

    session: Array
    row: Array
    trial: Array
    nsd_id: Array
    is_last: Array
    label: Array

    @classmethod
    def of(cls, tree: "NsdTree", subject: int, session: int | None, *, all_pictures: bool = False) -> Self:
        """Return a subject's held-out trials in order, of one session or all; with `all_pictures` every trial.

        Raises
        ------
        ReplayError
            There are none.
        """
        trials = tree.trials(subject)
        wanted = np.full(len(trials), True) if all_pictures else trials.is_shared
        (trial,) = np.nonzero(wanted if session is None else wanted & (trials.session == session))
        if not len(trial):
            where = "any session" if session is None else f"session {session}"
            raise ReplayError(
                f"subject {subject} has no test trials in {where}; it has sessions {span(tree.sessions(subject))}",
                code="option",
            )
        row = trial - np.searchsorted(trials.session, trials.session[trial])
        nsd_id = trials.nsd_id[trial]
        _, from_the_end = np.unique(nsd_id[::-1], return_index=True)
        is_last = np.zeros(len(trial), bool)
        is_last[len(trial) - 1 - from_the_end] = True
        return cls(trials.session[trial], row, trial, nsd_id, is_last, trials.label[trial])

    def of_session(self, session: int) -> Self:
        """Return the trials of one session."""
        return self._make(values[self.session == session] for values in self)


def beta_runs(tree: "NsdTree", subject: int, name: str, session: int | None, repeats: Repeats) -> Iterator[ReplayRun]:
    """Yield one run for each NSD session: single-trial betas, or means of a picture's repeats.

    `name` becomes the runs' session name.

    Raises
    ------
    ReplayError
        The subject has no such trials.
    """
    is_calibration = repeats == "calibration"
    trials = ReplayedTrials.of(tree, subject, session, all_pictures=is_calibration)
    recording = _Recording(tree, subject, name, "beta", TRIAL_S)
    means = _Means(tree.brainmask(subject))
    for number in np.unique(trials.session).tolist():
        these = trials.of_session(number)
        if repeats in ("single", "calibration"):
            volumes_from = partial(_single_betas, tree, subject, these, is_calibration)
            n_volumes, dtype = len(these.row), "int16"
        else:
            n_volumes = int(these.is_last.sum()) if repeats == "mean" else len(these.row)
            dtype, volumes_from = "float32", partial(_mean_betas, tree, subject, these, means, repeats)
        hello = recording.hello(f"ses-{number:02d}", dtype, n_volumes)
        yield ReplayRun(hello, n_volumes, [], volumes_from)


def bold_runs(
    tree: "NsdTree", subject: int, name: str, session: int | None, repeats: Repeats = "single"
) -> Iterator[ReplayRun]:
    """Yield the runs of BOLD volumes, one volume per TR, with the onsets of all their trials.

    `name` becomes the runs' session name.

    Raises
    ------
    ReplayError
        The data set has no time series there.
    """
    recording = _Recording(tree, subject, name, "bold", tree.bold_tr_s)
    all_trials = tree.trials(subject)
    sessions = [session] if session is not None else tree.sessions(subject)
    n_runs = 0
    for number in sessions:
        for run in tree.bold_runs(subject, number):
            n_runs += 1
            image = tree.bold_image(subject, number, run)
            rows = np.nonzero((all_trials.session == number) & (all_trials.run == run))[0]
            onsets = tree.bold_onsets(subject, number, run)
            events = [
                ReplayEvent(
                    event,
                    float(onset_s),
                    _shown(tree, int(row), nsd_id, all_trials.label[row], repeats == "calibration"),
                )
                for event, (row, (onset_s, nsd_id)) in enumerate(zip(rows, onsets, strict=True))
            ]
            dtype, n_volumes = image.get_data_dtype().name, int(image.shape[3])
            hello = recording.hello(f"ses-{number:02d}_run-{run:02d}", dtype, n_volumes)
            yield ReplayRun(hello, n_volumes, events, partial(_bold_volumes, tree, subject, number, run))
    if not n_runs:
        where = f"session {session}" if session is not None else "any session"
        raise ReplayError(
            f"subject {subject} has no BOLD time series in {where}; replay its betas: --kind beta", code="option"
        )


def foils(tree: "NsdTree", subject: int) -> dict[int, int]:
    """Return nsd_id → foil for each held-out picture: the held-out picture with the next nsd_id."""
    trials = tree.trials(subject)
    held_out = np.unique(trials.nsd_id[trials.is_shared]).tolist()
    return dict(zip(held_out, held_out[1:] + held_out[:1], strict=True)) if len(held_out) > 1 else {}


def picture_png(tree: "NsdTree", nsd_id: int) -> bytes:
    """Return a picture as a PNG file's bytes."""
    from PIL import Image

    buffer = io.BytesIO()
    # Level 1 is 4 times as fast as the default, for a few per cent more bytes.
    Image.fromarray(tree.pictures(np.array([nsd_id]))[0]).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def picture_file(nsd_id: int) -> str:
    """Return the file name of an NSD picture that is written as a file."""
    return f"picture-{int(nsd_id):05d}.png"


def _shown(tree: "NsdTree", trial: int, nsd_id: int, label: str, is_calibration: bool) -> ReplayTrial:
    shown = ReplayTrial(int(trial), int(nsd_id), label=str(label) or None)
    if not is_calibration:
        return shown
    return shown._replace(stimulus=picture_file(nsd_id), captions=tuple(tree.captions(int(nsd_id))))


@dataclass(frozen=True)
class _Recording:
    """The fields that all runs of a replay have in common."""

    tree: "NsdTree"
    subject: int
    name: str
    kind: Kind
    tr_s: float

    def hello(self, run: str, dtype: str, n_volumes: int) -> Hello:
        x, y, z = self.tree.shape(self.subject)
        affine = self.tree.affine(self.subject)
        return Hello(
            session=self.name,
            run=run,
            subject=self.subject,
            kind=self.kind,
            shape=(int(x), int(y), int(z)),
            affine=tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in affine),
            tr_s=self.tr_s,
            dtype=dtype,
            simulated=self.tree.is_simulated(),
            producer="braind replay",
            n_volumes=n_volumes,
        )


class _Means:
    """Running means of each picture's repeats.

    Only voxels in the brain mask are kept: a third of a volume, for up to a thousand pictures.
    """

    def __init__(self, brainmask: Array) -> None:
        self._brainmask = brainmask
        self._sums: dict[int, tuple[Array, int]] = {}

    def add(self, nsd_id: int, stored: Array, scale: float, *, is_last: bool) -> tuple[Array, int]:
        """Add a repeat; return the mean, (X, Y, Z) float32 in % signal change, and the number of repeats in it."""
        inside = stored[self._brainmask].astype(np.int32)
        earlier, n_earlier = self._sums.pop(nsd_id, (np.zeros_like(inside), 0))
        total, n_averaged = earlier + inside, n_earlier + 1
        if not is_last:
            self._sums[nsd_id] = total, n_averaged
        mean = np.zeros(self._brainmask.shape, np.float32)
        mean[self._brainmask] = total * np.float32(scale / n_averaged)
        return mean, n_averaged


def _single_betas(
    tree: "NsdTree", subject: int, trials: ReplayedTrials, is_calibration: bool, next_index: int
) -> Iterator[ReplayVolume]:
    from ..datasets.nsd.tree import BETA_SCALE

    if next_index >= len(trials.row):
        return
    volumes = tree.beta_volumes(subject, int(trials.session[0]), trials.row[next_index:])
    for index, volume in enumerate(volumes, next_index):
        shown = _shown(tree, trials.trial[index], trials.nsd_id[index], trials.label[index], is_calibration)
        yield ReplayVolume(index, volume, BETA_SCALE, shown)


def _mean_betas(
    tree: "NsdTree", subject: int, trials: ReplayedTrials, means: _Means, repeats: Repeats, next_index: int
) -> Iterator[ReplayVolume]:
    from ..datasets.nsd.tree import BETA_SCALE

    volumes = tree.beta_volumes(subject, int(trials.session[0]), trials.row)
    index = 0
    columns = (trials.trial, trials.nsd_id, trials.label, trials.is_last)
    for volume, trial, nsd_id, label, is_last in zip(volumes, *columns, strict=True):
        # Means after a restart must include the repeats that were sent before it.
        mean, n_averaged = means.add(int(nsd_id), volume, BETA_SCALE, is_last=bool(is_last))
        if repeats == "running" or is_last:
            if index >= next_index:
                yield ReplayVolume(index, mean, 1.0, _shown(tree, trial, nsd_id, label, False), n_averaged)
            index += 1


def _bold_volumes(tree: "NsdTree", subject: int, session: int, run: int, next_index: int) -> Iterator[ReplayVolume]:
    bold = tree.bold_run(subject, session, run)
    # bold.shape = (X, Y, Z, n_volumes), int16
    for index in range(next_index, bold.shape[3]):
        yield ReplayVolume(index, bold[..., index], 1.0, None)
