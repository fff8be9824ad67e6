"""GPU benchmark: a full-size Stable Diffusion 1.x with random weights, beside its competitors.

    python benchmarks/gpu.py                      # under 9 minutes on one GPU, nothing to download
    python benchmarks/gpu.py --tiny --device cpu  # the same code with a small model, to know that it works

Speed does not depend on the weights' values as long as they are finite, which is asserted; inputs are random, because
matrix products of zeros run faster. Every row has its floor: its arithmetic, counted by torch, at the measured peak
rate of a large matrix product. A row under its floor is a mistake of the measurement and fails the run. What does not
begin within the time budget is left out, and named. Writes JSON after every part, and prints it.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from gpu_arms import Stock, StreamBatch
from gpu_models import FULL, TINY, random_autoencoder, random_model, random_weights
from measuring import flops_of, origin, summary

from braind.models.ldm.networks import Networks, networks_of
from braind.models.ldm.reconstruct import Reconstructor
from braind.models.ldm.torch_engine import TorchEngine
from braind.models.pipeline.device_ridge import DeviceRidge
from braind.models.pipeline.volume_graph import Called, Recorded, Recorder, VolumeGraph, picture_maker
from braind.models.presets import Preset
from braind.models.weights.weights import Weights

START, SCALE = 799, 5.0
LONGEST_STREAM = 8
PACED_CALLS, PACED_GAP_S, PULSE_S = (1, 4), 1.33, 0.05
BRAIND, FROM_VOXELS, KEPT_WARM = "braind", "braind, from voxels", "braind, from voxels, kept warm"
EAGER, COMPILED, STREAM = "diffusers", "diffusers, compiled", "stream-batch schedule, rebuilt here"
SAME_DB = 40.0

Run = Callable[[], Any]


@dataclass
class Bench:
    """What all parts share: the device, how much to do, and what came out so far."""

    device: torch.device
    dtype: torch.dtype
    is_tiny: bool
    budget_s: float
    out: Path
    results: dict[str, Any]
    began_s: float

    def begins(self, what: str, share: float = 1.0) -> bool:
        """Return whether a part may still begin within its share of the time; note it as left out otherwise."""
        if time.monotonic() - self.began_s < share * self.budget_s:
            return True
        self.results["left_out"].append(what)
        return False

    def write(self) -> None:
        """Write what there is: a run that is cut off leaves its figures."""
        self.results["took_s"] = round(time.monotonic() - self.began_s, 1)
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self.out.write_text(json.dumps(self.results, indent=1) + "\n")

    def sync(self) -> None:
        """Wait until the device has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def timed(self, runs: dict[str, Run], n: int, before: dict[str, Run] | None = None) -> dict[str, dict[str, Any]]:
        """Time runs in turn after a warm-up: percentiles of the wall clock, and of the GPU's own clock."""
        wall_s: dict[str, list[float]] = {name: [] for name in runs}
        events_s: dict[str, list[float]] = {name: [] for name in runs}
        for round_number in range(n + 1):
            for name, run in runs.items():
                (before or {}).get(name, self.sync)()
                events = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if self._has_events else []
                began_s = time.perf_counter()
                if events:
                    events[0].record()
                run()
                if events:
                    events[1].record()
                self.sync()
                if round_number:
                    wall_s[name].append(time.perf_counter() - began_s)
                    events_s[name] += [events[0].elapsed_time(events[1]) / 1000] if events else []
        return {
            name: {**summary(times), "events": summary(events_s[name]) if events_s[name] else None}
            for name, times in wall_s.items()
        }

    @property
    def gap_s(self) -> float:
        """Return the pause before each paced volume."""
        return 2 * PULSE_S if self.is_tiny else PACED_GAP_S

    @property
    def _has_events(self) -> bool:
        return self.device.type == "cuda"

    def add_row(self, part: str, flops: float, **row: Any) -> None:
        """Add a row; its floor follows when the peak is known."""
        self.results[part].append({**row, "gflop": round(flops / 1e9, 6)})

    def measure_peaks(self) -> None:
        """Measure the rate of a large matrix product of random numbers, FLOP/s, and keep the best so far.

        Other work on the machine only lowers it, so it is measured before every part.
        """
        size = 512 if self.is_tiny else 8192
        for name, dtype in (("pictures", self.dtype), ("ridge", torch.float32)):
            a, b = torch.randn(2, size, size, device=self.device).to(dtype)
            best_s = self.timed({"matmul": lambda: torch.matmul(a, b)}, 10)["matmul"]["best_ms"] / 1000  # noqa: B023
            peaks = self.results["peak_flops"]
            peaks[name] = max(peaks.get(name, 0.0), 2 * size**3 / best_s)

    def judge(self) -> None:
        """Give every row its share of its floor; a row under it is a failure."""
        for part, peak in self.results["peak_flops"].items():
            for row in self.results[part]:
                floor_ms = 1e12 * row["gflop"] / peak
                row |= {"floor_ms": round(floor_ms, 5), "share_of_floor": round(floor_ms / row["p50_ms"], 6)}
                if row["best_ms"] < floor_ms:
                    self.results["failures"].append(f"{part}: {row} is under its floor")


# ── one volume → one picture ────────────────────────────────────────────────────────────────────────────────────────


def least_flops(networks: Networks, n_calls: int, batch: int) -> int:
    """Count the least arithmetic of a picture: c's keys and values once a volume, the unconditional ones never."""
    ldm = networks.ldm
    latents = torch.randn(batch, *ldm.latent_shape, device=ldm.device).to(ldm.dtype)
    embedding = torch.randn(1, *ldm.text_shape, device=ldm.device).to(ldm.dtype)
    context = networks.denoiser.context(embedding.repeat(batch, 1, 1))
    time_embedding = networks.denoiser.time_embedding(500)
    call = flops_of(lambda: networks.denoiser(latents, time_embedding, context.pooled, *context.keys_values))
    once = flops_of(lambda: networks.denoiser.context(embedding)) + flops_of(lambda: networks.decoded(latents[:1]))
    return n_calls * call + once


def picture_runs(
    bench: Bench, engine: TorchEngine, preset: Preset, weights: Weights, stock: dict[str, Stock]
) -> tuple[dict[str, Run], VolumeGraph]:
    """Make the arms of one preset, each a function that ends with a picture on the host."""
    generator = np.random.default_rng(0)
    ldm = engine.networks.ldm
    z, c = (generator.normal(size=shape).astype(np.float32) for shape in (ldm.latent_shape, ldm.text_shape))
    voxels = generator.normal(size=len(weights.voxel_index)).astype(np.float32)
    reconstructor = Reconstructor(ldm, preset, engine=engine)
    graph = VolumeGraph(weights, reconstructor, "zc")
    runs: dict[str, Run] = {name: one.run(reconstructor, z, c) for name, one in stock.items()}
    runs[BRAIND] = picture_maker(reconstructor, z, c)
    runs[FROM_VOXELS] = lambda: list(graph.run(voxels))[-1][0]
    if preset.n_calls <= LONGEST_STREAM:
        stream = StreamBatch(reconstructor, z, c)
        stage = Recorded(stream.push, Recorder()) if bench.device.type == "cuda" else Called(stream.push)

        def push() -> Any:
            stage.launch()
            return stage.arrays()[0]

        runs[STREAM] = push
    return runs, graph


def measure_pictures(bench: Bench, engine: TorchEngine, weights: Weights, stock: dict[str, Stock]) -> None:
    """Time every arm for every number of calls, without and with guidance, and paced for some."""
    networks = engine.networks
    decoder = type(networks.autoencoder).__name__
    for scale in (1.0, SCALE):
        batch = 1 if scale == 1 else 2
        for n_calls in (1, 2, 8) if bench.is_tiny else (4, 1, 2, 8, 40):
            what = f"{decoder}, guidance {scale}, {n_calls} calls"
            if not bench.begins(what):
                continue
            preset = Preset("bench", START, n_calls, guidance_scale=scale, guidance="none" if batch == 1 else "full")
            runs, graph = picture_runs(bench, engine, preset, weights, stock)
            check_pictures(bench, runs, what)
            flops = least_flops(networks, n_calls, batch)
            bench.measure_peaks()
            common = {"decoder": decoder, "calls": n_calls, "batch": batch, "guidance": scale}
            for name, times in bench.timed(runs, 2 if bench.is_tiny else 7 if n_calls > 8 else 20).items():
                # the schedule's call ends one picture: it does the work of one, and gives it n - 1 volumes later
                lag = n_calls - 1 if name == STREAM else 0
                bench.add_row("pictures", flops, arm=name, gap_s=0.0, lag_volumes=lag, **common, **times)
            if n_calls in PACED_CALLS and bench.begins(f"paced: {what}", 0.9):
                for name, times in paced(bench, runs, graph).items():
                    bench.add_row("pictures", flops, arm=name, gap_s=bench.gap_s, lag_volumes=0, **common, **times)
            bench.write()


def paced(bench: Bench, runs: dict[str, Run], graph: VolumeGraph) -> dict[str, dict[str, Any]]:
    """Time with a gap before each volume, in which a GPU's clocks go down; and with a pulse before its end."""

    def wait() -> None:
        time.sleep(bench.gap_s)

    def wait_and_pulse() -> None:
        time.sleep(bench.gap_s - PULSE_S)
        graph.pulse()
        time.sleep(PULSE_S)
        bench.sync()

    stock = COMPILED if COMPILED in runs else EAGER
    arms = {stock: (wait, stock), FROM_VOXELS: (wait, FROM_VOXELS), KEPT_WARM: (wait_and_pulse, FROM_VOXELS)}
    arms = {name: (before, arm) for name, (before, arm) in arms.items() if arm in runs}  # one may have failed
    before = {name: before for name, (before, _) in arms.items()}
    return bench.timed({name: runs[arm] for name, (_, arm) in arms.items()}, 1 if bench.is_tiny else 6, before)


def check_pictures(bench: Bench, runs: dict[str, Run], what: str) -> None:
    """Run every arm once: one that fails is named and left out, and so is one whose picture is of one colour."""
    pictures = {}
    for name, run in list(runs.items()):
        try:
            picture = np.asarray(run())
            if picture.dtype != np.uint8 or picture.std() == 0:
                raise ValueError("a picture of one colour: the random weights gave no finite numbers")
            pictures[name] = picture
        except Exception as error:  # noqa: BLE001 (one arm's failure must not cost the others' figures)
            bench.results["failures"].append(f"{what}, {name}: {type(error).__name__}: {str(error)[:500]}")
            del runs[name]
    if bench.dtype == torch.float32 and {EAGER, BRAIND} <= set(pictures):
        # in half precision diffusers draws its noise in half precision, too: another picture
        difference = pictures[EAGER].astype(float) - pictures[BRAIND]
        db = 10 * np.log10(255**2 / max(np.square(difference).mean(), 1e-9))
        if db < SAME_DB:
            bench.results["failures"].append(f"{what}: {EAGER} and {BRAIND} differ ({db:.1f} dB): not the same work")


# ── voxels → z and c ────────────────────────────────────────────────────────────────────────────────────────────────


@torch.inference_mode()
def measure_ridge(bench: Bench, weights: Weights) -> None:
    """Time one trial's prediction, dense and at low rank, on the device and where the host predicts."""
    generator = np.random.default_rng(0)
    n_voxels = len(weights.voxel_index)
    n_targets = sum(int(np.prod(shape)) for shape in (weights.card.latent_shape, weights.card.text_shape))
    voxels = torch.from_numpy(generator.normal(size=n_voxels).astype(np.float32)).to(bench.device)
    dense = torch.randn(n_voxels, n_targets, device=bench.device)
    on_device = DeviceRidge(weights, bench.device)
    low_rank = sum(part.rank * (len(part.positions) + part.right.shape[1]) for part in (weights.z, weights.c))
    host_voxels = voxels.cpu().numpy()[None]
    device = bench.device.type
    functions: dict[str, tuple[Run, int]] = {
        f"dense, {device}": (lambda: (voxels[None] @ dense,), n_voxels * n_targets),
        f"rank {weights.c.rank}, {device}": (lambda: on_device(voxels), low_rank),
    }
    runs: dict[str, Run] = {}
    for name, (function, _) in functions.items():
        stage = Recorded(function, Recorder()) if device == "cuda" else Called(function)

        def run(stage: Called | Recorded = stage) -> Any:
            stage.launch()
            return stage.arrays()

        runs[name] = run
    if device == "cuda":
        name = f"rank {weights.c.rank}, cpu"
        runs[name], functions[name] = (lambda: weights.predict(host_voxels)), (lambda: None, low_rank)
    for name, times in bench.timed(runs, 3 if bench.is_tiny else 50).items():
        bench.add_row("ridge", 2 * functions[name][1], arm=name, voxels=n_voxels, targets=n_targets, **times)
    bench.write()


@click.command()
@click.option("--tiny", is_flag=True, help="A small model, to try the script.")
@click.option("--device", default="cuda", show_default=True)
@click.option("--dtype", default="bfloat16", show_default=True, type=click.Choice(["bfloat16", "float16"]))
@click.option("--budget", "budget_s", default=450.0, show_default=True, help="Nothing begins after so many seconds.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/gpu.json"), show_default=True)
def main(tiny: bool, device: str, dtype: str, budget_s: float, out: Path) -> None:
    """Run everything; write and print JSON."""
    where, sizes = torch.device(device), TINY if tiny else FULL
    if where.type == "cuda" and not torch.cuda.is_available():
        raise click.UsageError("torch finds no GPU here; try the script with --tiny --device cpu")
    networks_dtype = getattr(torch, dtype) if where.type == "cuda" else torch.float32
    results: dict[str, Any] = {
        **origin(), "device": torch.cuda.get_device_name() if where.type == "cuda" else "cpu", "tiny": tiny,
        "dtype": str(networks_dtype), "budget_s": budget_s, "left_out": [], "failures": [], "peak_flops": {},
        "pictures": [], "ridge": [],
    }  # fmt: skip
    bench = Bench(where, networks_dtype, tiny, budget_s, out, results, time.monotonic())
    bench.measure_peaks()
    ldm = random_model(sizes, where, networks_dtype)
    weights = random_weights(ldm, sizes["voxels"], sizes["rank"])
    measure_ridge(bench, weights)
    full = networks_of(ldm, Preset("bench", START, 1))
    tiny_decoder = replace(
        full, autoencoder=random_autoencoder(sizes, where, networks_dtype, is_tiny=True), is_tiny=True
    )
    for networks in (tiny_decoder, full):
        engine = TorchEngine(networks)
        stock = {EAGER: Stock(networks, is_compiled=False)}
        if where.type == "cuda":
            stock[COMPILED] = Stock(networks, is_compiled=True)
        with torch.inference_mode():
            measure_pictures(bench, engine, weights, stock)
    bench.measure_peaks()
    bench.judge()
    bench.write()
    print(json.dumps(results, indent=1))
    if results["failures"]:
        raise SystemExit("\n".join(results["failures"]))


if __name__ == "__main__":
    main()
