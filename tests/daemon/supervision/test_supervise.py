"""The decoder process as the front supervises it, with a shell script in the decoder's place."""

import asyncio
import json
import logging
import os
import signal
import sys
import time

import pytest
from pipelines import decoder_settings, setup_line

from braind.daemon import link, logs
from braind.daemon.supervision import supervise, watchdog
from braind.daemon.supervision.supervise import Supervisor

READY = json.dumps({"type": "ready", "engine": "none", "ldm": "l", "preset": "live-4", "load_s": 0, "warm_up_s": 0})
HUNG = "hung"
PAUSE = link.PauseDecoding(paused=False)
# The script hears its setup, then that it shall stop.
UNTIL_STOP = "read setup; read stop"
TAKING = json.dumps({"type": "taking", "session": "s", "run": "r", "index": 3})
COMMITTED = json.dumps({"type": "committed", "session": "s", "seq": 1})


@pytest.fixture(autouse=True)
def log(caplog):
    caplog.set_level(logging.INFO, "braind.daemon")
    return caplog


def supervise_until(n_deaths, script="", *, wanted=lambda line: False, command=(), first_line=PAUSE):
    """Supervise a shell script until it died so often or said a wanted line; return its lines and the number of deaths.

    `HUNG` is among the lines when the supervisor says that the script hangs.

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

    def on_hang():
        lines.append(HUNG)

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
        return first_line

    os.environ["N"] = "0"
    done = asyncio.Event()
    with open(os.devnull, "rb") as lock:
        command = command or ("sh", "-c", script)
        supervisor = Supervisor(setup, on_line, on_death, lock=lock.fileno(), on_hang=on_hang, command=command)
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


def test_a_decoder_that_decoded_something_is_started_again_at_once_and_failures_count_anew(monkeypatch, log):
    monkeypatch.setattr(supervise, "BACK_OFF_S", (0.0, 0.001, 0.002, 0.003))
    supervise_until(4, f"if [ $N = 2 ]; then echo '{READY}'; echo '{TAKING}'; echo '{COMMITTED}'; fi; exit 1")
    assert rests_s(log) == [0.001, 0.002, 0.0, 0.001]


def test_starts_that_become_ready_and_decode_nothing_come_at_growing_intervals(monkeypatch, log):
    monkeypatch.setattr(supervise, "BACK_OFF_S", (0.0, 0.001, 0.002, 0.003))
    supervise_until(4, f"echo '{READY}'; echo '{TAKING}'; exit 1")
    assert rests_s(log) == [0.001, 0.002, 0.003, 0.003]


def test_a_decoder_that_was_ready_for_long_without_work_is_started_again_at_once(monkeypatch, log):
    monkeypatch.setattr(supervise, "BACK_OFF_S", (0.0, 3600.0))
    monkeypatch.setattr(supervise, "CALM_S", 0.0)
    supervise_until(2, f"echo '{READY}'; exit 1")
    assert rests_s(log) == [0.0, 0.0]


def test_a_decoder_that_falls_silent_is_ended_and_started_again(monkeypatch, log):
    monkeypatch.setattr(watchdog, "TICK_S", 0.01)
    alive = link.encode(link.Alive(within_s=0.05)).decode()
    lines, n_deaths = supervise_until(1, f"echo '{READY}'; echo '{TAKING}'; echo '{alive}'; exec sleep 600")
    assert [type(line) for line in lines[:2]] == [link.Ready, link.Taking]
    assert (lines[2:], n_deaths) == ([HUNG], 1)
    assert "the decoder process died (it hung: no sign of life for 0." in log.text


STUCK = """
import sys, threading, types
from braind.daemon.decoder import decoder, liveness, process
liveness.QUIET_S = 0.3
process.SIGN_S = 0.05
provenance = types.SimpleNamespace(engine="e", ldm="l", preset="p")
stages = types.SimpleNamespace(weights=None, provenance=provenance, warm_up=lambda: None)
process._stages = lambda _: stages
decoder.Decoder.step = lambda self: threading.Event().wait()
process.main()
"""


def test_a_decoder_whose_main_loop_is_stuck_is_ended_though_its_other_threads_run(monkeypatch, log, tmp_path):
    monkeypatch.setattr(watchdog, "TICK_S", 0.01)
    command = (sys.executable, "-c", STUCK)
    setup = setup_line(tmp_path, decoder_settings())
    lines, n_deaths = supervise_until(1, command=command, first_line=setup)
    assert (type(lines[0]), lines[1:], n_deaths) == (link.Ready, [HUNG], 1)
    assert "the decoder hangs (no sign of life for 0." in log.text


def test_a_decoder_that_does_not_finish_loading_is_ended_and_started_again(monkeypatch, log):
    monkeypatch.setattr(watchdog, "TICK_S", 0.01)
    monkeypatch.setattr(watchdog, "LOADING_S", 0.05)
    assert supervise_until(1, "exec sleep 600") == ([HUNG], 1)
    assert "the decoder hangs" in log.text


def test_the_first_start_is_waited_for_longest_and_later_ones_by_what_the_last_one_took():
    ready = link.Ready(engine="e", ldm="l", preset="p", load_s=50.0, warm_up_s=10.0)
    quick = link.Ready(engine="e", ldm="l", preset="p", load_s=3.0, warm_up_s=0.1)
    assert [watchdog.loading_s(last) for last in (None, ready, quick)] == [1800.0, 600.0, 120.0]


def test_a_decoder_that_gives_signs_of_life_while_it_loads_slowly_or_decodes_nothing_lives(monkeypatch):
    monkeypatch.setattr(watchdog, "TICK_S", 0.01)
    alive = link.encode(link.Alive(within_s=60.0)).decode().strip()
    short = link.encode(link.Alive(within_s=0.1)).decode().strip()
    # the long silence was announced before it
    script = f"echo '{READY}'; echo '{short}'; echo '{alive}'; sleep 0.3; echo '{TAKING}'; {UNTIL_STOP}"
    lines, n_deaths = supervise_until(0, script, wanted=lambda line: isinstance(line, link.Taking))
    assert ([type(line) for line in lines], n_deaths) == ([link.Ready, link.Taking], 0)


def test_a_front_that_was_stopped_takes_no_decoder_for_hung(monkeypatch):
    monkeypatch.setattr(watchdog, "TICK_S", 0.01)
    ends = []

    async def read():
        stdout = asyncio.StreamReader()
        dog = watchdog.Watchdog(0.3)
        reading = asyncio.create_task(dog.read(stdout, lambda: ends.append(1)))
        await asyncio.sleep(0)
        time.sleep(0.6)  # the whole front stands still, and with it the decoder, which goes on later
        await asyncio.sleep(0.02)
        stdout.feed_data(b"line\n")
        return await reading

    assert asyncio.run(read()) == b"line\n"
    assert ends == []


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
