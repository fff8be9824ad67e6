"""Runs braind's command line as on Windows, as far as another system can play it: `python on_windows.py WORDS…`.

What Windows has not is not there: modules, functions and constants of POSIX. `os.kill` ends the test, as it would end
a process. The name of the platform is Windows's. Libraries and the standard library are imported before, and so are
this system's; Windows's own file names, consoles and event loop are not played.
"""

import importlib
import os
import select
import selectors
import signal
import sys

LIBRARIES = (
    "asyncio", "click", "msgspec", "nibabel", "numpy", "platformdirs", "pydicom", "rich.console", "rich.progress",
    "rich.table", "sqlite3", "textual.app", "textual.drivers.linux_driver", "textual.drivers.web_driver",
    "textual.widgets", "textual_image._sixel", "textual_serve.server", "zmq.asyncio", "zmq.utils.monitor",
)  # fmt: skip
MODULES = "crypt curses fcntl grp nis pty pwd readline resource spwd syslog termios tty"
# The documentation of `os`, `signal` and `select` marks them as Unix's.
MISSING = {
    os: (
        "EX_OK WNOHANG chown chroot confstr ctermid fchdir fchmod fchown fork forkpty getegid geteuid getgid "
        "getgrouplist getgroups getloadavg getpgid getpgrp getpriority getresuid getsid getuid killpg lchown lockf "
        "major minor mkfifo mknod nice openpty pathconf posix_fadvise posix_fallocate posix_spawn pread preadv pwrite "
        "pwritev readv register_at_fork sched_getaffinity sched_yield sendfile setgid setpgid setsid setuid statvfs "
        "sync sysconf tcgetpgrp ttyname uname wait wait3 wait4 writev O_CLOEXEC O_DIRECTORY O_DSYNC O_NOCTTY "
        "O_NOFOLLOW O_NONBLOCK O_SYNC"
    ),
    signal: (
        "SIGALRM SIGBUS SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP SIGUSR1 SIGUSR2 SIGWINCH alarm "
        "getitimer pause pthread_kill pthread_sigmask setitimer siginterrupt sigpending sigwait"
    ),
    select: "poll epoll",
}


def become_windows() -> None:
    """Take away what Windows has not."""
    for name in LIBRARIES:
        importlib.import_module(name)
    for name in MODULES.split():
        sys.modules[name] = None  # pyright: ignore[reportArgumentType]
    for module, names in MISSING.items():
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
    # Windows has `select` alone, and asyncio's own loop there has no readers.
    selectors.DefaultSelector = selectors.SelectSelector
    os.kill = _kill
    sys.platform = "win32"


def _kill(pid: int, signal_number: int) -> None:
    raise AssertionError(f"os.kill({pid}, {signal_number}) ends the process on Windows")


def main(words: list[str]) -> None:
    become_windows()
    sys.argv = ["braind", *words]
    if words[0] == "import":
        for module in words[1:]:
            importlib.import_module(module)
    else:
        importlib.import_module("braind.__main__").main()


if __name__ == "__main__":
    main(sys.argv[1:])
