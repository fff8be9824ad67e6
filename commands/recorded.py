"""simulate, fit, decode, evaluate, engines and demo: the commands that need no scanner."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import (
    NEW_FILE,
    NEW_FOLDER,
    READABLE,
    config_of,
    config_options,
    data_set_options,
    data_set_settings,
    decode_options,
    fit_options,
    json_option,
    kind_option,
    ldm_option,
    lora_option,
    model_paths,
    region_options,
    shown_options,
    subject_option,
    tiny_decoder_option,
    workers_of,
    workers_options,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..choices import Kind


@click.command()
@config_options
@click.option("--subjects", multiple=True, type=click.IntRange(1, 2), help="Subject to simulate; both by default.")
@click.option(
    "--bold-sessions",
    type=click.IntRange(0, 16),
    help="Number of last sessions with BOLD series; 2 by default.",
)
@click.option("--out", type=NEW_FOLDER, help="Folder to write; by default, nsd-simulated in the data folder.")
@click.option(
    "--bids", type=NEW_FOLDER, help="Write the data folder's subjects as a BIDS derivative into this folder instead."
)
def simulate(
    config_path: Path | None,
    data: Path | None,
    subjects: tuple[int, ...],
    bold_sessions: int | None,
    out: Path | None,
    bids: Path | None,
) -> None:
    """Write simulated subjects with the files of the Natural Scenes Dataset, or as a BIDS derivative."""
    from ..config import data_path
    from ..offline.data_sets import simulate_bids, simulate_tree

    config, chosen = config_of(config_path, data), list(subjects) or [1, 2]
    if bids is not None:
        simulate_bids(config, chosen, bids)
    else:
        simulate_tree(chosen, out or data_path(config) / "nsd-simulated", bold_sessions)


@click.command()
@config_options
@click.option(
    "--subject", "subjects", multiple=True, help="Subject number or label; repeat the option for more subjects."
)
@data_set_options
@ldm_option
@kind_option
@fit_options
@click.option("--z-score", type=click.Choice(["none", "full", "causal"]), help="Z-score responses within each session.")
@click.option("--lagged", is_flag=True, help="Also fit the lagged ridge, the baseline of evaluate --kind bold.")
@click.option(
    "--session",
    "journals",
    type=READABLE,
    multiple=True,
    help="Recorded session (.sqlite3); repeat the option for more sessions.",
)
@shown_options
@workers_options
def fit(
    config_path: Path | None,
    data: Path | None,
    subjects: tuple[str, ...],
    kind: "Kind",
    lagged: bool,
    journals: tuple[Path, ...],
    **options: Any,
) -> None:
    """Fit decoder weights, one file per subject or one for recorded sessions; print their paths."""
    if lagged and (kind != "bold" or journals):
        raise click.UsageError("--lagged: reads an NSD folder's BOLD runs; give it with --kind bold, without --session")
    from ..offline.data_sets import subject_of
    from ..offline.fit.subject import fit_subject

    workers = workers_of(options)
    if workers.on_ray and journals:
        raise click.UsageError("--workers, --ray: recorded sessions have few pictures, which one process encodes")
    z_rois, c_rois = list(options["z_rois"]), list(options["c_rois"])
    overrides = {name: options[name] for name in ("z_score", "folds", "profile")}
    overrides |= {"z_rois": z_rois or None, "c_rois": c_rois or None}
    config = config_of(config_path, data, **data_set_settings(options), fit=overrides)
    if journals:
        from ..offline.fit.calibrate import SessionFit, ShownPictures, with_regions, words_of

        if options["stimuli"] is None:
            raise click.UsageError("--session: give the folder of the pictures that were shown with --stimuli")
        shown = ShownPictures(options["stimuli"], options["captions"], options["captioner"])
        path, calibration = SessionFit(with_regions(config, z_rois, c_rois), shown).fit(journals)
        click.echo(words_of(calibration), err=True)
        click.echo(path)
        return
    for number in [subject_of(config, subject) for subject in subjects or ("1",)]:
        click.echo(fit_subject(config, number, kind, lagged, workers))


@click.command()
@config_options
@subject_option
@data_set_options
@ldm_option
@lora_option
@tiny_decoder_option
@click.option(
    "--trials", default="0:12", show_default=True, help="Test trials: `all`, or positions such as 0,3,10-19 or 0:8."
)
@click.option("--averaged", is_flag=True, help="Decode the mean of a picture's repeats, not single trials.")
@click.option(
    "--sheet/--no-sheet", default=True, show_default=True, help="Also write a sheet: seen, z, c, zc side by side."
)
@click.option(
    "-o", "--out", type=NEW_FOLDER, default=Path("braind-decodes"), show_default=True, help="Folder to write."
)
@workers_options
@decode_options
def decode(
    config_path: Path | None,
    data: Path | None,
    subject: str,
    trials: str,
    out: Path,
    averaged: bool,
    sheet: bool,
    **settings: Any,
) -> None:
    """Decode recorded trials into pictures; print their paths."""
    from ..offline.data_sets import subject_of
    from ..offline.decoding import decode_trials

    workers = workers_of(settings)
    config = config_of(config_path, data, **data_set_settings(settings), decode=settings)
    number = subject_of(config, subject)
    for path in decode_trials(
        config, number, trials, config.decode.mode, out, averaged=averaged, sheet=sheet, workers=workers
    ):
        click.echo(path)


@click.command()
@config_options
@subject_option
@data_set_options
@ldm_option
@lora_option
@tiny_decoder_option
@kind_option
@click.option(
    "--protocol",
    type=click.Choice(["mindeye", "brain-diffuser", "takagi"]),
    default="mindeye",
    show_default=True,
    help="mindeye, brain-diffuser: eight measures, other seen pictures as distractors; takagi: five samples, other "
    "decodes.",
)
@click.option("--networks", help="Folder of the protocol's networks, or `hub` to download them (needs braind[scores]).")
@click.option(
    "--kinds", type=READABLE, help="Table of 73k id, tab, kind of object: kinds that training lacks are scored apart."
)
@click.option("--leave-one-run-out", is_flag=True, help="With --labels: decode each run by a fit to all other runs.")
@region_options
@click.option("--max-trials", type=click.IntRange(1), help="Score at most this many trials of each picture.")
@click.option(
    "--plot", type=NEW_FILE, help="With --kind bold: plot the scores after onset into this file (.png or .svg)."
)
@json_option
@workers_options
@decode_options
def evaluate(
    config_path: Path | None,
    data: Path | None,
    subject: str,
    kind: "Kind",
    protocol: str,
    networks: str | None,
    kinds: Path | None,
    max_trials: int | None,
    plot: Path | None,
    as_json: bool,
    leave_one_run_out: bool,
    **settings: Any,
) -> None:
    """Score the decoder on all held-out pictures, with controls; or on classes, with --labels."""
    if networks not in (None, "hub") and not Path(networks).expanduser().is_dir():
        raise click.BadParameter(f"{networks}: no such folder; give one, or hub", param_hint="--networks")
    if plot is not None and kind != "bold":
        raise click.UsageError("--plot: shows scores after onset, of BOLD; give it with --kind bold")
    if plot is not None and plot.suffix not in (".png", ".svg"):
        raise click.BadParameter(f"{plot}: neither .png nor .svg", param_hint="--plot")
    from ..offline.data_sets import subject_of
    from ..offline.evaluate.bold import evaluate_bold
    from ..offline.evaluate.evaluate import evaluate_subject

    workers = workers_of(settings)
    regions = {name: list(settings.pop(name)) or None for name in ("z_rois", "c_rois")}
    config = config_of(config_path, data, **data_set_settings(settings), fit=regions, decode=settings)
    if leave_one_run_out and not config.dataset.labels:
        raise click.UsageError(
            "--leave-one-run-out: scores classes; give their column with --labels, or hold out runs with --test-runs"
        )
    number = subject_of(config, subject)
    if config.dataset.labels:
        if workers.on_ray:
            raise click.UsageError("--workers, --ray: classes make no pictures, and one process scores them in seconds")
        from ..offline.evaluate.label_tables import print_labels
        from ..offline.evaluate.labels import evaluate_labels

        scores = evaluate_labels(config, number, leave_one_run_out=leave_one_run_out)
        _print_scores(scores, as_json, print_labels)
        return
    score = evaluate_bold if kind == "bold" else evaluate_subject
    scores = score(config, number, protocol, networks, kinds, max_trials, workers)
    if plot is not None:
        from ..offline.evaluate.bold_plot import draw_bold

        draw_bold(scores, plot)
    from ..offline.evaluate.tables import print_bold_table, print_tables

    _print_scores(scores, as_json, print_bold_table if kind == "bold" else print_tables)


def _print_scores(scores: dict[str, Any], as_json: bool, print_table: "Callable[[dict[str, Any]], None]") -> None:
    if not as_json:
        print_table(scores)
        return
    import json

    click.echo(json.dumps(scores, indent=1, ensure_ascii=False))


@click.command()
@config_options
@ldm_option
@lora_option
@tiny_decoder_option
@decode_options
@json_option
def engines(
    config_path: Path | None,
    data: Path | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """List the engines, their measured times and the choice of `auto`."""
    from ..offline.decoding import describe_engines

    config = config_of(config_path, data, paths=model_paths(settings), decode=settings)
    click.echo(describe_engines(config, as_json))


@click.command()
@config_options
@click.option("--headless", is_flag=True, help="Print lines and write a contact sheet; do not open the monitor.")
@click.option("--out", type=NEW_FILE, default=Path("braind-demo.png"), show_default=True, help="The contact sheet.")
def demo(config_path: Path | None, data: Path | None, headless: bool, out: Path) -> None:
    """Simulate, fit, serve, replay and watch, in one command."""
    from ..demo import run_demo

    raise SystemExit(run_demo(config_of(config_path, data), headless, out))
