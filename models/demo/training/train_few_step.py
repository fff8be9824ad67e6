"""Stage 6: distil guided denoising into a denoiser of few calls, without classifier-free guidance.

The teacher denoises uncertain z and c once, by four guided calls of DPM-Solver++, and its clean latents are kept. The
student learns to predict these clean latents at the timesteps of one, two and four calls, from the latents that its own
earlier calls made (consistency-style, on its own trajectories). z and c are those of training scenes, disturbed and
shrunken at a range of strengths (`population.py`); z is blurred too. Four in five starts have the one noise tensor that
every picture of braind starts from.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import click
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer

from ...presets import PRESETS, Preset, Step, compiled_steps, schedule, text_schedule
from .population import Population
from .train_autoencoder import reconstruction_loss
from .train_clip import token_ids
from .train_tiny_decoder import perceptual_loss
from .train_unet import (
    DISTURBANCE,
    SIZE,
    encode_captions,
    new_scheduler,
    new_unet,
    training_latents,
    training_scenes,
)
from .training import DEMO_PATH, Part, TrainingCheckpoint, autocast, one_cycle, placed, steps, training_device

TEACHER = Preset("teacher", 799, 4, rule="dpm++")
STUDENTS = ("live-1", "live-2", "live-4")
STUDENT_SHARES = (0.6, 0.15, 0.25)  # of the training steps
NOISE_SEED = 42  # braind's default, which starts nearly every picture
OTHER_NOISE_SHARE = 0.2
TEXT_SHARE = 0.12  # pictures from c and noise alone (mode c)
Z_DISTURBANCE, Z_SIZE = (0.0, 0.8), (0.6, 1.1)
N_SCENES = 8000  # those of the denoiser
CHUNK = 100  # targets a file
EMA = 0.99
DECODED_SHARE = 0.25  # of every batch that is also compared as pictures
PICTURE_WEIGHT = 0.5


def first_noise() -> torch.Tensor:
    """Return the noise that `models/ldm/sampler.py` starts every picture from, (1, 4, 16, 16)."""
    return torch.randn((1, 4, 16, 16), generator=torch.Generator().manual_seed(NOISE_SEED))


def compiled(preset: Preset, *, from_text: bool) -> tuple[Step, ...]:
    """Return the constants of a preset's calls, from z or from noise alone."""
    scheduler = new_scheduler()
    timesteps = (text_schedule if from_text else schedule)(preset).timesteps
    return compiled_steps(
        preset.rule, timesteps, scheduler.alphas_cumprod.double().tolist(), float(scheduler.final_alpha_cumprod)
    )


@dataclass(frozen=True)
class KnownScenes:
    """Training scenes' latents (n, 4, 16, 16) and mean caption embeddings (n, tokens, width)."""

    z: torch.Tensor
    c: torch.Tensor

    @cached_property
    def populations(self) -> tuple[Population, Population]:
        """Return the populations of z and of c."""
        return Population(self.z), Population(self.c)


def draw_starts(scenes: KnownScenes, n: int) -> dict[str, torch.Tensor]:
    """Draw n conditions and starts: c, and latents at the first timestep; `from_text` marks starts of noise alone."""
    chosen = torch.randperm(len(scenes.z))[:n]
    of_z, of_c = scenes.populations
    sharp = scenes.z[chosen]
    blurred = torch.nn.functional.avg_pool2d(sharp, 3, 1, 1, count_include_pad=False)
    z = of_z.disturb(sharp.lerp(blurred, torch.rand(n, 1, 1, 1)), Z_DISTURBANCE, Z_SIZE)
    c = of_c.disturb(scenes.c[chosen], DISTURBANCE, SIZE)
    noise = torch.where((torch.rand(n) < OTHER_NOISE_SHARE)[:, None, None, None], torch.randn_like(z), first_noise())
    from_text = torch.rand(n) < TEXT_SHARE
    alpha = new_scheduler().alphas_cumprod[TEACHER.start]
    starts = torch.where(from_text[:, None, None, None], noise, alpha**0.5 * z + (1 - alpha) ** 0.5 * noise)
    return {"start": starts, "c": c, "from_text": from_text}


@torch.no_grad()
def guided_end(
    unet: Part, start: torch.Tensor, c: torch.Tensor, empty: torch.Tensor, taken: tuple[Step, ...]
) -> torch.Tensor:
    """Denoise a batch by the teacher's guided calls to its clean end."""
    latents, clean = start, torch.zeros_like(start)
    for step in taken:
        both = unet(torch.cat([latents, latents]), step.timestep, torch.cat([empty.expand_as(c), c])).sample
        without, under = both.chunk(2)
        noise = without + TEACHER.guidance_scale * (under - without)
        following = step.latents_weight * latents + step.noise_weight * noise + step.previous_weight * clean
        clean = (latents - step.sigma * noise) / step.alpha
        latents = following
    return latents


def teacher_targets(state: Path, n: int, device: torch.device) -> dict[str, torch.Tensor]:
    """Return n starts with the teacher's clean ends, made in files of `CHUNK` that a restart reads again."""
    teacher = placed(UNet2DConditionModel.from_pretrained(DEMO_PATH / "unet"), device).float()
    text_encoder = placed(CLIPTextModel.from_pretrained(DEMO_PATH / "text_encoder"), device)
    tokenizer = CLIPTokenizer.from_pretrained(DEMO_PATH / "tokenizer")
    with torch.no_grad():
        empty = text_encoder(token_ids(tokenizer, [""]).to(device)).last_hidden_state
    autoencoder = placed(AutoencoderKL.from_pretrained(DEMO_PATH / "vae"), device)
    scenes = KnownScenes(
        training_latents(state, N_SCENES, autoencoder),
        encode_captions(training_scenes(N_SCENES), text_encoder, tokenizer).float().mean(1),
    )
    chunks = []
    for chunk, _ in steps(0, n // CHUNK, "teacher's ends"):
        path = state / f"few_step_targets_{chunk:03d}.safetensors"
        if not path.exists():
            torch.manual_seed(600 + chunk)
            save_file(make_targets(scenes, teacher, empty), path)
        chunks.append(load_file(path))
    return {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}


def make_targets(scenes: KnownScenes, teacher: Part, empty: torch.Tensor) -> dict[str, torch.Tensor]:
    """Draw `CHUNK` starts and let the teacher walk them to their clean ends."""
    targets = draw_starts(scenes, CHUNK)
    targets["clean"] = torch.empty_like(targets["start"])
    for from_text in (False, True):
        taken = compiled(TEACHER, from_text=from_text)
        for part in torch.nonzero(targets["from_text"] == from_text)[:, 0].split(16):
            start, c = targets["start"][part].to(empty.device), targets["c"][part].to(empty.device)
            targets["clean"][part] = guided_end(teacher, start, c, empty, taken).cpu()
    return {name: value.half() if value.is_floating_point() else value for name, value in targets.items()}


def clean_end(unet: Part, latents: torch.Tensor, c: torch.Tensor, taken: tuple[Step, ...]) -> torch.Tensor:
    """Walk through all but the last of the student's calls without learning, and return what the last one names."""
    with torch.no_grad():
        for step in taken[:-1]:
            latents = step.latents_weight * latents + step.noise_weight * unet(latents, step.timestep, c).sample
    step = taken[-1]
    return (latents - step.sigma * unet(latents, step.timestep, c).sample) / step.alpha


@click.command()
@click.option("--n-steps", default=2500, show_default=True)
@click.option("--state", default=Path("build/demo-training"), type=click.Path(path_type=Path))
@click.option("--n-targets", default=2400, show_default=True, help="Clean ends that the teacher makes.")
@click.option("--only-targets", is_flag=True, help="Stop after the teacher's part.")
def main(n_steps: int, state: Path, n_targets: int, only_targets: bool) -> None:
    """Train the few-step denoiser and write models/demo/unet_few_step."""
    device = training_device()
    targets = teacher_targets(state, n_targets, device)
    if only_targets:
        return
    tiny = placed(AutoencoderTiny.from_pretrained(DEMO_PATH / "vae_tiny"), device).float().requires_grad_(False)
    clip = placed(CLIPModel.from_pretrained(DEMO_PATH / "clip"), device).requires_grad_(False)
    shipped: Part = UNet2DConditionModel
    student: Part = shipped.from_pretrained(DEMO_PATH / "unet").float().train()
    student = student.to(device, memory_format=torch.channels_last)
    ema = new_unet().to(device).eval()
    ema.load_state_dict(student.state_dict())
    both = torch.nn.ModuleDict({"unet": student, "ema": ema})
    optimiser = torch.optim.AdamW(student.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.01)
    checkpoint = TrainingCheckpoint(state / "few_step.safetensors", both, optimiser)
    batch = 8 if device.type == "cpu" else 256
    rows = {from_text: torch.nonzero(targets["from_text"] == from_text)[:, 0] for from_text in (False, True)}
    calls = {(name, text): compiled(PRESETS[name], from_text=text) for name in STUDENTS for text in (False, True)}
    done = checkpoint.resume()
    torch.manual_seed(700 + done)
    mean_loss = None
    for step, bar in steps(done, n_steps, "few-step denoiser"):
        from_text = bool(torch.rand(()) < TEXT_SHARE)
        chosen = rows[from_text][torch.randint(len(rows[from_text]), (batch,))]
        start, c, clean = (targets[name][chosen].float().to(device) for name in ("start", "c", "clean"))
        taken = calls[STUDENTS[int(torch.multinomial(torch.tensor(STUDENT_SHARES), 1))], from_text]
        taken = taken[: int(torch.randint(len(taken), ())) + 1]
        for group in optimiser.param_groups:
            group["lr"] = one_cycle(step, n_steps, 4e-4, warm_up=30)
        with autocast(device):
            named = clean_end(student, start, c, taken)
            loss = torch.nn.functional.smooth_l1_loss(named, clean, beta=0.2)
            seen = slice(0, int(batch * DECODED_SHARE))
            ours, theirs = (tiny.decode(z[seen] / tiny.config.scaling_factor).sample for z in (named, clean))
            loss = loss + PICTURE_WEIGHT * (reconstruction_loss(ours, theirs) + perceptual_loss(clip, ours, theirs))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            decay = min(EMA, (step + 1) / (step + 10))
            torch._foreach_lerp_(list(ema.parameters()), list(student.parameters()), 1 - decay)
        mean_loss = loss.item() if mean_loss is None else 0.98 * mean_loss + 0.02 * loss.item()
        if (step + 1) % 100 == 0 or step + 1 == n_steps:
            checkpoint.save(step + 1)
            bar.write(f"step {step + 1}: loss {mean_loss:.4f}")
    ema.half().save_pretrained(DEMO_PATH / "unet_few_step")


if __name__ == "__main__":
    main()
