"""Asks whether the head of a Ray cluster answers at an address.

Ray itself would wait up to a minute for a stranger, and write each try to the terminal. So one question is asked
here first, in Ray's own protocol (gRPC over HTTP/2), without Ray.
"""

import socket
from enum import Enum, auto
from queue import Empty, SimpleQueue
from threading import Thread

METHOD = "/ray.rpc.NodeInfoGcsService/GetClusterId"
"""Every driver's first call. Its request is empty."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY = 0, 1, 3, 4, 7
END_STREAM, END_HEADERS = 1, 4
STREAM = 1
MOST_BYTES = 64 * 1024
"""Ray's answer takes 200 bytes."""
REFUSED_TOKEN = b"InvalidAuthToken"


class Answer(Enum):
    """Who answers at an address."""

    HEAD = auto()
    """Ray's head; it takes the token, or wants none."""
    WANTS_TOKEN = auto()
    """Ray's head, which refuses the token, or its absence."""
    STRANGER = auto()
    """Something else."""


def ask_head(host: str, port: int, token: str, within_s: float) -> Answer:
    """Ask who answers at an address.

    Parameters
    ----------
    token : str
        The cluster's token; "" sends none.

    Raises
    ------
    OSError
        If the name is none or unknown, or nothing answers in time.
    """
    answers: SimpleQueue[Answer | OSError] = SimpleQueue()

    def answer() -> None:
        try:
            answers.put(_asked(host, port, token, within_s))
        except OSError as error:
            answers.put(error)
        except UnicodeError:
            answers.put(OSError("no machine can have this name"))

    # A name server, or a peer that sends a byte now and then, takes longer than a socket's time limit.
    Thread(target=answer, daemon=True).start()
    try:
        found = answers.get(timeout=within_s)
    except Empty:
        raise TimeoutError("timed out") from None
    if isinstance(found, OSError):
        raise found
    return found


def _asked(host: str, port: int, token: str, within_s: float) -> Answer:
    headers = {":method": "POST", ":scheme": "http", ":path": METHOD, ":authority": f"{host}:{port}",
               "content-type": "application/grpc", "te": "trailers"}  # fmt: skip
    if token:
        headers["authorization"] = f"Bearer {token}"
    block = b"".join(b"\0" + _string(name) + _string(value) for name, value in headers.items())
    with socket.create_connection((host, port), within_s) as connection, connection.makefile("rb") as received:
        connection.settimeout(within_s)
        connection.sendall(
            PREFACE
            + _frame(SETTINGS, 0, 0)
            + _frame(HEADERS, END_HEADERS, STREAM, block)
            + _frame(DATA, END_STREAM, STREAM, bytes(5))
        )
        while len(head := received.read(9)) == 9:
            length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            if length > MOST_BYTES:  # What an HTTP/1 server says, read as a frame.
                return Answer.STRANGER
            body = received.read(length)
            if kind == DATA:
                # A gRPC message is not compressed and says its length; a web server's page does not.
                whole = body[:1] == b"\0" and int.from_bytes(body[1:5], "big") == len(body) - 5
                return Answer.HEAD if whole else Answer.STRANGER
            if kind == HEADERS and flags & END_STREAM:
                return Answer.WANTS_TOKEN if REFUSED_TOKEN in body else Answer.STRANGER
            if kind in (RST_STREAM, GOAWAY):
                return Answer.STRANGER
    return Answer.STRANGER


def _frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    return len(body).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body


def _string(text: str) -> bytes:
    """Return a string of HPACK, the coding of headers, without Huffman's code (RFC 7541, section 5)."""
    coded, rest = text.encode(), len(text.encode()) - 127
    if rest < 0:
        return bytes((len(coded),)) + coded
    length = bytearray((127,))
    while rest >= 128:
        length.append(rest % 128 + 128)
        rest //= 128
    return bytes((*length, rest)) + coded
