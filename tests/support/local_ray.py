"""Ray on this machine, for tests that call the workers from their own process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from braind.offline.workers import Workers

KEPT: dict[str, str] = {}
"""Ray's settings at its first start. A process reads its token once, and a later start without it would be refused."""


@contextmanager
def ray_on_this_machine(n_cores: int) -> Iterator[None]:
    """Start Ray as braind does, with so many cores; end it and put the environment back."""
    from braind.offline.ray_cluster import connect

    before = dict(os.environ)
    os.environ.update(KEPT)
    os.environ["RAY_worker_niceness"] = "0"  # Ray's workers wait for everything else otherwise.
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "cpu_count", lambda: n_cores)
        connect(Workers(1))
    KEPT.update({name: value for name, value in os.environ.items() if name.startswith("RAY_")})
    try:
        yield
    finally:
        import ray

        ray.shutdown()
        os.environ.clear()
        os.environ.update(before)
