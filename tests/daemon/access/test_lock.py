"""One data folder has one daemon."""

import os
import subprocess
import sys

import pytest

from braind.daemon.access.error import AccessError
from braind.daemon.access.lock import lock_data_path

HOLD = """
import sys
from pathlib import Path
from braind.daemon.access.lock import lock_data_path
lock_data_path(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_folder_that_a_daemon_uses_is_refused_by_its_process_and_free_when_that_is_gone(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(AccessError, match=f"another braind serve .process {holder.pid}. uses this folder") as error:
            lock_data_path(tmp_path)
        assert error.value.code == "in_use"
        holder.kill()
    descriptor = lock_data_path(tmp_path)
    assert (tmp_path / "serve.lock").read_text() == str(os.getpid())
    os.close(descriptor)


def test_a_folder_whose_daemon_was_killed_is_refused_while_a_child_holds_it(tmp_path, monkeypatch):
    """A decoder that outlives its front holds the lock: whoever comes waits a moment for it to leave."""
    monkeypatch.setattr("braind.daemon.access.lock.LAST_BREATH_S", 0.1)
    descriptor = lock_data_path(tmp_path)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(gone.pid).encode(), 0)
    with pytest.raises(AccessError, match=f"process {gone.pid}"):
        lock_data_path(tmp_path)
    os.close(descriptor)
    os.close(lock_data_path(tmp_path))
