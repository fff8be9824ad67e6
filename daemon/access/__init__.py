"""Who may connect to the daemon, and to which of its sockets. It needs POSIX: locks of files, and their modes."""

import sys

from ...errors import BraindError

if sys.platform == "win32":
    raise BraindError(
        "the daemon and its keys need Linux or macOS: run this in WSL, or on the daemon's machine. send, bridge, "
        "outlet, monitor and status run on Windows",
        code="option",
    )
