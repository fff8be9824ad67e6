"""The checks of `braind check` that a running daemon answers at any time, and its connected clients, in words."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ...client.wire import Connected, Setup, Status
from ...signs import number
from ..connection import without_signal_words
from ..daemon_clock import age_words

Level = Literal["ok", "warn", "fail", "?"]

OLDEST_LIBZMQ = (4, 3, 5)
SLOW_ACK_S = 0.1
CLOCK_STEP_S = 0.1
CLOCK_MATTERS_S = 0.1
LEAST_DISK_S, ENOUGH_DISK_S = 600.0, 7200.0
"""Less recording time on the disk fails, or needs a look."""
LEAST_FREE_BYTES = 10**9
UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
EARLIER = "not known: this daemon's version does not tell it"
DOES = {"ingest": "sends", "decodes": "watches", "control": "controls"}
"""What a client does at each socket."""


@dataclass(frozen=True)
class Check:
    """A check and its result: ok; warn, look at it; fail, the scan would fail; ?, not known."""

    name: str
    level: Level
    sentence: str


def checks_of(status: Status, setup: Setup | None) -> list[Check]:
    """Return the checks in a fixed order. `setup` is None for a daemon of an earlier version."""
    return [
        _daemon(status),
        *_weights(status, setup),
        _speed(status, setup),
        _volumes(status),
        _writing(status, setup),
        _disk(status, setup),
        _clock(setup),
        _sender_clock(status),
        _keys(setup),
        _libzmq(setup),
        Check(
            "files",
            "?",
            "address, ports, files and a volume's grid: give `braind check` on the daemon's machine the options of its "
            "`braind serve`; it disturbs no running daemon",
        ),
    ]


def _daemon(status: Status) -> Check:
    facts = f"{status.state}, process {status.pid}, braind {status.version}, up for {age_words(status.uptime_s)}"
    level: Level = "ok" if status.state in ("ready", "recording") else "warn"
    if status.decoder_restarts:
        level, facts = "warn", f"{facts}; its decoder died {_times(status.decoder_restarts)}: see its log"
    return Check("daemon", level, facts)


def _weights(status: Status, setup: Setup | None) -> Iterator[Check]:
    subject = "subject not known" if status.subject is None else f"subject {status.subject}"
    if status.state == "recording":
        yield Check("weights", "ok", f"none yet for {subject}: volumes are recorded and not decoded")
        return
    simulated = ", simulated" if status.simulated else ""
    yield Check("weights", "ok", f"{status.weights} for {subject}{simulated}")
    if status.no_pictures:
        yield Check("ldm", "ok", f"not needed: {status.no_pictures}")
        return
    mode = f"mode {setup.mode}" if setup else "mode not known"
    engine = f"engine {status.engine or 'not loaded yet'}"
    yield Check("ldm", "ok", f"{status.ldm}, {engine}, preset {status.preset}, {mode}, policy {status.policy}")


def _speed(status: Status, setup: Setup | None) -> Check:
    p50_s, p99_s, tr_s = status.latency_p50_s, status.latency_p99_s, setup.tr_s if setup else None
    if status.state == "recording":
        return Check("speed", "ok", "nothing is decoded")
    if p50_s is None or p99_s is None:
        return Check("speed", "?", "not known: nothing was decoded since the daemon started")
    facts = f"decodes took {p50_s:.3f} s (99 % within {p99_s:.3f} s)"
    if tr_s is None:
        return Check("speed", "?", f"{facts}; the TR is not known")
    if p99_s > tr_s:
        return Check("speed", "fail", f"too slow for a TR of {tr_s:g} s: {facts}; take a faster preset")
    return Check("speed", "ok", f"{facts}, and the TR is {tr_s:g} s")


def _volumes(status: Status) -> Check:
    if not status.run:
        return Check("volumes", "?", "none came yet: no run was opened")
    counted = "?" if status.n_acked is None else str(status.n_acked)
    waiting = "?" if status.n_waiting is None else str(status.n_waiting)
    facts = f"{counted} acked in session {status.session}, {waiting} wait, run {status.run}"
    problems = []
    if status.n_acked is None:
        problems.append("the journal cannot be read: see the daemon's log")
    if status.stalled_s is not None:
        problems.append(f"none came for {status.stalled_s:.1f} s")
    if status.n_refused:
        problems.append(f"{status.n_refused} messages were refused: the sender's log says why")
    if status.n_without_signal:
        problems.append(without_signal_words(status.n_without_signal, is_decoded=status.state != "recording"))
    return Check("volumes", "warn" if problems else "ok", "; ".join([facts, *problems]))


def _writing(status: Status, setup: Setup | None) -> Check:
    if setup is None:
        return Check("writing", "?", EARLIER)
    if setup.ack_p50_s is None or setup.ack_p99_s is None:
        return Check("writing", "?", "not known: no volume came since the daemon started")
    facts = f"volumes are acked after {1e3 * setup.ack_p50_s:.3g} ms (99 % within {1e3 * setup.ack_p99_s:.3g} ms)"
    if setup.tr_s is not None and setup.ack_p50_s > setup.tr_s:
        return Check("writing", "fail", f"{facts}: longer than the TR; give a faster disk")
    if setup.ack_p50_s > SLOW_ACK_S:
        return Check("writing", "warn", f"{facts}: a slow disk")
    if status.durability != "full":
        return Check("writing", "warn", f"{facts}; durability {status.durability}: a power cut loses the last volumes")
    return Check("writing", "ok", facts)


def _disk(status: Status, setup: Setup | None) -> Check:
    if setup is None:
        return Check("disk", "?", EARLIER)
    journal = f"; journal {status.journal}" if status.journal else ""
    size = f" ({bytes_words(setup.journal_bytes)})" if journal and setup.journal_bytes is not None else ""
    if setup.free_bytes is None:
        return Check("disk", "?", f"free space is not known{journal}{size}")
    facts = f"{bytes_words(setup.free_bytes)} free"
    left_s = _left_s(status, setup, setup.free_bytes)
    if left_s is None:
        level: Level = "warn" if setup.free_bytes < LEAST_FREE_BYTES else "ok"
        return Check("disk", level, f"{facts}, for how long is not known yet{journal}{size}")
    level = "fail" if left_s < LEAST_DISK_S else "warn" if left_s < ENOUGH_DISK_S else "ok"
    remedy = "" if level == "ok" else ": free space"
    return Check("disk", level, f"{facts}, enough for {age_words(left_s)} of this session{remedy}{journal}{size}")


def _left_s(status: Status, setup: Setup, free_bytes: int) -> float | None:
    """Return how long volumes like this session's fit on the disk; None if that is not known."""
    if not status.n_acked or not setup.journal_bytes or not setup.tr_s:
        return None
    return free_bytes / (setup.journal_bytes / status.n_acked) * setup.tr_s


def _clock(setup: Setup | None) -> Check:
    if setup is None or setup.clock_step_s is None:
        return Check("clock", "?", EARLIER)
    known = "synchronised" if setup.is_synchronised else "whether it is synchronised is not known there"
    if abs(setup.clock_step_s) > CLOCK_STEP_S:
        step = f"it was set by {number(setup.clock_step_s, '+.3f')} s since the daemon started"
        return Check("clock", "warn", f"{step}; let it settle before the scan")
    return Check("clock", "ok", f"the daemon's clock is steady since it started; {known}")


def _sender_clock(status: Status) -> Check:
    if status.clock_offset_s is None:
        return Check("sender", "?", "its clock's offset is not known: the sending program did not measure it")
    offset = f"the daemon's clock is ahead of the sender's by {clock_words(status.clock_offset_s)}"
    uncertainty_s = status.clock_uncertainty_s
    error = "" if uncertainty_s is None else f", ± {clock_words(uncertainty_s, signed=False)}"
    return Check("sender", "warn" if abs(status.clock_offset_s) > CLOCK_MATTERS_S else "ok", f"{offset}{error}")


def _keys(setup: Setup | None) -> Check:
    if setup is None:
        return Check("keys", "?", EARLIER)
    if setup.keys == "required":
        return Check("keys", "ok", "required: only programs with a key connect")
    return Check("keys", "ok", "off: only programs of the daemon's machine connect")


def _libzmq(setup: Setup | None) -> Check:
    if setup is None:
        return Check("libzmq", "?", EARLIER)
    numbers = tuple(int(part) for part in setup.libzmq.split(".") if part.isdigit())
    if numbers < OLDEST_LIBZMQ:
        return Check("libzmq", "fail", f"{setup.libzmq} is too old, 4.3.5 is needed: pip install -U pyzmq")
    return Check("libzmq", "ok", setup.libzmq)


def client_words(client: Connected) -> str:
    """Return who a connection is, since when it is silent, and a sender's clock."""
    who = f"key {client.key} ({', '.join(client.roles) or 'no role'})" if client.key else "no key"
    words = [who, f"from {client.address or '?'}"]
    if client.socket != "decodes":
        words.append(f"silent for {age_words(client.silent_s)}")
    if client.socket == "ingest":
        offset_s = client.clock_offset_s
        words.append("clock not measured" if offset_s is None else f"clock {clock_words(offset_s)}")
    return ", ".join(words)


def clock_words(offset_s: float, *, signed: bool = True) -> str:
    """Return a clock's offset in ms, or in s from one second on."""
    sign = "+" if signed else ""
    return f"{number(offset_s, f'{sign}.3f')} s" if abs(offset_s) >= 1 else f"{number(1e3 * offset_s, f'{sign}.1f')} ms"


def bytes_words(n_bytes: float) -> str:
    """Return a size with its unit."""
    for unit in UNITS[:-1]:
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} {UNITS[-1]}"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
