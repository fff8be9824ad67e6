"""Remember an interrupted replay: the same command continues it, and a finished replay starts anew."""

import time

from ...config import Config, data_path
from .plan import ReplayPlan


class UnfinishedReplay:
    """The session id of a replay that began and did not finish, kept in a small file of the data folder.

    Parameters
    ----------
    fresh : forget an unfinished replay of these trials
    """

    def __init__(self, config: Config, plan: ReplayPlan, *, fresh: bool = False) -> None:
        self._path = data_path(config) / "replays" / plan.name
        self.is_resumed = not fresh and self._path.exists()
        if self.is_resumed:
            self.session_id = self._path.read_text(encoding="utf-8").strip()
        else:
            self.session_id = time.strftime("%Y%m%dT%H%M%S")
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(self.session_id + "\n", encoding="utf-8")

    def finish(self) -> None:
        """Forget the replay: all its volumes were sent."""
        self._path.unlink(missing_ok=True)
