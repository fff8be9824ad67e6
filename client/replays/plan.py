"""Which trials a replay sends, and how."""

from dataclasses import dataclass
from typing import Literal

from ..wire import Kind

Repeats = Literal["single", "running", "mean", "calibration"]
"""How a picture's repeats are sent; `replay_runs` says what each word means."""


@dataclass(frozen=True)
class ReplayPlan:
    """Which trials of a subject are sent, and how.

    Parameters
    ----------
    subject : NSD's number, from 1
    kind : single-trial betas, or BOLD volumes
    repeats : how a picture's repeats are sent
    session : an NSD session, from 1; None is all sessions
    with_foils : name each held-out picture, and another picture as its foil, for the decodes' `feedback`
    max_volumes : send only the first volumes; volumes acked by an earlier replay count
    pace_s : seconds from volume to volume; None sends as fast as volumes are acked
    """

    subject: int
    kind: Kind = "beta"
    repeats: Repeats = "single"
    session: int | None = None
    with_foils: bool = False
    max_volumes: int | None = None
    pace_s: float | None = None

    @property
    def name(self) -> str:
        """The common part of the session names of all replays of these trials."""
        how = f"beta-{self.repeats}" if self.kind == "beta" else "bold"
        if self.kind == "bold" and self.repeats == "calibration":
            how = "bold-calibration"
        return f"replay-subj{self.subject:02d}-{how}" + (f"-ses{self.session:02d}" if self.session is not None else "")
