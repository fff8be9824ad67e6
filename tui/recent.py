"""The newest decodes, put together from their stages. This module knows no widget."""

import statistics
from dataclasses import dataclass, field

from ..arrays import Array
from ..client.wire import Decode, LabelProbability, Retrieved, Skipped, last_stage

N_KEPT = 120
"""How many volumes are kept: eight minutes at one volume every four seconds."""
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
    """When the first message came, on the monitor's monotonic clock."""
    seen: Array | None = None
    xz: Array | None = None
    xzc: Array | None = None
    retrieved: tuple[Retrieved, ...] = ()
    feedback: float | None = None
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
    mode: str = "zc"
    preset: str = ""
    simulated: bool = False
    is_finished: bool = False
    """Whether the final stage has come."""
    skipped: str = ""
    """Why there is no decode; empty if there is one or one may come."""
    failed: bool = False
    """The volume cannot be decoded."""

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

    def take(self, decode: Decode, picture: Array | None) -> None:
        """Add a stage; `picture` is the seen picture at stage `scores`, else the decoded picture."""
        if decode.stage == "scores":
            self.feedback, self.labels = decode.feedback, decode.labels
            self.seen = picture if picture is not None else self.seen
        else:
            # A refined picture replaces Xzc.
            setattr(self, "xzc" if decode.stage == "refined" else decode.stage, picture)
        self.retrieved = decode.retrieved or self.retrieved
        self.timings_s |= decode.timings_s
        self.trial, self.nsd_id, self.n_averaged = decode.trial, decode.nsd_id, decode.n_averaged
        self.label, self.n_without_signal = decode.label, decode.n_without_signal
        self.index, self.event = decode.index, decode.event
        self.is_final, self.since_onset_s = decode.is_final, decode.since_onset_s
        self.flags = tuple(flag for flag in ("spike", "misaligned") if getattr(decode, flag))
        self.mode, self.preset = decode.provenance.mode, decode.provenance.preset
        self.simulated = decode.provenance.simulated
        if decode.stage == self.final_stage:
            # A skipped volume may be decoded later.
            self.is_finished, self.skipped, self.failed = True, "", False


class RecentDecodes:
    """The newest `N_KEPT` volumes, newest last. Messages are taken in the order in which they were published."""

    def __init__(self) -> None:
        self.volumes: list[DecodedVolume] = []
        self._last_seq = 0
        self._count = 0

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
        run = self._place_of(self.volumes[-1]) if self.volumes else None
        of_run = [volume for volume in reversed(self.volumes) if volume.labels and self._place_of(volume) == run]
        if not of_run or of_run[0].event is None:
            return of_run[0] if of_run else None
        newest = max(of_run, key=lambda volume: volume.index)
        # The estimates of one volume come one after another. A trial may lag the newest by one volume.
        running = [volume for volume in of_run if not volume.is_final and volume.index >= newest.index - 1]
        return running[0] if running else newest

    def take_decode(self, decode: Decode, picture: Array | None, now_s: float) -> DecodedVolume:
        """Add one stage of a decode; the same message twice changes nothing."""
        volume = self._volume_of(decode, now_s)
        volume.take(decode, picture)
        return volume

    def take_skipped(self, skipped: Skipped, now_s: float) -> DecodedVolume:
        """Mark a volume as skipped."""
        volume = self._volume_of(skipped, now_s)
        if not volume.is_finished:
            volume.skipped, volume.failed = skipped.reason or "skipped", skipped.failed
        return volume

    @property
    def n_finished(self) -> int:
        """How many of the kept volumes have their last stage."""
        return sum(volume.is_finished for volume in self.volumes)

    def newest_first(self) -> list[DecodedVolume]:
        """Return all kept volumes, newest first."""
        return self.volumes[::-1]

    def stage_times_s(self, step: str) -> list[float]:
        """Return the seconds from each volume's arrival to the end of a step, oldest volume first."""
        return [volume.timings_s[step] for volume in self.volumes if step in volume.timings_s]

    @staticmethod
    def _place_of(volume: DecodedVolume) -> tuple[int, str, str]:
        return volume.count, volume.session, volume.run

    def _volume_of(self, message: Decode | Skipped, now_s: float) -> DecodedVolume:
        # Numbers grow while one daemon counts. A smaller number begins another count, with other volumes.
        if message.seq < self._last_seq:
            self._count += 1
        self._last_seq = message.seq
        event = message.event if isinstance(message, Decode) else None
        for volume in reversed(self.volumes):
            if self._place_of(volume) != (self._count, message.session, message.run):
                continue
            # Every decode of a trial supersedes the decode before.
            if (volume.event, event) == (None, None) and volume.index == message.index:
                return volume
            if event is not None and volume.event == event:
                return volume
        new = DecodedVolume(message.session, message.run, message.index, self._count, now_s)
        new.event = event
        self.volumes.append(new)
        del self.volumes[:-N_KEPT]
        return self.volumes[-1]


def median_and_p99_ms(times_s: list[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile (nearest rank) in milliseconds."""
    ordered = sorted(times_s)
    nearest_rank = -(-99 * len(ordered) // 100) - 1
    return 1e3 * statistics.median(ordered), 1e3 * ordered[nearest_rank]
