"""Log lines: whatever a name holds, a record is one line, on a terminal and in a file."""

import io
import json
import logging
import os
import pty
import subprocess
import sys

import pytest

from braind.daemon import logs
from braind.daemon.logs import JsonFormatter, TextFormatter

HOSTILE = [
    "two\nlines",
    "return\r12:00:00 INFO    ready",
    "\x1b[2J\x1b[31mred\x1b]0;title\x07",
    "<script>alert(1)</script>",
    "c1 \x9b31m and \x85 next line",
    "separators \u2028 and \u2029",
    "right to left \u202e txt",
    "nul \x00, delete \x7f, tab \t, backspace \x08",
    "a path that is no UTF-8 \udcff",
    "tag \U000e0041",
    'quote " and backslash \\',
]


def format_with(formatter, message, *, raises=""):
    record = logging.LogRecord("braind.test", logging.WARNING, "x.py", 1, "run %s", (message,), None)
    if raises:
        try:
            raise ValueError(raises)
        except ValueError:
            record.exc_info = sys.exc_info()
    return formatter.format(record)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_terminals_line_has_no_control_characters(text):
    line = format_with(TextFormatter(), text)
    assert line.isprintable()
    assert len(line.splitlines()) == 1
    assert " WARNING run " in line


@pytest.mark.parametrize("text", HOSTILE)
def test_a_json_line_is_one_line_and_has_the_text_whole(text):
    line = format_with(JsonFormatter(), text)
    assert line.isprintable()
    assert len(line.splitlines()) == 1
    assert json.loads(line)["message"].removeprefix("run ").encode(errors="backslashreplace") == text.encode(
        errors="backslashreplace"
    )


def test_a_name_in_other_letters_stays_readable():
    assert "Löwe 事 é" in format_with(TextFormatter(), "Löwe 事 é")
    assert "Löwe 事 é" in format_with(JsonFormatter(), "Löwe 事 é")


@pytest.mark.parametrize("text", HOSTILE)
def test_no_line_of_a_traceback_looks_like_a_record(text):
    first, *lines = format_with(TextFormatter(), "a", raises=text).split("\n")
    assert lines
    assert all(line.startswith("  ") and line.isprintable() for line in lines)
    assert json.loads(format_with(JsonFormatter(), "a", raises=text))["traceback"].startswith("Traceback")


def test_a_terminal_gets_text_and_everything_else_json(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure_logging()
    logging.getLogger("braind.test").warning("two\nlines", extra={"fields": {"session": "a\x1b[0m", "count": 1}})
    line = json.loads(stream.getvalue())
    assert (line["message"], line["session"], line["count"]) == ("two\nlines", "a\x1b[0m", 1)


def test_a_real_terminal_gets_escaped_text():
    program = (
        "import logging; from braind.daemon.logs import configure_logging; configure_logging(); "
        "logging.getLogger('braind.x').warning('run \\x1b[2J\\n12:00:00 INFO ready')"
    )
    terminal, end = pty.openpty()
    subprocess.run([sys.executable, "-c", program], stderr=end, check=True)
    os.close(end)
    shown = os.read(terminal, 4096).decode()
    os.close(terminal)
    assert shown.rstrip("\r\n").endswith(r"WARNING run \x1b[2J\n12:00:00 INFO ready")
    assert shown.count("\n") == 1
