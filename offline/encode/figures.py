"""Figures of the encoding analysis: slices of the maps, their means in every ROI, and surface views."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...models.encoding.unet_features import MOMENTS, step_feature, strength_feature
from ...models.encoding.voxel_models import EncodingError, is_significant
from .analyses import layer_labels
from .maps import MapFolder
from .models import Models
from .truth import preference

Array = NDArray[Any]

COLOURS = {"z": "#0072B2", "c": "#D55E00", "zc": "#009E73"}
# two on the way down, the bottleneck, two on the way up
LAYER_COLOURS = ("#0072B2", "#56B4E9", "#CC79A7", "#E69F00", "#D55E00")
N_SLICES = 6
DPI = 130
SIMULATED = "simulated data: no brain was scanned"


@dataclass(frozen=True, eq=False)
class Row:
    """One map of a figure: `values` (n_voxels,) with 0 where nothing is shown."""

    title: str
    values: Array
    kind: Literal["above 0", "about 0", "layer"]
    limit: float


@dataclass(frozen=True, eq=False)
class Atlas:
    """Where maps are drawn: their folder's grid, the brain's outline and the cortical surfaces, if there are any."""

    maps: MapFolder
    brain: Array
    surfaces: tuple[Path, Path] | None


def draw_figures(
    out: Path,
    maps: MapFolder,
    brainmask: Array,
    models: Models,
    analyses: dict[str, Any],
    truth: Array | None,
    surfaces: tuple[Path, Path] | None,
) -> dict[str, Path]:
    """Draw a figure an analysis, one against the simulator's truth, and surface views; return their paths by name."""
    import matplotlib

    matplotlib.use("Agg")
    atlas = Atlas(maps, brainmask.reshape(-1)[maps.voxel_index], surfaces)
    note = SIMULATED if truth is not None else ""
    drawn: dict[str, tuple[str, list[Row], Callable[[Any], None]]] = {
        "features": (
            "Encoding by z, c and zc: r on held-out pictures",
            _feature_rows(models, analyses),
            lambda place: _roi_bars(place, analyses["roi"]),
        ),
        "noise": (
            "zc against z under noise: variance that zc alone explains, less what z alone explains",
            _unique_rows(models, _zc_by_strength(analyses), every=True),
            lambda place: _roi_lines(
                place, analyses["noise"]["roi"], [f"{x:g}" for x in analyses["noise"]["strengths"]], "strength"
            ),
        ),
        "steps": (
            "zc against z over denoising steps: variance that zc alone explains, less what z alone explains",
            _unique_rows(models, _zc_by_step(analyses), every=False),
            lambda place: _roi_lines(place, analyses["steps"]["roi"], list(MOMENTS), "denoising step"),
        ),
        "layers": (
            "U-Net blocks: the one that predicts each voxel best",
            _layer_rows(models, analyses),
            lambda place: _layer_lines(place, analyses["layers"]),
        ),
    }
    if truth is not None:
        drawn["truth"] = (
            "What was recovered against what was simulated",
            _truth_rows(models, truth),
            lambda place: _truth_clouds(place, models, truth, analyses["truth"]),
        )
    paths = {}
    for name, (title, rows, draw_rest) in drawn.items():
        paths[name] = out / f"figure-{name}.png"
        _draw(paths[name], title, note, rows, draw_rest, atlas, analyses["layers"]["layers"])
        if surfaces is not None:
            paths[f"{name}-surface"] = out / f"figure-{name}-surface.png"
            _draw_surfaces(paths[f"{name}-surface"], title, note, rows, atlas)
    return paths


def check_surfaces(paths: tuple[Path, Path]) -> None:
    """Refuse surfaces that cannot be read, before anything is computed.

    Raises
    ------
    EncodingError
        `code` surface.
    """
    from nibabel.filebasedimages import ImageFileError
    from nilearn.surface import load_surf_mesh

    for path in paths:
        try:
            load_surf_mesh(str(path))
        except (OSError, ValueError, TypeError, ImageFileError) as error:
            raise EncodingError(
                f"{path} is no cortical surface ({error}); give a GIFTI or FreeSurfer mesh", code="surface"
            ) from error


# ── which maps ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _feature_rows(models: Models, analyses: dict[str, Any]) -> list[Row]:
    names = {"z": "z", "c": "c", "zc": _zc_by_step(analyses)["late"]}
    limit = max(float(models[name].correlation.max()) for name in names.values())
    rows = [Row(f"r of {name}", _predicted(models, feature), "above 0", limit) for name, feature in names.items()]
    either = (_predicted(models, "z") != 0) | (_predicted(models, "c") != 0)
    difference = np.where(either, models["z"].correlation - models["c"].correlation, 0)
    return [*rows, Row("r of z − r of c", difference, "about 0", _largest(difference))]


def _unique_rows(models: Models, features: dict[str, str], *, every: bool) -> list[Row]:
    maps = {}
    for label, feature in features.items():
        either = (_predicted(models, "z") != 0) | (_predicted(models, feature) != 0)
        maps[label] = np.where(either, models.unique_map(feature, "z") - models.unique_map("z", feature), 0)
    limit = max(_largest(values) for values in maps.values())
    kept = list(maps)[:: max(1, (len(maps) - 1) // 3)] if every else list(maps)
    return [Row(f"zc − z, {label}", maps[label], "about 0", limit) for label in kept]


def _layer_rows(models: Models, analyses: dict[str, Any]) -> list[Row]:
    layers = analyses["layers"]["layers"]
    return [Row(f"{m} step", layer_labels(models, layers, m).astype(float), "layer", len(layers)) for m in MOMENTS]


def _truth_rows(models: Models, truth: Array) -> list[Row]:
    share = np.nan_to_num(truth)
    found = np.where(np.isfinite(truth), preference(models), 0)
    return [
        Row("simulated: share of early channels", share, "above 0", 1),
        Row("recovered: r of z − r of c", found, "about 0", _largest(found)),
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


# ── drawing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _draw(
    path: Path,
    title: str,
    note: str,
    rows: list[Row],
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
        _draw_slices(axes, row, atlas)
        axes.set_title(row.title, loc="left", fontsize=10)
    if rows[0].kind == "layer":
        _layer_legend(figure, layers)
    draw_rest(grid[-1])
    figure.suptitle(title + (f" ({note})" if note else ""), x=0.06, ha="left", fontsize=12)
    figure.savefig(path)
    plt.close(figure)


def _draw_slices(axes: Any, row: Row, atlas: Atlas) -> None:
    from nilearn import plotting

    colours, low = _colours(row)
    with warnings.catch_warnings():
        # a map in which nothing is predicted is drawn as an empty brain
        warnings.filterwarnings("ignore", "empty mask", UserWarning)
        display = plotting.plot_stat_map(
            atlas.maps.image(row.values.astype(np.float32)),
            bg_img=None,
            display_mode="z",
            cut_coords=_slice_heights(atlas),
            axes=axes,
            threshold=1e-9,
            vmin=low,
            vmax=row.limit,
            cmap=colours,
            symmetric_cbar=row.kind == "about 0",
            colorbar=row.kind != "layer",
            draw_cross=False,
            resampling_interpolation="nearest",
            annotate=False,
        )
    display.add_contours(_outline(atlas), levels=[0.5], colors="0.6", linewidths=0.8)
    display.annotate(size=7)


def _outline(atlas: Atlas) -> Any:
    """Return the brain as an image one voxel larger on all sides, so that its outline closes at the volume's edge."""
    import nibabel as nib

    maps = atlas.maps
    brain = np.pad(np.asarray(maps.image(atlas.brain.astype(np.float32)).dataobj), 1)
    affine = maps.affine @ np.block([[np.eye(3), -np.ones((3, 1))], [np.zeros((1, 3)), 1]])
    return nib.Nifti1Image(brain, affine)  # pyright: ignore[reportPrivateImportUsage]


def _colours(row: Row) -> tuple[Any, float]:
    """Return a row's colour map and its lower end."""
    from matplotlib.colors import ListedColormap

    if row.kind == "layer":
        return ListedColormap(LAYER_COLOURS[: int(row.limit)]), 0.5
    return ("RdBu_r", -row.limit) if row.kind == "about 0" else ("inferno", 0.0)


def _slice_heights(atlas: Atlas) -> list[float]:
    """Spread slices over the brain from below to above, in mm."""
    maps = atlas.maps
    voxels = np.stack(np.unravel_index(maps.voxel_index, maps.shape), axis=1)
    height = voxels @ maps.affine[2, :3] + maps.affine[2, 3]
    low, high = np.quantile(height, [0.1, 0.9])
    return np.linspace(low, high, N_SLICES).round(1).tolist()


def _layer_legend(figure: Any, layers: list[str]) -> None:
    from matplotlib.patches import Patch

    patches = [Patch(color=colour, label=layer) for colour, layer in zip(LAYER_COLOURS, layers, strict=False)]
    figure.legend(
        handles=patches, loc="lower center", ncols=len(layers), fontsize=9, frameon=False, bbox_to_anchor=(0.5, 0)
    )


def _roi_bars(place: Any, table: dict[str, Any]) -> None:
    axes = place.get_gridspec().figure.add_subplot(place)
    for offset, (name, colour) in zip((-0.26, 0, 0.26), COLOURS.items(), strict=True):
        cells = [row[name] for row in table.values()]
        means = np.array([cell["mean"] for cell in cells])
        spans = np.abs(np.array([cell["ci95"] for cell in cells]).T - means)
        axes.bar(np.arange(len(cells)) + offset, means, 0.24, yerr=spans, color=colour, label=name, capsize=2)
    axes.set_xticks(range(len(table)), list(table))
    axes.set_ylabel("mean r (95 % interval over pictures)")
    axes.legend(frameon=False, ncols=3)
    axes.spines[["top", "right"]].set_visible(False)


def _small_axes(place: Any, regions: list[str]) -> list[Any]:
    figure = place.get_gridspec().figure
    grid = place.subgridspec(1, len(regions), wspace=0.12)
    first = figure.add_subplot(grid[0])
    axes = [first, *(figure.add_subplot(grid[n], sharey=first) for n in range(1, len(regions)))]
    for axis, region in zip(axes, regions, strict=True):
        axis.set_title(region, fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=7, labelleft=axis is first)
    return axes


def _line(axis: Any, cells: list[dict[str, Any]], colour: str, label: str) -> None:
    low, high = np.array([cell["ci95"] for cell in cells]).T
    axis.fill_between(range(len(cells)), low, high, color=colour, alpha=0.2, linewidth=0)
    axis.plot([cell["mean"] for cell in cells], color=colour, marker="o", markersize=3, label=label)


def _roi_lines(place: Any, table: dict[str, Any], ticks: list[str], label: str) -> None:
    axes = _small_axes(place, list(table))
    for axis, lines in zip(axes, table.values(), strict=True):
        _line(axis, lines["z"], COLOURS["z"], "z alone")
        _line(axis, lines["zc"], COLOURS["zc"], "zc alone")
        axis.axhline(0, color="0.7", linewidth=0.6)
        axis.set_xticks(range(len(ticks)), ticks, rotation=90)
    axes[0].set_ylabel("unique variance (R²)")
    axes[len(axes) // 2].set_xlabel(label)
    axes[0].legend(frameon=False, fontsize=7)


def _layer_lines(place: Any, layers: dict[str, Any]) -> None:
    axes = _small_axes(place, list(layers["roi"]))
    for axis, table in zip(axes, layers["roi"].values(), strict=True):
        for colour, (layer, cells) in zip(LAYER_COLOURS, table.items(), strict=False):
            _line(axis, cells, colour, layer)
        axis.set_xticks(range(len(MOMENTS)), MOMENTS, rotation=90)
    axes[0].set_ylabel("mean r")
    axes[len(axes) // 2].set_xlabel("denoising step")


def _truth_clouds(place: Any, models: Models, truth: Array, comparison: dict[str, Any]) -> None:
    found, figure = preference(models), place.get_gridspec().figure
    grid = place.subgridspec(1, 2, wspace=0.2)
    for position, (name, words) in enumerate((("visual", "all visual voxels"), ("higher", "outside early cortex"))):
        group = np.isfinite(truth) if name == "visual" else truth < 1
        axes = figure.add_subplot(grid[position])
        axes.scatter(truth[group], found[group], s=3, alpha=0.35, linewidth=0, color="#333333")
        axes.axhline(0, color="0.7", linewidth=0.6)
        numbers = comparison[name]
        axes.set_title(
            f"{words}: Pearson {numbers['pearson']:.2f}, Spearman {numbers['spearman']:.2f}, "
            f"{numbers['n_voxels']:,} voxels",
            fontsize=9,
        )
        axes.set_xlabel("simulated: share of the signal from early channels")
        axes.set_ylabel("recovered: r of z − r of c")
        axes.spines[["top", "right"]].set_visible(False)


def _draw_surfaces(path: Path, title: str, note: str, rows: list[Row], atlas: Atlas) -> None:
    import matplotlib.pyplot as plt
    from nilearn import plotting, surface

    assert atlas.surfaces is not None
    views = [("left", "lateral"), ("left", "ventral"), ("right", "ventral"), ("right", "lateral")]
    figure, axes = plt.subplots(
        len(rows), len(views), figsize=(12, 2.8 * len(rows) + 0.6), dpi=DPI, subplot_kw={"projection": "3d"}
    )
    for axes_of_row, row in zip(np.atleast_2d(axes), rows, strict=True):
        image = atlas.maps.image(row.values.astype(np.float32))
        colours, low = _colours(row)
        for axis, (side, view) in zip(axes_of_row, views, strict=True):
            mesh = surface.load_surf_mesh(str(atlas.surfaces[side == "right"]))
            interpolation = "nearest_most_frequent" if row.kind == "layer" else "linear"
            texture = surface.vol_to_surf(image, mesh, interpolation=interpolation)
            plotting.plot_surf(
                mesh, surf_map=np.where(texture == 0, np.nan, texture), hemi=side, view=view, axes=axis,
                avg_method="median", cmap=colours, vmin=low, vmax=row.limit, colorbar=False, figure=figure,
            )  # fmt: skip
            axis.set_title(f"{row.title}, {side}", fontsize=8)
    figure.suptitle(title + (f" ({note})" if note else ""), x=0.02, ha="left", fontsize=12)
    figure.savefig(path)
    plt.close(figure)
