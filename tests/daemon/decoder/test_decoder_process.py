"""The decoder process as the front hears it: a line that is no message ends nothing, but without a setup it ends."""

import subprocess
import sys
import threading

from running_daemon import PATIENCE_S

from braind.daemon import link

LISTEN = """
import os, queue, sys, threading
from braind.daemon import link
from braind.daemon.decoder.process import _listen
from braind.daemon.logs import configure_logging

configure_logging()
lines = queue.SimpleQueue()
threading.Thread(target=_listen, args=(sys.stdin.buffer, lines), daemon=True).start()
while not isinstance(line := lines.get(), link.Stop):
    print(type(line).__name__, flush=True)
os._exit(0)
"""


def hear(*command, lines):
    """Return the exit status, what was printed and the log of a process that hears these lines."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, *command], stdin=pipe, stdout=pipe, stderr=pipe) as process:
        # Its stdin stays open: the end of it would mean that the front is gone.
        process.stdin.write(b"".join(lines))
        process.stdin.flush()
        ending = threading.Timer(PATIENCE_S, process.kill)
        ending.start()
        heard, log = process.stdout.read(), process.stderr.read()
        ending.cancel()
    return process.returncode, heard.decode().split(), log.decode()


def test_a_line_that_is_no_message_is_logged_and_the_next_one_is_heard():
    pause = link.encode(link.PauseDecoding(paused=True))
    status, heard, log = hear("-c", LISTEN, lines=[b"{no json\n", b"\xff\n", pause, link.encode(link.Stop())])
    assert (status, heard) == (0, ["PauseDecoding"])
    assert log.count("ignored a line of the front") == 1
    assert "{no json" in log


def test_a_first_line_that_is_no_setup_ends_the_process_in_words():
    command = ("-m", "braind.daemon.decoder.process")
    for line, words in ((b"{no json\n", "no setup"), (link.encode(link.Stop()), "no setup but a Stop")):
        status, _, log = hear(*command, lines=[line])
        assert status == 1
        assert words in log
        assert "Traceback" not in log
