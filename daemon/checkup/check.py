"""`braind check`: all that can be known before a scan."""

from collections.abc import Callable
from pathlib import Path

from ...client.wire import Status
from ...errors import ExitCode
from ...models.weights.weights import Weights
from .clock import ClockCheck
from .disk import check_disk
from .files import check_files
from .network import check_keys, check_network
from .plan import CheckPlan
from .report import Line, Report
from .running import daemon_of
from .trial_run import check_trial_run


def check(plan: CheckPlan, on_line: Callable[[Line], None]) -> Report:
    """Check everything that can still be checked after each failure.

    A daemon that runs in the same data folder is not disturbed: what would disturb it is left out, with a line.

    Parameters
    ----------
    on_line : called with each line, as soon as it is known
    """
    report, clock = Report(on_line), ClockCheck()
    weights = check_files(plan, report)
    running = daemon_of(plan.config)
    check_network(plan, running, report)
    check_keys(plan, report)
    is_writable = check_disk(plan, weights, running, report)
    if running:
        _running(plan, running.status, weights, report)
    elif weights is None or report.has_failed("candidates", "ldm", "libzmq"):
        report.warn("daemon", "left out: braind serve would not start; put right what failed")
    elif not is_writable:
        report.warn("daemon", "left out: a daemon cannot keep volumes in this data folder")
    else:
        check_trial_run(plan, weights, report)
    clock.finish(Path(plan.decoder.weights_path), report)
    return report


def _running(plan: CheckPlan, running: Status | None, weights: Weights | None, report: Report) -> None:
    """Report the running daemon instead of a trial run."""
    if running is None:
        report.fail(
            "daemon",
            "a daemon uses this data folder and does not answer: wait if it was started just now, else look at its log "
            "and end it",
            ExitCode.FAILED,
        )
        return
    say = report.ok
    remark = ""
    if weights and not weights.is_blank and running.weights != weights.fingerprint:
        say, remark = report.warn, f"; it decodes with weights {running.weights}, not with {weights.fingerprint}"
    elif running.state not in ("ready", "recording"):
        say, remark = report.warn, "; it is not ready"
    say("daemon", f"a daemon of this folder runs (process {running.pid}), {running.state}{remark}")
    p50_s, p99_s = running.latency_p50_s, running.latency_p99_s
    tr_s = plan.known_tr_s(weights)
    if p50_s is None or p99_s is None:
        report.warn("speed", "left out: the running daemon has decoded nothing, and volumes sent now would be recorded")
        return
    facts = f"the running daemon's decodes took {p50_s:.3f} s (99 % within {p99_s:.3f} s)"
    figures = {"p50_s": p50_s, "p99_s": p99_s}
    if tr_s is not None and not p99_s <= tr_s:
        report.fail("speed", f"too slow for a TR of {tr_s:g} s: {facts}", ExitCode.TOO_SLOW, **figures)
    else:
        report.ok("speed", facts, **figures)
