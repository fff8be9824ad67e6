"""Reads a report's inputs: saved scores, an encoding analysis, and a session's journal."""

import json
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...client.wire import Decode, Hello, Provenance
from ...config import Config, journals_path
from ...daemon.journal.database import JournalError
from ...daemon.journal.recording import Recording
from ...errors import BraindError
from .live_classes import LiveClasses, live_classes

SAME = ("subject", "weights", "ldm", "denoiser", "c_decoder", "preset", "seed")  # of the scores and of the galleries
STEPS = {"ack": "volume on disk", "scores": "scores", "xz": "coarse picture Xz", "xzc": "picture Xzc"}
MESSAGES_AT_ONCE = 200  # few, since messages carry pictures

log = logging.getLogger(__name__)


class ReportError(BraindError):
    """An input of a report is missing or does not fit."""

    code = "report"


def read_scores(path: Path, provenance: dict[str, Any], n_held_out: int) -> dict[str, Any]:
    """Read the output of `braind evaluate --json` on `n_held_out` pictures.

    Raises
    ------
    ReportError
        If the file holds no scores, or scores of another decoder or of other pictures.
    """
    scores = _read_json(path, "scores; save what braind evaluate --json prints")
    needed = (
        "protocol",
        "measures",
        "controls",
        "ceilings",
        "comparisons",
        "novel_kinds",
        "n_distractors",
        "n_bootstrap",
        "n_permutations",
        "n_pictures",
        "n_samples",
        "provenance",
    )
    missing = [name for name in needed if name not in scores]
    if missing:
        raise ReportError(f"{path}: scores without {', '.join(missing)}; save what braind evaluate --json prints")
    _refuse_another(path, scores["provenance"], provenance, SAME, "braind evaluate --json with the report's settings")
    if scores["n_distractors"] + 1 != n_held_out:
        raise ReportError(
            f"{path}: scores among {scores['n_distractors'] + 1} held-out pictures, the data have {n_held_out}; run "
            "braind evaluate --json on these data"
        )
    return scores


@dataclass(frozen=True)
class Encoding:
    """An encoding analysis: the content of `encoding.json`, and the figures' paths by name."""

    result: dict[str, Any]
    figures: dict[str, Path]


def read_encoding(folder: Path, provenance: dict[str, Any]) -> Encoding:
    """Read a folder that `braind encode` wrote.

    Raises
    ------
    ReportError
        If the folder holds no encoding analysis, or an analysis of another subject or diffusion model.
    """
    path = folder / "encoding.json"
    result = _read_json(path, "encoding analysis; give the folder that braind encode wrote")
    if not {"roi", "figures", "parameters", "n_pictures", "n_voxels"} <= set(result):
        raise ReportError(f"{path}: not what braind encode writes; run it again")
    found = {"subject": result.get("subject"), **result.get("provenance", {})}
    _refuse_another(path, found, provenance, ("subject", "ldm"), "braind encode")
    figures = {name: folder / figure for name, figure in result["figures"].items()}
    for figure in figures.values():
        if not figure.is_file():
            raise ReportError(f"{figure} is missing, which {path.name} names; run braind encode again")
    return Encoding(result, figures)


@dataclass(frozen=True)
class Session:
    """A recorded session: number of volumes in each state, and latencies of the decodes.

    Parameters
    ----------
    hello : Hello
        The newest run's hello.
    times_s : dict of list of float
        By step, each decode's time since its volume arrived.
    provenances : list of Provenance
        The distinct provenances, in the order of their first decodes.
    classes : LiveClasses, optional
        Of weights with classes.
    """

    name: str
    hello: Hello
    counts: dict[str, int]
    runs: list[str] = field(default_factory=list)
    times_s: dict[str, list[float]] = field(default_factory=dict)
    provenances: list[Provenance] = field(default_factory=list)
    classes: LiveClasses | None = None

    @property
    def final_step(self) -> str:
        """Return the last step that any volume reached."""
        return next((step for step in reversed(STEPS) if self.times_s.get(step)), "")

    def statistics_ms(self, step: str) -> dict[str, float]:
        """Return a step's median, percentiles and maximum, in ms."""
        times_ms = 1e3 * np.array(self.times_s[step])
        median, p95, p99 = np.percentile(times_ms, [50, 95, 99])
        return {"median": median, "p95": p95, "p99": p99, "max": times_ms.max()}


@dataclass(frozen=True)
class DamagedSession:
    """A session whose journal cannot be read, and the reason, without paths of this machine."""

    name: str
    reason: str

    @classmethod
    def of_error(cls, path: Path, error: JournalError) -> "DamagedSession":
        """Describe the session of a journal that raised an error, and log it."""
        log.warning("session %s is not in the report: %s", path.stem, error)
        return cls(path.stem, str(error).replace(str(path), path.name))


@dataclass(frozen=True)
class FoundSessions:
    """Sessions in the data folder: the session to report, if any, the rule that chose it, and all damaged sessions."""

    session: Session | None
    rule: str = ""
    damaged: tuple[DamagedSession, ...] = ()


@dataclass(frozen=True, order=True)
class _Candidate:
    """A session of the subject that may be reported. The greatest is reported, so the order of the fields is the rule.

    Parameters
    ----------
    has_decodes : bool
        Whether anything of it was published.
    has_weights : bool
        Whether its newest run was recorded with the weights of the report.
    opened_unix_s : float
        When its newest run was opened.
    """

    has_decodes: bool
    has_weights: bool
    opened_unix_s: float
    path: Path

    def words(self, candidates: "list[_Candidate]", subject: int) -> str:
        """Return the rule that chose this session among the candidates, as a sentence."""
        n = len(candidates)
        if n == 1:
            return f"The session is the only readable session of subject {subject} in the data folder."
        words = f"The session is the newest of the {n} readable sessions of subject {subject}"
        if not self.has_decodes:
            return f"{words}, none of which has a decode."
        if self.has_weights:
            return f"{words} that has a decode and whose last run was decoded with this report’s weights."
        return f"{words} that has a decode; none was decoded with this report’s weights."


def read_session(config: Config, subject: int, weights: str, name: str | None = None) -> FoundSessions:
    """Read a recorded session of a subject: the named session, or a session that a rule chooses. No file is changed.

    The rule passes over sessions without a decode, then over sessions of other weights, as long as others are left. It
    takes the session whose last run was opened last.

    Parameters
    ----------
    weights : str
        Fingerprint of the weights that the report describes.

    Raises
    ------
    ReportError
        If the named session is missing, or belongs to another subject.
    JournalError
        If the journal of the named session cannot be read.
    """
    folder = journals_path(config)
    if name is not None:
        path = folder / f"{name}.sqlite3"
        if not path.is_file():
            there = ", ".join(sorted(path.stem for path in folder.glob("*.sqlite3"))) or "none"
            raise ReportError(f"{folder} has no session {name}; there: {there}")
        if _candidate(path, subject, weights) is None:
            raise ReportError(f"{path}: not a session of subject {subject}")
        return FoundSessions(
            _read_journal(path), "The session was named by the author of this report, not chosen by a rule."
        )
    damaged: list[DamagedSession] = []
    candidates: list[_Candidate] = []
    for path in sorted(folder.glob("*.sqlite3")):
        try:
            candidate = _candidate(path, subject, weights)
        except JournalError as error:
            damaged.append(DamagedSession.of_error(path, error))
        else:
            candidates += [candidate] if candidate else []
    while candidates:
        chosen = max(candidates)
        try:
            return FoundSessions(_read_journal(chosen.path), chosen.words(candidates, subject), tuple(damaged))
        except JournalError as error:
            damaged.append(DamagedSession.of_error(chosen.path, error))
            candidates.remove(chosen)
    return FoundSessions(None, damaged=tuple(damaged))


def _candidate(path: Path, subject: int, weights: str) -> _Candidate | None:
    """Return a session as a candidate, or None if its newest run is of another subject or it has no run."""
    with Recording(path) as recording:
        record = recording.run(recording.newest_run())
        if record is None or record.hello.subject != subject:
            return None
        facts = recording.facts()
        return _Candidate(facts.last_seq > 0, record.weights == weights, facts.opened_unix_s, path)


def _read_journal(path: Path) -> Session:
    with Recording(path) as recording:
        session = Session(recording.session, recording.hello(recording.newest_run()), recording.counts())
        classified: list[Decode] = []
        by_volume: dict[tuple[str, int, int | None], dict[str, float]] = {}
        for message, _ in recording.messages():
            if not isinstance(message, Decode):
                continue
            times_s = by_volume.setdefault((message.run, message.index, message.trial), {})
            times_s |= message.timings_s
            if message.labels:
                classified.append(message)
            if message.run not in session.runs:
                session.runs.append(message.run)
            if message.provenance not in session.provenances:
                session.provenances.append(message.provenance)
    for step in STEPS:
        session.times_s[step] = [times_s[step] for times_s in by_volume.values() if step in times_s]
    return replace(session, classes=live_classes(classified))


def _read_json(path: Path, what: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReportError(f"{path} cannot be read ({error.strerror}): no {what}") from error
    except ValueError as error:
        raise ReportError(f"{path} is no JSON ({error}): no {what}") from error
    if not isinstance(content, dict):
        raise ReportError(f"{path} holds no object: no {what}")
    return content


def _refuse_another(
    path: Path, found: dict[str, Any], wanted: dict[str, Any], names: tuple[str, ...], command: str
) -> None:
    for name in names:
        if found.get(name) != wanted[name]:
            raise ReportError(
                f"{path} was made with {name} {_short(found.get(name))}, the report is of {_short(wanted[name])}; "
                f"run {command} again"
            )


def _short(value: Any) -> Any:
    return f"{value['name']} ({value})" if isinstance(value, dict) and "name" in value else value
