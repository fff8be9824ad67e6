"""The tables of a report's parameters, provenance and software."""

import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from ... import __version__
from ..decoding import SubjectDecoder
from ..typography import number, percent, scientific
from .methods import labels

LIBRARIES = (
    "torch", "diffusers", "transformers", "onnxruntime-gpu", "numpy", "scipy", "scikit-learn", "scikit-image",
    "nibabel", "h5py", "nilearn", "matplotlib", "jinja2", "pillow",
)  # fmt: skip
C_DECODERS = {"linear": "linear", "expected": "expected, a classifier into the training captions"}


def parameters(decoder: SubjectDecoder) -> dict[str, dict[str, str]]:
    """Return the parameters of fit and pictures: group → name → value."""
    card, reconstructor, preset = decoder.weights.card, decoder.reconstructor, decoder.reconstructor.preset
    fit = {
        "profile": card.profile,
        "ROIs of z": f"{', '.join(labels(card.z_rois))} ({len(decoder.weights.z.positions):,} voxels)",
        "ROIs of c": f"{', '.join(labels(card.c_rois))} ({len(decoder.weights.c.positions):,} voxels)",
        "training": f"{card.n_trials:,} single trials of {card.n_pictures:,} pictures",
        "folds": str(card.folds),
        "voxels z-scored per session": card.z_score,
        **{f"penalties of {name}": _penalties(alphas) for name, alphas in (("z", card.alphas_z), ("c", card.alphas_c))},
        "rank of z and c": f"{card.rank_z}, {card.rank_c}",
        "predicted variance that the ranks lose": f"{percent(card.discarded_z)}, {percent(card.discarded_c)}",
        "c decoder": C_DECODERS[decoder.weights.c_decoder],
        **{f"cross-validated {name.replace('_', ' ')}": number(value, ".3f") for name, value in card.scores.items()},
    }
    pictures = {
        "preset": preset.name,
        "start": f"timestep {preset.start} of 1000",
        "denoiser calls": str(preset.n_calls),
        "rule": preset.rule,
        "guidance": preset.guidance
        if preset.guidance == "none"
        else f"{preset.guidance}, scale {preset.guidance_scale:g}",
        "path of z": preset.latent_path,
        "seed": str(reconstructor.seed),
        "engine and networks": reconstructor.engine_words,
        "shape of z": " × ".join(map(str, card.latent_shape)),
        "shape of c": " × ".join(map(str, card.text_shape)),
        "side of a picture": f"{decoder.ldm.picture_px} px",
    }
    return {"Parameters of the fit": fit, "Parameters of the pictures": pictures}


def _penalties(alphas: tuple[float, float, float]) -> str:
    """Describe the smallest, median and largest penalty of a map's targets."""
    smallest, median, largest = map(scientific, alphas)
    if smallest == largest:
        return f"the same for all targets: {median}"
    return f"one for each target: {smallest}, {median}, {largest} (smallest, median, largest)"


def provenance_rows(decoder: SubjectDecoder) -> dict[str, str]:
    """Return the identifiers of data, weights and models, without paths of this machine."""
    card, made = decoder.weights.card, decoder.provenance()
    return {
        "data set": card.nsd,
        "volumes": f"{' × '.join(map(str, card.shape))} voxels",
        "mask (SHA-256)": card.mask_sha256[:12],
        "weights": f"{made['weights']}, schema {card.schema}, fitted by braind {card.version}",
        "latent diffusion model": Path(decoder.config.paths.ldm).name or "embedded in braind",
        "autoencoder and text encoder": made["ldm"],
        "denoiser": made["denoiser"],
        "LoRA": Path(decoder.config.paths.lora).name or "none",
        "settings": made["config"],
    }


def versions() -> Mapping[str, str]:
    """Return the versions of the software, and the platform."""
    import torch

    found = {"braind": __version__, "Python": platform.python_version()}
    found |= {name: version(name) for name in LIBRARIES}
    found["machine"] = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    if torch.cuda.is_available():
        found["GPU"] = torch.cuda.get_device_name()
    return found
