"""The address of one of the daemon's sockets: the only place where host and port are parsed and joined."""

import re
from ipaddress import AddressValueError, IPv6Address
from pathlib import Path
from typing import NamedTuple, Self

from ..errors import BraindError
from .key import Key

FORM = re.compile(r"(?:tcp://)?(?:\[(?P<v6>[^\[\]/\s]+)\]|(?P<host>[^:\[\]/\s]+))(?::(?P<port>\d{1,5}))?")
HIGHEST_PORT = 65535


class AddressError(BraindError):
    """The text is no address."""

    code = "address"


class Address(NamedTuple):
    """A host, a port, and the key to show there; without a key the daemon must require none."""

    host: str
    port: int
    key: Key | None = None

    @classmethod
    def parse(cls, text: str, port: int | None = None, key: "Key | Path | str | None" = None) -> Self:
        """Read `HOST`, `HOST:PORT` or `tcp://HOST:PORT`; an IPv6 host with a port stands in brackets.

        Parameters
        ----------
        port : taken if the text names none; None requires a port in the text
        key : a key or the path of its file

        Raises
        ------
        AddressError
            The text has another form, names no port, or names a port beyond 1 to 65535.
        KeyFileError
        """
        host, named = text, None
        if not _is_v6(text):
            form = FORM.fullmatch(text)
            host, named = (form["v6"] or form["host"], form["port"]) if form else ("", None)
            if form and form["v6"] and not _is_v6(form["v6"]):
                host = ""
        number = port if named is None else int(named)
        if not host or number is None or not 0 < number <= HIGHEST_PORT:
            raise AddressError(
                f"{text!r} is no address; give HOST:PORT, such as 127.0.0.1:{port or 5560}, [::1]:{port or 5560} or "
                f"tcp://scanner:{port or 5560}"
            )
        return cls(host, number, Key.load(Path(key).expanduser()) if isinstance(key, Path | str) else key)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if self.is_v6 else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The address in ZeroMQ's form."""
        return f"tcp://{self}"

    @property
    def is_v6(self) -> bool:
        """Whether the host is an IPv6 address."""
        return ":" in self.host


def _is_v6(text: str) -> bool:
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True
