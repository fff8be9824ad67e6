"""Remember the replay that was interrupted, so that the same command goes on with it and a finished one starts anew."""

import time

from .config import Config, data_path
from .replay import replay_name
from .replay_runs import Repeats
from .wire import Kind


class UnfinishedReplay:
    """The session id of the replay of these trials that was begun and not finished, in a small file.

    Parameters
    ----------
    fresh : forget an unfinished one
    """

    def __init__(
        self, config: Config, subject: int, kind: Kind, repeats: Repeats, session: int | None, *, fresh: bool = False
    ) -> None:
        self._path = data_path(config) / "replays" / replay_name(subject, kind, repeats, session)
        self.is_resumed = not fresh and self._path.exists()
        if self.is_resumed:
            self.session_id = self._path.read_text(encoding="utf-8").strip()
        else:
            self.session_id = time.strftime("%Y%m%dT%H%M%S")
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(self.session_id + "\n", encoding="utf-8")

    def finish(self) -> None:
        """Forget it: all its volumes were sent."""
        self._path.unlink(missing_ok=True)
