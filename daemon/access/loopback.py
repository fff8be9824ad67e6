"""Without keys, the daemon listens where only programs of the same machine reach it."""

import ipaddress
import socket

from ...config import ServeConfig
from .error import AccessError


def numeric_host(serve: ServeConfig) -> str:
    """Return the address to bind for `[serve] host`: a name is resolved here, and nowhere else.

    Raises
    ------
    AccessError
        `code` loopback if other machines can reach the host and `[serve] keys` is off; `code` host if the name is
        unknown.
    """
    addresses = _addresses(serve.host)
    if serve.keys == "off" and not (addresses and all(ipaddress.ip_address(one).is_loopback for one in addresses)):
        raise AccessError(
            f"[serve] host = {serve.host!r} is no loopback address, and anybody who can reach it could send volumes, "
            'watch decodes and stop the daemon: set [serve] keys = "required", which lets in only programs with a key; '
            "or give a loopback address, such as 127.0.0.1, and tunnel its ports through SSH",
            code="loopback",
        )
    if not addresses:
        raise AccessError(
            f"[serve] host = {serve.host!r} is no address or name of this machine; give one, or 0.0.0.0 for every one",
            code="host",
        )
    return addresses[0]


def _addresses(host: str) -> list[str]:
    """Return all addresses of a host, IPv4 first; none for a name that is unknown."""
    if host == "*":
        return ["0.0.0.0"]
    try:
        found = socket.getaddrinfo(host or "\0", None, type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        return []
    return sorted({str(address[0]) for *_, address in found}, key=lambda address: (":" in address, address))
