"""What each role allows."""

from typing import Any

from ...client import wire
from ...client.key import Role
from .keyring import Client

ANY: frozenset[Role] = frozenset(("ingest", "view", "control"))
INGEST: frozenset[Role] = frozenset(("ingest",))
VIEW: frozenset[Role] = frozenset(("view",))
READ: frozenset[Role] = frozenset(("view", "control"))
CONTROL: frozenset[Role] = frozenset(("control",))

ROLES_OF_SOCKET = {"ingest": ANY, "decodes": VIEW, "control": ANY}
"""One of these roles opens a connection. At ingest and control, each message is checked too, and gets an answer."""
ROLES_OF_REQUEST: dict[type, frozenset[Role]] = {
    wire.StatusRequest: ANY,
    wire.FetchRequest: READ,
    wire.SetupRequest: READ,
    wire.RecordedRequest: READ,
}
"""One of these roles is needed for a request at the control socket; any other request needs `control`."""


def may_connect(client: Client, socket: str) -> bool:
    """Return whether the client may connect to this socket."""
    return not ROLES_OF_SOCKET[socket].isdisjoint(client.roles)


def lacking_role(client: Client, socket: str, frames: list[bytes]) -> str | None:
    """Return why the client may not send this message, or None if it may."""
    if socket == "ingest":
        what, needed = "a message to the ingest socket", INGEST
    else:
        message = _request(frames)
        what, needed = type(message).__name__, ROLES_OF_REQUEST.get(type(message), CONTROL)
        if message is None:
            return None  # it is malformed, and its answer says how
    if not needed.isdisjoint(client.roles):
        return None
    return f"{what} needs the role {' or '.join(sorted(needed))}; key {client.name!r} has {', '.join(client.roles)}"


def _request(frames: list[bytes]) -> Any:
    try:
        return wire.decode(frames)[0]
    except wire.WireError:
        return None
