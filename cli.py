"""The front door: one thin function a command. Whatever is heavy is imported inside the command that needs it."""

import os
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from . import __version__
from .errors import BraindError

if TYPE_CHECKING:
    from .client.config import Config
    from .client.replay import ReplaySummary

Command = TypeVar("Command", bound=Callable[..., Any])


class ExitCode(IntEnum):
    """What a command's exit status means."""

    OK = 0
    """Done."""
    FAILED = 1
    """Begun, and not done: the sentence on stderr says why and what to do."""
    USAGE = 2
    """Not begun: a wrong option or setting, or something that does not fit and was refused at the start."""
    NO_DAEMON = 3
    """No daemon answers where one should be."""
    INTERRUPTED = 130
    """Ended by Ctrl-C."""


# a model or preset that cannot be used, whatever the command
UNFIT = ("ldm", "preset", "engine")


class FrontDoor(click.Group):
    """The one place where errors become a sentence on stderr and an exit status."""

    def invoke(self, ctx: click.Context) -> Any:
        # its warnings are about torchvision, which nothing here needs
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        try:
            return super().invoke(ctx)
        except BraindError as error:
            click.echo(f"braind: {error}", err=True)
            ctx.exit(_exit_code(error, ctx.invoked_subcommand))
        except KeyboardInterrupt:
            click.echo("braind: interrupted", err=True)
            ctx.exit(ExitCode.INTERRUPTED)


def _exit_code(error: BraindError, command: str | None) -> ExitCode:
    from .client.config import ConfigError
    from .client.connection import NoDaemonError, RefusedByDaemon

    if isinstance(error, NoDaemonError):
        return ExitCode.NO_DAEMON
    # A daemon that cannot start as asked is refused too: `serve` raises only before it serves.
    is_refused = command == "serve" or isinstance(error, ConfigError | RefusedByDaemon) or error.code in UNFIT
    return ExitCode.USAGE if is_refused else ExitCode.FAILED


# ── options that several commands have ──────────────────────────────────────────────────────────────────────────────

FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
MODES = click.Choice(["z", "c", "zc"])

subject_option = click.option("--subject", default=1, show_default=True, help="Subject number.")
nsd_option = click.option("--nsd", type=FOLDER, help="Natural Scenes Dataset folder instead of the simulated one.")
ldm_option = click.option(
    "--ldm", type=FOLDER, help="Latent diffusion model (a diffusers folder) instead of the demo's."
)
lora_option = click.option("--lora", type=FILE, help="LoRA of the model's denoiser (.safetensors), fused into it.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def config_options(command: Command) -> Command:
    """Add --config and --data."""
    command = click.option("--data", type=FOLDER, help="Folder of simulated data, weights and journals.")(command)
    return click.option("--config", "config_path", type=FILE, help="Settings file instead of your own.")(command)


def decode_options(command: Command) -> Command:
    """Add the settings of the reconstruction."""
    for option in (
        click.option("--seed", type=int, help="Seed of the noise that every volume starts from."),
        click.option("--num-inference-steps", type=int, help="Denoiser calls."),
        click.option("--guidance-scale", type=float, help="Classifier-free guidance."),
        click.option("--strength", type=float, help="Share of the noise schedule that z is noised to, 0-1."),
        click.option(
            "--preset", help="takagi (as published), quality-20, live-8, live-4, live-2, live-1, or your own."
        ),
        click.option("--engine", type=click.Choice(["auto", "torch", "onnx"]), help="What runs the networks."),
        click.option("--mode", type=MODES, help="z: layout only; c: meaning only; zc: both."),
    ):
        command = option(command)
    return command


def _config(config_path: Path | None, data: Path | None = None, **sections: dict[str, Any]) -> "Config":
    from .client.config import load_config

    paths = {"data": data, **sections.pop("paths", {})}
    paths = {key: str(path) if path is not None else None for key, path in paths.items()}
    return load_config(config_path, {"paths": paths, **sections})


# ── commands ────────────────────────────────────────────────────────────────────────────────────────────────────────


@click.group(cls=FrontDoor, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="braind")
def main() -> None:
    """Decode what people see, from fMRI, volume by volume.

    \b
    Exit status: 0 done, 1 failed, 2 wrong options, settings or refused at the start, 3 no daemon, 130 interrupted.
    """


@main.command()
@config_options
@subject_option
@ldm_option
@lora_option
@click.option("--weights", "weights_path", type=FILE, help="Compiled weights instead of those `braind fit` wrote.")
@click.option("--candidates", "candidates_path", type=FILE, help="Candidate pictures for retrieval.")
@click.option("--host", help="Address to bind.")
@click.option("--ingest-port", type=int, help="Port for volumes; 0 takes any that is free.")
@click.option("--decodes-port", type=int, help="Port for viewers.")
@click.option("--control-port", type=int, help="Port for status, history and shutdown.")
@click.option("--policy", type=click.Choice(["latest", "all"]), help="When behind: newest volume first, or in order.")
@click.option("--store-volumes/--no-store-volumes", default=None, help="Keep whole volumes in the journal.")
@click.option("--threads", type=int, help="CPU threads of the decoder.")
@click.option("--refine", help="Preset of a better picture of the newest volume, made while no other waits.")
@decode_options
def serve(
    config_path: Path | None,
    data: Path | None,
    subject: int,
    ldm: Path | None,
    lora: Path | None,
    weights_path: Path | None,
    candidates_path: Path | None,
    **settings: Any,
) -> None:
    """Run the daemon: take volumes, publish decodes."""
    from .client import config as paths
    from .daemon.serve import serve as run
    from .offline import preset_of, refining_preset_of

    in_decode = (
        "mode",
        "preset",
        "engine",
        "strength",
        "guidance_scale",
        "num_inference_steps",
        "seed",
        "threads",
        "refine",
    )
    decode = {key: settings.pop(key) for key in in_decode}
    config = _config(config_path, data, paths={"ldm": ldm, "lora": lora}, decode=decode, serve=settings)
    status = run(
        config,
        subject=subject,
        weights_path=weights_path or paths.weights_path(config, subject),
        candidates_path=candidates_path or paths.candidates_path(config, subject),
        ldm_path=Path(config.paths.ldm).expanduser() if config.paths.ldm else None,
        preset=preset_of(config),
        refine=refining_preset_of(config),
    )
    raise SystemExit(status)


@main.command()
@config_options
@subject_option
@nsd_option
@click.option("--session", type=click.IntRange(1), help="NSD session; all of them if not given.")
@click.option("--kind", type=click.Choice(["beta", "bold"]), default="beta", show_default=True)
@click.option(
    "--repeats",
    type=click.Choice(["single", "running", "mean"]),
    default="single",
    show_default=True,
    help="Each repeat of a picture, the mean of those so far, or one volume with the mean of all.",
)
@click.option("--speed", type=click.FloatRange(0, min_open=True), default=1.0, help="Times NSD's own pace.")
@click.option("--flat-out", is_flag=True, help="As fast as volumes are acked.")
@click.option("--max-volumes", type=click.IntRange(1), help="Send only the first ones.")
@click.option("--session-id", help="Name of this replay; the same name again goes on where it stopped.")
@click.option("--fresh", is_flag=True, help="Start anew instead of going on with an interrupted replay.")
@json_option
def replay(
    config_path: Path | None,
    data: Path | None,
    subject: int,
    nsd: Path | None,
    kind: Any,
    repeats: Any,
    session: int | None,
    session_id: str | None,
    fresh: bool,
    as_json: bool,
    **pace: Any,
) -> None:
    """Send a subject's held-out test trials to the daemon, as a scanner would."""
    from .client.replay_command import replay_subject
    from .offline import ensure_tree

    config = _config(config_path, data, paths={"nsd": nsd})
    summary = replay_subject(
        config,
        ensure_tree(config),
        subject,
        session=session,
        kind=kind,
        repeats=repeats,
        speed=None if pace["flat_out"] else pace["speed"],
        max_volumes=pace["max_volumes"],
        session_id=session_id,
        fresh=fresh,
    )
    _print_summary(summary, as_json)
    if summary.n_refused or summary.n_outstanding:
        raise SystemExit(ExitCode.FAILED)


def _print_summary(summary: "ReplaySummary", as_json: bool) -> None:
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(summary)))
        return
    for sentence in summary.refusals.values():
        click.echo(f"braind: refused: {sentence}", err=True)
    click.echo(summary.text())


@main.command()
@config_options
@click.option("--plain", is_flag=True, help="One line a decode on stdout, for pipes and logs.")
def monitor(config_path: Path | None, data: Path | None, plain: bool) -> None:
    """Watch the decodes."""
    from .client.endpoints import endpoints
    from .tui.app import run_monitor

    where = endpoints(_config(config_path, data))
    raise SystemExit(run_monitor(where.decodes, where.control, plain))


@main.command()
@config_options
@json_option
def status(config_path: Path | None, data: Path | None, as_json: bool) -> None:
    """Ask the daemon where it is; `ready` means warmed up."""
    import msgspec

    from .client.control import ControlClient
    from .client.endpoints import endpoints

    with ControlClient(*endpoints(_config(config_path, data)).address("control")) as control:
        answer = msgspec.to_builtins(control.status())
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(answer)))
        return
    for key, value in answer.items():
        if key != "type":
            click.echo(f"{key:18} {'-' if value in (None, '') else value}")


@main.group()
def config() -> None:
    """Look at the settings."""


@config.command()
@config_options
def show(config_path: Path | None, data: Path | None) -> None:
    """Print every setting and where its value comes from."""
    import json

    from .client.config import config_sources

    for setting in config_sources(config_path, {"paths": {"data": None if data is None else str(data)}}):
        value = json.dumps(setting.value, ensure_ascii=False)
        click.echo(f"{f'{setting.section}.{setting.key}':28} {value:24} {setting.source}")


@config.command()
@config_options
def validate(config_path: Path | None, data: Path | None) -> None:
    """List every problem in the settings."""
    from .client.config import config_problems

    problems = config_problems(config_path)
    for problem in problems:
        click.echo(problem)
    if problems:
        raise SystemExit(ExitCode.USAGE)


@main.command()
@config_options
@click.option("--subjects", multiple=True, type=click.IntRange(1, 2), help="Subject to simulate; both if not given.")
@click.option("--out", type=FOLDER, help="Folder to write; the data folder's nsd-simulated if not given.")
def simulate(config_path: Path | None, data: Path | None, subjects: tuple[int, ...], out: Path | None) -> None:
    """Write simulated subjects with the files of the Natural Scenes Dataset."""
    from .client.config import data_path
    from .offline import simulate_tree

    config = _config(config_path, data)
    simulate_tree(config, list(subjects) or [1, 2], out or data_path(config) / "nsd-simulated")


@main.command()
@config_options
@subject_option
@nsd_option
@ldm_option
@click.option("--z-rois", multiple=True, help="ROI label for z; give it again for more.")
@click.option("--c-rois", multiple=True, help="ROI label for c; give it again for more.")
@click.option("--folds", type=int, help="Cross-validation folds.")
@click.option("--profile", help="takagi: the published choices, quirks included.")
def fit(
    config_path: Path | None,
    data: Path | None,
    subject: int,
    nsd: Path | None,
    ldm: Path | None,
    z_rois: tuple[str, ...],
    c_rois: tuple[str, ...],
    folds: int | None,
    profile: str | None,
) -> None:
    """Fit a subject's decoder weights; prints their path."""
    from .offline import fit_subject

    rois = {"z_rois": list(z_rois) or None, "c_rois": list(c_rois) or None}
    paths = {"nsd": nsd, "ldm": ldm}
    config = _config(config_path, data, paths=paths, fit={**rois, "folds": folds, "profile": profile})
    click.echo(fit_subject(config, subject))


@main.command()
@config_options
@subject_option
@nsd_option
@ldm_option
@lora_option
@click.option("--trials", default="0:12", show_default=True, help="Test trials: `all`, or as 0,3,10-19 or 0:8.")
@click.option("--averaged", is_flag=True, help="Means of a picture's repeats instead of single trials.")
@click.option("--sheet/--no-sheet", default=True, show_default=True, help="Also a sheet: seen, z, c, zc side by side.")
@click.option("-o", "--out", type=FOLDER, default=Path("braind-decodes"), show_default=True, help="Folder to write.")
@decode_options
def decode(
    config_path: Path | None,
    data: Path | None,
    subject: int,
    nsd: Path | None,
    ldm: Path | None,
    lora: Path | None,
    trials: str,
    out: Path,
    averaged: bool,
    sheet: bool,
    **settings: Any,
) -> None:
    """Make pictures of recorded trials; prints their paths."""
    from .decoding import decode_trials

    config = _config(config_path, data, paths={"nsd": nsd, "ldm": ldm, "lora": lora}, decode=settings)
    for path in decode_trials(config, subject, trials, config.decode.mode, out, averaged=averaged, sheet=sheet):
        click.echo(path)


@main.command()
@config_options
@subject_option
@nsd_option
@ldm_option
@lora_option
@click.option("--max-trials", type=click.IntRange(1), help="Only so many trials of each picture.")
@json_option
@decode_options
def evaluate(
    config_path: Path | None,
    data: Path | None,
    subject: int,
    nsd: Path | None,
    ldm: Path | None,
    lora: Path | None,
    max_trials: int | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """Score the decoder on all held-out pictures, with controls."""
    from .decoding import evaluate_subject

    config = _config(config_path, data, paths={"nsd": nsd, "ldm": ldm, "lora": lora}, decode=settings)
    scores = evaluate_subject(config, subject, as_json, max_trials)
    if as_json:
        import json

        click.echo(json.dumps(scores, indent=2))


@main.command()
@config_options
@ldm_option
@lora_option
@decode_options
@json_option
def engines(
    config_path: Path | None, data: Path | None, ldm: Path | None, lora: Path | None, as_json: bool, **settings: Any
) -> None:
    """List the engines, their measured times and what `auto` takes."""
    from .decoding import describe_engines

    config = _config(config_path, data, paths={"ldm": ldm, "lora": lora}, decode=settings)
    click.echo(describe_engines(config, as_json))


@main.command()
@config_options
@click.option("--headless", is_flag=True, help="Print lines and write a contact sheet instead of opening the monitor.")
@click.option("--out", type=FILE, default=Path("braind-demo.png"), show_default=True, help="The contact sheet.")
def demo(config_path: Path | None, data: Path | None, headless: bool, out: Path) -> None:
    """Simulate, fit, serve, replay and watch, in one command."""
    from .demo import run_demo

    raise SystemExit(run_demo(_config(config_path, data), headless, out))
