"""A picture that the browser page lays over the cells, at its own resolution."""

from base64 import standard_b64encode
from itertools import count
from typing import Any

from textual.app import App
from textual.geometry import Region

from ...arrays import Array
from .png import png

MESSAGE = "braind_picture"
"""The type of the message to the page's server, which hands it to the page."""

_numbers = count(1)


class Overlay:
    """One picture on the page of an app that runs in a browser; elsewhere it does nothing."""

    def __init__(self, app: App[Any]) -> None:
        self._app = app
        self._number = next(_numbers)

    def show(self, picture: Array, region: Region) -> None:
        """Lay a (height, width, 3) uint8 picture over a region of cells."""
        encoded = standard_b64encode(png(picture)).decode("ascii")
        self._send({"png": encoded, "region": tuple(region), "of_cells": tuple(self._app.size)})

    def hide(self) -> None:
        """Take the picture off the page."""
        self._send({"png": None})

    def _send(self, fields: dict[str, object]) -> None:
        driver: Any = self._app._driver
        if driver is not None and driver.is_web:
            driver.write_meta({"type": MESSAGE, "id": self._number, **fields})
