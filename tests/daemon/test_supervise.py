"""The decoder process as the front supervises it, with a shell script in the decoder's place."""

import asyncio
import json
import logging
import os
import signal

import pytest

from braind.daemon import link, logs, supervise
from braind.daemon.supervise import Supervisor

READY = json.dumps({"type": "ready", "engine": "none", "ldm": "l", "preset": "live-4", "load_s": 0, "warm_up_s": 0})
# The script hears its setup, then that it shall stop.
UNTIL_STOP = "read setup; read stop"
TAKING = json.dumps({"type": "taking", "session": "s", "run": "r", "index": 3})


@pytest.fixture(autouse=True)
def log(caplog):
    caplog.set_level(logging.INFO, "braind.daemon")
    return caplog


def supervise_until(n_deaths, script, *, wanted=lambda line: False):
    """Supervise a shell script until it died so often or said a wanted line; return its lines and the number of deaths.

    The script finds in $N how often it was started before.
    """
    lines, deaths = [], []

    async def on_line(line):
        lines.append(line)
        if wanted(line):
            done.set()

    async def on_death():
        deaths.append(1)
        if len(deaths) == n_deaths:
            done.set()

    async def run():
        supervision = asyncio.create_task(supervisor.run())
        waiting = asyncio.create_task(done.wait())
        async with asyncio.timeout(60):
            await asyncio.wait([supervision, waiting], return_when=asyncio.FIRST_COMPLETED)
            await supervisor.stop()
            await supervision
            waiting.cancel()

    def setup():
        # The script learns from the process's environment how often it was started.
        os.environ["N"] = str(int(os.environ["N"]) + 1)
        return link.PauseDecoding(paused=False)

    os.environ["N"] = "0"
    done = asyncio.Event()
    with open(os.devnull, "rb") as lock:
        supervisor = Supervisor(setup, on_line, on_death, lock=lock.fileno(), command=("sh", "-c", script))
        asyncio.run(run())
    del os.environ["N"]
    return lines, len(deaths)


def rests_s(log):
    """Return the seconds before each start, as they were logged."""
    said = [record.getMessage() for record in log.records if "starting it again in" in record.getMessage()]
    return [float(words.rsplit(" ", 2)[1]) for words in said]


def test_starts_that_fail_come_at_growing_intervals_up_to_the_longest(monkeypatch, log):
    monkeypatch.setattr(supervise, "BACK_OFF_S", (0.0, 0.001, 0.002, 0.003))
    supervise_until(5, "exit 1")
    assert rests_s(log) == [0.001, 0.002, 0.003, 0.003, 0.003]


def test_a_decoder_that_was_ready_is_started_again_at_once_and_failures_count_anew(monkeypatch, log):
    monkeypatch.setattr(supervise, "BACK_OFF_S", (0.0, 0.001, 0.002, 0.003))
    supervise_until(4, f"if [ $N = 2 ]; then echo '{READY}'; fi; exit 1")
    assert rests_s(log) == [0.001, 0.002, 0.0, 0.001]


def test_a_stop_does_not_wait_for_the_next_start(monkeypatch):
    monkeypatch.setattr(supervise, "BACK_OFF_S", (0.0, 3600.0))
    assert supervise_until(1, "exit 1") == ([], 1)


def test_a_decoder_that_cannot_be_started_now_is_tried_again(monkeypatch, log):
    create, n_tries = asyncio.create_subprocess_exec, []

    async def fail_once(*command, **options):
        n_tries.append(1)
        if len(n_tries) == 1:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return await create(*command, **options)

    monkeypatch.setattr(supervise, "BACK_OFF_S", (0.0, 0.001))
    monkeypatch.setattr(supervise.asyncio, "create_subprocess_exec", fail_once)
    lines, _ = supervise_until(0, f"echo '{READY}'; {UNTIL_STOP}", wanted=lambda line: isinstance(line, link.Ready))
    assert len(lines) == 1
    assert "Resource temporarily unavailable" in log.text


def test_lines_that_are_no_message_are_logged_once_and_the_next_ones_are_heard(log):
    noise = "for i in $(seq 300); do echo 'Loading weights: 12 %'; done; printf '\\377\\n'"
    lines, n_deaths = supervise_until(
        0, f"{noise}; echo '{READY}'; echo '{TAKING}'; {UNTIL_STOP}", wanted=lambda line: isinstance(line, link.Taking)
    )
    assert [type(line) for line in lines] == [link.Ready, link.Taking]
    assert n_deaths == 0
    said = [record for record in log.records if "ignored a line of the decoder" in record.getMessage()]
    assert len(said) == 1
    assert "Loading weights: 12 %" in said[0].getMessage()


def test_what_was_left_out_of_the_log_is_counted(monkeypatch, log):
    throttle = logs.Throttle(logging.getLogger("braind.daemon.supervise"))
    for _ in range(3):
        throttle.warn("odd")
    monkeypatch.setattr(throttle, "_every_s", 0.0)
    throttle.warn("odd")
    assert [record.getMessage() for record in log.records] == ["odd", "odd (2 like it before)"]


def test_a_line_that_is_too_long_is_logged_and_ends_nothing(monkeypatch, log):
    monkeypatch.setattr(supervise, "LONGEST_LINE_BYTES", 4096)
    long_line = "head -c 100000 /dev/zero | tr '\\0' x; echo"
    lines, n_deaths = supervise_until(
        0, f"{long_line}; echo '{READY}'; {UNTIL_STOP}", wanted=lambda line: isinstance(line, link.Ready)
    )
    assert [type(line) for line in lines] == [link.Ready]
    assert n_deaths == 0
    assert "more than 4096 bytes" in log.text


def test_half_a_line_of_a_decoder_that_was_killed_is_no_warning_of_its_own(log):
    supervise_until(1, f"printf '{TAKING[:20]}'; kill -9 $$")
    assert "exit status -9" in log.text
    assert "ignored" not in log.text


def test_a_decoder_that_does_not_finish_is_killed(monkeypatch, log):
    monkeypatch.setattr(supervise, "STOP_S", 0.05)
    lines, n_deaths = supervise_until(0, f"echo '{READY}'; exec sleep 600", wanted=lambda line: True)
    assert "did not finish within 0.05 s; its volume stays in the journal" in log.text
    assert (len(lines), n_deaths) == (1, 0)


def test_a_stop_while_the_decoder_is_still_loading_does_not_wait_for_it(monkeypatch, log):
    monkeypatch.setattr(supervise, "STOP_S", 3600.0)
    lines, n_deaths = supervise_until(0, f"echo '{TAKING}'; exec sleep 600", wanted=lambda line: True)
    assert ([type(line) for line in lines], n_deaths) == ([link.Taking], 0)
    assert "starting it again" not in log.text


def test_a_stop_while_the_process_is_being_started_leaves_none_behind(monkeypatch):
    monkeypatch.setattr(supervise, "STOP_S", 3600.0)
    create, processes = asyncio.create_subprocess_exec, []

    async def create_while_stopping(*command, **options):
        await supervisor.stop()
        processes.append(await create(*command, **options))
        return processes[0]

    async def refuse(*_):
        raise AssertionError("a decoder that was stopped said something")

    async def run():
        async with asyncio.timeout(60):
            await supervisor.run()

    monkeypatch.setattr(supervise.asyncio, "create_subprocess_exec", create_while_stopping)
    with open(os.devnull, "rb") as lock:
        setup = link.PauseDecoding(paused=False)
        command = ("sh", "-c", "exec sleep 600")
        supervisor = Supervisor(lambda: setup, refuse, refuse, lock=lock.fileno(), command=command)
        asyncio.run(run())
    assert processes[0].returncode == -signal.SIGKILL
