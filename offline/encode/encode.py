"""The encoding analysis of one subject: `braind encode`."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ... import __version__
from ...arrays import Array
from ...client.datasets.data_set import BrainDataSet
from ...client.datasets.nsd.tree import NsdTree
from ...config import Config
from ...models.encoding.unet_features import FeatureError, FeatureSettings, tapped_blocks
from ...models.encoding.voxel_models import ALPHAS, FALSE_DISCOVERY_RATE, EncodingError
from ..data_sets import data_set_of
from ..from_settings import load_ldm
from ..progress import progress_bar
from ..typography import number
from ..workers import ONE_PROCESS, Workers
from .analyses import analyse, model_names
from .features import extract_features
from .maps import MapFolder, write_maps
from .models import Models
from .responses import trials_with_responses, write_mean_responses
from .truth import compare_with_truth, ground_truth
from .voxel_fits import N_DRAWS, VoxelFits

JSON_NAME = "encoding.json"


@dataclass(frozen=True)
class EncodeSettings:
    """Settings of an encoding analysis.

    Parameters
    ----------
    n_components : int
        Number of principal components of every feature. The paper uses 6,400, the size of its z.
    max_pictures : int, optional
        Number of training pictures, drawn at random; all pictures by default.
    strengths, n_calls, seed
        As in `FeatureSettings`.
    surfaces : pair of paths, optional
        Left and right cortical surface (GIFTI or FreeSurfer), in mm of the volumes' own space.
    """

    n_components: int = 1024
    max_pictures: int | None = None
    strengths: tuple[float, ...] = FeatureSettings.strengths
    n_calls: int = FeatureSettings.n_calls
    seed: int = FeatureSettings.seed
    surfaces: tuple[Path, Path] | None = None

    @property
    def features(self) -> FeatureSettings:
        """Return the settings of the features."""
        return FeatureSettings(
            strengths=self.strengths, n_calls=self.n_calls, seed=self.seed, n_projected=2 * self.n_components
        )


def encode_subject(
    config: Config, subject: int, out: Path, settings: EncodeSettings, workers: Workers = ONE_PROCESS
) -> dict[str, Any]:
    """Do all four analyses; write maps, figures and `encoding.json` into `out`; return the JSON's content.

    Workers compute the features and fit the models.
    """
    from .brain_maps import check_surfaces
    from .figures import draw_figures

    features = settings.features  # refuses impossible settings before anything is loaded
    if settings.surfaces is not None:
        check_surfaces(settings.surfaces)
    data, ldm = data_set_of(config), load_ldm(config)
    trials = data.trials(subject)
    trials = trials.of(trials_with_responses(data, subject))
    held_out = np.unique(trials.nsd_id[trials.is_shared])
    on_both_sides = np.intersect1d(held_out, trials.nsd_id[~trials.is_shared])
    if len(on_both_sides):
        raise EncodingError(
            f"{len(on_both_sides)} pictures are shown in training runs and in test runs, and the encoding analysis "
            "averages all trials of a picture: leave --test-runs out"
        )
    chosen = chosen_pictures(trials.nsd_id, held_out, settings)
    maps = MapFolder.create(out, data, subject)
    with progress_bar("encoding") as report:
        files = extract_features(config, data, ldm, subject, chosen, features, report, workers)
        responses_path = files.folder / "responses.float32"
        write_mean_responses(responses_path, data, subject, chosen, maps.voxel_index, report)
        fits = VoxelFits(
            folder=files.folder.absolute(),
            responses_path=responses_path.absolute(),
            is_training=~np.isin(chosen, held_out),
            rois=_rois(data, subject, maps.voxel_index),
            n_components=settings.n_components,
            n_folds=config.fit.folds,
            seed=settings.seed,
        )
        models, layers = Models(fits, report), tapped_blocks(ldm.unet)
        if workers.on_ray:
            models.fit_on(workers, model_names(layers, features))
        analyses = analyse(models, layers, features)
        truth = None
        if isinstance(data, NsdTree) and data.is_simulated():
            truth = ground_truth(data, subject, maps, report)
        report("writing maps and figures", 0, 1)
        paths = write_maps(maps, models, analyses)
        if truth is not None:
            analyses["truth"] = compare_with_truth(models, truth)
            paths.append(maps.write(np.nan_to_num(truth), "truthLookShare", "statmap"))
        figures = draw_figures(out, maps, data.brainmask(subject), models, analyses, truth, settings.surfaces)
    result = {
        **analyses,
        "subject": subject,
        "simulated": data.is_simulated(),
        "n_pictures": {"training": int(models.is_training.sum()), "held_out": int((~models.is_training).sum())},
        "n_voxels": {name: int(mask.sum()) for name, mask in models.rois.items()} | {"all": len(maps.voxel_index)},
        "parameters": {**asdict(features), "n_components": settings.n_components, "folds": config.fit.folds,
                       "alphas": ALPHAS, "fdr": FALSE_DISCOVERY_RATE, "n_draws": N_DRAWS},
        "provenance": {"braind": __version__, "ldm": ldm.fingerprint, "denoiser": ldm.denoiser_fingerprint,
                       "data_set": data.root.name, "estimates": data.estimates},
        "maps": sorted(str(path.relative_to(out)) for path in paths),
        "figures": {name: str(path.relative_to(out)) for name, path in figures.items()},
    }  # fmt: skip
    (out / JSON_NAME).write_text(json.dumps(result, indent=2) + "\n")
    responses_path.unlink()
    return result


def chosen_pictures(seen_ids: Array, shared_ids: Array, settings: EncodeSettings) -> Array:
    """Return the pictures to encode, sorted: all shared pictures, and all or some training pictures.

    Raises
    ------
    EncodingError
        If the subject saw no shared picture.
    """
    seen = np.unique(seen_ids)
    is_shared = np.isin(seen, shared_ids)
    if not is_shared.any():
        raise EncodingError("none of the seen pictures is shared, so none is held out; take more sessions")
    training = seen[~is_shared]
    if settings.max_pictures is not None and settings.max_pictures < len(training):
        training = np.random.default_rng(settings.seed).choice(training, settings.max_pictures, replace=False)
    return np.sort(np.concatenate([training, seen[is_shared]]))


def _rois(data: BrainDataSet, subject: int, voxel_index: Array) -> dict[str, Array]:
    """Return masks of the data set's regions. The ventral and dorsal halves of a visual area are joined."""
    names = data.regions(subject)
    parts: dict[str, list[str]] = {}
    for name in names:
        area = name[:-1]
        is_half = {f"{area}v", f"{area}d"} <= set(names)
        parts.setdefault(area if is_half else name, []).append(name)
    masks = {name: data.roi_mask(subject, labels).reshape(-1)[voxel_index] for name, labels in parts.items()}
    if not any(mask.any() for mask in masks.values()):
        raise EncodingError(f"subject {subject} of {data.root} has no region with a voxel in its brain mask; add one")
    return {name: mask for name, mask in masks.items() if mask.any()}


def parse_strengths(text: str) -> tuple[float, ...]:
    """Read "0.2,0.8,1" into strengths, sorted."""
    try:
        return tuple(sorted({float(part) for part in text.split(",")}))
    except ValueError:
        raise FeatureError(f"strengths {text!r}: give numbers, such as 0.2,0.8,1") from None


def print_rois(result: dict[str, Any]) -> None:
    """Print the table of ROIs on stderr."""
    from rich.console import Console
    from rich.table import Table

    n = result["n_pictures"]
    simulated = ", SIMULATED" if result["simulated"] else ""
    table = Table(title=f"mean r on {n['held_out']} held-out pictures, {n['training']} for training{simulated}")
    for column in ("", "voxels", "z", "c", "zc", "z − c"):
        table.add_column(column)
    for roi, row in result["roi"].items():
        cells = (row[name] for name in ("z", "c", "zc", "z_minus_c"))
        numbers = ([number(value, ".2f") for value in (cell["mean"], *cell["ci95"])] for cell in cells)
        words = (f"{mean} [{low}, {high}]" for mean, low, high in numbers)
        table.add_row(roi, str(result["n_voxels"][roi]), *words)
    Console(stderr=True).print(table)
