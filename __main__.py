"""Lets `python -m braind` do what `braind` does."""

import os
import sys

from .console import never_fail_on_a_character, open_closed_streams
from .errors import ExitCode


def main() -> None:
    """Run the command line. Ctrl-C ends it with a sentence even while it is imported."""
    open_closed_streams()
    never_fail_on_a_character()
    try:
        from .cli import main as command_line

        command_line()
    except KeyboardInterrupt:
        sys.stderr.write("braind: interrupted\n")
        sys.stderr.flush()
        # Ctrl-C may have left modules half imported: nothing more of them runs.
        os._exit(ExitCode.INTERRUPTED)


if __name__ == "__main__":
    main()
