"""Lines on stderr that say how far a long task is, where no terminal shows a progress bar."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from .stderr import say

EVERY_S = 10.0


@contextmanager
def progress_lines(words: str, began_s: float | None = None) -> Iterator[Callable[[str], None]]:
    """Write a line every `EVERY_S` seconds, also while the task reports nothing; yields a function for newer words.

    Parameters
    ----------
    words : what the task does
    began_s : when the first task began, monotonic time; the lines' times count from it, and short tasks in a row give
        lines as one long task does; None is now
    """
    began_s = time.monotonic() if began_s is None else began_s
    newest, stopped = [words], threading.Event()

    def speak() -> None:
        while True:
            since_s = time.monotonic() - began_s
            if stopped.wait(EVERY_S - since_s % EVERY_S):
                return
            with suppress(OSError, ValueError):  # Nobody reads stderr any longer, or it is closed.
                say(f"{newest[0]}, after {time.monotonic() - began_s:.0f} s")

    speaking = threading.Thread(target=speak, name="progress", daemon=True)
    speaking.start()
    try:
        yield lambda words: newest.__setitem__(0, words)
    finally:
        stopped.set()
        speaking.join()
