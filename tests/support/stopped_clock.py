"""A clock that stands still for the monitor, so that ages and durations on a screen are the ones a test feeds."""

import sys
import time


class StoppedClock:
    """Stands in for the module `time` in the monitor's modules. Only `advance` moves it."""

    def __init__(self):
        self._monotonic_s, self._unix_s = 10_000.0, 1_795_946_400.0  # 29 November 2026, 10:00 UTC

    def __getattr__(self, name):
        return getattr(time, name)

    def monotonic(self):
        """The clock of durations."""
        return self._monotonic_s

    def time(self):
        """Seconds since 1970, which the played daemon's messages carry too."""
        return self._unix_s

    def advance(self, seconds):
        """Let time pass."""
        self._monotonic_s += seconds
        self._unix_s += seconds


def stop_clock(monkeypatch):
    """Stop the clock of every module of the monitor; local time is UTC."""
    clock = StoppedClock()
    for name, module in list(sys.modules.items()):
        if name.startswith("braind.tui.") and getattr(module, "time", None) is time:
            monkeypatch.setattr(module, "time", clock)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    return clock
