"""LoRAs of the denoiser: read in the formats that files come in, and fused into the weights."""

import json
import re
from math import sqrt
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..weights.model_folder import LdmError, read_object

PEFT_PREFIX = "base_model.model."
"""peft's save_pretrained puts it before each key, and writes the scale into a file beside the weights."""
LAYER = re.compile(r"(?:unet\.)?(.+)\.lora_[AB]\.weight")
BLOCKS = ("down_blocks.", "mid_block.", "up_blocks.")


def fuse_lora(unet: Any, path: Path) -> None:
    """Fuse a LoRA into the denoiser's weights, irreversibly.

    Raises
    ------
    LdmError
        If the file is missing, is no safetensors file, changes nothing of this denoiser, or changes the text encoder
        too. Decoder weights would not fit a changed text encoder.
    """
    from diffusers.loaders import StableDiffusionLoraLoaderMixin

    loader: Any = StableDiffusionLoraLoaderMixin  # its annotation does not know the third result

    if not path.is_file() or path.suffix != ".safetensors":
        raise LdmError(f"{path}: no such .safetensors file; give a LoRA of the model's denoiser")
    try:
        of_peft = _peft_tensors(path)
        # diffusers also reads the scale from the file's metadata, if it reads the file itself.
        given = (of_peft,) if of_peft else (str(path.parent),)
        name = {} if of_peft else {"weight_name": path.name}
        state, alphas, metadata = loader.lora_state_dict(
            *given, **name, local_files_only=True, use_safetensors=True, return_lora_metadata=True
        )
        if any(key.startswith("text_encoder") for key in state):
            raise LdmError(
                f"{path}: this LoRA changes the text encoder, and with it what c means; "
                "braind takes LoRAs of the denoiser alone"
            )
        loader.load_lora_into_unet(state, network_alphas=alphas, unet=unet, metadata=metadata)
        # diffusers only warns of keys that are no layer of the denoiser
        adapted = [layer for layer in unet.modules() if hasattr(layer, "get_delta_weight") and len(layer.lora_A)]
        if not any(_changes(layer) for layer in adapted):
            raise LdmError(f"{path}: this LoRA changes nothing of the model's denoiser; give a LoRA of this model")
        strange = [key for key in state if (layer := LAYER.fullmatch(key)) and not _has_layer(unet, layer[1])]
        if strange:
            raise LdmError(f"{path}: this LoRA does not fit the model's denoiser, which has no layer of {strange[0]}")
        unet.fuse_lora()
        unet.unload_lora()
    except (OSError, ValueError, LookupError, RuntimeError, SafetensorError) as error:
        raise LdmError(f"{path}: this LoRA does not fit the model's denoiser: {error}") from error


def _changes(layer: Any) -> bool:
    """Return whether the product of a layer's LoRA is not zero."""
    return any(bool(layer.get_delta_weight(name).any()) for name in layer.lora_A)


def _has_layer(unet: Any, name: str) -> bool:
    """Return whether a layer of the denoiser has a LoRA."""
    try:
        return len(unet.get_submodule(name).lora_A) > 0
    except AttributeError:
        return False


def _peft_tensors(path: Path) -> dict[str, torch.Tensor] | None:
    """Return the tensors of a file with peft's keys under diffusers' keys, scaled; None for a file of other keys.

    Raises
    ------
    LdmError
        The adapter_config.json beside the file names a kind of adapter that diffusers does not read.
    """
    tensors = load_file(path)
    keys = {key: key.removeprefix("unet.").removeprefix(PEFT_PREFIX).removeprefix("unet.") for key in tensors}
    if not tensors or not all(key.startswith(BLOCKS) for key in keys.values()):
        return None
    if all(key.startswith("unet.") and PEFT_PREFIX not in key for key in tensors):
        return None  # diffusers' own keys
    config_path = path.with_name("adapter_config.json")
    config = read_object(config_path) if config_path.is_file() else {}
    unread = [name for name in ("rank_pattern", "alpha_pattern", "use_dora") if config.get(name)]
    if unread:
        raise LdmError(f"{config_path}: {unread[0]} is {json.dumps(config[unread[0]])}; give a plain LoRA of one rank")
    rank = config.get("r") or 1
    scale = config.get("lora_alpha", rank) / (sqrt(rank) if config.get("use_rslora") else rank)
    return {
        f"unet.{keys[key]}": tensor * scale if ".lora_B." in key or ".lora.up." in key else tensor
        for key, tensor in tensors.items()
    }
