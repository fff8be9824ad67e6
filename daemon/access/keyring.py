"""The keys of a data folder: the server's key pair, and the clients that may connect.

`keys/server.json` holds the server's secret. `keys/clients.json` holds each client's name, public key and roles.
`keys/NAME.key` is a client's key file, which holds its secret. Only `keys/owner.key` is needed on this machine.
"""

import fcntl
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import zmq

from ...client.endpoints import Endpoints
from ...client.key import ROLES, Z85, Key, KeyFileError, Role, decode_private, encode_private
from ...client.names import wrong_name
from ...config import Config, data_path
from ..logs import Outage

OWNER = "owner"
"""The client that programs of this data folder are."""
MAKES_KEYS = "`braind keys add` or the first `braind serve --keys required` makes the keys"
START_ANEW = (
    "stop the daemon, move the whole folder of keys away, and hand out new keys: `braind serve --keys required` makes "
    "the folder, `braind keys add` makes the keys"
)
"""What to do if a file of the folder itself is lost. No key that was handed out fits new keys of the server."""

logger = logging.getLogger(__name__)


class ServerKey(msgspec.Struct, frozen=True, kw_only=True):
    """The server's key pair; clients know its public key."""

    public: Z85
    secret: Z85


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """A client that may connect, as long as the folder lists it."""

    name: str
    roles: tuple[Role, ...]
    public: Z85


class Keyring:
    """The keys of a running daemon. A change of the folder counts from the next look-up on.

    Raises
    ------
    KeyFileError
        A file is missing or damaged, or other users can read the folder or a file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        _check_private(folder)
        self.server: ServerKey = _server_key(folder)
        self._reading = Outage(logger, "changes of the keys are not noticed")
        self._seen = self._stamp()
        self._clients = _by_public(read_clients(folder))
        self._revoked: list[Client] = []

    @property
    def owner_path(self) -> Path:
        """The key file of programs of this data folder."""
        return (self.folder / f"{OWNER}.key").resolve()

    def find(self, public: str) -> Client | None:
        """Return the client with this public key; None if it is unknown or revoked."""
        self._refresh()
        return self._clients.get(public)

    def take_revoked(self) -> list[Client]:
        """Return the clients that were revoked, or lost a role, since the last call."""
        self._refresh()
        revoked, self._revoked = self._revoked, []
        return revoked

    def _refresh(self) -> None:
        stamp = self._stamp()
        if stamp == self._seen:
            return
        try:
            clients = _by_public(read_clients(self.folder))
        except KeyFileError as error:
            # A damaged list must not end a scan: the clients that were read last may go on.
            self._reading.failed(error)
            return
        self._reading.passed()
        self._revoked += [one for public, one in self._clients.items() if clients.get(public) != one]
        self._seen, self._clients = stamp, clients

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self.folder / "clients.json")
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size


def keys_path(config: Config) -> Path:
    """Return the folder of the keys."""
    return data_path(config) / "keys"


def check_unused(folder: Path, where: Endpoints) -> None:
    """Check that no running daemon has keys of this folder if the folder is gone. Raises KeyFileError.

    Such a daemon goes on with the keys that it has read. It would take a new folder's list of clients, which has none
    of the old clients, while no new key fits its server's key.
    """
    if not folder.exists() and where.pid is not None and where.key == str((folder / f"{OWNER}.key").resolve()):
        raise KeyFileError(
            f"{folder} is gone, and a running braind serve (process {where.pid}) has its keys: put the folder back, or "
            "stop the daemon before you make new keys"
        )


def make_keys(folder: Path) -> None:
    """Make the server's key pair and the owner's key, unless the folder is there. Raises KeyFileError."""
    if folder.exists():
        return
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # A folder is whole or not there: a kill in between leaves no half of the keys.
        unfinished = Path(tempfile.mkdtemp(prefix="keys.", dir=folder.parent))
        public, secret = _key_pair()
        encode_private(unfinished / "server.json", ServerKey(public=public, secret=secret))
        encode_private(unfinished / "clients.json", [])
        add_client(unfinished, OWNER, ROLES)
        try:
            unfinished.rename(folder)
        except OSError:
            shutil.rmtree(unfinished)
            if not folder.exists():  # else another process was faster
                raise
    except OSError as error:
        raise KeyFileError(f"{folder}: {error.strerror}; give another folder in [paths] data") from error


def add_client(folder: Path, name: str, roles: tuple[Role, ...]) -> Path:
    """Make a client's key; return the path of its key file, which holds a secret.

    Raises
    ------
    KeyFileError
        The name is taken, or cannot be a file's; a file is missing or damaged, or other users can read the folder.
    """
    if problem := wrong_name("key", name):
        raise KeyFileError(problem)
    _check_private(folder)
    server = _server_key(folder)
    path = folder / f"{name}.key"
    with _changing(folder) as clients:
        if any(one.name == name for one in clients):
            raise KeyFileError(f"there is a key {name!r} already: give another name, or revoke it first")
        public, secret = _key_pair()
        encode_private(path, Key(name=name, roles=roles, public=public, secret=secret, server=server.public))
        clients.append(Client(name=name, roles=roles, public=public))
    return path


def revoke_client(folder: Path, name: str) -> None:
    """Take a client out of the list and delete its key file. Raises KeyFileError if no client has this name."""
    with _changing(folder) as clients:
        left = [one for one in clients if one.name != name]
        if len(left) == len(clients):
            known = ", ".join(one.name for one in clients) or "none"
            raise KeyFileError(f"there is no key {name[:80]!r}; keys are: {known}")
        clients[:] = left
    (folder / f"{name}.key").unlink(missing_ok=True)


def read_clients(folder: Path) -> list[Client]:
    """Return the clients that may connect. Raises KeyFileError."""
    return decode_private(folder / "clients.json", list[Client], START_ANEW)


def server_public(folder: Path) -> str:
    """Return the server's public key. Raises KeyFileError."""
    _check_private(folder)
    return _server_key(folder).public


def _server_key(folder: Path) -> ServerKey:
    return decode_private(folder / "server.json", ServerKey, START_ANEW)


@contextmanager
def _changing(folder: Path) -> Iterator[list[Client]]:
    """Yield the list of clients, and write it when the block ends; two programs change it one after the other."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise KeyFileError(f"{folder}: {error.strerror}; {MAKES_KEYS}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        clients = read_clients(folder)
        yield clients
        encode_private(folder / "clients.json", clients)
    except OSError as error:
        raise KeyFileError(f"{folder}: {error.strerror}") from error
    finally:
        os.close(descriptor)


def _check_private(folder: Path) -> None:
    try:
        mode = stat.S_IMODE(folder.stat().st_mode)
    except OSError as error:
        raise KeyFileError(f"{folder}: {error.strerror}; {MAKES_KEYS}") from error
    if mode & 0o077:
        raise KeyFileError(f"{folder} may be entered by other users (mode {mode:04o}): chmod 700 {folder}")


def _key_pair() -> tuple[str, str]:
    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


def _by_public(clients: list[Client]) -> dict[str, Client]:
    return {one.public: one for one in clients}
