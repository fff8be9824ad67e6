"""Stage 1: train the demo's AutoencoderKL on random crops of scenes, then on whole scenes.

Crops of 64 px show many backgrounds and edges a step, which is what the first thousands of steps need; the last fifth
runs on whole pictures, because group normalisation sees whole pictures in use. `--from-shipped` goes on from the
weights in models/demo, on whole pictures alone.
"""

from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from diffusers import AutoencoderKL

from ..scenes import draw_held_out_scene, draw_training_scene
from .training import (
    DEMO_PATH,
    Checkpoint,
    Part,
    autocast,
    one_cycle,
    render_bank,
    save_sheet,
    steps,
    to_signed,
    training_device,
)  # fmt: skip

CROP_PX = 64
WHOLE_SHARE = 0.2
POSTERIOR_LOG_VARIANCE = -6.0  # fixed: a standard deviation of 0.05, so that decoding tolerates small errors in z


def new_autoencoder() -> Part:
    """Build Stable Diffusion's autoencoder class, small: factor 8, four latent channels."""
    levels: dict[str, Any] = {
        "block_out_channels": (16, 32, 64, 96),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
    }
    autoencoder: Part = AutoencoderKL(
        **levels,
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=4,
        sample_size=128,
        mid_block_add_attention=False,
    )
    with torch.no_grad():
        autoencoder.quant_conv.weight[4:] = 0
        autoencoder.quant_conv.bias[4:] = POSTERIOR_LOG_VARIANCE
    return autoencoder


def reconstruction_loss(decoded: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
    """L1 of pixels plus 0.7 × L1 of their horizontal and vertical differences (edges matter to the eye)."""
    error = decoded - pictures
    edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    return error.abs().mean() + 0.7 * edges


def crops(bank: torch.Tensor, n: int, px: int, rng: np.random.Generator) -> torch.Tensor:
    """Cut n random px × px pieces out of random pictures of the bank."""
    free = bank.shape[-1] - px + 1
    cut = []
    for index, top, left in zip(
        rng.integers(len(bank), size=n), rng.integers(free, size=n), rng.integers(free, size=n), strict=True
    ):
        cut.append(bank[index, :, top : top + px, left : left + px])
    return torch.stack(cut)


@click.command()
@click.option("--n-steps", default=3000, show_default=True)
@click.option("--state", default=Path("build/demo-training"), type=click.Path(path_type=Path))
@click.option("--n-pictures", default=6000, show_default=True, help="Scenes rendered for training.")
@click.option("--peak-rate", default=2.5e-3, show_default=True, help="Highest learning rate of the cycle.")
@click.option("--from-shipped", is_flag=True, help="Start from models/demo/vae, not from nothing.")
def main(n_steps: int, state: Path, n_pictures: int, peak_rate: float, from_shipped: bool) -> None:
    """Train the autoencoder and write models/demo/vae."""
    torch.manual_seed(0)
    device = training_device()
    rng = np.random.default_rng(1)
    bank = render_bank([draw_training_scene(rng) for _ in range(n_pictures)])
    held_out = to_signed(render_bank([draw_held_out_scene(rng) for _ in range(64)])).to(device)
    shipped: Part = AutoencoderKL
    autoencoder: Part = shipped.from_pretrained(DEMO_PATH / "vae") if from_shipped else new_autoencoder()
    autoencoder = autoencoder.to(device, memory_format=torch.channels_last)
    whole_share = 1.0 if from_shipped else WHOLE_SHARE
    optimiser = torch.optim.AdamW(autoencoder.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=1e-4)
    checkpoint = Checkpoint(state / "autoencoder.safetensors", autoencoder, optimiser)
    batch = 32 if device.type == "cpu" else 256
    done = checkpoint.resume()
    rng = np.random.default_rng(100 + done)
    for step, bar in steps(done, n_steps, "autoencoder"):
        whole = step >= n_steps * (1 - whole_share)
        pictures = to_signed(crops(bank, batch // 4 if whole else batch, 128 if whole else CROP_PX, rng)).to(device)
        for group in optimiser.param_groups:
            group["lr"] = one_cycle(step, n_steps, peak_rate)
        with autocast(device):
            posterior = autoencoder.encode(pictures).latent_dist
            decoded = autoencoder.decode(posterior.sample()).sample
            loss = reconstruction_loss(decoded, pictures) + 1e-3 * posterior.mean.square().mean()
        optimiser.zero_grad()
        loss.backward()
        for parameter in (autoencoder.quant_conv.weight, autoencoder.quant_conv.bias):
            parameter.grad[4:] = 0
        torch.nn.utils.clip_grad_norm_(autoencoder.parameters(), 1.0)
        optimiser.step()
        if (step + 1) % 250 == 0 or step + 1 == n_steps:
            checkpoint.save(step + 1)
            l1 = evaluate(autoencoder, held_out, state / f"autoencoder_{step + 1:05d}.png")
            bar.write(f"step {step + 1}: loss {loss.item():.4f}, held-out L1 {l1:.4f}")
    finish(autoencoder, bank)


@torch.no_grad()
def evaluate(autoencoder: Part, held_out: torch.Tensor, sheet_path: Path) -> float:
    """Return the mean L1 on [−1, 1] of held-out scenes, and write a sheet of the first twelve."""
    decoded = torch.cat(
        [autoencoder.decode(autoencoder.encode(p).latent_dist.mode()).sample for p in held_out.split(16)]
    )
    save_sheet([held_out[:12], decoded[:12]], sheet_path)
    return (decoded - held_out).abs().mean().item()


@torch.no_grad()
def finish(autoencoder: Part, bank: torch.Tensor) -> None:
    """Set the scaling factor that gives latents unit variance (as Stable Diffusion's 0.18215 does) and save."""
    pictures = to_signed(bank[:512]).to(autoencoder.device)
    latents = torch.cat([autoencoder.encode(p).latent_dist.mode() for p in pictures.split(32)])
    autoencoder.register_to_config(scaling_factor=round(1 / latents.std().item(), 5))
    # from_pretrained remembers where from; a shipped file must not
    autoencoder.register_to_config(_name_or_path="")
    autoencoder.save_pretrained(DEMO_PATH / "vae")


if __name__ == "__main__":
    main()
