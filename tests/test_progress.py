"""How far a long task is: on stderr, where no terminal shows a bar."""

import os
import re
import subprocess
import sys

PROGRAM = """
import sys, time
import braind.client.progress_lines as lines
lines.EVERY_S = 0.05
from braind.offline.progress import progress_bar
def wait_for_line():
    # The next line has been written when the stream has grown.
    n = sys.stderr.tell_lines()
    while sys.stderr.tell_lines() == n:
        time.sleep(0.005)
class Counted:
    def __init__(self, stream): self.stream, self.n = stream, 0
    def write(self, text): self.stream.write(text); self.n += text.count("\\n")
    def flush(self): self.stream.flush()
    def isatty(self): return self.stream.isatty()
    def fileno(self): return self.stream.fileno()
    def tell_lines(self): return self.n
sys.stderr = Counted(sys.stderr)
with progress_bar("fitting") as report:
    wait_for_line()
    report("fitting c", 250, 1000)
    wait_for_line()
    wait_for_line()
with progress_bar("writing") as report:
    report("pictures", 1, 4)
    wait_for_line()
    report("maps and figures", 0, 1)
    wait_for_line()
"""


def test_a_task_that_is_long_without_a_terminal_says_how_far_it_is_in_lines():
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, env=os.environ)
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr
    assert "\x1b" not in ran.stderr
    said = [re.sub(r"\d+ s$", "N s", line) for line in ran.stderr.splitlines()]
    assert list(dict.fromkeys(said)) == [
        "braind: fitting, after N s",
        "braind: fitting c, 25 %, after N s",
        "braind: writing: pictures, 25 %, after N s",
        "braind: writing: maps and figures, after N s",
    ]


def test_a_task_goes_on_when_nobody_reads_its_progress_any_longer():
    program = """
import os, time, threading
import braind.client.progress_lines as lines
lines.EVERY_S = 0.01
tried = threading.Event()
def say(sentence):
    tried.set()
    raise BrokenPipeError
lines.say = say
with lines.progress_lines("fitting") as report:
    assert tried.wait(30)
    tried.clear()
    assert tried.wait(30)
print("done")
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (ran.stdout, ran.stderr) == ("done\n", "")
