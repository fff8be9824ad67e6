"""The newest decodes, put together from their stages. This module knows no widget."""

import statistics
import sys
from dataclasses import dataclass, field

from ..arrays import Array
from ..client.wire import Decode, LabelProbability, Provenance, Retrieved, SeenCandidate, Skipped, last_stage
from .pictures import N_LARGE, shrunk

N_KEPT = 120
"""How many volumes are kept: eight minutes at one volume every four seconds."""
Place = tuple[int, str, str]
"""A run: its daemon's count, its session, its name."""
PICTURE_OF = {"scores": "seen", "refined": "xzc"}
"""The picture of a stage whose picture has another name. A refined picture replaces Xzc."""
PATIENCE_S = 1.0
"""How long the last finished decode stays on the screen while the next one is made."""


@dataclass(eq=False)
class DecodedVolume:
    """One volume's decode so far. Pictures are (height, width, 3) uint8 arrays, None until they come."""

    session: str
    run: str
    index: int
    count: int
    """The number of the daemon's count of messages: a restarted daemon may count from 1 again."""
    heard_s: float
    """When the first message came, on the monitor's monotonic clock. It is no age: history comes all at once."""
    newest_s: float = 0.0
    """When the newest message came, on the same clock."""
    made_s: float | None = None
    """When the newest message was made, by the daemon's clock; None if an earlier daemon did not say."""
    provenance: Provenance | None = None
    """What made the newest stage."""
    seen: Array | None = None
    xz: Array | None = None
    xzc: Array | None = None
    retrieved: tuple[Retrieved, ...] = ()
    feedback: float | None = None
    n_candidates: int | None = None
    seen_candidate: SeenCandidate | None = None
    uncertainty: float | None = None
    """The unknown share of a BOLD trial's response, 0 to 1."""
    labels: tuple[LabelProbability, ...] = ()
    """Every class of the weights, the most probable first."""
    label: str | None = None
    """The class by the sender."""
    n_without_signal: int | None = None
    timings_s: dict[str, float] = field(default_factory=dict)
    trial: int | None = None
    nsd_id: int | None = None
    n_averaged: int = 1
    event: int | None = None
    """The trial of a BOLD run, decoded again with each volume; `index` is the newest volume's."""
    is_final: bool = True
    since_onset_s: float | None = None
    flags: tuple[str, ...] = ()
    unreadable: frozenset[str] = frozenset()
    """The names of pictures that came and cannot be shown."""
    superseded: frozenset[str] = frozenset()
    """The names of pictures that an earlier decode made than the scores on show."""
    is_finished: bool = False
    """Whether the final stage has come."""
    skipped: str = ""
    """Why there is no decode; empty if there is one or one may come."""
    failed: bool = False
    """The volume cannot be decoded."""
    is_given_up: bool = False
    """No picture came, and nothing waits to be decoded any more."""

    @property
    def place(self) -> Place:
        """The run: its daemon's count, its session, its name. Another daemon may have runs of the same names."""
        return self.count, self.session, self.run

    @property
    def mode(self) -> str:
        """z, c, zc or labels; zc before the first decode."""
        return self.provenance.mode if self.provenance else "zc"

    @property
    def simulated(self) -> bool:
        """Whether the decode is of simulated data."""
        return self.provenance is not None and self.provenance.simulated

    @property
    def number(self) -> int:
        """The trial's number in a BOLD run, else the volume's index."""
        return self.index if self.event is None else self.event

    @property
    def is_awaited(self) -> bool:
        """Whether pictures that are not there may come."""
        return not (self.skipped or self.is_given_up or self.is_finished)

    @property
    def pending_words(self) -> str:
        """What stands where a picture is not yet, or never."""
        if self.skipped:
            return self.skipped if self.failed else f"skipped: {self.skipped}"
        if not self.is_awaited:
            return "no picture came"
        return "decoding …" if self.is_final else "provisional …"

    @property
    def final_stage(self) -> str:
        """The stage that ends the decode: `xz` in mode `z`, `scores` in mode `labels`, else `xzc`."""
        return last_stage(self.mode)

    @property
    def has_pictures(self) -> bool:
        """Whether the weights decode pictures; weights of mode `labels` decode only classes."""
        return self.final_stage != "scores"

    @property
    def final_picture(self) -> Array | None:
        """The picture of the final stage, if it is there."""
        return self.xz if self.final_stage == "xz" else self.xzc

    @property
    def is_right(self) -> bool | None:
        """Whether the most probable class is the sender's; None if the sender names no class of the weights."""
        if all(one.label != self.label for one in self.labels):
            return None
        return self.labels[0].label == self.label

    def shrink(self) -> None:
        """Keep the pictures small, to keep many of them."""
        self.seen, self.xz, self.xzc = shrunk(self.seen), shrunk(self.xz), shrunk(self.xzc)

    def take(self, decode: Decode, picture: Array | None, *, is_unreadable: bool = False) -> None:
        """Add a stage; `picture` is the seen picture at stage `scores`, else the decoded picture."""
        name = PICTURE_OF.get(decode.stage, decode.stage)
        if decode.stage == "scores":
            self._begin_anew(decode)
            self.feedback, self.labels = decode.feedback, decode.labels
            self.n_candidates, self.seen_candidate = decode.n_candidates, decode.seen_candidate
            self.seen = picture if picture is not None else self.seen
        elif decode.stage != "refined" or not is_unreadable:
            setattr(self, name, picture)
        self.superseded -= {name}
        if is_unreadable and getattr(self, name) is None:
            self.unreadable |= {name}
        elif picture is not None:
            self.unreadable -= {name}
        self.retrieved = decode.retrieved or self.retrieved
        self.timings_s |= decode.timings_s
        self.trial, self.nsd_id, self.n_averaged = decode.trial, decode.nsd_id, decode.n_averaged
        self.label, self.n_without_signal = decode.label, decode.n_without_signal
        self.index, self.event = decode.index, decode.event
        self.is_final, self.since_onset_s = decode.is_final, decode.since_onset_s
        self.uncertainty = decode.uncertainty
        self.flags = tuple(flag for flag in ("spike", "misaligned") if getattr(decode, flag))
        self.made_s, self.provenance = decode.made_s, decode.provenance
        if decode.stage == self.final_stage:
            # A skipped volume may be decoded later.
            self.is_finished, self.skipped, self.failed = True, "", False
        self.is_given_up = False

    def _begin_anew(self, decode: Decode) -> None:
        """Note that the pictures so far are of an earlier decode; pictures of other weights are not kept beside it."""
        made = self.provenance
        if made is not None and made.weights != decode.provenance.weights:
            self.xz = self.xzc = None
            self.is_finished = False
        self.superseded = frozenset(name for name in ("xz", "xzc") if getattr(self, name) is not None)


class RecentDecodes:
    """The newest `N_KEPT` volumes, newest last. Messages are taken in the order in which they were published."""

    def __init__(self, count: int = 0) -> None:
        self.volumes: list[DecodedVolume] = []
        self._last_seq = 0
        self.count = count
        """How often a daemon has counted anew."""

    def newest(self, now_s: float) -> DecodedVolume | None:
        """Return the volume that a monitor following the stream shows.

        A volume is shown when its last stage is there, or when `PATIENCE_S` have passed since its first message. So
        pictures of two volumes are never shown together, and a fast stream does not flicker. A skipped volume or a
        provisional trial does not replace the last picture. In mode `labels` every estimate of a trial is finished, so
        a provisional trial is shown.
        """
        not_skipped = [volume for volume in reversed(self.volumes) if volume.is_finished or not volume.skipped]
        ripe = (v for v in not_skipped if v.is_finished or (v.is_final and now_s - v.heard_s > PATIENCE_S))
        newest = next(ripe, not_skipped[0] if not_skipped else None)
        return newest if newest is None or newest.has_pictures else self.newest_classified or newest

    @property
    def newest_classified(self) -> DecodedVolume | None:
        """The volume or trial of the newest run whose classes a monitor shows.

        Of the trials that still unfold, it is the trial with the latest onset. A trial that is final does not replace a
        longer trial around it.
        """
        run = self.volumes[-1].place if self.volumes else None
        of_run = [volume for volume in reversed(self.volumes) if volume.labels and volume.place == run]
        if not of_run or of_run[0].event is None:
            return of_run[0] if of_run else None
        newest = max(of_run, key=lambda volume: volume.index)
        # The estimates of one volume come one after another. A trial may lag the newest by one volume.
        running = [
            volume for volume in of_run if not (volume.is_final or volume.skipped) and volume.index >= newest.index - 1
        ]
        return running[0] if running else newest

    @property
    def unfolding(self) -> DecodedVolume | None:
        """The trial with the newest onset of the newest run, if its estimate is still provisional."""
        run = self.volumes[-1].place if self.volumes else None
        trials = [volume for volume in self.volumes if volume.place == run and volume.event is not None]
        newest = max(trials, key=lambda volume: volume.number, default=None)
        return newest if newest is not None and not newest.is_final and newest.is_awaited else None

    def take_decode(
        self, decode: Decode, picture: Array | None, now_s: float, *, is_unreadable: bool = False
    ) -> DecodedVolume:
        """Add one stage of a decode; the same message twice changes nothing."""
        volume = self._volume_of(self._place_of(decode), decode.index, decode.event, now_s)
        volume.take(decode, picture, is_unreadable=is_unreadable)
        volume.newest_s = now_s
        if volume not in self.volumes[-N_LARGE:]:
            volume.shrink()
        return volume

    def take_skipped(self, skipped: Skipped, now_s: float) -> list[DecodedVolume]:
        """Mark a beta volume as skipped; of a BOLD volume, the trials that it completed. Return them."""
        place = self._place_of(skipped)
        events: tuple[int, ...] | tuple[None]
        if skipped.events is not None:
            events = skipped.events
        elif any(volume.event is not None for volume in self._of(place)):
            # An earlier daemon names no trials. The trials whose newest estimate is this volume's get no picture.
            events = tuple(v.event for v in self._of(place) if v.event is not None and v.index == skipped.index)
        else:
            events = (None,)
        volumes = [self._volume_of(place, skipped.index, event, now_s) for event in events]
        for volume in volumes:
            if not volume.is_finished or volume.superseded:
                volume.skipped, volume.failed = skipped.reason or "skipped", skipped.failed
                volume.made_s = skipped.made_s
        return volumes

    @property
    def n_finished(self) -> int:
        """How many of the kept volumes have their last stage."""
        return sum(volume.is_finished for volume in self.volumes)

    def newest_first(self) -> list[DecodedVolume]:
        """Return all kept volumes, newest first."""
        return self.volumes[::-1]

    def neighbour(self, volume: DecodedVolume, step: int) -> DecodedVolume | None:
        """Return the volume `step` places older, at most the oldest; None if a newer volume would be the newest.

        A volume that is not kept any more is older than all others.
        """
        volumes = self.newest_first()
        at = min((volumes.index(volume) if volume in volumes else len(volumes)) + step, len(volumes) - 1)
        return None if at < 0 or (step < 0 and at == 0) else volumes[at]

    def stage_times_s(self, step: str, of: DecodedVolume) -> list[float]:
        """Return the seconds from arrival to the end of a step, for each volume of a volume's run, oldest first."""
        return [volume.timings_s[step] for volume in self._of(of.place) if step in volume.timings_s]

    def _of(self, place: Place) -> list[DecodedVolume]:
        return [volume for volume in self.volumes if volume.place == place]

    def _place_of(self, message: Decode | Skipped) -> Place:
        # Numbers grow while one daemon counts. A smaller number begins another count, with other volumes.
        if message.seq < self._last_seq:
            self.count += 1
        self._last_seq = message.seq
        # Thousands of trials share the names of few runs; each message brings strings of its own.
        return self.count, sys.intern(message.session), sys.intern(message.run)

    def _volume_of(self, place: Place, index: int, event: int | None, now_s: float) -> DecodedVolume:
        """Return a beta volume by its index, or a BOLD trial by its number; a new one if none is kept."""
        for volume in reversed(self._of(place)):
            # Every decode of a trial supersedes the decode before.
            if volume.event == event and (event is not None or volume.index == index):
                return volume
        if event is not None:
            # An earlier daemon's skipped volume turns out to be a BOLD volume, which is no trial.
            self.volumes = [
                one for one in self.volumes if one.place != place or one.event is not None or not one.skipped
            ]
        count, session, run = place
        new = DecodedVolume(session, run, index, count, now_s, event=event)
        self.volumes = [*self.volumes, new][-N_KEPT:]
        if len(self.volumes) > N_LARGE:
            self.volumes[-N_LARGE - 1].shrink()
        return new


def median_and_p99_ms(times_s: list[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile (nearest rank) in milliseconds."""
    ordered = sorted(times_s)
    nearest_rank = -(-99 * len(ordered) // 100) - 1
    return 1e3 * statistics.median(ordered), 1e3 * ordered[nearest_rank]
