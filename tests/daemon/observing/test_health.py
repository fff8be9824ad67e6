"""When the daemon is well."""

import msgspec
import pytest

from braind.daemon.observing.health import health

WELL = {"decoder_is_down": False, "storage_problem": "", "silence_s": 0.5}


@pytest.mark.parametrize("state", ["recording", "starting", "ready", "paused"])
def test_a_daemon_that_takes_volumes_is_well(state):
    found = health(state, **WELL)
    assert msgspec.json.decode(found.body()) == {"healthy": True, "state": state, "problem": ""}


@pytest.mark.parametrize(
    ("state", "change", "problem"),
    [
        ("starting", {"decoder_is_down": True}, "the decoder process died"),
        ("ready", {"storage_problem": "disk full"}, "volumes cannot be committed: disk full"),
        ("ready", {"silence_s": 9.0}, "the front has not answered for 9 s"),
        ("stopping", {}, "the daemon is stopping"),
    ],
)
def test_what_is_wrong_is_said(state, change, problem):
    found = health(state, **(WELL | change))
    assert found.problem.startswith(problem)
    assert msgspec.json.decode(found.body())["healthy"] is False
