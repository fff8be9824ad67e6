"""The encoding analysis's figures: one figure per analysis, with rows of brain maps above a plot."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...arrays import Array
from ...models.encoding.unet_features import MOMENTS, step_feature, strength_feature
from ...models.encoding.voxel_models import is_significant
from .analyses import layer_labels
from .brain_maps import DPI, Atlas, FigureRow, draw_slices, draw_surfaces, layer_legend
from .maps import MapFolder
from .models import Models
from .roi_plots import layer_lines, roi_bars, roi_lines, truth_clouds
from .truth import preference

SIMULATED = "simulated data: no brain was scanned"


def draw_figures(
    out: Path,
    maps: MapFolder,
    brainmask: Array,
    models: Models,
    analyses: dict[str, Any],
    truth: Array | None,
    surfaces: tuple[Path, Path] | None,
) -> dict[str, Path]:
    """Draw a figure per analysis, a comparison with the simulation, and surface views; return paths by name."""
    import matplotlib

    matplotlib.use("Agg")
    atlas = Atlas(maps, brainmask.reshape(-1)[maps.voxel_index], surfaces)
    note = SIMULATED if truth is not None else ""
    drawn: dict[str, tuple[str, list[FigureRow], Callable[[Any], None]]] = {
        "features": (
            "Encoding by z, c and zc: r on held-out pictures",
            _feature_rows(models, analyses),
            lambda place: roi_bars(place, analyses["roi"]),
        ),
        "noise": (
            "zc against z under noise: variance that zc alone explains, less what z alone explains",
            _unique_rows(models, _zc_by_strength(analyses), every=True),
            lambda place: roi_lines(
                place, analyses["noise"]["roi"], [f"{x:g}" for x in analyses["noise"]["strengths"]], "strength"
            ),
        ),
        "steps": (
            "zc against z over denoising steps: variance that zc alone explains, less what z alone explains",
            _unique_rows(models, _zc_by_step(analyses), every=False),
            lambda place: roi_lines(place, analyses["steps"]["roi"], list(MOMENTS), "denoising step"),
        ),
        "layers": (
            "U-Net blocks: the one that predicts each voxel best",
            _layer_rows(models, analyses),
            lambda place: layer_lines(place, analyses["layers"]),
        ),
    }
    if truth is not None:
        drawn["truth"] = (
            "What was recovered against what was simulated",
            _truth_rows(models, truth),
            lambda place: truth_clouds(place, models, truth, analyses["truth"]),
        )
    paths = {}
    for name, (title, rows, draw_rest) in drawn.items():
        paths[name] = out / f"figure-{name}.png"
        _draw(paths[name], title, note, rows, draw_rest, atlas, analyses["layers"]["layers"])
        if surfaces is not None:
            paths[f"{name}-surface"] = out / f"figure-{name}-surface.png"
            draw_surfaces(paths[f"{name}-surface"], title, note, rows, atlas)
    return paths


def _draw(
    path: Path,
    title: str,
    note: str,
    rows: list[FigureRow],
    draw_rest: Callable[[Any], None],
    atlas: Atlas,
    layers: list[str],
) -> None:
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(12, 1.75 * len(rows) + 3.6), dpi=DPI)
    grid = figure.add_gridspec(len(rows) + 1, 1, height_ratios=[*[1.75] * len(rows), 2.9], hspace=0.25,
                               left=0.06, right=0.97, bottom=0.12, top=1 - 0.75 / (1.75 * len(rows) + 3.6))  # fmt: skip
    for position, row in enumerate(rows):
        axes = figure.add_subplot(grid[position])
        draw_slices(axes, row, atlas)
        axes.set_title(row.title, loc="left", fontsize=10)
    if rows[0].kind == "layer":
        layer_legend(figure, layers)
    draw_rest(grid[-1])
    figure.suptitle(title + (f" ({note})" if note else ""), x=0.06, ha="left", fontsize=12)
    figure.savefig(path)
    plt.close(figure)


def _feature_rows(models: Models, analyses: dict[str, Any]) -> list[FigureRow]:
    names = {"z": "z", "c": "c", "zc": _zc_by_step(analyses)["late"]}
    limit = max(float(models[name].correlation.max()) for name in names.values())
    rows = [FigureRow(f"r of {name}", _predicted(models, feature), "above 0", limit) for name, feature in names.items()]
    either = (_predicted(models, "z") != 0) | (_predicted(models, "c") != 0)
    difference = np.where(either, models["z"].correlation - models["c"].correlation, 0)
    return [*rows, FigureRow("r of z − r of c", difference, "about 0", _largest(difference))]


def _unique_rows(models: Models, features: dict[str, str], *, every: bool) -> list[FigureRow]:
    maps = {}
    for label, feature in features.items():
        either = (_predicted(models, "z") != 0) | (_predicted(models, feature) != 0)
        maps[label] = np.where(either, models.unique_map(feature, "z") - models.unique_map("z", feature), 0)
    limit = max(_largest(values) for values in maps.values())
    kept = list(maps)[:: max(1, (len(maps) - 1) // 3)] if every else list(maps)
    return [FigureRow(f"zc − z, {label}", maps[label], "about 0", limit) for label in kept]


def _layer_rows(models: Models, analyses: dict[str, Any]) -> list[FigureRow]:
    layers = analyses["layers"]["layers"]
    return [
        FigureRow(f"{m} step", layer_labels(models, layers, m).astype(float), "layer", len(layers)) for m in MOMENTS
    ]


def _truth_rows(models: Models, truth: Array) -> list[FigureRow]:
    share = np.nan_to_num(truth)
    found = np.where(np.isfinite(truth), preference(models), 0)
    return [
        FigureRow("simulated: share of early channels", share, "above 0", 1),
        FigureRow("recovered: r of z − r of c", found, "about 0", _largest(found)),
    ]


def _zc_by_strength(analyses: dict[str, Any]) -> dict[str, str]:
    return {f"strength {strength:g}": strength_feature(strength) for strength in analyses["noise"]["strengths"]}


def _zc_by_step(analyses: dict[str, Any]) -> dict[str, str]:
    zc = analyses["zc"]
    return {moment: zc if moment == "late" else step_feature("zc", moment) for moment in MOMENTS}


def _predicted(models: Models, name: str) -> Array:
    r = models[name].correlation
    return np.where(is_significant(r, models.n_held_out), r, 0)


def _largest(values: Array) -> float:
    return max(float(np.quantile(np.abs(values[values != 0]), 0.99)) if values.any() else 0.0, 1e-6)
