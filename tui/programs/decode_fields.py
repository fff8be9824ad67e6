"""A finished decode as named fields, for `braind monitor --plain`, `--json` and `--once`. This module draws nothing."""

from datetime import UTC, datetime
from typing import Any

from ...client.wire import Decode, last_stage
from ...printable import printable

HEADER = (
    "session",
    "run",
    "volume",
    "trial",
    "seq",
    "time",
    "score",
    "retrieved",
    "feedback",
    "latency_ms",
    "event",
    "since_onset_s",
    "is_final",
    "sent_class",
    "class",
    "probability",
    "classes",
    "simulated",
    "rank",
    "n_candidates",
)
DIGITS: dict[str, int] = {
    "score": 3, "feedback": 3, "latency_ms": 0, "since_onset_s": 3, "probability": 4,
}  # fmt: skip
MOST_BEGUN = 120
"""Volumes whose scores came and whose last stage did not: a skipped picture never comes."""


class DecodeFields:
    """Puts the stages of each decode together. Stages are taken in the order in which they were published."""

    def __init__(self) -> None:
        self._scores: dict[tuple[str, str, int | None, int], Decode] = {}

    def take(self, decode: Decode) -> dict[str, Any] | None:
        """Return the fields of `HEADER` when a decode is finished, else None; a field without a value is None.

        A provisional decode is finished if it has classes.
        """
        # Every decode of a BOLD trial supersedes the decode before, at whichever volume.
        place = decode.session, decode.run, decode.event, decode.index if decode.event is None else 0
        if decode.stage == "scores":
            self._scores.pop(place, None)
            self._scores[place] = decode
            while len(self._scores) > MOST_BEGUN:
                del self._scores[next(iter(self._scores))]
        is_last = decode.stage == last_stage(decode.provenance.mode)
        if not is_last and not (decode.labels and not decode.is_final):
            return None
        scores = self._scores.get(place)
        if is_last and decode.is_final:
            self._scores.pop(place, None)
        return _fields(decode, scores)


def _fields(decode: Decode, scores: Decode | None) -> dict[str, Any]:
    """Return a decode's fields, in the order of `HEADER`; `scores` is the message of stage `scores`, if it came."""
    best = scores.retrieved[0] if scores and scores.retrieved else None
    labels = scores.labels if scores else ()
    seen = scores.seen_candidate if scores else None
    latency_s = decode.timings_s.get(last_stage(decode.provenance.mode))
    made = None if decode.made_s is None else datetime.fromtimestamp(decode.made_s, UTC)
    return {
        "session": decode.session,
        "run": decode.run,
        "volume": decode.index,
        "trial": decode.trial,
        "seq": decode.seq,
        "time": made and made.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "score": best and best.score,
        "retrieved": best and best.label,
        "feedback": scores and scores.feedback,
        "latency_ms": None if latency_s is None else 1e3 * latency_s,
        "event": decode.event,
        "since_onset_s": decode.since_onset_s,
        "is_final": decode.is_final,
        "sent_class": decode.label,
        "class": labels[0].label if labels else None,
        "probability": labels[0].probability if labels else None,
        "classes": {one.label: one.probability for one in labels} or None,
        "simulated": decode.provenance.simulated,
        "rank": seen and seen.rank,
        "n_candidates": scores and scores.n_candidates,
    }


def plain_line(fields: dict[str, Any]) -> str:
    """Return a decode's fields as a line, with tabs between them; a field without a value is empty."""
    # A label may contain tabs.
    return "\t".join(printable(_word(name, fields[name])) for name in HEADER)


def rounded(fields: dict[str, Any]) -> dict[str, Any]:
    """Return a decode's fields for JSON, with the digits that a line has; latencies to 0.1 ms."""
    shown = {name: round(value, max(1, DIGITS[name])) if name in DIGITS and value is not None else value
             for name, value in fields.items()}  # fmt: skip
    if shown["classes"]:
        shown["classes"] = {name: round(value, DIGITS["probability"]) for name, value in shown["classes"].items()}
    return shown


def _word(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name in DIGITS:
        return f"{value:.{DIGITS[name]}f}"
    if name == "classes":
        return "; ".join(f"{label} {probability:.{DIGITS['probability']}f}" for label, probability in value.items())
    return str(int(value)) if isinstance(value, bool) else str(value)
