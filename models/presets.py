"""Presets: the settings of reconstruction from z and c, and the constants of their denoising steps.

From z, a preset makes exactly `n_calls` denoiser calls, whatever its start. Mode c denoises from noise alone and makes
more calls (`text_schedule`). Every update rule is linear in the latents, the predicted noise, the previous call's clean
latents and fresh noise. A call therefore compiles to a few numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import exp, inf, log, sqrt

import msgspec

from ..choices import Guidance, LatentDecoder, LatentPath, Rule
from ..config import Config, expanded
from ..errors import BraindError
from .weights.fingerprint import EMBEDDED_LDM_PATH

N_TRAIN_TIMESTEPS = 1000
TCD_GAMMA = 0.3  # diffusers' default; the range in the paper (Zheng et al. 2024) is 0.2–0.4
LCM_TIMESTEP_SCALING, LCM_SIGMA_DATA = 10.0, 0.5  # Luo et al. 2023, as in diffusers


class PresetError(BraindError):
    """A preset or a setting gives no schedule."""

    code = "preset"


@dataclass(frozen=True)
class Preset:
    """Settings of reconstruction.

    Parameters
    ----------
    start : int
        Timestep that z is noised to, 1–999. A larger start keeps less of z.
    n_calls : int
        Denoiser calls from z.
    rule : str
        `ddim` (Song et al. 2021, eta 0), `dpm++` (DPM-Solver++ 2M, Lu et al. 2022), `lcm` (Luo et al. 2023) or `tcd`
        (Zheng et al. 2024).
    guidance : str
        Classifier-free guidance at every call (`full`), at the first call (`first`) or never (`none`).
    guidance_scale : float
        Scale of the guidance; models that take the scale as an input (LCM) get it at the guided calls.
    decoder : str
        The autoencoder's own decoder (`full`), the model's `tiny` decoder, or `auto`: tiny if the model has one.
    few_step : bool
        Take the model's few-step denoiser, if it has one. It was distilled with guidance: none is added.
    latent_path : str
        `direct`: z is noised directly; `reencode`: z is first decoded, resized and encoded again, as published.
    published_grid : bool
        The 50-step grid of the paper's code instead of calls spread evenly below the start.
    """

    name: str
    start: int
    n_calls: int
    rule: Rule = "ddim"
    guidance: Guidance = "full"
    guidance_scale: float = 5.0
    latent_path: LatentPath = "direct"
    published_grid: bool = False
    decoder: LatentDecoder = "full"
    few_step: bool = False

    def __post_init__(self) -> None:
        if self.n_calls < 1:
            raise PresetError(f"preset {self.name}: n_calls {self.n_calls}; at least one denoiser call makes a picture")
        if not self.n_calls <= self.start < N_TRAIN_TIMESTEPS:
            raise PresetError(
                f"preset {self.name}: start {self.start}; give a timestep from n_calls ({self.n_calls}) to "
                f"{N_TRAIN_TIMESTEPS - 1}"
            )
        if self.guidance != "none" and not 0 < self.guidance_scale < inf:
            raise PresetError(
                f"preset {self.name}: guidance_scale {self.guidance_scale}; give a number above 0, or guidance = none"
            )


PRESETS = {
    preset.name: preset
    for preset in (
        # Takagi & Nishimoto 2023, codes/diffusion_sd1/diffusion_decoding.py: DDIM 50, strength 0.8 → 40 calls, scale 5.
        Preset("takagi", 801, 40, latent_path="reencode", published_grid=True),
        Preset("quality-20", 799, 20),
        Preset("live-8", 799, 8, decoder="auto"),
        Preset("live-4", 799, 4, decoder="auto"),
        Preset("live-2", 799, 2, decoder="auto", few_step=True),
        Preset("live-1", 799, 1, decoder="auto", few_step=True),
    )
}


# The same noise hides more of a small z, because noise averages out over fewer numbers. The embedded model's latents
# are 16 × 16, Stable Diffusion's 64 × 64. `live-4` and `live-8` were chosen on training pictures of simulated subject 2
# (benchmarks/settings.py), and `quality-20` follows them.
EMBEDDED_PRESETS = {
    name: replace(PRESETS[name], start=649, rule="dpm++", guidance_scale=7.0)
    for name in ("quality-20", "live-8", "live-4")
}


def named_presets(config: Config) -> dict[str, Preset]:
    """Return the presets of the settings' model, by name; the user's take precedence over braind's.

    Raises
    ------
    PresetError
        A preset of the user's gives no schedule.
    """
    is_embedded = not config.paths.ldm or expanded(config.paths.ldm) == EMBEDDED_LDM_PATH
    embedded = EMBEDDED_PRESETS if is_embedded else {}
    own = {name: Preset(name, **msgspec.structs.asdict(preset)) for name, preset in config.presets.items()}
    return {**PRESETS, **embedded, **own}


def preset_with(
    name: str,
    *,
    strength: float = 0,
    guidance_scale: float = 0,
    n_calls: int = 0,
    presets: Mapping[str, Preset] = PRESETS,
) -> Preset:
    """Return a named preset; settings other than 0 replace its own.

    A changed preset takes the plain denoiser: a few-step denoiser is trained for one schedule and one guidance.

    Parameters
    ----------
    strength : float
        Share of the noise schedule that z is noised to, 0–1: the start, as diffusers expresses it.
    presets : mapping of str to Preset

    Raises
    ------
    PresetError
        No preset has the name, or the settings give no schedule.
    """
    if name not in presets:
        raise PresetError(f"no preset named {name!r}; there are {', '.join(presets)}")
    preset = presets[name]
    if not strength and not guidance_scale and not n_calls:
        return preset
    if not 0 <= strength <= 1:
        raise PresetError(f"strength {strength}: give a share of the noise schedule in (0, 1]")
    return replace(
        preset,
        name=f"{name} (changed)",
        start=round(strength * (N_TRAIN_TIMESTEPS - 1)) if strength else preset.start,
        guidance_scale=guidance_scale or preset.guidance_scale,
        n_calls=n_calls or preset.n_calls,
        published_grid=preset.published_grid and not (strength or n_calls),
        few_step=False,
    )


@dataclass(frozen=True)
class Schedule:
    """Timesteps of one reconstruction: z is noised to `noise`; call n denoises from `timesteps[n]` to the next.

    The last call denoises to the clean end.
    """

    noise: int
    timesteps: tuple[int, ...]


def schedule(preset: Preset) -> Schedule:
    """Return the timesteps of image-to-image from z."""
    if preset.published_grid:
        return published_schedule(50, preset.n_calls)
    return even_schedule(preset.start, preset.n_calls)


def text_schedule(preset: Preset) -> Schedule:
    """Return the timesteps of mode c, from noise alone: the whole schedule, with calls as dense as in `schedule`."""
    if preset.published_grid:
        return published_schedule(50, 50)
    n_calls = max(preset.n_calls, round(preset.n_calls * N_TRAIN_TIMESTEPS / preset.start))
    return even_schedule(N_TRAIN_TIMESTEPS - 1, n_calls)


def even_schedule(start: int, n_calls: int) -> Schedule:
    """Spread exactly `n_calls` calls evenly from timestep `start` to the clean end."""
    return Schedule(start, tuple(round(start * (n_calls - n) / n_calls) for n in range(n_calls)))


def published_schedule(n_grid: int, n_calls: int) -> Schedule:
    """Return the paper's timesteps on a grid of `n_grid`: for 50 and 40, noised at 801, first call at 781.

    z is noised to the grid point above the first call: an off-by-one of the published code, kept on purpose.
    """
    ratio = N_TRAIN_TIMESTEPS // n_grid
    timesteps = tuple(n * ratio + 1 for n in reversed(range(n_calls)))
    return Schedule(min(n_calls * ratio + 1, N_TRAIN_TIMESTEPS - 1), timesteps)


@dataclass(frozen=True)
class Step:
    """One denoiser call at `timestep`, and the constants of its update.

    latents ← latents_weight · latents + noise_weight · predicted noise + previous_weight · the previous call's clean
    latents + fresh_weight · fresh noise. A call's clean latents are (latents − sigma · predicted noise) / alpha.
    """

    timestep: int
    alpha: float
    sigma: float
    latents_weight: float
    noise_weight: float
    previous_weight: float = 0.0
    fresh_weight: float = 0.0


def compiled_steps(
    rule: Rule, timesteps: tuple[int, ...], alphas_cumprod: list[float], final_alpha_cumprod: float
) -> tuple[Step, ...]:
    """Return every call's constants.

    Parameters
    ----------
    alphas_cumprod : list of float
        ᾱ of the model's noise schedule, one per timestep.
    final_alpha_cumprod : float
        ᾱ of the clean end in DDIM.
    """
    steps = []
    for n, timestep in enumerate(timesteps):
        now = alphas_cumprod[timestep]
        ahead = alphas_cumprod[timesteps[n + 1]] if n + 1 < len(timesteps) else None
        if rule == "ddim":
            update = _ddim(final_alpha_cumprod if ahead is None else ahead)
        elif rule == "dpm++":
            update = _dpm(now, ahead, alphas_cumprod[timesteps[n - 1]] if n else None)
        elif rule == "lcm":
            update = _lcm(timestep, ahead)
        else:
            between = 0 if ahead is None else int((1 - TCD_GAMMA) * timesteps[n + 1])
            update = _tcd(alphas_cumprod[between], ahead)
        alpha, sigma = sqrt(now), sqrt(1 - now)
        steps.append(
            Step(
                timestep=timestep,
                alpha=alpha,
                sigma=sigma,
                latents_weight=update.latents + update.clean / alpha,
                noise_weight=update.noise - update.clean * sigma / alpha,
                previous_weight=update.previous,
                fresh_weight=update.fresh,
            )
        )
    return tuple(steps)


@dataclass(frozen=True)
class _Update:
    """Weights of the latents, the clean latents now and of the previous call, the predicted and the fresh noise."""

    latents: float = 0.0
    clean: float = 0.0
    previous: float = 0.0
    noise: float = 0.0
    fresh: float = 0.0


def _ddim(ahead: float) -> _Update:
    return _Update(clean=sqrt(ahead), noise=sqrt(1 - ahead))


def _dpm(now: float, ahead: float | None, before: float | None) -> _Update:
    """DPM-Solver++'s second-order multistep. The first and the last step are first-order."""
    if ahead is None:
        return _Update(clean=1.0)
    h = _log_snr(ahead) - _log_snr(now)
    latents, clean = sqrt((1 - ahead) / (1 - now)), sqrt(ahead) * (1 - exp(-h))
    if before is None:
        return _Update(latents=latents, clean=clean)
    half_ratio = 0.5 * h / (_log_snr(now) - _log_snr(before))
    return _Update(latents=latents, clean=clean * (1 + half_ratio), previous=-clean * half_ratio)


def _lcm(timestep: int, ahead: float | None) -> _Update:
    scaled = timestep * LCM_TIMESTEP_SCALING
    skip = LCM_SIGMA_DATA**2 / (scaled**2 + LCM_SIGMA_DATA**2)
    out = scaled / sqrt(scaled**2 + LCM_SIGMA_DATA**2)
    if ahead is None:
        return _Update(latents=skip, clean=out)
    return _Update(latents=sqrt(ahead) * skip, clean=sqrt(ahead) * out, fresh=sqrt(1 - ahead))


def _tcd(between: float, ahead: float | None) -> _Update:
    """TCD: denoise to a point beyond the target, then noise back to the target."""
    if ahead is None:
        return _Update(clean=sqrt(between), noise=sqrt(1 - between))
    back = sqrt(ahead / between)
    return _Update(clean=back * sqrt(between), noise=back * sqrt(1 - between), fresh=sqrt(1 - ahead / between))


def _log_snr(alpha_cumprod: float) -> float:
    return 0.5 * log(alpha_cumprod / (1 - alpha_cumprod))
