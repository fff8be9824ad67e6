"""Diffusers folders as files: which file holds a part's weights, and what is given in place of a folder. No torch."""

import json
from pathlib import Path
from typing import Any

from ...errors import BraindError

INDEX = "model_index.json"
WEIGHTS = {"text_encoder": "model"}
"""The stem of a part's weights, if it is not `diffusion_pytorch_model`."""
OTHER_MODELS = {
    "StableDiffusionXL": "Stable Diffusion XL",
    "StableDiffusion3": "Stable Diffusion 3",
    "Flux": "Flux",
    "PixArt": "PixArt",
    "Kandinsky": "Kandinsky",
    "StableCascade": "Stable Cascade",
    "Wuerstchen": "Wuerstchen",
    "StableVideo": "Stable Video Diffusion",
    "StableDiffusionInpaint": "a Stable Diffusion for inpainting",
    "StableDiffusionInstruct": "InstructPix2Pix",
    "StableDiffusionUpscale": "a Stable Diffusion for upscaling",
    "StableDiffusionLatentUpscale": "a Stable Diffusion for upscaling",
    "StableDiffusionDepth": "a Stable Diffusion with depth",
    "StableDiffusionImageVariation": "a Stable Diffusion without text",
}
WANTED = "braind takes text-conditioned models of Stable Diffusion 1.x's form"


class LdmError(BraindError):
    """A folder holds no latent diffusion model that braind can use."""

    code = "ldm"


def read_index(path: Path) -> dict[str, Any]:
    """Return the model_index.json of a diffusers folder.

    Raises
    ------
    LdmError
        The path is a single file, a name of the Hugging Face hub, a folder of the hub's cache, no diffusers folder, or
        a model of another kind; the sentence says what to give instead.
    """
    if path.is_file():
        raise LdmError(
            f"{path} is a single file: give a diffusers folder; "
            "diffusers' StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER) makes one"
        )
    if not path.exists():
        is_name = not path.is_absolute() and len(path.parts) == 2 and not path.parent.exists()
        raise LdmError(
            f"{path} is no folder here; a model of the Hugging Face hub is downloaded first: "
            f"hf download {path} --local-dir FOLDER, then give FOLDER"
            if is_name
            else f"{path} does not exist: give a diffusers folder (with model_index.json), such as Stable Diffusion 1.5"
        )
    if not (path / INDEX).is_file():
        snapshots = sorted(found.parent for found in _snapshots(path))
        if snapshots:
            raise LdmError(f"{path} is a cache of the Hugging Face hub: give the folder of a model, {snapshots[0]}")
        raise LdmError(f"{path / INDEX} is missing: give a diffusers folder, such as one of Stable Diffusion 1.5")
    index = read_object(path / INDEX)
    name = str(index.get("_class_name", ""))
    other = next((words for start, words in OTHER_MODELS.items() if name.startswith(start)), None)
    if other is None and "transformer" in index:
        other = "a diffusion transformer"
    if other is None and "text_encoder_2" in index:
        other = "a model of two text encoders"
    if other is not None:
        raise LdmError(f"{path} is {other} ({name}): {WANTED}, such as Stable Diffusion 1.5")
    return index


def _snapshots(path: Path) -> list[Path]:
    found: list[Path] = []
    for pattern in ("snapshots/*", "models--*/snapshots/*", "hub/models--*/snapshots/*", "*"):
        found += path.glob(f"{pattern}/{INDEX}")
        if found:
            return found
    return found


def weight_files(folder: Path, part: str) -> tuple[str | None, list[Path]]:
    """Return the variant of a part's weights (None for plain names, or fp16, …) and the files that are loaded.

    Other files beside them are never loaded.

    Raises
    ------
    LdmError
        There is no .safetensors file of the part, or there are several variants and neither a plain one nor fp16.
    """
    stem = WEIGHTS.get(part, "diffusion_pytorch_model")
    variants: dict[str, list[Path]] = {}
    for file in sorted(folder.glob(f"{stem}*.safetensors")):
        words = file.name.removesuffix(".safetensors").removeprefix(stem).split(".")
        words = [word.split("-")[0] if "-of-" in word else word for word in words]  # a shard
        variants.setdefault(".".join(words).strip("."), []).append(file)
    for index in folder.glob(f"{stem}.safetensors.index*.json"):
        name = index.name.removeprefix(f"{stem}.safetensors.index").removesuffix(".json").strip(".")
        variants.setdefault(name, []).append(index)
    if not variants:
        others = ", ".join(sorted(file.name for file in folder.glob("*.safetensors")))
        if others:
            raise LdmError(
                f"{folder} holds {others}, and no {stem}.safetensors, which diffusers loads: rename the file"
            )
        raise LdmError(
            f"{folder} holds no .safetensors file; braind never loads .bin or .ckpt, which can run code: "
            "convert the model with diffusers' save_pretrained(safe_serialization=True)"
        )
    variant = next((name for name in ("", "fp16") if name in variants), None)
    if variant is None and len(variants) > 1:
        raise LdmError(
            f"{folder} holds the weights {', '.join(sorted(variants))}: leave one, or name one {stem}.safetensors"
        )
    variant = next(iter(variants)) if variant is None else variant
    return variant or None, sorted(variants[variant])


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises LdmError if the file holds anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise LdmError(f"{path}: not JSON: {error}; take the model's own file") from error
    if not isinstance(content, dict):
        raise LdmError(f"{path}: no JSON object; take the model's own file")
    return content
