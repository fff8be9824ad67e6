"""Checks a scan's disk: the room for its volumes and the time of a commit."""

import math
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from ...client.wire import Volume
from ...config import data_path
from ...errors import ExitCode
from ...models.weights.weights import Weights
from ..journal.database import JournalError
from ..journal.journal import Journal
from .plan import CheckPlan
from .report import Report, in_ms
from .running import RunningDaemon

PICTURE_SIDE_OF_LATENT = 8
"""Autoencoders of Stable Diffusion give pictures 8 times as wide as their latents."""
TYPICAL_VOXELS = 15_000
N_COMMITS = 20
SLOW_COMMIT_S = 0.1
UNITS = ("B", "kB", "MB", "GB", "TB")


def check_disk(plan: CheckPlan, weights: Weights | None, running: RunningDaemon | None, report: Report) -> bool:
    """Check the room for the scan and the time of a commit; return whether the data folder can be written."""
    folder = data_path(plan.config)
    n_volume_bytes, n_picture_bytes = _sizes(plan, weights)
    guess = "" if weights else f" (of {TYPICAL_VOXELS} voxels, because neither weights nor masks say how many)"
    with report.failing("disk", ExitCode.DISK):
        folder.mkdir(parents=True, exist_ok=True)
        n_free = shutil.disk_usage(folder).free
        least, most = (plan.n_volumes * n for n in (n_volume_bytes, n_volume_bytes + n_picture_bytes))
        facts = f"{folder}: {_size(n_free)} free, and {plan.n_volumes} volumes{guess} take {_size(least)}" + (
            f", with pictures at most {_size(most)}" if n_picture_bytes else ""
        )
        figures = {"free_bytes": float(n_free), "least_bytes": float(least), "most_bytes": float(most)}
        if n_free < least:
            report.fail("disk", f"{facts}: free space, or set [paths] data to another disk", ExitCode.DISK, **figures)
        elif n_free < most:
            report.warn("disk", f"{facts}: it may become full; free space", **figures)
        else:
            report.ok("disk", facts, **figures)
    if running:
        report.warn("writing", "left out: this folder's daemon is running, and its commits would wait")
        return False
    try:
        wait_for_disk = plan.config.serve.durability == "full"
        taken_s = sorted(_commit_times_s(folder, n_volume_bytes // 4, wait_for_disk=wait_for_disk))
    except (OSError, JournalError) as error:
        report.fail("writing", f"{folder}: {error}; put that right, or set [paths] data to another disk", ExitCode.DISK)
        return False
    typical_s, slowest_s = median(taken_s), taken_s[-1]
    facts = (
        f"{n_volume_bytes} bytes are committed after {in_ms(typical_s)} (slowest of {N_COMMITS}: {in_ms(slowest_s)})"
    )
    figures = {"commit_s": typical_s, "slowest_commit_s": slowest_s}
    if plan.tr_s is not None and typical_s > plan.tr_s:
        report.fail("writing", f"{facts}: longer than the TR; give a faster disk", ExitCode.DISK, **figures)
    elif typical_s > SLOW_COMMIT_S:
        report.warn("writing", f"{facts}: a slow disk; each ack waits as long", **figures)
    else:
        report.ok("writing", facts, **figures)
    return True


def _sizes(plan: CheckPlan, weights: Weights | None) -> tuple[int, int]:
    """Return the journaled bytes of a volume, and at most how many its pictures take."""
    if weights is None:
        return 4 * TYPICAL_VOXELS, 0
    n_stored = len(weights.voxel_index) + math.prod(weights.card.shape) * plan.config.serve.store_volumes
    side = PICTURE_SIDE_OF_LATENT * weights.card.latent_shape[-1]
    return 4 * n_stored, 2 * 3 * side**2 if weights.has_pictures else 0


def _commit_times_s(folder: Path, n_voxels: int, *, wait_for_disk: bool) -> list[float]:
    """Commit volumes to a journal of its own, as the front does."""
    voxels, taken_s = np.zeros(n_voxels, np.float32), []
    with tempfile.TemporaryDirectory(prefix="check-", dir=folder) as inside:
        journal = Journal(Path(inside) / "check.sqlite3", wait_for_disk=wait_for_disk)
        try:
            for index in range(N_COMMITS):
                volume = Volume(session="check", run="check", index=index, shape=(1, 1, 1), dtype="float32", crc32=0)
                began_s = time.perf_counter()
                journal.add_volume(volume, voxels, seen=None, whole=None)
                taken_s.append(time.perf_counter() - began_s)
        finally:
            journal.close()
    return taken_s


def _size(n_bytes: float) -> str:
    exponent = min(int(math.log10(max(n_bytes, 1)) // 3), len(UNITS) - 1)
    return f"{n_bytes / 1000**exponent:.3g} {UNITS[exponent]}"
