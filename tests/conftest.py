"""What tests of several rooms share."""

import logging
import os
import signal
from pathlib import Path

import pytest


def pytest_configure():
    """Keep from the tests what the shell they run in has set."""
    # a script's background job ignores Ctrl-C, and so would the programs that tests start
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # one's own settings are not the tests'
    for variable in [variable for variable in os.environ if variable.startswith("BRAIND_")]:
        del os.environ[variable]


def pytest_xdist_auto_num_workers() -> int:
    """Return three processes for two cores: tests wait for half of their time."""
    return 3 * (os.cpu_count() or 2) // 2


def pytest_collection_modifyitems(items):
    """Run the longest file first, so that no core waits for it at the end."""
    items.sort(key=lambda item: item.path.name != "test_end_to_end.py")


@pytest.fixture(scope="session", autouse=True)
def engines_folder(tmp_path_factory):
    """Exported networks lie in the tests' own folder, for the programs that tests start too."""
    folder = tmp_path_factory.mktemp("engines")
    os.environ["BRAIND_PATHS__ENGINES"] = str(folder)
    yield folder
    del os.environ["BRAIND_PATHS__ENGINES"]


@pytest.fixture(autouse=True)
def logger_as_before():
    """A command that a test runs in its own process changes the logger, and later tests would hear nothing."""
    logger = logging.getLogger("braind")
    before = (logger.handlers, logger.level, logger.propagate)
    yield
    logger.handlers, logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


@pytest.fixture(scope="session")
def ldm_path() -> Path:
    """The embedded latent diffusion model."""
    from braind.models.weights.fingerprint import EMBEDDED_LDM_PATH

    return EMBEDDED_LDM_PATH


@pytest.fixture(scope="session")
def files(ldm_path):
    """The files that a daemon loads, with random weights."""
    from running_daemon import files_for

    return files_for(ldm_path)


@pytest.fixture(scope="session")
def small_data(tmp_path_factory) -> Path:
    """A data folder with a simulated subject of one session and 6 held-out pictures; not for writing into."""
    from braind.models.demo.subject.nsd_tree import TreeSize, simulate

    folder = tmp_path_factory.mktemp("small-data")
    size = TreeSize(shapes=((8, 9, 8),), n_shared=6, n_bold_sessions=0)
    simulate(folder / "nsd-simulated", [1], n_sessions=1, size=size)
    return folder


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The sdist and the wheel of a clean checkout."""
    from installed import build

    return build(tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="session")
def ldm(ldm_path):
    from braind.models.ldm.model import LatentDiffusionModel

    return LatentDiffusionModel.load(ldm_path)
