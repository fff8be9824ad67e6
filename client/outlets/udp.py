"""Scores as lines of text in UDP datagrams, which PsychoPy, Presentation and MATLAB can read."""

import socket
from collections.abc import Callable

from ...printable import printable
from ..address import Address, AddressError
from .scores import OutletError, ScoreSample

MISSING = "n/a"
MOST_BYTES = 65_507
"""The longest datagram over IPv4."""
DIGITS = {"since_onset_s": 3}
OTHER_DIGITS = 4


class UdpOutlet:
    """Sends one datagram per decode to one address, at which nobody needs to listen.

    Parameters
    ----------
    address : HOST:PORT
    say : called with a sentence if a datagram could not be sent

    Raises
    ------
    OutletError
        The address is not HOST:PORT, or the host is unknown.
    """

    def __init__(self, address: str, say: Callable[[str], None]) -> None:
        try:
            host, port, _ = Address.parse(address)
            found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except AddressError:
            raise OutletError(f"{address!r} is no address; give HOST:PORT, such as 127.0.0.1:5005") from None
        except OSError as error:
            raise OutletError(f"{address}: {error.strerror}; give the stimulus computer's name or address") from error
        family, kind, protocol, _, self._to = found[0]
        self._socket = socket.socket(family, kind, protocol)
        self._address, self._say = address, say

    def give(self, sample: ScoreSample) -> None:
        """Send one line; a network error costs only this line."""
        try:
            self._socket.sendto(line(sample), self._to)
        except OSError as error:
            self._say(f"decode {sample.seq} was not sent to {self._address}: {error.strerror}")

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def line(sample: ScoreSample) -> bytes:
    """Return the sample's fields in their order, separated by tabs: UTF-8 text with a newline.

    The last fields are each class and its probability, in the order of the classes' names. A line with more than
    `MOST_BYTES` bytes ends before them.
    """
    fields = [_field(name, value) for name, value in vars(sample).items() if name != "classes"]
    classes = [
        field
        for one in sample.classes
        for field in (_field("class", one.label), _field("probability", one.probability))
    ]
    whole = _line([*fields, *classes])
    return whole if len(whole) <= MOST_BYTES else _line(fields)


def _line(fields: list[str]) -> bytes:
    return ("\t".join(fields) + "\n").encode()


def _field(name: str, value: object) -> str:
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return f"{value:.{DIGITS.get(name, OTHER_DIGITS)}f}"
    # A label may contain tabs, line ends and a terminal's control sequences.
    return " ".join(printable(str(value)).split()) or MISSING
