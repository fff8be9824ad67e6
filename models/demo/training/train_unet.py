"""Stage 3: train the demo's denoiser on the latents of scenes under their captions, and save the whole pipeline.

Epsilon prediction on Stable Diffusion's scaled-linear schedule, loss weighted by min-SNR-5 (Hang et al., ICCV 2023).
Some latents and embeddings are disturbed (`population.py`); the denoiser names the noise and the disturbance of the
latents together.

Captions reach the denoiser as in Stable Diffusion, by cross-attention to the text encoder's last hidden state; that
state is also pooled and added to the time embedding (`addition_embed_type="text"`). Objects become distinguishable much
earlier in training with the pooled state.
"""

from hashlib import sha256
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionImg2ImgPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, CLIPTokenizer

from ..captions import captions
from ..scenes import Scene, draw_held_out_scene, draw_training_scene
from .population import Population
from .train_clip import token_ids
from .training import (
    DEMO_PATH,
    Part,
    TrainingCheckpoint,
    autocast,
    one_cycle,
    placed,
    render_bank,
    save_sheet,
    steps,
    to_signed,
    training_device,
)  # fmt: skip

EMA = 0.998
MIN_SNR = 5.0
EMPTY_SHARE = 0.1  # captions replaced by "", for classifier-free guidance
SINGLE_CAPTION_SHARE = 0.4  # the rest see the mean of five captions, as the decoder's targets are
DISTURBED_SHARE = 0.7  # embeddings that are uncertain
DISTURBANCE = (0.0, 3.0)  # of c, in standard deviations over captions
SIZE = (0.5, 1.2)  # of a disturbed c's distance from the mean
UNCERTAIN_Z_SHARE = 0.6  # latents that are uncertain
Z_DISTURBANCE, Z_SIZE = (0.0, 1.5), (0.8, 1.1)  # as of c
UNCERTAIN_FROM = 699  # the timestep below which denoising has taken away some of the uncertainty
LATE_SHARE = 0.15  # timesteps drawn from the last tenth of the schedule, which decoding hardly uses


def new_unet() -> Part:
    """Build Stable Diffusion's denoiser class, small: three levels, cross-attention in the lower two."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(48, 96, 128),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=16,
        attention_head_dim=4,
        cross_attention_dim=96,
        encoder_hid_dim=None,
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
        resnet_time_scale_shift="scale_shift",
    )


def new_scheduler() -> Part:
    """Return Stable Diffusion 1.x's schedule."""
    return DDIMScheduler(
        num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        clip_sample=False, set_alpha_to_one=False, steps_offset=1, prediction_type="epsilon",
    )  # fmt: skip


@torch.no_grad()
def encode_pictures(scenes: list[Scene], autoencoder: Part) -> torch.Tensor:
    """Return scaled latents (n, 4, 16, 16)."""
    bank = render_bank(scenes)
    latents = [autoencoder.encode(to_signed(p).to(autoencoder.device)).latent_dist.mode().cpu() for p in bank.split(64)]
    return torch.cat(latents) * autoencoder.config.scaling_factor


@torch.no_grad()
def encode_captions(scenes: list[Scene], text_encoder: Part, tokenizer: CLIPTokenizer) -> torch.Tensor:
    """Return the embeddings of each scene's captions (n, 5, tokens, width) in half precision."""
    embeddings = []
    for start in range(0, len(scenes), 64):
        ids = torch.cat([token_ids(tokenizer, captions(scene)) for scene in scenes[start : start + 64]])
        embeddings.append(
            text_encoder(ids.to(text_encoder.device)).last_hidden_state.cpu().half().unflatten(0, (-1, 5))
        )
    return torch.cat(embeddings)


def training_scenes(n_pictures: int) -> list[Scene]:
    """Draw the scenes that the denoiser learns from."""
    rng = np.random.default_rng(3)
    return [draw_training_scene(rng) for _ in range(n_pictures)]


def training_latents(state: Path, n_pictures: int, autoencoder: Part) -> torch.Tensor:
    """Return the training scenes' latents, kept in a file so that a restart does not encode them again."""
    weights = (DEMO_PATH / "vae" / "diffusion_pytorch_model.safetensors").read_bytes()
    path = state / f"latents_{n_pictures}_{sha256(weights).hexdigest()[:8]}.safetensors"
    if not path.exists():
        state.mkdir(parents=True, exist_ok=True)
        save_file({"z": encode_pictures(training_scenes(n_pictures), autoencoder)}, path)
    return load_file(path)["z"]


def draw_conditions(embeddings: torch.Tensor, empty: torch.Tensor, population: Population) -> torch.Tensor:
    """Draw what the denoiser is told: one caption, the mean of five, either disturbed, or nothing.

    Parameters
    ----------
    embeddings : (batch, 5, tokens, width); empty : (tokens, width)
    """
    n = len(embeddings)
    mean = embeddings.mean(1)
    single = embeddings[torch.arange(n), torch.randint(5, (n,))]
    c = torch.where((torch.rand(n) < SINGLE_CAPTION_SHARE)[:, None, None], single, mean)
    c = torch.where((torch.rand(n) < DISTURBED_SHARE)[:, None, None], population.disturb(c, DISTURBANCE, SIZE), c)
    return torch.where((torch.rand(n) < EMPTY_SHARE)[:, None, None], empty, c)


def uncertain(latents: torch.Tensor, t: torch.Tensor, snr: torch.Tensor, population: Population) -> torch.Tensor:
    """Disturb some latents: image-to-image starts from latents that need not be true.

    Denoising takes a disturbance away in the same proportion as noise.

    Parameters
    ----------
    latents : (batch, 4, 16, 16); t : (batch,) timesteps; snr : (1000,) signal-to-noise ratio of every timestep
    population : of latents
    """
    disturbed = population.disturb(latents, Z_DISTURBANCE, Z_SIZE)
    left = (snr[UNCERTAIN_FROM] / snr[t]).sqrt().clamp(max=1) * (torch.rand(len(latents)) < UNCERTAIN_Z_SHARE)
    return latents + left[:, None, None, None] * (disturbed - latents)


def draw_timesteps(n: int) -> torch.Tensor:
    """Draw training timesteps, mostly those below 900."""
    early = torch.randint(0, 900, (n,))
    late = torch.randint(900, 1000, (n,))
    return torch.where(torch.rand(n) < LATE_SHARE, late, early)


@click.command()
@click.option("--n-steps", default=9000, show_default=True)
@click.option("--state", default=Path("build/demo-training"), type=click.Path(path_type=Path))
@click.option("--n-pictures", default=8000, show_default=True)
@click.option("--peak-rate", default=1.5e-3, show_default=True, help="Highest learning rate of the cycle.")
@click.option("--from-shipped", is_flag=True, help="Start from models/demo/unet, not from nothing.")
def main(n_steps: int, state: Path, n_pictures: int, peak_rate: float, from_shipped: bool) -> None:
    """Train the denoiser and write the diffusers folder models/demo."""
    torch.manual_seed(0)
    device = training_device()
    autoencoder = placed(AutoencoderKL.from_pretrained(DEMO_PATH / "vae"), device)
    text_encoder = placed(CLIPTextModel.from_pretrained(DEMO_PATH / "text_encoder"), device)
    tokenizer = CLIPTokenizer.from_pretrained(DEMO_PATH / "tokenizer")
    z = training_latents(state, n_pictures, autoencoder)
    c = encode_captions(training_scenes(n_pictures), text_encoder, tokenizer)
    with torch.no_grad():
        empty = text_encoder(token_ids(tokenizer, [""]).to(device)).last_hidden_state[0].cpu()
    population, population_of_z = Population(c.float().mean(1)), Population(z)
    probe_rng = np.random.default_rng(4)
    probes = [draw_held_out_scene(probe_rng) for _ in range(16)]
    probe_c = encode_captions(probes, text_encoder, tokenizer)

    shipped: Part = UNet2DConditionModel
    unet: Part = shipped.from_pretrained(DEMO_PATH / "unet").float() if from_shipped else new_unet()
    unet = unet.train().to(device, memory_format=torch.channels_last)
    ema = new_unet().to(device).eval()
    ema.load_state_dict(unet.state_dict())
    both = torch.nn.ModuleDict({"unet": unet, "ema": ema})
    optimiser = torch.optim.AdamW(unet.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.01)
    checkpoint = TrainingCheckpoint(state / "unet.safetensors", both, optimiser)
    scheduler: Part = new_scheduler()
    cumulative = scheduler.alphas_cumprod
    snr = cumulative / (1 - cumulative)
    batch = 32 if device.type == "cpu" else 512
    done = checkpoint.resume()
    torch.manual_seed(300 + done)
    mean_loss = None
    for step, bar in steps(done, n_steps, "unet"):
        chosen = torch.randint(len(z), (batch,))
        latents, noise, t = z[chosen], torch.randn(batch, *z.shape[1:]), draw_timesteps(batch)
        conditions = draw_conditions(c[chosen].float(), empty, population)
        noisy = scheduler.add_noise(uncertain(latents, t, snr, population_of_z), noise, t)
        alpha, sigma = (share[t].sqrt()[:, None, None, None] for share in (cumulative, 1 - cumulative))
        unclean = (noisy - alpha * latents) / sigma  # noise and disturbance
        for group in optimiser.param_groups:
            group["lr"] = one_cycle(step, n_steps, peak_rate)
        with autocast(device):
            predicted = unet(noisy.to(device), t.to(device), conditions.to(device)).sample
        weight = (MIN_SNR / snr[t]).clamp(max=1).to(device)
        loss = ((predicted.float() - unclean.to(device)).square().mean((1, 2, 3)) * weight).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            decay = min(EMA, (step + 1) / (step + 10))
            torch._foreach_lerp_(list(ema.parameters()), list(unet.parameters()), 1 - decay)
        mean_loss = loss.item() if mean_loss is None else 0.99 * mean_loss + 0.01 * loss.item()
        if (step + 1) % 500 == 0 or step + 1 == n_steps:
            checkpoint.save(step + 1)
            bar.write(f"step {step + 1}: weighted loss {mean_loss:.4f}")
        if (step + 1) % 1000 == 0 or step + 1 == n_steps:
            pipeline = assemble(autoencoder, text_encoder, tokenizer, ema, scheduler)
            write_samples(pipeline, probes, probe_c, state / f"unet_{step + 1:06d}.png")
    save_denoiser(assemble(autoencoder, text_encoder, tokenizer, ema, scheduler))


def save_denoiser(pipeline: Part) -> None:
    """Write what this stage adds to the diffusers folder: model_index.json, the scheduler and the denoiser.

    Half precision halves the committed file; loading turns it back into float32.
    """
    pipeline.save_config(DEMO_PATH)
    pipeline.scheduler.save_pretrained(DEMO_PATH / "scheduler")
    pipeline.unet.half().save_pretrained(DEMO_PATH / "unet")


def assemble(
    autoencoder: Part,
    text_encoder: Part,
    tokenizer: CLIPTokenizer,
    unet: Part,
    scheduler: Part,
) -> Part:
    """Put the parts together as diffusers' own pipeline."""
    pipeline_class: Any = StableDiffusionImg2ImgPipeline
    pipeline = pipeline_class(
        autoencoder, text_encoder, tokenizer, unet, scheduler, None, None, requires_safety_checker=False
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@torch.no_grad()
def write_samples(pipeline: Part, scenes: list[Scene], c: torch.Tensor, path: Path) -> None:
    """Write a sheet: held-out scenes, text-to-image, blurred starts, and image-to-image from those at strength 0.7."""
    device, autoencoder = pipeline.device, pipeline.vae
    embeds = c.float().mean(1).to(device)
    empty = pipeline.text_encoder(token_ids(pipeline.tokenizer, [""]).to(device)).last_hidden_state
    seen = to_signed(render_bank(scenes)).to(device)
    generator = torch.Generator().manual_seed(7)
    noise = torch.randn((len(scenes), 4, 16, 16), generator=generator).to(device)
    common = {"prompt_embeds": embeds, "negative_prompt_embeds": empty.expand_as(embeds), "guidance_scale": 3.0,
              "num_inference_steps": 20, "output_type": "latent", "strength": 1.0}  # fmt: skip
    blurred = torch.nn.functional.interpolate(seen, scale_factor=1 / 16, mode="area")
    blurred = torch.nn.functional.interpolate(blurred, size=seen.shape[-1], mode="bicubic")
    from_text = pipeline(image=noise, **common, generator=generator).images
    from_blur = pipeline(image=blurred, **{**common, "strength": 0.7}, generator=generator).images
    decoded = [
        autoencoder.decode(latents / autoencoder.config.scaling_factor).sample for latents in (from_text, from_blur)
    ]
    save_sheet([seen, decoded[0], blurred, decoded[1]], path)


if __name__ == "__main__":
    main()
