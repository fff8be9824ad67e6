"""Stage 4: train the autoencoder's decoder further, alone.

The encoder stays as it is, so z keeps its meaning and the denoiser stays valid. The decoder learns to draw whole
pictures from slightly disturbed latents, because latents decoded from a brain are inexact.
"""

from pathlib import Path

import click
import numpy as np
import torch
from diffusers import AutoencoderKL

from ..scenes import draw_held_out_scene
from .train_autoencoder import evaluate, reconstruction_loss
from .train_unet import training_latents, training_scenes
from .training import (
    DEMO_PATH,
    TrainingCheckpoint,
    autocast,
    one_cycle,
    placed,
    render_bank,
    steps,
    to_signed,
    training_device,
)

LATENT_JITTER = 0.05  # of the scaled latents, whose standard deviation is 1


@click.command()
@click.option("--n-steps", default=2000, show_default=True)
@click.option("--state", default=Path("build/demo-training"), type=click.Path(path_type=Path))
@click.option("--n-pictures", default=8000, show_default=True)
def main(n_steps: int, state: Path, n_pictures: int) -> None:
    """Sharpen the decoder and write models/demo/vae again."""
    torch.manual_seed(1)
    device = training_device()
    autoencoder = placed(AutoencoderKL.from_pretrained(DEMO_PATH / "vae"), device)
    bank = render_bank(training_scenes(n_pictures))
    z = training_latents(state, n_pictures, autoencoder)
    held_out_rng = np.random.default_rng(5)
    held_out = to_signed(render_bank([draw_held_out_scene(held_out_rng) for _ in range(64)])).to(device)
    decoder = torch.nn.ModuleDict({"decoder": autoencoder.decoder, "post_quant_conv": autoencoder.post_quant_conv})
    optimiser = torch.optim.AdamW(decoder.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=1e-4)
    checkpoint = TrainingCheckpoint(state / "decoder.safetensors", decoder, optimiser)
    batch = 8 if device.type == "cpu" else 128
    done = checkpoint.resume()
    torch.manual_seed(400 + done)
    for step, bar in steps(done, n_steps, "decoder"):
        chosen = torch.randint(len(z), (batch,))
        pictures = to_signed(bank[chosen]).to(device)
        latents = z[chosen] + LATENT_JITTER * torch.rand(batch, 1, 1, 1) * torch.randn(batch, *z.shape[1:])
        for group in optimiser.param_groups:
            group["lr"] = one_cycle(step, n_steps, 1.5e-3)
        with autocast(device):
            decoded = autoencoder.decode(latents.to(device) / autoencoder.config.scaling_factor).sample
            loss = reconstruction_loss(decoded, pictures)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimiser.step()
        if (step + 1) % 250 == 0 or step + 1 == n_steps:
            checkpoint.save(step + 1)
            l1 = evaluate(autoencoder, held_out, state / f"decoder_{step + 1:05d}.png")
            bar.write(f"step {step + 1}: loss {loss.item():.4f}, held-out L1 {l1:.4f}")
    # from_pretrained remembers where from; a shipped file must not
    autoencoder.register_to_config(_name_or_path="")
    autoencoder.save_pretrained(DEMO_PATH / "vae")


if __name__ == "__main__":
    main()
