"""The GPU benchmark runs, here in its small form on the CPU."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


def test_the_gpu_benchmark_runs_in_its_small_form(tmp_path):
    out = tmp_path / "gpu.json"
    ran = subprocess.run(
        [sys.executable, SCRIPT, "--tiny", "--device", "cpu", "--out", out], capture_output=True, text=True, timeout=280
    )
    assert ran.returncode == 0, ran.stderr
    results = json.loads(out.read_text())
    assert {row["arm"] for row in results["pictures"]} == {
        "diffusers", "stream-batch schedule, rebuilt here", "braind"
    }  # fmt: skip
    assert {(row["calls"], row["guidance"]) for row in results["pictures"]} == {
        (calls, guidance) for calls in (1, 2, 4, 8, 40) for guidance in (1.0, 5.0)
    }
    assert all(row["ms"] >= row["floor_ms"] > 0 for row in results["pictures"])
