"""What the fault tests share: seeded chance, and how much of a case runs."""

import os
import random
from zlib import crc32

import pytest


@pytest.fixture
def chance(request):
    """Seeded chance. FAULTS_SEED=N repeats a failure; a test that fails prints its seed."""
    seed = int(os.environ.get("FAULTS_SEED", crc32(request.node.name.encode())))
    print(f"FAULTS_SEED={seed}")  # noqa: T201 - pytest shows it when the test fails
    return random.Random(seed)


def pytest_collection_modifyitems(items):
    """Let `make faults` run a file's tests in one process, with one daemon; kill points have a daemon each."""
    for item in items:
        if "faults" in item.path.parts and not item.path.name.startswith("test_kill_"):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
