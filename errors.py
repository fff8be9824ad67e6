"""The root of every error that braind raises on purpose, and what a command's exit status means."""

from enum import IntEnum


class BraindError(Exception):
    """Something a user can put right: says what was wrong, where, and what to do.

    `code` is stable: it is what a `Refused` message carries and what scripts may test for.
    """

    code = "error"

    def __init__(self, sentence: str, *, code: str | None = None) -> None:
        super().__init__(sentence)
        if code is not None:
            self.code = code


class ExitCode(IntEnum):
    """What a command's exit status means."""

    OK = 0
    """Done."""
    FAILED = 1
    """Begun, and not done: the sentence on stderr says why and what to do."""
    USAGE = 2
    """Not begun: a wrong option or setting, or something that does not fit and was refused at the start."""
    NO_DAEMON = 3
    """No daemon answers where one should be."""
    INTERRUPTED = 130
    """Ended by Ctrl-C."""
