"""A picture of the monitor, saved without a terminal."""

import pytest

from braind.tui.screenshot import ScreenshotError, screenshot


def test_a_screenshot_holds_the_pictures(start_daemon, tmp_path):
    daemon = start_daemon()
    for index in range(3):
        daemon.decode(index, colour=(40, 200, 90))
    with daemon.beating():
        screenshot(daemon.endpoints, 3, tmp_path / "monitor.svg", size=(80, 24))
    svg = (tmp_path / "monitor.svg").read_text()
    assert "#28c85a" in svg
    assert "SIMULATED" in svg


def test_a_screenshot_without_decodes_says_how_many_came(daemon, tmp_path):
    with pytest.raises(ScreenshotError, match="0 decodes came within 0 s, 3 were asked for"):
        screenshot(daemon.endpoints, 3, tmp_path / "monitor.svg", timeout_s=0.1)
