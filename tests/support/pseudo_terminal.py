"""A program in a pseudo-terminal of a given size, and everything it writes there."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE_S = 60.0


class PseudoTerminal:
    """The side of a terminal: reads all that the program writes, and types."""

    def __init__(self, master: int) -> None:
        self._master = master
        self._written = b""
        self._changed = threading.Condition()

    @property
    def output(self) -> str:
        """What the program wrote so far."""
        return self._written.decode(errors="replace")

    def type(self, keys: bytes) -> None:
        """Type, or answer."""
        os.write(self._master, keys)

    def until(self, holds: Callable[[str], bool]) -> str:
        """Return the output when a condition on it holds."""
        with self._changed:
            assert self._changed.wait_for(lambda: holds(self.output), PATIENCE_S), repr(self.output[-2000:])
        return self.output

    def read_all(self) -> None:
        """Read until the program is gone."""
        while True:
            try:
                piece = os.read(self._master, 65536)
            except OSError:
                piece = b""
            with self._changed:
                self._written += piece
                self._changed.notify_all()
            if not piece:
                return


@contextmanager
def in_terminal(
    command: list[str],
    environment: dict[str, str],
    size: tuple[int, int] = (120, 40),
    cell_px: tuple[int, int] = (0, 0),
) -> Iterator[tuple[PseudoTerminal, "subprocess.Popen[bytes]"]]:
    """Run a command with the terminal as its stdin, stdout, stderr and controlling terminal."""
    master, slave = pty.openpty()
    columns, rows = size
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, columns * cell_px[0], rows * cell_px[1]))
    terminal = PseudoTerminal(master)
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(slave)
    reading = threading.Thread(target=terminal.read_all)
    reading.start()
    try:
        yield terminal, process
    finally:
        process.kill()
        process.wait()
        reading.join()
        os.close(master)
