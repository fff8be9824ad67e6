"""The GPU benchmark runs, here in its small form on the CPU."""

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

pytestmark = pytest.mark.filterwarnings("default")  # as for a script: diffusers warns of its own deprecations


@pytest.fixture
def gpu(monkeypatch):
    path = Path(__file__).parents[1] / "benchmarks" / "gpu.py"
    monkeypatch.syspath_prepend(path.parent)  # as for a script that is run
    spec = spec_from_file_location("gpu_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_gpu_benchmark_runs_in_its_small_form(gpu, tmp_path):
    out = tmp_path / "gpu.json"
    ran = CliRunner().invoke(gpu.main, ["--tiny", "--device", "cpu", "--out", str(out)])
    assert ran.exit_code == 0, ran.output
    results = json.loads(out.read_text())
    assert (results["failures"], results["left_out"]) == ([], [])
    rows = results["pictures"]
    assert {row["arm"] for row in rows if not row["gap_s"]} == {
        "diffusers", "stream-batch schedule, rebuilt here", "braind", "braind, from voxels"
    }  # fmt: skip
    assert {(row["decoder"], row["calls"], row["guidance"]) for row in rows} == {
        (decoder, calls, guidance)
        for decoder in ("AutoencoderKL", "AutoencoderTiny")
        for calls in (1, 2, 8)
        for guidance in (1.0, 5.0)
    }
    assert {row["arm"] for row in rows if row["gap_s"]} >= {"braind, from voxels", "braind, from voxels, kept warm"}
    assert {row["arm"] for row in results["ridge"]} == {"dense, cpu", "rank 16, cpu"}
    assert all(0 < row["share_of_floor"] <= 1 for row in rows + results["ridge"])


def test_what_does_not_begin_in_time_is_left_out_and_named(gpu, tmp_path):
    out = tmp_path / "gpu.json"
    ran = CliRunner().invoke(gpu.main, ["--tiny", "--device", "cpu", "--budget", "0", "--out", str(out)])
    assert ran.exit_code == 0, ran.output
    results = json.loads(out.read_text())
    assert results["pictures"] == []
    assert "AutoencoderKL, guidance 5.0, 8 calls" in results["left_out"]


def test_a_row_under_its_floor_fails_the_run(gpu, tmp_path):
    results = {"failures": [], "pictures": [], "peak_flops": {"pictures": 1e9}}
    bench = gpu.Bench(torch.device("cpu"), torch.float32, True, 1.0, tmp_path / "gpu.json", results, 0.0)
    bench.add_row("pictures", 2e6, arm="honest", p50_ms=4.0, best_ms=3.0)
    bench.add_row("pictures", 2e6, arm="too good", p50_ms=4.0, best_ms=1.0)
    bench.judge()
    (failure,) = results["failures"]
    assert "too good" in failure
    assert "under its floor" in failure
    assert [(row["floor_ms"], row["share_of_floor"]) for row in results["pictures"]] == [(2.0, 0.5)] * 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_the_script_says_so(gpu):
    ran = CliRunner().invoke(gpu.main, [])
    assert ran.exit_code == 2
    assert "torch finds no GPU here" in ran.output
