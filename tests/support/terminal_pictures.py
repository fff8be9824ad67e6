"""Read back what a program draws by kitty's graphics protocol and by Sixel, as the protocols say."""

import base64
import io
import re
from typing import Any, NamedTuple

import numpy as np
from PIL import Image


class KittyCommand(NamedTuple):
    """One command between ESC _ G and ESC backslash."""

    keys: dict[str, str]
    payload: str
    at: int
    """Where it begins in the output."""


def kitty_commands(output: str) -> list[KittyCommand]:
    """Return the commands in what a program wrote."""
    commands = []
    for match in re.finditer(r"\x1b_G([^;\x1b]*)(?:;([^\x1b]*))?\x1b\\", output):
        keys = dict(pair.split("=") for pair in match[1].split(",") if pair)
        commands.append(KittyCommand(keys, match[2] or "", match.start()))
    return commands


def kitty_pictures(commands: list[KittyCommand]) -> dict[int, np.ndarray]:
    """Return each picture that the commands send, by its number; checks how it is cut into commands."""
    pictures, number, payload = {}, 0, ""
    for command in commands:
        keys = command.keys
        if keys.get("a") == "d":
            continue
        if not payload:
            assert (keys["a"], keys["U"], keys["f"], keys["q"]) == ("T", "1", "100", "2")
            number = int(keys["i"])
            assert 0 < number < 2**24
        else:
            assert set(keys) <= {"m", "q"}, "only the first command of a picture has its keys"
        assert len(command.payload) <= 4096
        assert keys["m"] == "0" or len(command.payload) % 4 == 0, "only the last chunk may have another length"
        payload += command.payload
        if keys["m"] == "0":
            with Image.open(io.BytesIO(base64.b64decode(payload, validate=True))) as image:
                pictures[number] = np.asarray(image.convert("RGB"))
            payload = ""
    assert payload == "", "the last picture is not whole"
    return pictures


def sixel_picture(sixel: str) -> np.ndarray:
    """Return the picture of one Sixel, (height, width, 3) uint8; -1 where nothing is drawn is an error."""
    match = re.fullmatch(r'\x1bP\d*;\d*;\d*q"(\d+);(\d+);(\d+);(\d+)(.*)\x1b\\', sixel, re.DOTALL)
    assert match, "no DCS … q, raster attributes … ST"
    assert (match[1], match[2]) == ("1", "1"), "pixels are square"
    width, height, data = int(match[3]), int(match[4]), match[5]
    drawn: Any = np.full((-(-height // 6) * 6, width, 3), -1)
    colours: dict[int, tuple[int, ...]] = {}
    x = band = colour = 0
    for token in re.finditer(r"#(\d+)(?:;2;(\d+);(\d+);(\d+))?|!(\d+)([?-~])|([?-~])|(\$)|(-)|(.)", data, re.DOTALL):
        assert not token[10], f"no Sixel: {token[10]!r}"
        if token[1]:
            colour = int(token[1])
            if token[2]:
                colours[colour] = tuple(round(int(share) * 2.55) for share in token.groups()[1:4])
        elif token[8]:
            x = 0
        elif token[9]:
            x, band = 0, band + 1
        else:
            count, character = int(token[5] or 1), token[6] or token[7]
            bits = ord(character) - 63
            for row in range(6):
                if bits >> row & 1:
                    drawn[6 * band + row, x : x + count] = colours[colour]
            x += count
            assert x <= width
    assert (drawn[:height] >= 0).all(), "cells without a colour"
    return drawn[:height].astype(np.uint8)
