"""Refuses a Ray cluster that cannot be had, before anything is loaded and before Ray is imported."""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ..extras import how_to_install
from .cluster_head import Answer, ask_head
from .workers import Workers, WorkersError

ANSWERS_WITHIN_S = 10.0
HOW_TO_GIVE_A_TOKEN = (
    "give the token that the head was started with: in RAY_AUTH_TOKEN, in a file that RAY_AUTH_TOKEN_PATH names, or in "
    "~/.ray/auth_token"
)


class NoClusterError(WorkersError):
    """No Ray cluster answers at the address."""

    code = "no_cluster"


@dataclass(frozen=True)
class HeadAddress:
    """The address of a cluster's head.

    Parameters
    ----------
    host : str
        Name or IP address; one of IPv6 without its brackets.
    words : str
        The address as it was given, for Ray and for sentences.
    """

    host: str
    port: int
    words: str


@dataclass(frozen=True)
class Token:
    """The token that Ray would send to a head, and where Ray takes it from."""

    value: str
    source: str


def check_can_be_had(workers: Workers) -> None:
    """Refuse workers that cannot be had, before anything is loaded.

    Raises
    ------
    WorkersError
        Ray is not installed, the address is none, or this machine has fewer cores than workers are wanted.
    NoClusterError
        Ray's head does not answer at the address, or refuses the token.
    """
    if find_spec("ray") is None:
        raise WorkersError(f"--workers, --ray: Ray is not installed; {how_to_install('cluster')}", code="option")
    n_cores = os.cpu_count() or 1
    if not workers.address and (workers.n or 0) > n_cores:
        raise WorkersError(
            f"--workers {workers.n}: this machine has {n_cores} cores, and each worker takes one; "
            f"give --workers {n_cores}",
            code="option",
        )
    if address := named_address(workers):
        wants_token(address)


def named_address(workers: Workers) -> HeadAddress | None:
    """Return the address of the cluster's head as far as it is known without Ray: None where Ray looks for it.

    Ray itself takes RAY_ADDRESS for `auto`.

    Raises
    ------
    WorkersError
        If the address is none.
    """
    words = os.environ.get("RAY_ADDRESS", "") if workers.address == "auto" else workers.address
    return head_address(words) if words not in ("", "auto") else None


def head_address(words: str) -> HeadAddress:
    """Take an address apart: host:port.

    Raises
    ------
    WorkersError
        If it is none.
    """
    host, colon, port = words.rpartition(":")
    if not colon or not port.isdecimal() or not 0 < int(port) < 65536 or "/" in host or not host:
        raise WorkersError(f"--ray {words}: give host:port of the cluster's head, or auto", code="option")
    return HeadAddress(host.removeprefix("[").removesuffix("]"), int(port), words)


def wants_token(address: HeadAddress) -> bool:
    """Return whether the head at an address wants a token, which is then the one here.

    Ray's own setting, RAY_AUTH_MODE, goes first. Without it the token is sent only to a head that wants one.

    Raises
    ------
    NoClusterError
        If Ray's head does not answer within 10 s, or refuses the token.
    """
    mode = os.environ.get("RAY_AUTH_MODE", "").lower()
    wanted = mode == "token" or _answer(address, None) is Answer.WANTS_TOKEN
    if not wanted:
        return False
    if mode == "disabled":
        raise NoClusterError(
            f"--ray {address.words}: the head wants a token, and RAY_AUTH_MODE=disabled sends none; unset it, and "
            f"{HOW_TO_GIVE_A_TOKEN}"
        )
    token = ray_token()
    if token is None:
        because = "RAY_AUTH_MODE=token" if mode == "token" else "the head"
        raise NoClusterError(f"--ray {address.words}: {because} wants a token, and none is here; {HOW_TO_GIVE_A_TOKEN}")
    if _answer(address, token) is Answer.WANTS_TOKEN:
        raise NoClusterError(
            f"--ray {address.words}: the head refuses the token of {token.source}; {HOW_TO_GIVE_A_TOKEN}"
        )
    return True


def ray_token() -> Token | None:
    """Return the token that Ray takes: from the first of two variables and a file that holds one.

    Raises
    ------
    NoClusterError
        If the file of RAY_AUTH_TOKEN_PATH cannot be read, or is empty: Ray looks no further then.
    """
    if value := os.environ.get("RAY_AUTH_TOKEN", ""):
        return Token(value.strip(), "RAY_AUTH_TOKEN") if value.strip() else None
    if named := os.environ.get("RAY_AUTH_TOKEN_PATH", ""):
        if value := _read(Path(named)):
            return Token(value, f"RAY_AUTH_TOKEN_PATH ({named})")
        raise NoClusterError(
            f"--ray: RAY_AUTH_TOKEN_PATH names {named}, which holds no token or cannot be read; {HOW_TO_GIVE_A_TOKEN}"
        )
    value = _read(Path("~/.ray/auth_token").expanduser())
    return Token(value, "~/.ray/auth_token") if value else None


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


def _answer(address: HeadAddress, token: Token | None) -> Answer:
    try:
        answer = ask_head(address.host, address.port, token.value if token else "", ANSWERS_WITHIN_S)
    except OSError as error:
        raise NoClusterError(
            f"--ray {address.words}: nothing answers there ({error.strerror or error}); check the address, and that "
            "ray start --head runs there"
        ) from error
    if answer is Answer.STRANGER:
        raise NoClusterError(
            f"--ray {address.words}: what answers there is not Ray; give the address of the cluster's head"
        )
    return answer
