"""Draws the encoding figures' maps as slices of the brain, or on cortical surfaces."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...arrays import Array
from ...models.encoding.voxel_models import EncodingError
from ..typography import MINUS, number
from .maps import MapFolder

# two blocks of the downward path, the bottleneck, two blocks of the upward path
LAYER_COLOURS = ("#0072B2", "#56B4E9", "#CC79A7", "#E69F00", "#D55E00")
N_SLICES = 6
DPI = 130


@dataclass(frozen=True, eq=False)
class FigureRow:
    """One map of a figure: `values` (n_voxels,), 0 in voxels that are not drawn."""

    title: str
    values: Array
    kind: Literal["above 0", "about 0", "layer"]
    limit: float


@dataclass(frozen=True, eq=False)
class Atlas:
    """The anatomy under the maps: grid, brain mask (n_voxels,) and, optionally, cortical surfaces."""

    maps: MapFolder
    brain: Array
    surfaces: tuple[Path, Path] | None


def check_surfaces(paths: tuple[Path, Path]) -> None:
    """Refuse surfaces that cannot be read. Call this before the long computation.

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


def draw_slices(axes: Any, row: FigureRow, atlas: Atlas) -> None:
    """Draw a map in axial slices of the brain, with the brain's outline."""
    from matplotlib.ticker import FuncFormatter
    from nilearn import plotting

    colours, low = _colours(row)
    with warnings.catch_warnings():
        # A map without predicted voxels is drawn as an empty brain.
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
    # nilearn writes numbers with hyphens.
    if row.kind != "layer":
        display._cbar.formatter = FuncFormatter(lambda value, _: number(value, ".2g"))
        display._cbar.update_ticks()
    for cut in display.axes.values():
        for text in cut.ax.texts:
            text.set_text(text.get_text().replace("-", MINUS))


def _outline(atlas: Atlas) -> Any:
    """Return the brain mask, padded by one voxel: so the outline closes at the volume's edge."""
    import nibabel as nib

    maps = atlas.maps
    brain = np.pad(np.asarray(maps.image(atlas.brain.astype(np.float32)).dataobj), 1)
    affine = maps.affine @ np.block([[np.eye(3), -np.ones((3, 1))], [np.zeros((1, 3)), 1]])
    return nib.Nifti1Image(brain, affine)  # pyright: ignore[reportPrivateImportUsage]


def _colours(row: FigureRow) -> tuple[Any, float]:
    """Return a row's colour map and its lower limit."""
    from matplotlib.colors import ListedColormap

    if row.kind == "layer":
        return ListedColormap(LAYER_COLOURS[: int(row.limit)]), 0.5
    return ("RdBu_r", -row.limit) if row.kind == "about 0" else ("inferno", 0.0)


def _slice_heights(atlas: Atlas) -> list[float]:
    """Return heights of slices, evenly spread over the brain, in mm."""
    maps = atlas.maps
    voxels = np.stack(np.unravel_index(maps.voxel_index, maps.shape), axis=1)
    height = voxels @ maps.affine[2, :3] + maps.affine[2, 3]
    low, high = np.quantile(height, [0.1, 0.9])
    return np.linspace(low, high, N_SLICES).round(1).tolist()


def layer_legend(figure: Any, layers: list[str]) -> None:
    """Draw the legend of the U-Net blocks' colours."""
    from matplotlib.patches import Patch

    patches = [Patch(color=colour, label=layer) for colour, layer in zip(LAYER_COLOURS, layers, strict=False)]
    figure.legend(
        handles=patches, loc="lower center", ncols=len(layers), fontsize=9, frameon=False, bbox_to_anchor=(0.5, 0)
    )


def draw_surfaces(path: Path, title: str, note: str, rows: list[FigureRow], atlas: Atlas) -> None:
    """Draw maps on the cortical surfaces, in lateral and ventral views, into a file."""
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
