"""The monitor's colours can be read, in the dark and by every eye."""

import itertools

import numpy as np
import pytest
from monitor_screens import in_event_loop
from skimage.color import deltaE_ciede2000, rgb2lab
from textual.color import Color

from braind.tui.app import Monitor
from braind.tui.theme import CONTROL_ROOM, DARK_ROOM

# Colours as eyes without red, green or blue receptors see them (Machado et al. 2009, severity 1), in linear RGB.
# fmt: off
WITHOUT = {
    "all": np.eye(3),
    "red": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "green": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]),
    "blue": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]]),
}
# fmt: on


def seen_without(receptors, colour):
    rgb = np.array(Color.parse(colour).rgb) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(WITHOUT[receptors] @ linear, 0, 1)
    return rgb2lab(np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055))


@pytest.mark.parametrize("receptors", WITHOUT)
@pytest.mark.parametrize("theme", [CONTROL_ROOM, DARK_ROOM], ids=lambda theme: theme.name)
def test_good_warning_and_bad_differ_for_every_eye(theme, receptors):
    for one, other in itertools.combinations((theme.success, theme.warning, theme.error), 2):
        # a difference of 10 is seen at a glance
        assert deltaE_ciede2000(seen_without(receptors, one), seen_without(receptors, other)) > 10, (one, other)


def luminance(colour):
    rgb = np.array(Color.parse(colour).rgb) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def test_the_dark_rooms_theme_is_dimmer_and_can_still_be_read():
    for name in ("foreground", "primary", "warning", "error", "success", "surface", "background"):
        assert luminance(getattr(DARK_ROOM, name)) < luminance(getattr(CONTROL_ROOM, name))
    for name, ratio in (("foreground", 4.5), ("warning", 4.5), ("success", 3.0), ("error", 3.0)):
        assert (luminance(getattr(DARK_ROOM, name)) + 0.05) / (luminance(DARK_ROOM.background) + 0.05) >= ratio


@in_event_loop
async def test_the_theme_is_the_settings(daemon):
    async with Monitor(daemon.endpoints, theme="dark-room").run_test(size=(80, 24)) as pilot:
        assert pilot.app.theme == "dark-room"
        assert pilot.app.screen.styles.background.rgb == (0, 0, 0)
