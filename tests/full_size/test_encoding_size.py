"""Encoding at NSD's size: the memory of one session's reading and of one fit. Run by `make test-full-size`."""

import subprocess
import sys

import pytest

from braind.models.demo.subject.nsd_tree import TreeSize, simulate

pytestmark = pytest.mark.full_size

SUBJECT_1 = (81, 104, 83)
GIB = 2**30
# not getrusage's: that counts what the process that started this one had in memory
PEAK = """
from pathlib import Path as P
print(1024 * int(next(l.split()[1] for l in P("/proc/self/status").read_text().splitlines() if l.startswith("VmHWM"))))
"""

READ = """
import sys; from pathlib import Path; import numpy as np
from braind.client.datasets.nsd.tree import NsdTree
from braind.offline.encode.responses import write_mean_responses
tree = NsdTree(Path(sys.argv[1])); ids = np.unique(tree.trials(1).nsd_id)
write_mean_responses(Path(sys.argv[2]), tree, 1, ids, np.flatnonzero(tree.brainmask(1)), lambda *_: None)
"""

# One block of voxels: every other block uses the same memory again. 9,000 pictures of the subject's own and 1,000
# shared ones; z and zc side by side, the largest model. Memory does not depend on how many penalties are tried.
FIT = """
import numpy as np; from braind.models.encoding import voxel_models as encoding
encoding.ALPHAS = encoding.ALPHAS[:1]; rng = np.random.default_rng(0)
features = rng.standard_normal((10000, 2 * 1024), np.float32)
responses = rng.standard_normal((10000, encoding.VOXELS_AT_ONCE), np.float32)
is_training = np.arange(10000) >= 1000
rois = {str(n): rng.random(encoding.VOXELS_AT_ONCE) < 0.15 for n in range(7)}
encoding.score_voxels(features, responses, is_training, rois, encoding.bootstrap_counts(1000, 1000, 0))
"""


def peak_of(program: str, *arguments: object) -> int:
    """Return the peak resident memory of a program of its own, in bytes."""
    command = [sys.executable, "-c", program + PEAK, *map(str, arguments)]
    peak = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(f"{peak / GIB:.2f} GiB")  # noqa: T201 (the figure is what the run is for)
    return peak


@pytest.mark.timeout(1500)
def test_a_session_of_the_whole_brain_is_averaged_below_8_gib(tmp_path):
    size = TreeSize(shapes=(SUBJECT_1,), n_shared=20, n_bold_sessions=0)
    simulate(tmp_path / "nsd", [1], n_sessions=1, size=size)
    assert peak_of(READ, tmp_path / "nsd", tmp_path / "responses") < 8 * GIB


@pytest.mark.timeout(900)
def test_a_block_of_voxels_and_10000_pictures_is_fitted_below_8_gib():
    assert peak_of(FIT) < 8 * GIB
