"""Options that several commands share, and the settings made from them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ..config import Config

Command = TypeVar("Command", bound=Callable[..., Any])

FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
READABLE = click.Path(dir_okay=False, exists=True, readable=True, path_type=Path)
MODES = click.Choice(["z", "c", "zc"])

subject_option = click.option("--subject", default=1, show_default=True, help="Subject number.")
kind_option = click.option(
    "--kind",
    type=click.Choice(["beta", "bold"]),
    default="beta",
    show_default=True,
    help="Volumes: one beta per trial, or one BOLD volume per TR.",
)
nsd_option = click.option("--nsd", type=FOLDER, help="Natural Scenes Dataset folder instead of the simulated one.")
ldm_option = click.option(
    "--ldm", type=FOLDER, help="Latent diffusion model (a diffusers folder) instead of the demo's."
)
lora_option = click.option("--lora", type=FILE, help="LoRA of the model's denoiser (.safetensors), fused into it.")
tiny_decoder_option = click.option(
    "--tiny-decoder", type=FOLDER, help="Small decoder of the model's latents (such as TAESD) for the live presets."
)
key_option = click.option(
    "--key", type=FILE, help="Key file for the daemon, made by `braind keys add`; found by itself on its machine."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def pair_options(command: Command) -> Command:
    """Add --right and --foil."""
    command = click.option("--foil", help="Foil of the pair, by nsd_id or label.")(command)
    return click.option("--right", help="Right picture of the pair for every trial's score, by nsd_id or label.")(
        command
    )


def config_options(command: Command) -> Command:
    """Add --config and --data."""
    command = click.option("--data", type=FOLDER, help="Folder of simulated data, weights and journals.")(command)
    return click.option("--config", "config_path", type=FILE, help="Settings file instead of your own.")(command)


def data_set_options(command: Command) -> Command:
    """Add the options that choose recorded data: an NSD or BIDS folder, and its sessions and betas."""
    for option in (
        click.option("--sessions", help="Sessions to read, such as 1-12,14; all by default."),
        click.option("--betas", help="Version of NSD's betas, such as betas_fithrf. BIDS: a desc label, or bold."),
        click.option("--space", help="Space of a BIDS folder's images, such as T1w."),
        click.option("--task", help="Task of a BIDS folder."),
        click.option("--bids", type=FOLDER, help="BIDS folder of your own instead of NSD."),
        nsd_option,
    ):
        command = option(command)
    return command


def shown_options(command: Command) -> Command:
    """Add the options for the pictures and captions of recorded sessions."""
    for option in (
        click.option(
            "--captioner", type=FOLDER, help="Image-to-text model (transformers) for pictures without captions."
        ),
        click.option("--captions", type=READABLE, help="Table of captions: stim_file, caption and, optionally, split."),
        click.option("--stimuli", type=FOLDER, help="Folder of the recorded trials' pictures."),
    ):
        command = option(command)
    return command


def fit_options(command: Command) -> Command:
    """Add the options of a fit."""
    for option in (
        click.option("--profile", help="takagi: the published method, quirks included."),
        click.option("--folds", type=int, help="Cross-validation folds."),
        click.option(
            "--c-rois", multiple=True, help="Region for c, a label or a NIfTI mask file; give it again for more."
        ),
        click.option(
            "--z-rois", multiple=True, help="Region for z, a label or a NIfTI mask file; give it again for more."
        ),
    ):
        command = option(command)
    return command


def model_paths(options: dict[str, Any]) -> dict[str, Path | None]:
    """Take the paths of the model (--ldm, --lora, --tiny-decoder) out of a command's options."""
    return {name: options.pop(name) for name in ("ldm", "lora", "tiny_decoder") if name in options}


def data_set_settings(options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Take the data set's options and the model's paths out of a command's options; return them as settings."""
    dataset = {name: options.pop(name) for name in ("task", "space", "betas", "sessions")}
    paths = {**model_paths(options), "nsd": options.pop("nsd"), "bids": options.pop("bids")}
    return {"paths": paths, "dataset": dataset}


def decode_options(command: Command) -> Command:
    """Add the options of the reconstruction."""
    for option in (
        click.option("--seed", type=int, help="Seed of every volume's initial noise."),
        click.option("--num-inference-steps", type=int, help="Denoiser calls."),
        click.option("--guidance-scale", type=float, help="Classifier-free guidance."),
        click.option("--strength", type=float, help="Share of the noise schedule that z is noised to, 0-1."),
        click.option(
            "--preset", help="takagi (as published), quality-20, live-8, live-4, live-2, live-1, or your own."
        ),
        click.option("--engine", type=click.Choice(["auto", "torch", "onnx"]), help="Engine that runs the networks."),
        click.option(
            "--provider",
            type=click.Choice(["cpu", "cuda", "tensorrt"]),
            help="Device on which the onnx engine runs them.",
        ),
        click.option("--mode", type=MODES, help="z: layout only; c: meaning only; zc: both."),
    ):
        command = option(command)
    return command


def config_of(config_path: Path | None, data: Path | None = None, **sections: dict[str, Any]) -> "Config":
    """Load the settings, with a command's options as overrides."""
    from ..config import load_config

    paths = {"data": data, **sections.pop("paths", {})}
    paths = {key: str(path) if path is not None else None for key, path in paths.items()}
    return load_config(config_path, {"paths": paths, **sections})
