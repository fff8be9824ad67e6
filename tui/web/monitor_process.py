"""The monitor of one browser tab, in a process of its own. `braind monitor --web` starts the process."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Self

import msgspec

from ...choices import ThemeName
from ...client.endpoints import SOCKETS, Endpoints
from ..app import Monitor
from ..drawing.terminal import Drawing, Terminal
from ..state.recorded import Recordings


class BrowserMonitor(msgspec.Struct, frozen=True):
    """What the monitor of a tab is told. `config_path` and `data` are as on the command line; "" if not given."""

    where: Endpoints
    drawing: Drawing
    theme: ThemeName
    own_keys: dict[str, str]
    config_path: str = ""
    data: str = ""

    def told(self) -> str:
        """Return this for a command line: Base64 needs no quotes, and shells do not agree on quotes."""
        return urlsafe_b64encode(msgspec.json.encode(self)).decode()

    @classmethod
    def from_told(cls, told: str) -> Self:
        """Return what `told` returned, as an object."""
        return msgspec.json.decode(urlsafe_b64decode(told), type=cls)


def run_in_tab(given: BrowserMonitor, recordings: Recordings) -> None:
    """Run the monitor on stdin and stdout."""
    for socket in SOCKETS:
        given.where.address(socket)
    Monitor(given.where, Terminal(given.drawing), given.theme, recordings, given.own_keys).run()
