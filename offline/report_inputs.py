"""What a report reads beside the decoder: saved scores, an encoding analysis, and the journal of a session."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..client.config import Config, journals_path
from ..client.wire import MAGIC, Decode, Hello, Provenance, decode
from ..daemon.database import JournalError
from ..daemon.journal import Journal
from ..errors import BraindError

SAME = ("subject", "weights", "ldm", "denoiser", "preset", "seed")  # of the scores and of the galleries
STEPS = {"ack": "volume on disk", "scores": "scores", "xz": "coarse picture Xz", "xzc": "picture Xzc"}
MESSAGES_AT_ONCE = 200  # pictures travel with them


class ReportError(BraindError):
    """Something that a report cannot be made of."""

    code = "report"


def read_scores(path: Path, provenance: dict[str, Any], n_held_out: int) -> dict[str, Any]:
    """Read what `braind evaluate --json` printed, of `n_held_out` pictures.

    Raises
    ------
    ReportError
        If it holds no scores, or those of another decoder or of other pictures than the report's.
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
    """An encoding analysis: the content of its `encoding.json`, and its figures."""

    result: dict[str, Any]
    figures: dict[str, Path]


def read_encoding(folder: Path, provenance: dict[str, Any]) -> Encoding:
    """Read what `braind encode` wrote into a folder.

    Raises
    ------
    ReportError
        If it is no such folder, or that of another subject or diffusion model.
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
    """A recorded session: how many volumes are in each state, and how long their decodes took.

    Parameters
    ----------
    hello : of the newest run
    times_s : step → seconds since the volume arrived, one for each decode that has the step
    provenances : different ones, in the order they came
    """

    name: str
    hello: Hello
    counts: dict[str, int]
    runs: list[str] = field(default_factory=list)
    times_s: dict[str, list[float]] = field(default_factory=dict)
    provenances: list[Provenance] = field(default_factory=list)

    @property
    def final_step(self) -> str:
        """Return the last step that a volume went through."""
        return next((step for step in reversed(STEPS) if self.times_s.get(step)), "")

    def statistics_ms(self, step: str) -> dict[str, float]:
        """Return a step's median, percentiles and maximum, in ms."""
        times_ms = 1e3 * np.array(self.times_s[step])
        median, p95, p99 = np.percentile(times_ms, [50, 95, 99])
        return {"median": median, "p95": p95, "p99": p99, "max": times_ms.max()}


def read_session(config: Config, subject: int, name: str | None = None) -> Session | None:
    """Read a recorded session of a subject, the newest by default; None if there is none.

    Raises
    ------
    ReportError
        If the session that is named is not there, or is another subject's.
    JournalError
        If its journal cannot be read.
    """
    folder = journals_path(config)
    if name is not None and not (folder / f"{name}.sqlite3").is_file():
        there = ", ".join(sorted(path.stem for path in folder.glob("*.sqlite3"))) or "none"
        raise ReportError(f"{folder} has no session {name}; there: {there}")
    newest: tuple[float, Path] | None = None
    for path in sorted(folder.glob(f"{name or '*'}.sqlite3")):
        try:
            journal = Journal(path)
        except JournalError:
            if name is not None:
                raise
            continue
        try:
            record, opened_unix_s = journal.run(journal.newest_run()), journal.opened_unix_s()
        finally:
            journal.close()
        if record is None or record.hello.subject != subject:
            if name is not None:
                raise ReportError(f"{path}: not a session of subject {subject}")
        elif newest is None or opened_unix_s > newest[0]:
            newest = opened_unix_s, path
    return _read_journal(newest[1]) if newest else None


def _read_journal(path: Path) -> Session:
    journal = Journal(path)
    try:
        record = journal.run(journal.newest_run())
        assert record is not None
        session = Session(journal.session, record.hello, journal.counts())
        by_volume: dict[tuple[str, int, int | None], dict[str, float]] = {}
        next_seq = 1
        while messages := journal.published(next_seq, MESSAGES_AT_ONCE):
            next_seq = messages[-1].seq + 1
            for published in messages:
                message, _ = decode([MAGIC, published.header])
                if not isinstance(message, Decode):
                    continue
                times_s = by_volume.setdefault((message.run, message.index, message.trial), {})
                times_s |= message.timings_s
                if message.run not in session.runs:
                    session.runs.append(message.run)
                if message.provenance not in session.provenances:
                    session.provenances.append(message.provenance)
    finally:
        journal.close()
    for step in STEPS:
        session.times_s[step] = [times_s[step] for times_s in by_volume.values() if step in times_s]
    return session


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
