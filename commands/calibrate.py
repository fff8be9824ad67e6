"""calibrate: weights of a new participant, while the sessions that they are fitted on are being recorded."""

from pathlib import Path

import click

from .options import READABLE, config_of, config_options, fit_options, ldm_option, shown_options


@click.command()
@config_options
@ldm_option
@click.option(
    "--session", "earlier", type=READABLE, multiple=True, help="Earlier session of the participant (.sqlite3) too."
)
@shown_options
@fit_options
def calibrate(
    config_path: Path | None,
    data: Path | None,
    ldm: Path | None,
    earlier: tuple[Path, ...],
    stimuli: Path | None,
    captions: Path | None,
    captioner: Path | None,
    z_rois: tuple[str, ...],
    c_rois: tuple[str, ...],
    folds: int | None,
    profile: str | None,
) -> None:
    """Fit after each run that ends, until Ctrl-C; prints the weights' paths and scores, which the monitor shows too."""
    from ..client.control import ControlClient
    from ..client.endpoints import endpoints
    from ..client.subscriber import DecodeSubscriber
    from ..offline.fit.calibrate import SessionFit, Shown, follow_calibration, with_regions

    if stimuli is None:
        raise click.UsageError("give the folder of the pictures that are shown with --stimuli")
    config = config_of(config_path, data, paths={"ldm": ldm}, fit={"folds": folds, "profile": profile})
    where = endpoints(config)
    with (
        ControlClient(*where.address("control")) as control,
        DecodeSubscriber(*where.address("decodes"), where.address("control")[1]) as subscriber,
    ):
        click.echo("waiting for runs to end; each is fitted then", err=True)
        fit = SessionFit(with_regions(config, z_rois, c_rois), Shown(stimuli, captions, captioner))
        follow_calibration(fit, earlier, control, subscriber, click.echo)
