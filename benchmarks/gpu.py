"""GPU benchmark: a full-size Stable Diffusion 1.x with random weights, one (z, c) → picture, beside its competitors.

    python benchmarks/gpu.py                      # minutes on one GPU, nothing to download
    python benchmarks/gpu.py --tiny --device cpu  # the same code with a small model, to know that it works

Speed does not depend on the weights' values as long as they are finite, which is asserted; inputs are random, because
matrix products of zeros run faster. Every row has its floor: its arithmetic, counted by torch, at the measured peak
rate of a large matrix product. A row under its floor is a mistake of the measurement and fails the run. Prints JSON.
"""

import json
import platform
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DDIMScheduler, StableDiffusionImg2ImgPipeline
from diffusers import UNet2DConditionModel as UNet
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from braind.models.fingerprint import EMBEDDED_LDM_PATH
from braind.models.ldm import LatentDiffusionModel
from braind.models.low_rank import low_rank_map
from braind.models.presets import Preset
from braind.models.reconstruct import Reconstructor

CALLS = (1, 2, 4, 8, 40)
# What is not named is diffusers' default; Stable Diffusion 1.x's published configurations.
FULL = {
    "unet": {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8, "layers_per_block": 2,
             "block_out_channels": (320, 640, 1280, 1280),
             "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
             "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3},
    "vae": {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2},
    "text": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
    "tokens": 77, "matmul": 8192, "ridge": (13521, 6400 + 59136),
}  # fmt: skip
TINY = {
    "unet": {"sample_size": 8, "cross_attention_dim": 32, "attention_head_dim": 4, "layers_per_block": 1,
             "norm_num_groups": 8, "block_out_channels": (16, 32),
             "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
             "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D")},
    "vae": {"block_out_channels": (8, 8, 8, 8), "layers_per_block": 1, "norm_num_groups": 8},
    "text": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2},
    "tokens": 16, "matmul": 512, "ridge": (700, 2000),
}  # fmt: skip


def random_model(sizes: dict[str, Any], device: torch.device, *, tiny_decoder: bool) -> LatentDiffusionModel:
    """Build Stable Diffusion's classes with random weights."""
    torch.manual_seed(0)
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    n_levels = len(sizes["vae"]["block_out_channels"])
    levels: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * n_levels,
        "up_block_types": ("UpDecoderBlock2D",) * n_levels,
    }
    text = CLIPTextConfig(**sizes["text"], max_position_embeddings=sizes["tokens"])
    with device:
        unet, text_encoder = UNet(**sizes["unet"]), CLIPTextModel(text)
        autoencoder: Any = (
            AutoencoderTiny() if tiny_decoder else AutoencoderKL(**sizes["vae"], **levels, latent_channels=4)
        )
    parts: tuple[Any, ...] = (unet, text_encoder, autoencoder)
    for part in parts:
        part.to(dtype=dtype).eval().requires_grad_(False)
    tokenizer = CLIPTokenizer.from_pretrained(EMBEDDED_LDM_PATH / "tokenizer", model_max_length=sizes["tokens"])
    scheduler: Any = DDIMScheduler.from_pretrained(EMBEDDED_LDM_PATH / "scheduler")
    return LatentDiffusionModel(
        path=EMBEDDED_LDM_PATH, autoencoder=autoencoder, text_encoder=text_encoder, tokenizer=tokenizer, unet=unet,
        alphas_cumprod=scheduler.alphas_cumprod.double(), final_alpha_cumprod=float(scheduler.final_alpha_cumprod),
        device=device, dtype=dtype,
    )  # fmt: skip


def pipeline_of(ldm: LatentDiffusionModel, *, compiled: bool) -> Any:
    """Put a model into diffusers' own pipeline."""
    unet = torch.compile(ldm.unet) if compiled else ldm.unet
    pipeline_class: Any = StableDiffusionImg2ImgPipeline
    pipeline = pipeline_class(
        ldm.autoencoder, ldm.text_encoder, ldm.tokenizer, unet, DDIMScheduler.from_pretrained(ldm.path / "scheduler"),
        None, None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def synchronise(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def timed(arms: dict[str, Any], device: torch.device, n_rounds: int) -> dict[str, float]:
    """Time arms in turn after two warm-up rounds: medians in ms."""
    times: dict[str, list[float]] = {name: [] for name in arms}
    for round_number in range(n_rounds + 2):
        for name, run in arms.items():
            synchronise(device)
            began_s = time.perf_counter()
            run()
            synchronise(device)
            if round_number >= 2:
                times[name].append(1000 * (time.perf_counter() - began_s))
    return {name: median(values) for name, values in times.items()}


def peak_flops(size: int, device: torch.device, dtype: torch.dtype) -> float:
    """Measure the rate of a large matrix product of random numbers, FLOP/s; the best of several."""
    a, b = torch.randn(2, size, size, device=device, dtype=dtype)
    times = []
    for _ in range(10):
        synchronise(device)
        began_s = time.perf_counter()
        torch.matmul(a, b)
        synchronise(device)
        times.append(time.perf_counter() - began_s)
    return 2 * size**3 / min(times)


def flops_of(run: Any) -> int:
    """Count a call's floating-point operations."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


@torch.inference_mode()
def reconstruction_rows(ldm: LatentDiffusionModel, decoder: str, peak: float, *, is_tiny: bool) -> list[dict[str, Any]]:
    """Time every arm for every number of calls, with and without guidance."""
    generator = np.random.default_rng(0)
    z = generator.normal(size=ldm.latent_shape).astype(np.float32)
    c = generator.normal(size=ldm.text_shape).astype(np.float32)
    latents = torch.from_numpy(z)[None].to(ldm.device, ldm.dtype)
    embedding = torch.from_numpy(c)[None].to(ldm.device, ldm.dtype)
    eager, compiled = pipeline_of(ldm, compiled=False), None if is_tiny else pipeline_of(ldm, compiled=True)
    decode_flops = flops_of(lambda: ldm.decode_latents(latents))
    rows = []
    for guidance in (1.0, 5.0):
        batch = 1 if guidance == 1 else 2
        doubled, both = latents.repeat(batch, 1, 1, 1), embedding.repeat(batch, 1, 1)
        call_flops = flops_of(lambda: ldm.unet(doubled, 500, both))  # noqa: B023 (called at once)
        for n_calls in CALLS:
            preset = Preset("bench", 799, n_calls, guidance_scale=guidance)
            braind = Reconstructor(ldm, replace(preset, guidance="none" if guidance == 1 else "full"))
            picture = braind.picture(z, c)
            assert picture.std() > 0, "a picture of one colour: the random weights gave no finite numbers"
            n_grid = next(n for n in range(n_calls, 10 * n_calls + 2) if int(n * 0.8) == n_calls)
            stock = {
                "image": latents, "prompt_embeds": embedding, "negative_prompt_embeds": braind.empty, "strength": 0.8,
                "num_inference_steps": n_grid, "guidance_scale": guidance, "output_type": "pt",
            }  # fmt: skip
            # StreamDiffusion's schedule: pictures in flight share one call, so each call yields one picture, n later
            streamed, stream_embeds = doubled.repeat(n_calls, 1, 1, 1), both.repeat(n_calls, 1, 1)
            arms = {
                "diffusers": lambda: eager(**stock),  # noqa: B023
                "stream-batch schedule, rebuilt here": lambda: (
                    ldm.unet(streamed, 500, stream_embeds), ldm.decode_latents(latents)),  # noqa: B023
                "braind": lambda: braind.picture(z, c),  # noqa: B023
            }  # fmt: skip
            if compiled is not None:
                arms["diffusers, compiled"] = lambda: compiled(**stock)  # noqa: B023
            if n_calls > 8:
                del arms["stream-batch schedule, rebuilt here"]
            floor_ms = 1000 * (n_calls * call_flops + decode_flops) / peak
            for name, taken_ms in timed(arms, ldm.device, 3 if n_calls > 8 else 7).items():
                rows.append({
                    "arm": name, "decoder": decoder, "calls": n_calls, "guidance": guidance, "ms": taken_ms,
                    "latency_volumes": n_calls if name.startswith("stream") else 1,
                    "floor_ms": floor_ms, "share_of_floor": floor_ms / taken_ms,
                })  # fmt: skip
                if taken_ms < floor_ms:
                    raise SystemExit(f"{name}, {n_calls} calls: {taken_ms:.2f} ms is under its floor {floor_ms:.2f} ms")
    return rows


def ridge_rows(n_voxels: int, n_targets: int, rank: int = 512) -> dict[str, float]:
    """Time one volume's voxels → targets, dense and at low rank, on the CPU, where braind does it."""
    generator = np.random.default_rng(0)
    voxels = generator.normal(size=(1, n_voxels)).astype(np.float32)
    dense = generator.normal(size=(n_voxels, n_targets)).astype(np.float32)
    rank = min(rank, n_voxels // 2)
    zeros = np.zeros(n_targets)
    compiled = low_rank_map(
        np.arange(n_voxels), generator.normal(size=(n_voxels, rank)), generator.normal(size=(rank, n_targets)),
        np.zeros(n_voxels), value_at_mean=zeros, target_mean=zeros, target_std=zeros + 1, cv_correlation=zeros,
    )  # fmt: skip
    return timed({"dense": lambda: voxels @ dense, f"rank {rank}": lambda: compiled.predict(voxels)},
                 torch.device("cpu"), 9)  # fmt: skip


@click.command()
@click.option("--tiny", is_flag=True, help="A small model, to try the script.")
@click.option("--device", default="cuda", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/gpu.json"), show_default=True)
def main(tiny: bool, device: str, out: Path) -> None:
    """Run everything; write and print JSON."""
    where, sizes = torch.device(device), TINY if tiny else FULL
    dtype = torch.float16 if where.type == "cuda" else torch.float32
    peak = peak_flops(sizes["matmul"], where, dtype)
    rows = []
    for decoder, tiny_decoder in (("AutoencoderKL", False), ("AutoencoderTiny", True)):
        rows += reconstruction_rows(random_model(sizes, where, tiny_decoder=tiny_decoder), decoder, peak, is_tiny=tiny)
    results = {
        "device": torch.cuda.get_device_name() if where.type == "cuda" else platform.machine(),
        "torch": torch.__version__, "tiny": tiny, "peak_tflops": peak / 1e12, "pictures": rows,
        "ridge_ms": ridge_rows(*sizes["ridge"]),
    }  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
