"""The page of promises names the test of each promise."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_that_the_promises_name_exists():
    rows = [row for row in (ROOT / "docs" / "promises.md").read_text().splitlines() if re.match(r"\| \d+ \|", row)]
    assert rows
    for row in rows:
        paths = re.findall(r"`(tests/[^`]+)`", row)
        assert paths, row
        assert [path for path in paths if not (ROOT / path).is_file()] == []
