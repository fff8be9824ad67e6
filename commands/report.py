"""report: writes an HTML file that a lab attaches to a paper."""

from pathlib import Path
from typing import Any

import click

from .options import (
    FILE,
    FOLDER,
    NEW_FILE,
    config_of,
    config_options,
    data_set_options,
    data_set_settings,
    decode_options,
    ldm_option,
    lora_option,
    subject_option,
    tiny_decoder_option,
)


@click.command()
@config_options
@subject_option
@data_set_options
@ldm_option
@lora_option
@tiny_decoder_option
@click.option("--scores", type=FILE, help="Output of `braind evaluate --json`; by default, the decoder is scored now.")
@click.option("--encoding", type=FOLDER, help="Folder that `braind encode` wrote.")
@click.option(
    "--session", help="Recorded session whose latencies are shown; by default, the newest that these weights decoded."
)
@click.option("--averaged", is_flag=True, help="Show averaged repeats in the galleries, not first trials.")
@click.option(
    "-o", "--out", type=NEW_FILE, default=Path("braind-report.html"), show_default=True, help="File to write."
)
@decode_options
def report(
    config_path: Path | None,
    data: Path | None,
    subject: str,
    scores: Path | None,
    encoding: Path | None,
    session: str | None,
    averaged: bool,
    out: Path,
    **settings: Any,
) -> None:
    """Write a self-contained HTML file about a subject's decoder.

    The file holds methods with citations, parameters, masks, scores with controls, galleries chosen by rule, a
    recorded session's latencies, the encoding analysis, provenance and versions. A BibTeX file beside it holds the
    references. Prints the paths of both files.
    """
    from ..offline.data_sets import subject_of
    from ..offline.report.report import write_report

    config = config_of(config_path, data, **data_set_settings(settings), decode=settings)
    written = write_report(
        config,
        subject_of(config, subject),
        out,
        scores_path=scores,
        encoding_path=encoding,
        session_name=session,
        averaged=averaged,
    )
    for path in written:
        click.echo(path)
