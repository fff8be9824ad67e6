"""calibrate: fits a new participant's weights while the sessions are being recorded."""

from pathlib import Path
from typing import Any

import click

from .options import (
    READABLE,
    config_of,
    config_options,
    fit_options,
    key_option,
    ldm_option,
    model_paths,
    shown_options,
)


@click.command()
@config_options
@key_option
@ldm_option
@click.option(
    "--session",
    "earlier",
    type=READABLE,
    multiple=True,
    help="Earlier session of the participant (.sqlite3); repeat the option for more sessions.",
)
@shown_options
@fit_options
def calibrate(
    config_path: Path | None, data: Path | None, key: Path | None, earlier: tuple[Path, ...], **options: Any
) -> None:
    """Fit after each run that ends, until Ctrl-C; print the weights' paths and scores.

    The monitor shows the scores too.
    """
    from ..client.control import ControlClient
    from ..client.endpoints import endpoints
    from ..client.subscriber import DecodeSubscriber
    from ..offline.fit.calibrate import SessionFit, ShownPictures, follow_calibration, with_regions

    if options["stimuli"] is None:
        raise click.UsageError("give the folder of the pictures that are shown with --stimuli")
    overrides = {"folds": options["folds"], "profile": options["profile"]}
    config = config_of(config_path, data, paths={**model_paths(options), "key": key}, fit=overrides)
    config = with_regions(config, options["z_rois"], options["c_rois"])
    shown = ShownPictures(options["stimuli"], options["captions"], options["captioner"])
    where = endpoints(config)
    with (
        ControlClient(*where.address("control")) as control,
        DecodeSubscriber.at(where) as subscriber,
    ):
        click.echo("waiting for runs to end; each is fitted then", err=True)
        follow_calibration(SessionFit(config, shown), earlier, control, subscriber, click.echo)
