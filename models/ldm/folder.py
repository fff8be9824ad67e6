"""Diffusers folders: checks that a folder is whole and usable, and loads its parts."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..weights.model_folder import WANTED, LdmError, read_index, read_object, weight_files

PARTS = {
    "vae": ("AutoencoderKL", "AutoencoderTiny"),
    "text_encoder": ("CLIPTextModel",),
    "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "unet": ("UNet2DConditionModel",),
    "scheduler": (),  # any class: only the noise schedule is read
}
N_TRAIN_TIMESTEPS = 1000  # presets count timesteps in this schedule


def check_folder(path: Path) -> dict[str, str]:
    """Check a diffusers folder; return the class of every part. Raises LdmError for a missing or unusable part."""
    index, classes = read_index(path), {}
    for part in PARTS:
        if not (path / part).is_dir() or part not in index:
            raise LdmError(f"{path}: the folder {part}/ is missing, so this is no text-conditioned diffusion model")
        classes[part] = _usable_class(path / part, part, (index[part] or [None, None])[-1])
    for part in ("vae", "unet", "text_encoder"):
        weight_files(path / part, part)
    return classes


def class_in(path: Path, part: str) -> str:
    """Check the folder of a single part, used as `part` of a model; return its class. Raises LdmError."""
    config_path = path / "config.json"
    if not config_path.is_file():
        raise LdmError(f"{config_path} is missing: give a folder that diffusers' save_pretrained wrote")
    name = _usable_class(path, part, read_object(config_path).get("_class_name"))
    weight_files(path, part)
    return name


def load_part(path: Path, name: str, device: torch.device, dtype: torch.dtype) -> Any:
    """Load one network, ready for inference."""
    # diffusers and transformers take seconds to import; only decoding needs them
    import diffusers
    import transformers
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # bars would interrupt the daemon's lines
    variant, _ = weight_files(path, "text_encoder" if name == "CLIPTextModel" else "")
    files = {"use_safetensors": True, "local_files_only": True, "variant": variant}
    if name == "CLIPTextModel":
        part, found = _loaded(
            path,
            lambda: transformers.CLIPTextModel.from_pretrained(path, dtype=dtype, output_loading_info=True, **files),
        )
        # transformers initialises missing weights at random
        missing = sorted(found["missing_keys"])
    else:
        part = _loaded(
            path,
            lambda: getattr(diffusers, name).from_pretrained(path, torch_dtype=dtype, **files),
        )
        # diffusers leaves missing weights on the meta device, without content
        missing = sorted(name for name, tensor in part.state_dict().items() if tensor.is_meta)
    if missing:
        raise LdmError(f"{path}: the weights lack {missing[0]}, so this is not its config.json's model")
    return part.to(device).eval().requires_grad_(False)


def load_tokenizer(path: Path) -> Any:
    """Load the tokenizer."""
    from transformers import CLIPTokenizer

    if not (path / "vocab.json").is_file() and not (path / "tokenizer.json").is_file():
        raise LdmError(
            f"{path}: vocab.json is missing; a diffusers folder's tokenizer has it, and merges.txt beside it"
        )
    return _loaded(path, lambda: CLIPTokenizer.from_pretrained(path, local_files_only=True))


def load_alphas_cumprod(path: Path) -> torch.Tensor:
    """Return ᾱ of the noise schedule's timesteps, (1000,) float64, whatever scheduler the folder names.

    Raises
    ------
    LdmError
        The schedule is of no model that predicts epsilon over 1000 timesteps.
    """
    import diffusers

    config_path = path / "scheduler_config.json"
    config = read_object(config_path) if config_path.is_file() else {}
    name = str(config.get("_class_name", "DDIMScheduler"))
    parameters = inspect.signature(getattr(diffusers, name, diffusers.DDIMScheduler)).parameters
    if "beta_start" not in parameters and "beta_start" not in config:
        raise LdmError(f"{path}: {name} has no schedule of betas; {WANTED}")
    # A key that the file leaves out has the default of the class that it names.
    betas = {key: parameters[key].default for key in ("beta_start", "beta_end", "beta_schedule") if key in parameters}
    betas = {key: default for key, default in betas.items() if key not in config}
    scheduler = _loaded(path, lambda: diffusers.DDIMScheduler.from_pretrained(path, **betas))
    if scheduler.config.prediction_type != "epsilon":
        raise LdmError(
            f"{path}: prediction_type is {scheduler.config.prediction_type!r}; "
            "braind denoises models that predict epsilon, such as Stable Diffusion 1.x"
        )
    alphas_cumprod = scheduler.alphas_cumprod.double()
    if len(alphas_cumprod) != N_TRAIN_TIMESTEPS:
        raise LdmError(f"{path}: {len(alphas_cumprod)} timesteps; braind takes models of {N_TRAIN_TIMESTEPS}")
    if not float(alphas_cumprod.min()) > 0:
        raise LdmError(
            f"{path}: rescale_betas_zero_snr leaves no signal at the last timestep, where epsilon says nothing of the "
            "picture; braind takes schedules with some signal at every timestep"
        )
    return alphas_cumprod


def check_sizes(path: Path, autoencoder: Any, unet: Any, text_encoder: Any) -> None:
    """Raise LdmError if the parts' sizes do not fit each other."""
    sizes = (
        ("text embeddings", "text_encoder", text_encoder.config.hidden_size, unet.config.cross_attention_dim),
        ("latents", "vae", autoencoder.config.latent_channels, unet.config.out_channels),
    )
    for what, part, theirs, ours in sizes:
        if theirs != ours:
            raise LdmError(
                f"{path}: {part}/ makes {what} {theirs} wide, unet/ takes {ours}; these are parts of different models"
            )


def _loaded(path: Path, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except Exception as error:  # noqa: BLE001 (the libraries' errors about damaged folders share no other class)
        words = " ".join(str(error).split())
        raise LdmError(f"{path}: does not load: {words[:300]}") from error


def _usable_class(path: Path, part: str, name: str | None) -> str:
    classes = PARTS[part]
    if not name or (classes and name not in classes):
        raise LdmError(f"{path}: class {name or 'unknown'}; braind takes {' or '.join(classes) or 'any scheduler'}")
    return name
