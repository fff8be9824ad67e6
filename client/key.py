"""A key file: it lets a program in at a daemon that requires keys."""

import os
import stat
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec

from ..errors import BraindError
from ..whole_file import write_on_disk

Role = Literal["ingest", "view", "control"]
"""What a key allows: to send volumes, to see decodes, to control the daemon."""
ROLES: tuple[Role, ...] = get_args(Role)
Z85 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}$")]
"""A CURVE key of 32 bytes in ZeroMQ's text form (RFC 32)."""
PRIVATE_MODE = 0o600
MAKE_A_KEY = "`braind keys add NAME --role ROLE` on the daemon's machine makes a key file"


class KeyFileError(BraindError):
    """A key file is missing, is damaged, or can be read by other users."""

    code = "key"


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A client's key pair, its name and roles, and the public key of its daemon's server."""

    name: str
    roles: tuple[Role, ...]
    public: Z85
    secret: Z85
    server: Z85

    @classmethod
    def load(cls, path: Path) -> "Key":
        """Read a key file.

        Raises
        ------
        KeyFileError
        """
        return decode_private(path, cls)

    def __repr__(self) -> str:  # secrets stay out of logs
        return f"Key({self.name!r}, {', '.join(self.roles)})"


def decode_private(path: Path, content: type[Any], remedy: str = MAKE_A_KEY) -> Any:
    """Return the content of a JSON file that only its owner may read.

    Parameters
    ----------
    remedy : what to do if the file is missing or damaged

    Raises
    ------
    KeyFileError
        The file is missing, other users may read it, or it is no such file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        with open(descriptor, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if os.name == "posix" and mode & 0o077:
                raise KeyFileError(f"{path} may be read by other users (mode {mode:04o}): chmod 600 {path}")
            return msgspec.json.decode(file.read(), type=content)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}; {remedy}") from error
    except ValueError as error:  # msgspec's errors are ValueErrors
        raise KeyFileError(f"{path} is no key file ({error}); {remedy}") from error


def encode_private(path: Path, content: Any) -> None:
    """Write a JSON file that only its owner may read; readers see the old file or the new one."""
    write_on_disk(path, msgspec.json.encode(content) + b"\n", mode=PRIVATE_MODE)
