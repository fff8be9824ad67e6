"""Diffusers folders: checks that a folder is whole and usable, and loads its parts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from ...errors import BraindError

PARTS = {
    "vae": ("AutoencoderKL", "AutoencoderTiny"),
    "text_encoder": ("CLIPTextModel",),
    "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "unet": ("UNet2DConditionModel",),
    "scheduler": (),  # any class: only the noise schedule is read
}
N_TRAIN_TIMESTEPS = 1000  # presets count timesteps in this schedule


class LdmError(BraindError):
    """A folder holds no latent diffusion model that braind can use."""

    code = "ldm"


def check_folder(path: Path) -> dict[str, str]:
    """Check a diffusers folder; return the class of every part. Raises LdmError for a missing or unusable part."""
    index_path = path / "model_index.json"
    if not index_path.is_file():
        raise LdmError(f"{index_path} is missing: give a diffusers folder, such as one of Stable Diffusion 1.5")
    index, classes = _read_json(index_path), {}
    for part in PARTS:
        if not (path / part).is_dir() or part not in index:
            raise LdmError(f"{path}: the folder {part}/ is missing, so this is no text-conditioned diffusion model")
        classes[part] = _usable_class(path / part, part, (index[part] or [None, None])[-1])
    for part in ("vae", "unet", "text_encoder"):
        _check_weights(path / part)
    return classes


def class_in(path: Path, part: str) -> str:
    """Check the folder of a single part, used as `part` of a model; return its class. Raises LdmError."""
    config_path = path / "config.json"
    if not config_path.is_file():
        raise LdmError(f"{config_path} is missing: give a folder that diffusers' save_pretrained wrote")
    name = _usable_class(path, part, _read_json(config_path).get("_class_name"))
    _check_weights(path)
    return name


def load_part(path: Path, name: str, device: torch.device, dtype: torch.dtype) -> Any:
    """Load one network, ready for inference."""
    # diffusers and transformers take seconds to import; only decoding needs them
    import diffusers
    import transformers
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # bars would interrupt the daemon's lines
    if name == "CLIPTextModel":
        part, found = _loaded(
            path,
            lambda: transformers.CLIPTextModel.from_pretrained(
                path, dtype=dtype, use_safetensors=True, local_files_only=True, output_loading_info=True
            ),
        )
        # transformers initialises missing weights at random
        missing = sorted(found["missing_keys"])
    else:
        part = _loaded(
            path,
            lambda: getattr(diffusers, name).from_pretrained(
                path, torch_dtype=dtype, use_safetensors=True, local_files_only=True
            ),
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


def load_scheduler(path: Path) -> Any:
    """Load the noise schedule, whatever scheduler the folder names."""
    from diffusers import DDIMScheduler

    scheduler = _loaded(path, lambda: DDIMScheduler.from_pretrained(path))
    if scheduler.config.prediction_type != "epsilon":
        raise LdmError(
            f"{path}: prediction_type is {scheduler.config.prediction_type!r}; "
            "braind denoises models that predict epsilon, such as Stable Diffusion 1.x"
        )
    if len(scheduler.alphas_cumprod) != N_TRAIN_TIMESTEPS:
        raise LdmError(f"{path}: {len(scheduler.alphas_cumprod)} timesteps; braind takes models of {N_TRAIN_TIMESTEPS}")
    return scheduler


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


def fuse_lora(unet: Any, path: Path) -> None:
    """Fuse a LoRA into the denoiser's weights, irreversibly.

    Raises
    ------
    LdmError
        If the file is missing, is no safetensors file, changes nothing of this denoiser, or changes the text encoder
        too. Decoder weights would not fit a changed text encoder.
    """
    from diffusers.loaders import StableDiffusionLoraLoaderMixin

    loader: Any = StableDiffusionLoraLoaderMixin  # its annotation has a third result, which is not requested here

    if not path.is_file() or path.suffix != ".safetensors":
        raise LdmError(f"{path}: no such .safetensors file; give a LoRA of the model's denoiser")
    try:
        state, alphas = loader.lora_state_dict(
            str(path.parent), weight_name=path.name, local_files_only=True, use_safetensors=True
        )
        if any(key.startswith("text_encoder") for key in state):
            raise LdmError(
                f"{path}: this LoRA changes the text encoder, and with it what c means; "
                "braind takes LoRAs of the denoiser alone"
            )
        loader.load_lora_into_unet(state, network_alphas=alphas, unet=unet)
        # diffusers only warns
        if not getattr(unet, "peft_config", None):
            raise LdmError(f"{path}: this LoRA changes nothing of the model's denoiser; give a LoRA of this model")
        unet.fuse_lora()
        unet.unload_lora()
    except (OSError, ValueError, LookupError, RuntimeError, SafetensorError) as error:
        raise LdmError(f"{path}: this LoRA does not fit the model's denoiser: {error}") from error


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


def _check_weights(path: Path) -> None:
    if not list(path.glob("*.safetensors")):
        raise LdmError(
            f"{path} holds no .safetensors file; braind never loads .bin or .ckpt, which can run code: "
            "convert the model with diffusers' save_pretrained(safe_serialization=True)"
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise LdmError(f"{path}: not JSON: {error}; take the model's own file") from error
    if not isinstance(content, dict):
        raise LdmError(f"{path}: no JSON object; take the model's own file")
    return content
