"""Options that several commands share, and the settings made from them."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ..choices import Kind
    from ..config import Config
    from ..daemon.link import DecoderSettings
    from ..offline.workers import Workers

Command = TypeVar("Command", bound=Callable[..., Any])


class FiniteRange(click.FloatRange):
    """A number in a range. click's own range takes NaN, which is in no range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number; fail for NaN, infinity and numbers out of the range."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no finite number.", param, ctx)
        return number


class NewPath(click.Path):
    """A file or a folder to write. It is refused at once if it cannot be made there.

    A folder is made with the folders above it. The folder of a path that can only be a file must be there.
    """

    def convert(self, value: "str | os.PathLike[str]", param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; fail if the folder to write into is missing, is a file or is not writable."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        folder = path.absolute() if self.file_okay is False else path.absolute().parent
        # `os.path` also answers for a path below a file, and for one that may not be looked at.
        while self.dir_okay and not os.path.lexists(folder):
            folder = folder.parent
        if not os.path.isdir(folder):
            self.fail(f"{path}: {folder} is no folder; make it first, or give another path", param, ctx)
        if self.writable and not os.access(folder, os.W_OK):
            self.fail(f"{path}: {folder} cannot be written into; give another path", param, ctx)
        return path


class SessionName(click.ParamType):
    """The name of a session to record. A wrong name is refused before anything is sent."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name; fail if it cannot be a session's."""
        from ..client.names import wrong_name

        problem = wrong_name("session", value)
        if problem:
            self.fail(problem, param, ctx)
        return value


FOLDER = click.Path(file_okay=False, path_type=Path)
DATA_FOLDER = NewPath(file_okay=False, path_type=Path)
"""A viewer of a daemon reads in its data folder and need not write there."""
NEW_FOLDER = NewPath(file_okay=False, writable=True, path_type=Path)
NEW_FILE = NewPath(dir_okay=False, writable=True, path_type=Path)
NEW_PATH = NewPath(writable=True, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
READABLE = click.Path(dir_okay=False, exists=True, readable=True, path_type=Path)
SECONDS = FiniteRange(0, min_open=True)
SESSION_NAME = SessionName()
MODES = click.Choice(["z", "c", "zc"])

subject_option = click.option(
    "--subject", default="1", show_default=True, help="Subject number, or a BIDS folder's label, such as pil03."
)
kind_option = click.option(
    "--kind",
    type=click.Choice(["beta", "bold"]),
    default="beta",
    show_default=True,
    help="Volumes: one beta per trial, or one BOLD volume per TR.",
)
nsd_option = click.option("--nsd", type=FOLDER, help="Natural Scenes Dataset folder instead of the simulated one.")
ldm_option = click.option(
    "--ldm", type=click.Path(path_type=Path), help="Latent diffusion model (a diffusers folder) instead of the demo's."
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
    command = click.option("--foil", help="Foil of the pair, by nsd_id, file or label.")(command)
    return click.option("--right", help="Right picture of the pair for every trial's score, by nsd_id, file or label.")(
        command
    )


def config_options(command: Command) -> Command:
    """Add --config and --data."""
    command = click.option("--data", type=DATA_FOLDER, help="Folder of simulated data, weights and journals.")(command)
    return click.option("--config", "config_path", type=FILE, help="Settings file instead of your own.")(command)


def data_set_options(command: Command) -> Command:
    """Add the options that choose recorded data: an NSD or BIDS folder, and its sessions and betas."""
    for option in (
        click.option("--sessions", help="Sessions to read: numbers, such as 1-12,14, or labels; all by default."),
        click.option("--betas", help="Version of NSD's betas, such as betas_fithrf. BIDS: a desc label, or bold."),
        click.option("--test-runs", help="Runs to hold out instead of the test pictures, such as 11,12."),
        click.option("--labels", help="Column of a BIDS folder's events that names each trial's class: trial_type."),
        click.option("--echo", help="Echo of a BIDS folder's images, where a run has several, such as 2."),
        click.option("--res", help="res label of a BIDS folder's images, where a run has several."),
        click.option("--acq", help="acq label of a BIDS folder's images, where a run has several."),
        click.option("--space", help="Space of a BIDS folder's images, such as T1w."),
        click.option("--task", help="Task of a BIDS folder."),
        click.option(
            "--raw", type=FOLDER, help="Raw data of the BIDS folder: events and stimuli, if they lie elsewhere."
        ),
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
        region_options,
    ):
        command = option(command)
    return command


def region_options(command: Command) -> Command:
    """Add the options for the regions of z and c."""
    for option in (
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
    names = ("task", "space", "acq", "res", "echo", "betas", "sessions", "labels", "test_runs")
    dataset = {name: options.pop(name) for name in names}
    paths = {**model_paths(options), **{name: options.pop(name) for name in ("nsd", "bids", "raw")}}
    return {"paths": paths, "dataset": dataset}


def workers_options(command: Command) -> Command:
    """Add --workers and --ray."""
    command = click.option(
        "--ray", "address", help="Work on the Ray cluster at this address, host:port, or `auto` (docs/scale.md)."
    )(command)
    return click.option(
        "--workers", "n_workers", type=click.IntRange(1), help="Workers, by Ray on this machine or the cluster's."
    )(command)


def workers_of(options: dict[str, Any]) -> "Workers":
    """Take --workers and --ray out of a command's options.

    Raises
    ------
    WorkersError
        Ray is not installed, the workers are too many, or nothing answers at the address.
    """
    from ..offline.workers import Workers

    n, address = options.pop("n_workers"), options.pop("address")
    if address == "":
        # A job that the user gave a cluster, by a variable that is not set, would run alone for weeks.
        raise click.BadParameter(
            "the address is empty; give host:port of the cluster's head, or auto", param_hint="--ray"
        )
    workers = Workers(n, address or "")
    if workers.on_ray:
        from ..offline.cluster_address import check_can_be_had

        check_can_be_had(workers)
    return workers


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
        click.option(
            "--c-decoder",
            type=click.Choice(["linear", "expected"]),
            help="linear: the map of c; expected: c read against the training captions, a classifier into them.",
        ),
        click.option("--mode", type=MODES, help="z: layout only; c: meaning only; zc: both."),
    ):
        command = option(command)
    return command


def serve_options(command: Command) -> Command:
    """Add the options of a daemon: what it decodes with, where it listens, what it keeps."""
    for option in (
        decode_options,
        click.option("--refine", help="Preset of a better picture of the newest volume, made while no volume waits."),
        click.option("--threads", type=int, help="CPU threads of the decoder."),
        click.option(
            "--durability",
            type=click.Choice(["full", "normal"]),
            help="full: an ack waits for the disk. normal: an acked volume outlives every crash but a power cut.",
        ),
        click.option("--metrics-port", type=int, help="Port of /metrics and /healthz; 0 takes any free port."),
        click.option(
            "--metrics/--no-metrics", default=None, help="Serve /metrics and /healthz over HTTP, on 127.0.0.1."
        ),
        click.option("--store-volumes/--no-store-volumes", default=None, help="Keep whole volumes in the journal."),
        click.option(
            "--policy",
            type=click.Choice(["latest", "all"]),
            help="When decoding lags: newest volume first, or all in order.",
        ),
        click.option("--control-port", type=int, help="Port for status, history and shutdown."),
        click.option("--decodes-port", type=int, help="Port for viewers."),
        click.option("--ingest-port", type=int, help="Port for volumes; 0 takes any free port."),
        click.option(
            "--keys", type=click.Choice(["off", "required"]), help="required: only programs with a key may connect."
        ),
        click.option("--host", help="Address to bind."),
        click.option(
            "--mask",
            "mask_paths",
            type=READABLE,
            multiple=True,
            help="Without weights: record the voxels of this NIfTI mask; repeat the option for more masks.",
        ),
        click.option("--candidates", "candidates_path", type=FILE, help="Candidate pictures for retrieval."),
        click.option(
            "--weights",
            "weights_path",
            type=FILE,
            help="Weights file; by default, the weights in use, or the file that `braind fit` wrote.",
        ),
        tiny_decoder_option,
        lora_option,
        ldm_option,
        kind_option,
        subject_option,
        config_options,
    ):
        command = option(command)
    return command


def serve_settings(
    config_path: Path | None, data: Path | None, subject: str, kind: "Kind", options: dict[str, Any]
) -> tuple["Config", "DecoderSettings", int]:
    """Return the settings of a daemon from the options of `serve_options`, and the number of its subject.

    Raises
    ------
    ConfigError, PresetError, DataSetError
    """
    from .. import config as paths
    from ..daemon.link import DecoderSettings
    from ..offline.data_sets import subject_of
    from ..offline.from_settings import pipeline_settings, refining_preset_of

    weights_path, candidates_path = options.pop("weights_path"), options.pop("candidates_path")
    serving = (
        "host",
        "keys",
        "ingest_port",
        "decodes_port",
        "control_port",
        "policy",
        "store_volumes",
        "durability",
        "metrics",
        "metrics_port",
    )
    serve = {name: options.pop(name) for name in serving}
    config = config_of(config_path, data, paths=model_paths(options), decode=options, serve=serve)
    number = subject_of(config, subject)
    decoder = DecoderSettings(
        weights_path=str(weights_path or paths.weights_path(config, number, kind)),
        candidates_path=str(candidates_path or paths.candidates_path(config, number)),
        pipeline=pipeline_settings(config),
        refine=refining_preset_of(config),
    )
    return config, decoder, number


def config_of(config_path: Path | None, data: Path | None = None, **sections: dict[str, Any]) -> "Config":
    """Load the settings, with a command's options as overrides."""
    from ..config import load_config

    paths = {"data": data, **sections.pop("paths", {})}
    paths = {key: str(path) if path is not None else None for key, path in paths.items()}
    return load_config(config_path, {"paths": paths, **sections})
