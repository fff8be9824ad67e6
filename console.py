"""The streams for people: a console's encoding may lack a character, and a pipe's reader may be gone."""

import codecs
import errno
import io
import os
import sys

PLAIN = {
    "–": "-", "—": "-", "−": "-", "‘": "'", "’": "'", "“": '"', "”": '"', "…": "...", "·": ".", "\xa0": " ",
    "×": "x", "±": "+-", "≤": "<=", "≥": ">=", "≠": "!=", "←": "<-", "→": "->",
    "⁻": "^-", **dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789", strict=True)),
}  # fmt: skip
"""ASCII for the signs in braind's own words."""


def open_closed_streams() -> None:
    """Open a standard stream that the parent closed at the null device.

    Python has None for such a stream, and the next file or socket would take its number.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))


def never_fail_on_a_character() -> None:
    """Have stdout and stderr write a character that their encoding lacks in ASCII, and never raise.

    A console of Windows, and a pipe there, may have cp1252 or cp437. Signs of `PLAIN` are replaced; any other character
    is written as JSON writes it, `\\uXXXX`.
    """
    codecs.register_error("braind", _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="braind")


def is_reader_gone(error: OSError) -> bool:
    """Return whether a write failed because nobody reads the pipe any longer."""
    # Windows says EINVAL; so it does for a file's name that it cannot have.
    is_windows_pipe = sys.platform == "win32" and error.errno == errno.EINVAL and error.filename is None
    return error.errno == errno.EPIPE or is_windows_pipe


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_plain, error.object[error.start : error.end])), error.end


def _plain(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    pairs = (units[at : at + 2] for at in range(0, len(units), 2))
    return PLAIN.get(character) or "".join(f"\\u{int.from_bytes(pair):04x}" for pair in pairs)
