"""Draws the plots below the encoding figures' maps: means in each ROI, and recovered against simulated values."""

from typing import Any

import numpy as np

from ...arrays import Array
from ...models.encoding.unet_features import MOMENTS
from ..typography import number
from .brain_maps import LAYER_COLOURS
from .models import Models
from .truth import preference

COLOURS = {"z": "#0072B2", "c": "#D55E00", "zc": "#009E73"}


def roi_bars(place: Any, table: dict[str, Any]) -> None:
    """Draw the mean r of z, c and zc in each ROI as bars, with 95 % intervals over pictures."""
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


def roi_lines(place: Any, table: dict[str, Any], ticks: list[str], label: str) -> None:
    """Draw the unique variances of z and zc against noise or denoising step, one panel per ROI."""
    axes = _small_axes(place, list(table))
    for axis, lines in zip(axes, table.values(), strict=True):
        _line(axis, lines["z"], COLOURS["z"], "z alone")
        _line(axis, lines["zc"], COLOURS["zc"], "zc alone")
        axis.axhline(0, color="0.7", linewidth=0.6)
        axis.set_xticks(range(len(ticks)), ticks, rotation=90)
    axes[0].set_ylabel("unique variance (R²)")
    axes[len(axes) // 2].set_xlabel(label)
    axes[0].legend(frameon=False, fontsize=7)


def layer_lines(place: Any, layers: dict[str, Any]) -> None:
    """Draw the mean r of each U-Net block against denoising step, one panel per ROI."""
    axes = _small_axes(place, list(layers["roi"]))
    for axis, table in zip(axes, layers["roi"].values(), strict=True):
        for colour, (layer, cells) in zip(LAYER_COLOURS, table.items(), strict=False):
            _line(axis, cells, colour, layer)
        axis.set_xticks(range(len(MOMENTS)), MOMENTS, rotation=90)
    axes[0].set_ylabel("mean r")
    axes[len(axes) // 2].set_xlabel("denoising step")


def truth_clouds(place: Any, models: Models, truth: Array, comparison: dict[str, Any]) -> None:
    """Draw recovered against simulated preference, one point per voxel."""
    found, figure = preference(models), place.get_gridspec().figure
    grid = place.subgridspec(1, 2, wspace=0.2)
    for position, (name, words) in enumerate((("visual", "all visual voxels"), ("higher", "outside early cortex"))):
        group = np.isfinite(truth) if name == "visual" else truth < 1
        axes = figure.add_subplot(grid[position])
        axes.scatter(truth[group], found[group], s=3, alpha=0.35, linewidth=0, color="#333333")
        axes.axhline(0, color="0.7", linewidth=0.6)
        numbers = comparison[name]
        axes.set_title(
            f"{words}: Pearson {number(numbers['pearson'], '.2f')}, Spearman {number(numbers['spearman'], '.2f')}, "
            f"{numbers['n_voxels']:,} voxels",
            fontsize=9,
        )
        axes.set_xlabel("simulated: share of the signal from early channels")
        axes.set_ylabel("recovered: r of z − r of c")
        axes.spines[["top", "right"]].set_visible(False)
