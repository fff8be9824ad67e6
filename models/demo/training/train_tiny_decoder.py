"""Stage 5: distil the autoencoder's decoder into a small one, for presets that have no time for the full one.

The small decoder learns to draw what the full one draws: of scenes' latents, slightly off as decoded ones are, and of
latents as the denoiser yields them from decoded z and c, once `train_few_step.py` has made some.
"""

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from safetensors.torch import load_file, save_file
from transformers import CLIPModel

from ..scenes import draw_held_out_scene
from .train_autoencoder import reconstruction_loss
from .train_unet import encode_pictures, training_latents
from .training import (
    DEMO_PATH,
    Checkpoint,
    Part,
    autocast,
    one_cycle,
    placed,
    save_sheet,
    steps,
    to_signed,
    training_device,
)  # fmt: skip

LATENT_JITTER = 0.1  # of the scaled latents, whose standard deviation is 1
PERCEPTUAL_WEIGHT = 0.05
ENCODER_WEIGHT, ENCODER_EVERY = 0.1, 5  # braind never encodes with it; it need not be good, only right
CLIP_MEAN, CLIP_STD = 0.5, 0.5  # of the bundled CLIP's preprocessing: pixels in [−1, 1], as the decoders give them


def new_tiny_autoencoder(scaling_factor: float) -> Part:
    """Build the small autoencoder: depth at 16 and 32 px, where it is cheap, and hardly any at 128 px."""
    levels: dict[str, Any] = {
        "encoder_block_out_channels": (24,) * 4,
        "decoder_block_out_channels": (24,) * 4,
        "num_encoder_blocks": (0, 1, 1, 1),
        "num_decoder_blocks": (6, 4, 1, 0),
    }
    return AutoencoderTiny(**levels, latent_channels=4, scaling_factor=scaling_factor)


def decoded_by_full(autoencoder: Part, latents: torch.Tensor) -> torch.Tensor:
    """Decode scaled latents (n, 4, 16, 16) with the full decoder: (n, 3, px, px) uint8."""
    pictures = []
    for part in latents.split(4):  # more would not fit into a CPU's cache
        decoded = autoencoder.decode(part.to(autoencoder.device) / autoencoder.config.scaling_factor).sample
        pictures.append(decoded.clamp(-1, 1).add(1).mul(127.5).round().byte().cpu())
    return torch.cat(pictures)


@torch.no_grad()
def training_pairs(path: Path, latents: torch.Tensor, autoencoder: Part) -> tuple[torch.Tensor, torch.Tensor]:
    """Return latents and their pictures by the full decoder, kept in a file that a restart reads again."""
    if not path.exists():
        save_file({"latents": latents, "pictures": decoded_by_full(autoencoder, latents)}, path)
    kept = load_file(path)
    return kept["latents"], kept["pictures"]


def perceptual_loss(clip: Part, decoded: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
    """Compare all layers of the bundled CLIP's image tower: mean squared differences over mean squares."""
    ours = clip.vision_model(pixel_values=decoded, output_hidden_states=True).hidden_states
    with torch.no_grad():
        theirs = clip.vision_model(pixel_values=pictures, output_hidden_states=True).hidden_states
    layers = [(a - b).square().mean() / b.square().mean() for a, b in zip(ours, theirs, strict=True)]
    return torch.stack(layers).mean()


@click.command()
@click.option("--n-steps", default=900, show_default=True)
@click.option("--state", default=Path("build/demo-training"), type=click.Path(path_type=Path))
@click.option("--n-pictures", default=3000, show_default=True, help="Scenes whose latents are decoded.")
def main(n_steps: int, state: Path, n_pictures: int) -> None:
    """Train the small decoder and write models/demo/vae_tiny."""
    torch.manual_seed(2)
    device = training_device()
    autoencoder = placed(AutoencoderKL.from_pretrained(DEMO_PATH / "vae"), device)
    clip = placed(CLIPModel.from_pretrained(DEMO_PATH / "clip"), device).requires_grad_(False)
    z = training_latents(state, n_pictures, autoencoder)
    z = z + LATENT_JITTER * torch.rand(len(z), 1, 1, 1) * torch.randn(z.shape)
    latents, pictures = training_pairs(state / "tiny_scenes.safetensors", z, autoencoder)
    made = sorted(state.glob("few_step_targets_*.safetensors"))
    if made:
        ends = torch.cat([load_file(path)["clean"].float() for path in made])
        more = training_pairs(state / "tiny_denoised.safetensors", ends, autoencoder)
        latents, pictures = torch.cat([latents, more[0]]), torch.cat([pictures, more[1]])
    rng = np.random.default_rng(5)
    held_out = encode_pictures([draw_held_out_scene(rng) for _ in range(64)], autoencoder)
    with torch.no_grad():
        held_out_pictures = to_signed(decoded_by_full(autoencoder, held_out))

    factor = autoencoder.config.scaling_factor
    tiny = new_tiny_autoencoder(factor).to(device, memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(tiny.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=1e-4)
    checkpoint = Checkpoint(state / "tiny_decoder.safetensors", tiny, optimiser)
    batch = 4 if device.type == "cpu" else 128
    done = checkpoint.resume()
    torch.manual_seed(500 + done)
    for step, bar in steps(done, n_steps, "small decoder"):
        chosen = torch.randint(len(latents), (batch,))
        wanted, clean = to_signed(pictures[chosen]).to(device), latents[chosen].to(device) / factor
        for group in optimiser.param_groups:
            group["lr"] = one_cycle(step, n_steps, 3e-3)
        with autocast(device):
            decoded = tiny.decode(clean).sample
            loss = reconstruction_loss(decoded, wanted) + PERCEPTUAL_WEIGHT * perceptual_loss(clip, decoded, wanted)
            if step % ENCODER_EVERY == 0:
                loss = loss + ENCODER_WEIGHT * (tiny.encode(wanted).latents - clean).square().mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tiny.parameters(), 1.0)
        optimiser.step()
        if (step + 1) % 250 == 0 or step + 1 == n_steps:
            checkpoint.save(step + 1)
            l1 = evaluate(tiny, held_out, held_out_pictures, state / f"tiny_decoder_{step + 1:05d}.png")
            bar.write(f"step {step + 1}: loss {loss.item():.4f}, held-out L1 to the full decoder {l1:.4f}")
    save(tiny.half(), DEMO_PATH / "vae_tiny")


def save(tiny: Part, folder: Path) -> None:
    """Write the diffusers folder, in half precision."""
    tiny.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config.pop("block_out_channels", None)  # diffusers writes it and, reading, complains of it
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


@torch.no_grad()
def evaluate(tiny: Part, latents: torch.Tensor, pictures: torch.Tensor, sheet_path: Path) -> float:
    """Return the mean L1 on [−1, 1] between both decoders' held-out scenes; write a sheet of the first twelve."""
    decoded = torch.cat([tiny.decode(z.to(tiny.device) / tiny.config.scaling_factor).sample for z in latents.split(16)])
    decoded = decoded.cpu()
    save_sheet([pictures[:12], decoded[:12]], sheet_path)
    return (decoded - pictures).abs().mean().item()


if __name__ == "__main__":
    main()
