"""Makes objects from the settings: the latent diffusion model, presets, pipeline settings and fit settings."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ..config import Config, data_path, engines_path, expanded, nsd_path

if TYPE_CHECKING:
    from ..models.fit_profiles import FitSettings
    from ..models.ldm.model import LatentDiffusionModel
    from ..models.pipeline_settings import PipelineSettings
    from ..models.presets import Preset


def on_every_node(config: Config) -> Config:
    """Return the settings with whole paths, which mean the same files in a worker's folder and on its machine."""
    paths = msgspec.structs.asdict(config.paths)
    paths = {name: str(expanded(path).absolute()) for name, path in paths.items() if path}
    own = {"data": str(data_path(config).absolute()), "engines": str(engines_path(config).absolute())}
    if not config.paths.bids:
        own["nsd"] = str(nsd_path(config).absolute())
    return msgspec.structs.replace(config, paths=msgspec.structs.replace(config.paths, **(own | paths)))


def load_ldm(config: Config, *, is_exact: bool = False) -> "LatentDiffusionModel":
    """Load the latent diffusion model of the settings. With `is_exact`, a GPU computes in float32 too."""
    from ..models.ldm.model import LatentDiffusionModel

    paths = (config.paths.ldm, config.paths.lora, config.paths.tiny_decoder)
    return LatentDiffusionModel.load(
        *(expanded(path) if path else None for path in paths),
        gpu_dtype="float32" if is_exact else config.decode.gpu_dtype,
    )


def ldm_fingerprint(config: Config) -> str:
    """Return the fingerprint of the settings' latent diffusion model, without loading it."""
    from ..models.weights.fingerprint import EMBEDDED_LDM_PATH, meaning_fingerprint
    from ..models.weights.model_folder import read_index

    path = expanded(config.paths.ldm) if config.paths.ldm else EMBEDDED_LDM_PATH
    read_index(path)
    return meaning_fingerprint(path)


def preset_of(config: Config) -> "Preset":
    """Return the preset of the settings, with the parameters that the settings override.

    Raises
    ------
    PresetError
    """
    from ..models.presets import named_presets, preset_with

    decode = config.decode
    return preset_with(
        decode.preset,
        strength=decode.strength,
        guidance_scale=decode.guidance_scale,
        n_calls=decode.num_inference_steps,
        presets=named_presets(config),
    )


def refining_preset_of(config: Config) -> "Preset | None":
    """Return the preset of refined pictures, or None if the settings ask for no refined pictures.

    Raises
    ------
    PresetError
    """
    from ..models.presets import named_presets, preset_with

    return preset_with(config.decode.refine, presets=named_presets(config)) if config.decode.refine else None


def presets_of(config: Config) -> "dict[str, Preset]":
    """Return all presets by name, and the settings' preset with its changed parameters.

    Raises
    ------
    PresetError
    """
    from ..models.presets import named_presets

    changed = preset_of(config)
    return {**named_presets(config), changed.name: changed}


def pipeline_settings(config: Config) -> "PipelineSettings":
    """Return the settings of the decoding pipeline, for the daemon, the offline commands and the benchmarks.

    Raises
    ------
    PresetError
    """
    from ..models.pipeline_settings import PipelineSettings

    decode, paths = config.decode, config.paths
    return PipelineSettings(
        preset=preset_of(config),
        mode=decode.mode,
        seed=decode.seed,
        engine=decode.engine,
        engines_path=str(engines_path(config)),
        gpu_dtype=decode.gpu_dtype,
        ldm_path=_expanded(paths.ldm),
        lora_path=_expanded(paths.lora),
        tiny_decoder_path=_expanded(paths.tiny_decoder),
        provider=decode.provider,
        may_fall_back=decode.may_fall_back,
        threads=decode.threads,
        c_decoder=decode.c_decoder,
    )


def fit_settings_of(config: Config, device: str, work: Path | None = None) -> "FitSettings":
    """Return the fit settings: profile, folds, discarded variance, device and working folder.

    Parameters
    ----------
    device : str
        Device of the fit, as torch names it.
    work : Path, optional
        Folder of the checkpoints from which an interrupted fit resumes.

    Raises
    ------
    FitError
        If there is no fit profile of that name.
    """
    from ..models.fit_profiles import FitSettings, profile_named

    profile = replace(profile_named(config.fit.profile), folds=config.fit.folds)
    return FitSettings(profile, config.fit.max_discarded_variance, device, work)


def _expanded(path: str) -> str | None:
    return str(expanded(path)) if path else None
