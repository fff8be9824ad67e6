"""Measuring: interleaved rounds, percentiles, the floor of arithmetic, and results with their origin."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

N_WARM_UPS = 2
PACKAGES = ("torch", "diffusers", "transformers", "onnxruntime-gpu", "numpy", "scikit-learn", "himalaya", "pyzmq")


def seconds(function: Callable[[], object]) -> float:
    """Time one call."""
    began_s = time.perf_counter()
    function()
    return time.perf_counter() - began_s


def interleaved(arms: dict[str, Callable[[], object]], n_rounds: int) -> dict[str, dict[str, float]]:
    """Time arms in turn after warm-up rounds, so that other load on the machine slows all arms alike."""
    times: dict[str, list[float]] = {name: [] for name in arms}
    for round_number in range(n_rounds + N_WARM_UPS):
        for name, function in arms.items():
            taken_s = seconds(function)
            if round_number >= N_WARM_UPS:
                times[name].append(taken_s)
    return {name: summary(values) for name, values in times.items()}


def summary(times_s: Iterable[float]) -> dict[str, float]:
    """Return percentiles in ms."""
    times_ms = 1000 * np.asarray(list(times_s))
    percentiles = {f"p{share}_ms": round(float(np.percentile(times_ms, share)), 3) for share in (50, 95, 99)}
    return {**percentiles, "best_ms": round(float(times_ms.min()), 3), "n": len(times_ms)}


# ── the floor ───────────────────────────────────────────────────────────────────────────────────────────────────────


def peak_flops() -> float:
    """Measure the rate of a large float32 matrix product of random numbers, FLOP/s: the best of several."""
    a, b = torch.randn(2, 1024, 1024)
    return 2 * 1024**3 / min(seconds(lambda: torch.matmul(a, b)) for _ in range(20))


@torch.inference_mode()
def flops_of(run: Callable[[], object]) -> int:
    """Count a call's floating-point operations; attention as the matrix products it is."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


# ── results ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def origin() -> dict[str, Any]:
    """Return where and with what a result was measured."""
    versions = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "--short", "HEAD") + ("+" if _git("status", "--porcelain", "-uno") else ""),
        "machine": {
            "processor": _processor(), "cores": os.cpu_count(), "threads": torch.get_num_threads(),
            "load_before": round(os.getloadavg()[0], 2), "system": platform.system(),
            "python": platform.python_version(),
        },
        "versions": versions,
    }  # fmt: skip


def write_result(folder: Path, name: str, where: dict[str, Any], result: dict[str, Any]) -> Path:
    """Write one part's result beside its origin."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps({**where, **result}, indent=1) + "\n")
    return path


def _git(*arguments: str) -> str:
    answer = subprocess.run(["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True)
    return answer.stdout.strip()


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
