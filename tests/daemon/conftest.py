"""What these tests share: the files that a daemon loads."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "daemon"))

from running_daemon import Files, files_for  # noqa: E402


@pytest.fixture(scope="session")
def files(ldm_path: Path) -> Files:
    return files_for(ldm_path)
