"""Profiles: how a decoded z and c become a picture, setting for setting, and the denoising steps that follow."""

from dataclasses import dataclass

from ..errors import BraindError

N_TRAIN_TIMESTEPS = 1000


class ProfileError(BraindError):
    """A profile or setting that makes no schedule."""

    code = "profile"


@dataclass(frozen=True)
class Profile:
    """Settings of reconstruction.

    `strength` is the share of the noise schedule that z is noised to; `num_inference_steps` counts denoiser calls.
    `published_grid`: the 50-step grid of the paper's code instead of calls spread evenly below the start.
    `reencode`: z is decoded, resized and encoded again before noising, as published; otherwise used as it is.
    `z_share`: the side of the pictures that z encodes, as a share of the model's (the paper: 320 of 512).
    """

    name: str
    strength: float
    guidance_scale: float
    num_inference_steps: int
    reencode: bool
    z_share: float
    published_grid: bool = False


PROFILES = {
    # Takagi & Nishimoto 2023, codes/diffusion_sd1/diffusion_decoding.py: DDIM 50, strength 0.8 → 40 calls, scale 5.
    "takagi": Profile("takagi", 0.8, 5.0, 40, reencode=True, z_share=320 / 512, published_grid=True),
    "live": Profile("live", 0.8, 3.0, 6, reencode=False, z_share=1.0),
}


@dataclass(frozen=True)
class Schedule:
    """Timesteps of one reconstruction: z is noised to `noise`; call n denoises from `timesteps[n]` to `targets[n]`.

    A target of −1 stands for the clean end of the schedule.
    """

    noise: int
    timesteps: tuple[int, ...]
    targets: tuple[int, ...]


def profile_with(name: str, *, strength: float = 0, guidance_scale: float = 0, num_inference_steps: int = 0) -> Profile:
    """Return a named profile with the settings that are not 0 put in place of its own."""
    if name not in PROFILES:
        raise ProfileError(f"no profile named {name!r}; there are {', '.join(PROFILES)}")
    profile = PROFILES[name]
    if not strength and not guidance_scale and not num_inference_steps:
        return profile
    return Profile(
        name=f"{name} (changed)",
        strength=strength or profile.strength,
        guidance_scale=guidance_scale or profile.guidance_scale,
        num_inference_steps=num_inference_steps or profile.num_inference_steps,
        reencode=profile.reencode,
        z_share=profile.z_share,
        published_grid=profile.published_grid and not (strength or num_inference_steps),
    )


def schedule(profile: Profile) -> Schedule:
    """Return the timesteps of image-to-image from z."""
    if profile.published_grid:
        return published_schedule(50, profile.num_inference_steps)
    if not 0 < profile.strength <= 1:
        raise ProfileError(f"strength {profile.strength}: give a share of the noise schedule in (0, 1]")
    return even_schedule(round(profile.strength * (N_TRAIN_TIMESTEPS - 1)), profile.num_inference_steps)


def text_schedule(profile: Profile) -> Schedule:
    """Return the timesteps of pictures from noise alone (mode c): the whole schedule at the same density of calls."""
    if profile.published_grid:
        return published_schedule(50, 50)
    n_calls = max(profile.num_inference_steps, round(profile.num_inference_steps / profile.strength))
    return even_schedule(N_TRAIN_TIMESTEPS - 1, n_calls)


def even_schedule(start: int, n_calls: int) -> Schedule:
    """Spread exactly `n_calls` calls evenly from timestep `start` to the clean end."""
    if n_calls < 1:
        raise ProfileError(f"num_inference_steps {n_calls}: at least one denoiser call makes a picture")
    timesteps = tuple(round(start * (n_calls - n) / n_calls) for n in range(n_calls))
    return Schedule(start, timesteps, (*timesteps[1:], -1))


def published_schedule(n_grid: int, n_calls: int) -> Schedule:
    """Return the paper's timesteps on a grid of `n_grid`: for 50 and 40, noised at 801, first call at 781.

    The noise is that of the grid point above the first call: an off-by-one of the published code, kept on purpose.
    """
    ratio = N_TRAIN_TIMESTEPS // n_grid
    timesteps = tuple(n * ratio + 1 for n in reversed(range(n_calls)))
    noise = min(n_calls * ratio + 1, N_TRAIN_TIMESTEPS - 1)
    return Schedule(noise, timesteps, (*timesteps[1:], -1))
