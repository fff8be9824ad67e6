"""A data folder with a session that a real daemon recorded, and the commands."""

import shutil

import pytest
from click.testing import CliRunner
from recorded_session import record_session

from braind.cli import main


@pytest.fixture(scope="package")
def recorded(files, tmp_path_factory):
    """Return a data folder; not for writing into."""
    folder = tmp_path_factory.mktemp("recorded")
    record_session(files, folder)
    return folder


@pytest.fixture
def data(recorded, tmp_path):
    """Return a copy of the data folder."""
    return shutil.copytree(recorded, tmp_path / "data")


@pytest.fixture
def braind(tmp_path, monkeypatch):
    """Run `braind sessions`, with settings of its own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def run(*arguments):
        return CliRunner().invoke(main, ["sessions", *map(str, arguments)], prog_name="braind")

    return run
