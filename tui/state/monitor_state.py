"""Everything that the monitor knows, made from the daemon's messages. This module knows no widget and no socket."""

from ...client.wire import Decode, Gap, Heartbeat, Mark, Skipped, VolumeSignal
from ..connection import Connection, crash_words, mark_place, without_signal_words
from ..daemon_clock import age_words
from ..feed import Heard, Notice, Published, Stage
from ..fitted import run_within
from ..recent import DecodedVolume, Place, RecentDecodes
from .event_log import Entry, EventLog, Severity
from .quality import MOVED_MM, Quality
from .run_score import RunScore, run_score
from .trials import Trials

GIVEN_UP_AFTER_S = 2.5
"""Two heartbeats after a volume's newest message, a daemon without waiting volumes makes no picture of it any more."""
DISTURBED_FOR_S = 15.0
"""How long an alarm of motion stays: an operator who looks up once a trial sees it."""

STALLED = (
    "did the scanner stop, did the sending program end or find no new files, or is its network down?",
    "did the scanner, the sending program or its network stop?",
    "scanner, sender or network?",
)
UNREACHABLE = (
    "the daemon was killed, or its machine or the network is down; on its machine: braind status",
    "daemon killed, or its machine or network down: braind status",
    "try: braind status",
)
RESTARTING = (
    "the decoder process died; volumes are still acked and are decoded when it has loaded again; its log says why",
    "the decoder died; volumes are kept and decoded later",
    "volumes are kept",
)


class MonitorState:
    """Takes what the daemon publishes, at times of a monotonic clock; a recorded session can be taken in the same way.

    Parameters
    ----------
    opened_s : float
        When the monitor began to wait for the daemon.
    recorded : str
        The name of the recorded session whose messages are taken; "" for the messages of a daemon.
    """

    def __init__(self, opened_s: float, recorded: str = "") -> None:
        self.recorded = recorded
        self.recent = RecentDecodes()
        self.connection = Connection(opened_s, is_recorded=bool(recorded))
        self.log = EventLog()
        self.trials = Trials()
        self.quality = Quality()
        self.n_notices = 0
        self._was_state = self.connection.state(opened_s)
        self._was_stalled: tuple[float, int | None] | None = None
        """The last length of the stall, s, and how many volumes were acked during it."""
        self._scored: tuple[Place, int] | None = None
        """The run of `_run_score`, and the version of its trials."""
        self._run_score: RunScore | None = None
        self._misaligned_runs: set[tuple[str, str]] = set()
        self._moved_runs: set[tuple[str, str]] = set()
        self._moved: tuple[Decode, VolumeSignal] | None = None
        self._misaligned: tuple[Decode, VolumeSignal] | None = None
        """The newest volume before which the head moved, and the newest misaligned volume, with their decodes."""
        self._silent_runs: set[tuple[str, str]] = set()

    def take(self, heard: Heard, now_s: float) -> None:
        """Take one message."""
        match heard:
            case Stage(decode, picture, is_unreadable):
                volume = self.recent.take_decode(decode, picture, now_s, is_unreadable=is_unreadable)
                self.trials.take(volume, decode.stage, decode.seq)
                self.quality.take(decode, self.recent.count)
                self._note_flags(decode, now_s)
                self._note_motion(decode, now_s)
            case Skipped():
                for volume in self.recent.take_skipped(heard, now_s):
                    self.trials.take(volume)
                outcome = "failed" if heard.failed else "skipped"
                why = heard.reason.removeprefix("failed: ")
                of_trials = f" (event {', '.join(map(str, heard.events))})" if heard.events else ""
                sentence = f"run {heard.run}, volume {heard.index}{of_trials}: {outcome}, {why}"
                self._log_published("warning", sentence, now_s, heard.made_s)
            case Heartbeat():
                self._take_heartbeat(heard, now_s)
            case Notice(sentence, made_s):
                if heard.gap is not None:
                    self.quality.take(heard.gap, self.recent.count)
                self.n_notices += 1
                if made_s is None:
                    self._log("warning", sentence, now_s)
                else:
                    self._log_published("warning", sentence, now_s, made_s)
        self.connection.heard_s = now_s if not isinstance(heard, Notice) else self.connection.heard_s
        self.tick(now_s)

    def tick(self, now_s: float) -> None:
        """Note the changes that time alone brings: a silence, a stall, a picture that never came."""
        self._note_state(now_s)
        self._note_stall(now_s)
        self._give_up(now_s)

    def take_older(self, messages: list[Published]) -> None:
        """Take messages of before the monitor's start, in their order, without pictures."""
        self.trials.add_older([one for one in messages if not isinstance(one, Gap)], self.recent.count)
        self.quality.add_older(messages, self.recent.count)

    def end_recording(self) -> None:
        """Note that no further message comes: what is not decoded yet stays so."""
        for volume in self.recent.volumes:
            if volume.is_final and not volume.is_finished and not volume.skipped:
                volume.is_given_up = True
        self.trials.end_recording()

    def age_s(self, volume: DecodedVolume, now_s: float) -> float | None:
        """Return the age of a volume's newest message by the daemon's clock; None if that is not known."""
        return self.connection.clock.age_s(volume.made_s, now_s)

    def is_live(self, volume: DecodedVolume) -> bool:
        """Return whether a volume is of the run that the daemon takes volumes of now; True while that is not known."""
        beat = self.connection.heartbeat
        return beat is None or not beat.run or (beat.session, beat.run) == (volume.session, volume.run)

    def run_score(self, volume: DecodedVolume | None) -> RunScore | None:
        """Return the score so far of a volume's run; None if no final trial of the run has a score."""
        if volume is None:
            return None
        of = volume.place, self.trials.version
        if self._scored != of:
            self._scored, self._run_score = of, run_score(self.trials.of_run(volume.place))
        return self._run_score

    def alarms(self, now_s: float) -> list[tuple[str, ...]]:
        """Return what somebody must look at now, the most important first, each in forms from long to short."""
        found: list[tuple[str, ...]] = []
        state = self.connection.state(now_s)
        if state == "unreachable":
            found.append(UNREACHABLE)
        if state == "restarting":
            found.append(RESTARTING)
        if self.connection.stalled_s(now_s) is not None:
            found.append(STALLED)
        found += self._disturbances(now_s)
        run, n_voxels, is_decoded = self._without_signal()
        if n_voxels:
            sentence = without_signal_words(n_voxels, is_decoded=is_decoded)
            short = sentence.partition(";")[0]
            found.append((f"run {run}: {sentence}", f"run {run}: {short}", short, f"{n_voxels:,} without signal"))
        return found

    def _take_heartbeat(self, beat: Heartbeat, now_s: float) -> None:
        before = self.connection.heartbeat
        self.connection.take(beat, now_s)
        is_same_session = before is not None and before.session == beat.session
        if beat.session_restarts > (before.session_restarts if before and is_same_session else 0):
            if before is None:
                n_times = "once" if beat.session_restarts == 1 else f"{beat.session_restarts} times"
                self._log("info", f"before this monitor started, the decoder died {n_times} in this session", now_s)
            else:
                self._log("alarm", f"the decoder died ({crash_words(beat)}) and is started again", now_s)
        if beat.run and (before is None or (before.session, before.run) != (beat.session, beat.run)):
            self._log("info", f"run {beat.run} of session {beat.session} is live", now_s)
        if before is not None and beat.n_refused > before.n_refused:
            n_refused = beat.n_refused - before.n_refused
            self._log("warning", f"{n_refused} messages of the sender were refused; its log says why", now_s)
        for mark in beat.marks:
            if before is None or mark not in before.marks:
                self.take_mark(mark, now_s)
        run, n_voxels, is_decoded = self._without_signal()
        if n_voxels and (beat.session, run) not in self._silent_runs:
            self._silent_runs.add((beat.session, run))
            self._log("warning", f"run {run}: {without_signal_words(n_voxels, is_decoded=is_decoded)}", now_s)

    def take_mark(self, mark: Mark, now_s: float) -> None:
        """Note what an operator noted."""
        by = f" (by {mark.by})" if mark.by else ""
        sentence = f"mark, run {mark.run}{mark_place(mark)}: {mark.note}{by}"
        self._log_published("info", sentence, now_s, mark.made_s)

    def _note_flags(self, decode: Decode, now_s: float) -> None:
        if decode.stage != "scores" or not decode.is_final:
            return
        trial = f"volume {decode.index}" if decode.event is None else f"event {decode.event}"
        run = decode.session, decode.run
        if decode.misaligned:
            # One bell a run: every trial of a subject who has moved is misaligned.
            severity: Severity = "warning" if run in self._misaligned_runs else "alarm"
            self._misaligned_runs.add(run)
            sentence = f"run {decode.run}, {trial}: misaligned with the training volumes; has the subject moved?"
            self._log_published(severity, sentence, now_s, decode.made_s)
        if decode.spike:
            sentence = f"run {decode.run}, {trial}: a volume was a spike and counts less"
            self._log_published("info", sentence, now_s, decode.made_s)

    def _note_motion(self, decode: Decode, now_s: float) -> None:
        for signal in decode.signals:
            moved_mm, run = signal.displacement_mm or 0.0, (decode.session, decode.run)
            if moved_mm > MOVED_MM:
                severity: Severity = "warning" if run in self._moved_runs else "alarm"
                self._moved_runs.add(run)
                sentence = f"run {decode.run}, volume {signal.index}: the head moved {moved_mm:.1f} mm"
                self._log_published(severity, sentence, now_s, decode.made_s)
                self._moved = decode, signal
            if signal.is_misaligned:
                self._misaligned = decode, signal

    def _disturbances(self, now_s: float) -> list[tuple[str, ...]]:
        """Return alarms of a moved head and of misaligned volumes, for `DISTURBED_FOR_S` after the decode."""
        found: list[tuple[str, ...]] = []
        if self._misaligned is not None and self._is_recent(self._misaligned[0], now_s):
            decode, signal = self._misaligned
            where = f"run {run_within(decode.session, decode.run)}, volume {signal.index}"
            words = "misaligned with the training volumes"
            found.append((f"{where}: {words}; has the subject moved?", f"volume {signal.index}: {words}", "misaligned"))
        if self._moved is not None and self._is_recent(self._moved[0], now_s):
            decode, signal = self._moved
            moved = f"the head moved {signal.displacement_mm:.1f} mm"
            where = f"run {run_within(decode.session, decode.run)}, volume {signal.index}"
            found.append((f"{where}: {moved}; trials of these seconds count less", f"{where}: {moved}", moved))
        return found

    def _is_recent(self, decode: Decode, now_s: float) -> bool:
        age_s = self.connection.clock.age_s(decode.made_s, now_s)
        return age_s is not None and age_s < DISTURBED_FOR_S

    def _note_state(self, now_s: float) -> None:
        state, was = self.connection.state(now_s), self._was_state
        if state == was:
            return
        self._was_state = state
        match state:
            case "unreachable":
                self._log("alarm", "daemon unreachable: no heartbeat came", now_s)
            case "stopped":
                self._log("warning", "daemon stopped", now_s)
            case "paused":
                self._log("info", "decoding is paused; volumes are still acked", now_s)
            case "ready" if was == "paused":
                self._log("info", "decoding goes on", now_s)
            case "ready" if was in ("starting", "restarting"):
                self._log("info", "the decoder has loaded", now_s)
            case _ if was in ("unreachable", "stopped", "waiting"):
                self._log("info", f"the daemon answers: {self.connection.words(now_s)}", now_s)

    def _note_stall(self, now_s: float) -> None:
        beat, stalled_s = self.connection.heartbeat, self.connection.stalled_s(now_s)
        was, n_acked = self._was_stalled, beat.n_acked if beat else None
        self._was_stalled = None if stalled_s is None else (stalled_s, n_acked)
        if beat is None:
            return
        if was is None and stalled_s is not None:
            self._log("alarm", f"run {beat.run}: no volume for {stalled_s:.1f} s", now_s)
        elif was is not None and stalled_s is None and self.connection.state(now_s) not in ("unreachable", "paused"):
            if n_acked == was[1]:
                end = "the run ended, or is taken to be broken off"
            else:
                end = "volumes come again"
            self._log("info", f"run {beat.run}: {end} after {age_words(was[0])} without a volume", now_s)

    def _give_up(self, now_s: float) -> None:
        """Mark the volumes of which no picture comes any more."""
        beat, beat_s = self.connection.heartbeat, self.connection.heartbeat_s
        if beat is None or beat_s is None or beat.n_waiting != 0 or beat.state != "ready":
            return
        for volume in self.recent.volumes:
            is_over = volume.is_final or not self.is_live(volume)
            if is_over and not volume.is_finished and beat_s - volume.newest_s > GIVEN_UP_AFTER_S:
                if not volume.is_given_up:
                    volume.is_given_up = True
                    self.trials.take(volume)

    def _without_signal(self) -> tuple[str, int, bool]:
        """Return the live run, how many voxels have no signal in it (0: none known), and whether it is decoded."""
        beat, newest = self.connection.heartbeat, self.recent.volumes[-1] if self.recent.volumes else None
        if beat is not None and beat.n_without_signal is not None:
            return run_within(beat.session, beat.run), beat.n_without_signal, beat.state != "recording"
        if newest is None or (beat is not None and beat.run not in ("", newest.run)):
            return "", 0, True
        return run_within(newest.session, newest.run), newest.n_without_signal or 0, True

    def _log(self, severity: Severity, sentence: str, now_s: float) -> None:
        self.log.add(Entry(severity, sentence, now_s))

    def _log_published(self, severity: Severity, sentence: str, now_s: float, made_s: float | None) -> None:
        # History comes before the first heartbeat.
        self.log.add(Entry(severity, sentence, now_s, made_s, is_history=self.connection.heartbeat is None))
