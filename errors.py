"""The base class of braind's own errors, and the exit statuses of its commands."""

from enum import IntEnum


class BraindError(Exception):
    """An error that a user can put right. Its sentence says what was wrong, where, and what to do.

    `code` is stable: `Refused` messages carry it, and scripts may test for it. The code `option` means that an option
    or a setting names something that is not there or cannot be used.
    """

    code = "error"

    def __init__(self, sentence: str, *, code: str | None = None) -> None:
        super().__init__(sentence)
        if code is not None:
            self.code = code


class ExitCode(IntEnum):
    """Exit statuses of the commands."""

    OK = 0
    """Done."""
    FAILED = 1
    """Begun and not finished: the sentence on stderr says why and what to do."""
    USAGE = 2
    """Not begun: an option, a setting or an input was refused at the start."""
    NO_DAEMON = 3
    """No daemon answers, or no Ray cluster."""
    PORTS = 4
    """`braind check`: a port is taken, an address is not allowed, or others can read the keys."""
    DISK = 5
    """`braind check`: the disk cannot take the scan."""
    TOO_SLOW = 6
    """`braind check`: volumes would come faster than they are decoded or stored."""
    INTERRUPTED = 130
    """Ended by Ctrl-C."""
