"""The program of one browser tab, which `braind monitor --web` starts: it hands the monitor the recorded sessions."""

import sys
from pathlib import Path

from ..offline.sessions.recordings import recordings
from ..tui.web.monitor_process import BrowserMonitor, run_in_tab
from .options import config_of


def main(told: str) -> None:
    """Run the monitor that `BrowserMonitor.told` tells of."""
    given = BrowserMonitor.from_told(told)
    config_path, data = (Path(path) if path else None for path in (given.config_path, given.data))
    run_in_tab(given, recordings(config_of(config_path, data)))


if __name__ == "__main__":
    main(sys.argv[1])
