"""`make bench`: the figures of docs/benchmarks.md, each beside its competitor in the same run.

Prints Markdown tables; writes build/bench.json with machine, versions and commit.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionImg2ImgPipeline
from PIL import Image

from braind.client.config import engines_path, load_config, weights_path
from braind.client.nsd import NsdTree
from braind.models.engines import TorchEngine
from braind.models.ldm import LatentDiffusionModel
from braind.models.onnx_engine import OnnxEngine
from braind.models.presets import PRESETS, Preset
from braind.models.reconstruct import Reconstructor
from braind.models.weights import Weights
from braind.offline.fitting import ensure_tree, ready_weights

SUBJECT = 1
N_ROUNDS = 15
N_VOLUMES = 60


def seconds(function: Any) -> float:
    """Time one call."""
    began_s = time.perf_counter()
    function()
    return time.perf_counter() - began_s


def interleaved(arms: dict[str, Any], n_rounds: int = N_ROUNDS) -> dict[str, dict[str, float]]:
    """Time arms in turn, after two warm-up rounds; median, 95th percentile and best, in ms."""
    times: dict[str, list[float]] = {name: [] for name in arms}
    for round_number in range(n_rounds + 2):
        for name, function in arms.items():
            taken = seconds(function)
            if round_number >= 2:
                times[name].append(1000 * taken)
    return {
        name: {"median_ms": median(values), "p95_ms": float(np.percentile(values, 95)), "best_ms": min(values)}
        for name, values in times.items()
    }


def import_costs() -> dict[str, dict[str, float]]:
    """Time fresh interpreters: bare, importing the client room, and `braind --help`."""

    def run(*arguments: str) -> Any:
        return lambda: subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)

    return interleaved(
        {
            "bare python": run("-c", "pass"),
            "import braind.client (scanner)": run("-c", "import braind.client.scanner"),
            "braind --help": run("-m", "braind", "--help"),
        }
    )


def reconstruction(ldm: LatentDiffusionModel, calls: int, guidance: float) -> dict[str, dict[str, float]]:
    """Time one (z, c) → picture with `calls` denoiser calls: diffusers' pipeline, and braind's engines.

    Every arm starts from the same latents and embeddings, guides every call (a batch of two) and decodes with the same
    autoencoder. "diffusers as written" takes a picture and a prompt, as its documentation does; "at its best" takes
    tensors, in channels_last.
    """
    rng = np.random.default_rng(0)
    z = rng.normal(size=ldm.latent_shape).astype(np.float32)
    caption = "a big panda at the left , red above blue"
    c = ldm.encode_captions([[caption]])[0]
    preset = Preset("bench", 799, calls, guidance_scale=guidance)
    engines = {"torch": TorchEngine(ldm), "onnx": OnnxEngine(ldm, engines_path(load_config()))}
    ours = {name: Reconstructor(ldm, preset, engine=engine) for name, engine in engines.items()}
    n_grid = next(n for n in range(calls, 10 * calls) if int(n * 0.8) == calls)
    common = {"strength": 0.8, "num_inference_steps": n_grid, "guidance_scale": guidance}
    written, best = stock_pipeline(ldm), stock_pipeline(ldm)
    best.unet.to(memory_format=torch.channels_last)
    best.vae.to(memory_format=torch.channels_last)
    picture = Image.fromarray(ours["torch"].coarse(z))
    tensors = {
        "image": torch.from_numpy(z)[None], "prompt_embeds": torch.from_numpy(c)[None],
        "negative_prompt_embeds": ours["torch"].empty, "output_type": "np",
    }  # fmt: skip
    return interleaved(
        {
            "diffusers as written": lambda: written(image=picture, prompt=caption, **common),
            "diffusers at its best": lambda: best(**tensors, **common),
            "braind torch": lambda: ours["torch"].picture(z, c),
            "braind onnx": lambda: ours["onnx"].picture(z, c),
        },
        5 if calls > 10 else N_ROUNDS,
    )


def stock_pipeline(ldm: LatentDiffusionModel) -> Any:
    """Load diffusers' own pipeline."""
    pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(ldm.path, safety_checker=None, feature_extractor=None)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def presets(ldm: LatentDiffusionModel, cache: Path) -> dict[str, dict[str, float]]:
    """Time one picture of every preset, with the onnx engine."""
    z = np.random.default_rng(0).normal(size=ldm.latent_shape).astype(np.float32)
    c = ldm.encode_captions([["a big panda at the left , red above blue"]])[0]
    engine = OnnxEngine(ldm, cache)
    ours = {name: Reconstructor(ldm, preset, engine=engine) for name, preset in PRESETS.items()}
    return interleaved({name: lambda one=one: one.picture(z, c) for name, one in ours.items()}, 7)


def ridge_predict(weights: Weights) -> dict[str, dict[str, float]]:
    """Time one volume's voxels → z and c: compiled low rank against the dense product scikit-learn would do."""
    voxels = np.random.default_rng(0).normal(size=(1, len(weights.voxel_index))).astype(np.float32)
    parts = (weights.z, weights.c)
    dense = [np.ones((len(part.positions), part.target_mean.size), np.float32) for part in parts]

    def predict_dense() -> None:
        for part, coefficients in zip(parts, dense, strict=True):
            np.matmul(voxels[:, part.positions], coefficients)

    return interleaved({"dense product": predict_dense, "compiled weights": lambda: weights.predict(voxels)}, 200)


def replayed(weights: Path, tree: NsdTree) -> dict[str, Any]:
    """Replay single trials at four times NSD's pace through a real daemon; latency from sending to Xzc."""
    with tempfile.TemporaryDirectory() as folder:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "braind", "serve", "--data", folder, "--weights", weights, "--candidates",
             weights.with_suffix(".candidates.safetensors"), "--ingest-port", "0", "--decodes-port", "0",
             "--control-port", "0"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            braind = [sys.executable, "-m", "braind"]
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline:
                status = subprocess.run([*braind, "status", "--json", "--data", folder], capture_output=True)
                if status.returncode == 0 and json.loads(status.stdout)["state"] == "ready":
                    break
            finished = subprocess.run(
                [*braind, "replay", "--data", folder, "--nsd", tree.root, "--speed", "4", "--max-volumes",
                 str(N_VOLUMES), "--json"],
                check=True, capture_output=True,
            )  # fmt: skip
            return json.loads(finished.stdout)
        finally:
            daemon.terminate()
            daemon.wait()


def table(title: str, rows: dict[str, dict[str, float]]) -> None:
    """Print one Markdown table."""
    print(f"\n### {title}\n\n| | median ms | p95 ms | best ms |\n|---|---|---|---|")
    for name, row in rows.items():
        print(f"| {name} | {row['median_ms']:.1f} | {row['p95_ms']:.1f} | {row['best_ms']:.1f} |")


def main() -> None:
    """Run every benchmark."""
    config = load_config()
    tree = ensure_tree(config)
    ready_weights(config, SUBJECT)
    ldm, weights = LatentDiffusionModel.load(), Weights.load(weights_path(config, SUBJECT))
    results: dict[str, Any] = {
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count(),
                    "threads": torch.get_num_threads(), "python": platform.python_version()},
        "versions": {name: version(name) for name in ("torch", "diffusers", "numpy", "pyzmq")},
        "commit": subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], text=True).strip(),
    }  # fmt: skip
    for name, measure in {
        "Start-up": import_costs,
        **{f"Picture, {calls} guided calls": partial(reconstruction, ldm, calls, 3.0) for calls in (1, 2, 4, 8, 40)},
        "Picture, by preset": lambda: presets(ldm, engines_path(config)),
        "Ridge, one volume": lambda: ridge_predict(weights),
    }.items():
        results[name] = measure()
        table(name, results[name])
    results["live"] = replayed(weights_path(config, SUBJECT), tree)
    print(f"\n### Replay, one volume a second\n\n```\n{json.dumps(results['live'], indent=2)}\n```")
    Path("build").mkdir(exist_ok=True)
    Path("build/bench.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
