"""Sends synthetic volumes through a whole daemon of its own, and measures acks and decodes."""

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import msgspec
import numpy as np

from ...arrays import Array
from ...client.control import ControlClient
from ...client.endpoints import Endpoints
from ...client.scanner import Onset, OpenRun, ScannerClient
from ...client.subscriber import DecodeSubscriber
from ...client.wire import Decode, Skipped
from ...config import data_path
from ...errors import BraindError, ExitCode
from ...models.weights.weights import Weights
from ..child import ChildDaemonError, child_daemon
from .plan import CheckPlan
from .report import Report, in_ms

N_TRIALS = 8
LEAST_TRIALS = 3
TRIALS_WITHIN_S = 60.0
"""A slow decoder gets `LEAST_TRIALS` trials: no further trial begins after this time."""
TRIAL_EVERY_S = 4.0
"""Interval of the onsets in a BOLD run, in scan time."""
ESTIMATE_WITHIN_S = 60.0
"""A BOLD trial has its final estimate within this scan time after its onset."""
TYPICAL_TR_S = 4.0
"""The interval of volumes if neither the weights nor the user name one. It only stands in the run's header."""
READY_WITHIN_S = 900.0
"""The engines are measured, and networks exported, at the first start on a machine."""
DECODED_WITHIN_S = 180.0
BOLD_SIGNAL, BOLD_NOISE = 1000.0, 5.0
NEAR_THE_LIMIT = 0.8


class TrialRunError(BraindError):
    """The daemon took the synthetic volumes and did not do with them what it should."""

    code = "trial_run"


@dataclass
class Measured:
    """What a trial run measured, s.

    Parameters
    ----------
    start_s : from the daemon's start until it was ready: loading and warm-up
    ack_s : each volume's time from sending to ack
    decode_s : each decoded trial's time from arrival to its last stage
    step_s : the times from arrival to each step, by step
    """

    start_s: float = 0.0
    engine: str = ""
    preset: str = ""
    ack_s: list[float] = field(default_factory=list)
    decode_s: list[float] = field(default_factory=list)
    step_s: dict[str, list[float]] = field(default_factory=dict)


def check_trial_run(plan: CheckPlan, weights: Weights, report: Report) -> None:
    """Run a daemon on free ports in a folder of its own beside the data, send volumes, and report what came back."""
    measured = Measured()
    try:
        with tempfile.TemporaryDirectory(prefix="check-", dir=data_path(plan.config)) as folder:
            paths = msgspec.structs.replace(plan.config.paths, data=folder)
            config = msgspec.structs.replace(plan.config, paths=paths)
            began_s = time.monotonic()
            with child_daemon(config, _options(plan), ready_within_s=READY_WITHIN_S) as where:
                measured.start_s = time.monotonic() - began_s
                _send(where, plan, weights, measured)
    except ChildDaemonError as error:
        # The settings and files that the daemon refuses are the class of this failure.
        report.fail("daemon", str(error), ExitCode.USAGE if error.code == "refused" else ExitCode.FAILED)
        return
    except (BraindError, OSError) as error:
        report.fail("daemon", f"a volume sent through a daemon: {error}", ExitCode.FAILED)
        return
    _report(plan, weights, measured, report)


def _options(plan: CheckPlan) -> list[str]:
    files = {"--weights": plan.decoder.weights_path, "--candidates": plan.decoder.candidates_path}
    files = {name: str(Path(path).absolute()) for name, path in files.items()}
    masks = [word for path in plan.mask_paths for word in ("--mask", str(path.absolute()))]
    chosen = masks or [word for option in files.items() for word in option]
    return ["--subject", str(plan.subject), "--kind", plan.kind, *chosen]


def _send(where: Endpoints, plan: CheckPlan, weights: Weights, measured: Measured) -> None:
    card = weights.card
    kind = plan.scan_kind(weights)
    with (
        ScannerClient(*where.address("ingest")) as client,
        ControlClient(*where.address("control")) as control,
        DecodeSubscriber.at(where, from_seq=1) as subscriber,
    ):
        run = client.open_run(
            session="check", run="check", subject=card.subject, kind=kind, shape=card.shape, affine=card.affine,
            tr_s=plan.known_tr_s(weights) or TYPICAL_TR_S, dtype="float32", simulated=True, producer="braind check",
        )  # fmt: skip
        trial = _TrialRun(plan, weights, run, control, subscriber, measured)
        if weights.is_blank:
            trial.record()
        else:
            trial.decode()
        run.end()
        status = control.status()
        measured.engine, measured.preset = status.engine, status.preset


class _TrialRun:
    """One run of synthetic volumes."""

    def __init__(
        self,
        plan: CheckPlan,
        weights: Weights,
        run: OpenRun,
        control: ControlClient,
        subscriber: DecodeSubscriber,
        measured: Measured,
    ) -> None:
        self._weights, self._run, self._control, self._measured = weights, run, control, measured
        self._subscriber = subscriber
        self._tr_s = run.hello.tr_s
        self._is_bold = run.hello.kind == "bold"
        self._n_decoded = 0
        self._noise = np.random.default_rng(0)

    def record(self) -> None:
        """Send volumes that are only kept."""
        for index in range(N_TRIALS):
            self._send(index, [])
        n_acked = self._control.status().n_acked
        if n_acked != N_TRIALS:
            raise TrialRunError(f"{N_TRIALS} volumes were acked, but the journal counts {n_acked}; see the disk")

    def decode(self) -> None:
        """Send volumes until every trial has its last stage."""
        began_s = time.monotonic()
        n_trials = index = 0
        last_onset_s = 0.0
        while True:
            is_over = n_trials >= N_TRIALS or (
                n_trials >= LEAST_TRIALS and time.monotonic() - began_s > TRIALS_WITHIN_S
            )
            now_s = index * self._tr_s
            onsets: list[Onset] = []
            if not is_over and (not self._is_bold or now_s >= n_trials * TRIAL_EVERY_S):
                onsets = [Onset(n_trials, now_s)] if self._is_bold else []
                last_onset_s = now_s
                n_trials += 1
            elif is_over and self._n_decoded >= n_trials:
                return
            elif now_s - last_onset_s > ESTIMATE_WITHIN_S:
                raise TrialRunError(
                    f"{n_trials} trials gave {self._n_decoded} decodes within {ESTIMATE_WITHIN_S:.0f} s of scan time"
                )
            self._send(index, onsets)
            self._wait(index)
            index += 1

    def _send(self, index: int, onsets: list[Onset]) -> None:
        for onset in onsets:
            self._run.send_onset(onset)
        volume = self._volume()
        began_s = time.perf_counter()
        self._run.send(volume, index=index)
        self._measured.ack_s.append(time.perf_counter() - began_s)

    def _volume(self) -> Array:
        """Return a volume, (X, Y, Z) float32: the training mean, or for BOLD a signal with noise."""
        weights = self._weights
        voxels = weights.voxel_mean
        if self._is_bold or weights.is_blank:
            signal = weights.bold.mean_signal if weights.bold and weights.bold.mean_signal.size else BOLD_SIGNAL
            voxels = signal + self._noise.normal(scale=BOLD_NOISE, size=len(voxels))
        volume = np.zeros(weights.card.shape, np.float32)
        volume.reshape(-1)[weights.voxel_index] = voxels
        return volume

    def _wait(self, index: int) -> None:
        """Wait until the volume is decoded: a beta has its last stage, and no BOLD volume waits."""
        deadline = time.monotonic() + DECODED_WITHIN_S
        while time.monotonic() < deadline:
            received = self._subscriber.receive(0.02 if self._is_bold else 1.0)
            message = received.message if received else None
            if isinstance(message, Skipped):
                raise TrialRunError(f"volume {message.index} is not decoded: {message.reason}")
            if isinstance(message, Decode) and message.is_last:
                self._note(message, received.png if received else None)
                if not self._is_bold and message.index == index:
                    return
            elif self._is_bold and message is None and self._control.status().n_waiting == 0:
                return
        raise TrialRunError(f"volume {index} was not decoded within {DECODED_WITHIN_S:.0f} s; see the daemon's log")

    def _note(self, decode: Decode, png: bytes | None) -> None:
        if self._weights.has_pictures and not png:
            raise TrialRunError(f"volume {decode.index}: stage {decode.stage} came without a picture")
        if not self._weights.has_pictures and not decode.labels:
            raise TrialRunError(f"volume {decode.index}: stage {decode.stage} came without classes")
        self._n_decoded += 1
        self._measured.decode_s.append(max(decode.timings_s.values()))
        for step, taken_s in decode.timings_s.items():
            self._measured.step_s.setdefault(step, []).append(taken_s)


def _report(plan: CheckPlan, weights: Weights, measured: Measured, report: Report) -> None:
    ack_s = median(measured.ack_s)
    words = f" with {measured.engine}, {measured.preset}, warmed up" if weights.has_pictures else ""
    came = f"{len(measured.decode_s)} {'pictures' if weights.has_pictures else 'decodes of classes'} received"
    report.ok(
        "daemon",
        f"ready{words} after {measured.start_s:.1f} s; {len(measured.ack_s)} volumes sent, acked after "
        f"{in_ms(ack_s)}" + ("" if weights.is_blank else f", {came}"),
        start_s=measured.start_s,
        ack_s=ack_s,
    )
    tr_s = plan.known_tr_s(weights)
    compare_speed(measured.ack_s if weights.is_blank else measured.decode_s, measured.step_s, tr_s, report)


def compare_speed(taken_s: list[float], step_s: dict[str, list[float]], tr_s: float | None, report: Report) -> None:
    """Compare the times of volumes, s, with the TR."""
    typical_s = median(taken_s)
    p95_s = float(np.percentile(taken_s, 95, method="higher"))
    steps = ", ".join(f"{step} {in_ms(median(times))}" for step, times in step_s.items())
    facts = f"a volume takes {in_ms(typical_s)} (95 % within {in_ms(p95_s)})" + (f": {steps}" if steps else "")
    figures = {"p50_s": typical_s, "p95_s": p95_s} | {f"{step}_s": median(times) for step, times in step_s.items()}
    if tr_s is None:
        report.ok("speed", f"{facts}; give --tr to compare it with the TR", **figures)
    elif not p95_s <= tr_s:
        report.fail(
            "speed",
            f"too slow for a TR of {tr_s:g} s: {facts}; take a faster preset (--preset live-2, live-1) or a faster "
            "machine",
            ExitCode.TOO_SLOW,
            **figures,
        )
    elif p95_s > NEAR_THE_LIMIT * tr_s:
        report.warn("speed", f"barely fast enough for a TR of {tr_s:g} s: {facts}", **figures)
    else:
        report.ok("speed", f"fast enough for a TR of {tr_s:g} s: {facts}", **figures)
