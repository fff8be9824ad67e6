"""Keys of the user's own, from a settings file to the screens."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest
from monitor_screens import in_event_loop, words_of

from braind.client import wire
from braind.config import ConfigError, load_config
from braind.tui.app import Monitor
from braind.tui.keymap import default_keys, keymap

OWN_KEYS = """
[monitor.keys]
"monitor.pause" = "P"
pause.yes = "j,f2"
monitor.trials = "y"
monitor.quality = "t"
"""


@pytest.fixture
def settings(tmp_path):
    def write(text):
        path = tmp_path / "settings.toml"
        path.write_text(text)
        return path

    return write


async def until(pilot, holds):
    async with asyncio.timeout(20):
        while not holds():
            await pilot.pause(0.01)


@in_event_loop
async def test_own_keys_work_and_stand_on_the_screens_in_place_of_the_others(daemon, settings):
    monitor = Monitor(daemon.endpoints, own_keys=keymap(load_config(settings(OWN_KEYS)).monitor.keys))
    async with monitor.run_test(size=(120, 40)) as pilot:
        await asyncio.to_thread(daemon.wait_for_viewer)
        daemon.decode(0)
        daemon.heartbeat(state="paused")
        await until(pilot, lambda: "paused, P goes on" in words_of(monitor.screen))
        daemon.heartbeat()
        await until(pilot, lambda: "P Pause" in words_of(monitor.screen))
        await pilot.press("p")
        assert len(monitor.screen_stack) == 1, "the default key still pauses"
        await pilot.press("P")
        await until(pilot, lambda: "j  pause    esc  go on decoding" in words_of(monitor.screen))
        await pilot.press("f2")
        await until(pilot, lambda: wire.Pause(paused=True) in daemon.requests)
        await pilot.press("y")
        await until(pilot, lambda: type(monitor.screen).__name__ == "TrialsScreen")
        await pilot.press("escape", "question_mark")
        await until(pilot, lambda: "P  q         pause decoding" in words_of(monitor.screen))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('"monitor.paus" = "P"', r"no id 'monitor.paus' \(did you mean 'monitor.pause'\?\)"),
        ('monitor.pause = "F9"', r"monitor.pause: no key 'F9' \(did you mean 'f9'\?\)"),
        ('monitor.pause = ""', "monitor.pause: no key ''"),
        ('monitor.pause = "question_mark"', "'?' is the key of monitor.help too"),
        ('monitor.pause = "x"\nmonitor.zoom = "x"', "'x' is the key of monitor.zoom too"),
        ('trials.sort = "up"', "'↑' is the key of Textual's 'Scroll Up' too"),
        ('trials.sort = "ctrl+q"', r"'ctrl\+q' is the key of Textual's 'Quit' too"),
        ('mark.leave = "x"', "'x' is typed there"),
        ("monitor.pause = 3", "keys must be a table of keys by ids"),
    ],
)
def test_a_key_that_cannot_work_is_refused_with_what_is_wrong(settings, text, sentence):
    with pytest.raises(ConfigError, match=sentence.replace("'?'", r"'\?'")):
        keymap(load_config(settings(f"[monitor.keys]\n{text}\n")).monitor.keys)


def test_a_wrong_key_ends_the_monitor_and_is_listed_by_config_validate(settings, tmp_path):
    path = settings('[monitor.keys]\nmonitor.pause = "t"\n')
    sentence = "[monitor.keys]: monitor.pause: 't' is the key of monitor.trials too; give one of them another key"
    for command, said in (
        (["config", "validate"], f"{path} {sentence}\n"),
        (["monitor", "--web", "0", "--data", str(tmp_path)], f"braind: {sentence}; `braind config validate`"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "braind", *command, "--config", str(path)],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 2
        assert said in done.stdout + done.stderr


def test_the_page_on_the_monitor_lists_every_id_with_its_keys():
    page = (Path(__file__).parents[2] / "docs" / "monitor.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `([a-z]+\.[a-z]+)` \| (.*) \|$", page, re.MULTILINE))
    names = {"question_mark": "?", "slash": "/"}
    assert listed == {
        id_: " ".join(f"`{names.get(key, key)}`" for key in keys.split(",")) for id_, keys in default_keys().items()
    }
