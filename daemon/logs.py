"""Logging to stderr, one line a record: text on a terminal, a JSON object elsewhere."""

import logging
import math
import sys
import time
from datetime import UTC, datetime

import msgspec

THROTTLE_S = 60.0


class TextFormatter(logging.Formatter):
    """Formats a record as one line for people; the lines of a traceback follow, indented.

    Clients choose names, which get into messages. Control characters are escaped: no name moves a terminal's cursor,
    hides text or looks like another line.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        record.message = record.getMessage()
        record.asctime = self.formatTime(record, self.datefmt)
        lines = [self.formatMessage(record)]
        if record.exc_info:
            lines += ["  " + line for line in self.formatException(record.exc_info).split("\n")]
        return "\n".join(map(escape, lines))


class JsonFormatter(logging.Formatter):
    """Formats a record as a JSON object: time, level, logger, message, and the record's `fields`.

    The object is one line, and control characters are escaped.
    """

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        line = {key: _without_surrogates(value) if isinstance(value, str) else value for key, value in line.items()}
        # JSON leaves some control characters as they are, among them line separators.
        return "".join(map(_in_json, msgspec.json.encode(line).decode()))


def escape(text: str) -> str:
    """Return the text with its control characters, line breaks and other invisible characters escaped."""
    return text if text.isprintable() else "".join(map(_in_text, text))


def _in_text(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")


def _in_json(character: str) -> str:
    if character.isprintable():
        return character
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def _without_surrogates(text: str) -> str:
    # A path that is no UTF-8 has lone surrogates, which JSON cannot have.
    return text.encode(errors="backslashreplace").decode()


class Outage:
    """Logs when a failure begins and when it has passed, and not at every try in between."""

    def __init__(self, logger: logging.Logger, what: str) -> None:
        self._logger, self._what = logger, what
        self._sentence: str | None = None

    def failed(self, error: Exception) -> None:
        """Log the error, unless the last logged error has the same sentence."""
        if str(error) != self._sentence:
            self._sentence = str(error)
            self._logger.error("%s: %s", self._what, error)

    def passed(self) -> None:
        """Log that the failure has passed, if one was logged."""
        if self._sentence is not None:
            self._sentence = None
            self._logger.info("%s: works again", self._what)


class Throttle:
    """Logs at most one warning in `every_s` seconds, and with it the number of warnings that it left out."""

    def __init__(self, logger: logging.Logger, every_s: float = THROTTLE_S) -> None:
        self._logger, self._every_s = logger, every_s
        self._logged_s = -math.inf
        self._n_left_out = 0

    def warn(self, sentence: str, **fields: str) -> None:
        """Log the sentence with these fields, or count it as left out."""
        now_s = time.monotonic()
        if now_s - self._logged_s < self._every_s:
            self._n_left_out += 1
            return
        left_out = f" ({self._n_left_out} like it before)" if self._n_left_out else ""
        self._logged_s, self._n_left_out = now_s, 0
        self._logger.warning("%s%s", sentence, left_out, extra={"fields": fields})


def configure_logging() -> None:
    """Send braind's log records from INFO on to stderr; replace every earlier handler."""
    handler = logging.StreamHandler(sys.stderr)
    if sys.stderr.isatty():
        handler.setFormatter(TextFormatter())
    else:
        handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("braind")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
