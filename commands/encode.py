"""encode: which features of seen pictures predict which voxels."""

from pathlib import Path
from typing import Any

import click

from .options import (
    FILE,
    NEW_FOLDER,
    config_of,
    config_options,
    data_set_options,
    data_set_settings,
    json_option,
    ldm_option,
    lora_option,
    subject_option,
    workers_of,
    workers_options,
)


@click.command()
@config_options
@subject_option
@data_set_options
@ldm_option
@lora_option
@click.option(
    "--pictures", type=click.IntRange(10), help="Number of training pictures, drawn at random; all by default."
)
@click.option(
    "--components", default=1024, show_default=True, type=click.IntRange(2), help="Principal components of a feature."
)
@click.option("--strengths", help="Shares of the noise schedule, with 0.8, such as 0.2,0.8,1.")
@click.option("--calls", default=4, show_default=True, type=click.IntRange(3), help="Denoiser calls at strength 0.8.")
@click.option("--surface-left", type=FILE, help="Left cortical surface, in mm of the volumes, for surface views.")
@click.option("--surface-right", type=FILE, help="Right cortical surface.")
@click.option(
    "-o", "--out", type=NEW_FOLDER, default=Path("braind-encoding"), show_default=True, help="Folder to write."
)
@json_option
@workers_options
def encode(
    config_path: Path | None,
    data: Path | None,
    subject: str,
    pictures: int | None,
    components: int,
    strengths: str | None,
    calls: int,
    surface_left: Path | None,
    surface_right: Path | None,
    out: Path,
    as_json: bool,
    **options: Any,
) -> None:
    """Predict every voxel from features of the seen pictures.

    Ridge regression from the diffusion model's features to each voxel of the brain, scored on averaged held-out
    pictures: (1) z, c and zc; (2) zc against z under noise; (3) over denoising steps; (4) over U-Net blocks.

    \b
    Written into the folder:
      encoding.json                 everything, as --json prints it: roi, noise, steps, layers, truth (simulated
                                    subjects), n_voxels, n_pictures, parameters, maps, figures
      figure-features.png           analysis 1; -noise, -steps and -layers the others; -truth against the simulation;
                                    figure-NAME-surface.png with surfaces
      sub-01/func/*_statmap.nii.gz  r and p of every model, unique variances; *_mask: FDR 0.05; *_dseg: best block
    Features stay in the data folder (encoding/). So a second run reuses them, and an interrupted run resumes.
    """
    from ..offline.data_sets import subject_of
    from ..offline.encode.encode import EncodeSettings, encode_subject, parse_strengths

    if (surface_left is None) != (surface_right is None):
        raise click.UsageError("give both --surface-left and --surface-right, or neither")
    settings = EncodeSettings(
        n_components=components,
        max_pictures=pictures,
        n_calls=calls,
        strengths=parse_strengths(strengths) if strengths else EncodeSettings.strengths,
        surfaces=(surface_left, surface_right) if surface_left and surface_right else None,
    )
    workers = workers_of(options)
    config = config_of(config_path, data, **data_set_settings(options))
    result = encode_subject(config, subject_of(config, subject), out, settings, workers)
    if as_json:
        import json

        click.echo(json.dumps(result, indent=2))
    else:
        from ..offline.encode.encode import print_rois

        print_rois(result)
        for path in (*result["figures"].values(), "encoding.json"):
            click.echo(out / path)
