"""Draws a report's figures as inline SVG with the page's colours, and pictures as data URIs."""

import base64
import io
import re
from collections.abc import Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib
import nibabel as nib
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image

from ...arrays import Array
from ..evaluate.tables import CEILINGS, CONTROLS, RETRIEVAL, ROWS
from ..typography import number
from .inputs import STEPS, Session

# Placeholders: matplotlib knows no CSS, so these become the page's colours when the figure is written.
THEME = {
    "#010203": "var(--ink)",
    "#010204": "var(--faint)",
    "#010205": "var(--blue)",
    "#010206": "var(--orange)",
    "#010207": "var(--green)",
    "#010208": "var(--purple)",
}
INK, FAINT, BLUE, ORANGE, GREEN, PURPLE = THEME
STYLE: Any = {
    "svg.fonttype": "path", "font.size": 9, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK,
    "xtick.color": INK, "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False,
    "axes.facecolor": "none", "figure.facecolor": "none", "legend.frameon": False, "axes.linewidth": 0.7,
    "axes.unicode_minus": True,
}  # fmt: skip
# for rasters, which cannot use the page's colours
BRAIN_RGBA, MASK_RGBA = (128, 128, 128, 70), {1: (0, 114, 178, 255), 2: (213, 94, 0, 255), 3: (170, 80, 160, 255)}
N_SLICES = 12
MOST_MEASURES = 5


@matplotlib.rc_context(STYLE)
def masks_figure(brain: Array, masks: Mapping[str, Array], affine: Array) -> Markup:
    """Draw the voxels that z and c are decoded from, in axial slices of the brain.

    Parameters
    ----------
    brain : array of shape (X, Y, Z), bool
    masks : dict of array of shape (X, Y, Z), bool
        By "z" and "c".
    affine : array of shape (4, 4), float
        Voxel indices to mm.
    """
    labels = brain.astype(np.int16) * 4
    for value, mask in zip((1, 2), masks.values(), strict=True):
        labels[mask] = np.where(labels[mask] % 4, 3, value)
    volume, mm = _canonical(labels, affine)
    filled = np.flatnonzero((volume % 4).any(axis=(0, 1)))
    heights = np.unique(np.linspace(filled[0], filled[-1], min(N_SLICES, len(filled))).round().astype(int))
    n_columns = -(-len(heights) // 2)
    figure = Figure(figsize=(11, 22 / n_columns * volume.shape[1] * mm[1, 1] / (volume.shape[0] * mm[0, 0]) + 0.7))
    axes = figure.subplots(2, n_columns, squeeze=False, gridspec_kw={"wspace": 0.02, "hspace": 0.16})
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, height in zip(axes.flat, heights, strict=False):
        rgba = np.zeros((*volume.shape[:2], 4), np.uint8)
        rgba[volume[:, :, height] > 0] = BRAIN_RGBA
        for value, colour in MASK_RGBA.items():
            rgba[volume[:, :, height] % 4 == value] = colour
        axis.imshow(rgba.transpose(1, 0, 2), origin="lower", interpolation="none", aspect=mm[1, 1] / mm[0, 0])
        axis.set_title(f"{number(mm[2, 2] * height + mm[2, 3], '.0f')} mm", fontsize=8, pad=2)
    for x, side in ((0.02, "L"), (0.98, "R")):
        axes[0, 0].text(x, 0.02, side, transform=axes[0, 0].transAxes, fontsize=8, ha="left" if x < 0.5 else "right")
    words = {1: f"{next(iter(masks))} only", 2: f"{list(masks)[1]} only", 3: "both"}
    there = [value for value in MASK_RGBA if (labels % 4 == value).any()]
    patches = [Patch(color="#{:02x}{:02x}{:02x}".format(*MASK_RGBA[value][:3]), label=words[value]) for value in there]
    figure.legend(handles=patches, loc="lower center", ncols=len(patches))
    figure.subplots_adjust(left=0, right=1, top=0.94, bottom=0.08)
    return _svg(figure, "masks")


@matplotlib.rc_context(STYLE)
def scores_figure(scores: dict[str, Any]) -> Markup:
    """Draw mode zc, controls and ceilings, one panel per measure, with 95 % intervals."""
    names = [
        name
        for name, measure in scores["measures"].items()
        if measure["status"] == "measured"
        and not name.startswith(RETRIEVAL)
        and "mean" in scores["averaged"]["zc"][name]
    ][:MOST_MEASURES]
    lines = [(words, scores[row]["zc"], BLUE) for row, words in ROWS.items() if "zc" in scores.get(row, {})]
    for group, group_words, colour in (("controls", CONTROLS, INK), ("ceilings", CEILINGS, GREEN)):
        lines += [(words, scores[group][name], colour) for name, words in group_words.items() if name in scores[group]]
    figure = Figure(figsize=(11, 0.27 * len(lines) + 0.9))
    axes = figure.subplots(1, max(1, len(names)), sharey=True, squeeze=False)[0]
    for axis, name in zip(axes, names, strict=False):
        for place, (_, line, colour) in enumerate(lines):
            if "mean" in (score := line.get(name, {})):
                low, high = score["ci95"]
                axis.plot([low, high], [place, place], color=colour, linewidth=1.6, solid_capstyle="butt")
                axis.plot([score["mean"]], [place], "o", color=colour, markersize=4.5)
        axis.set_title(fill(scores["measures"][name]["title"], 18), fontsize=9)
        axis.grid(axis="x", color=FAINT, linewidth=0.6)
        axis.set_axisbelow(True)
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
    axes[0].set_yticks(range(len(lines)), [words for words, _, _ in lines])
    axes[0].invert_yaxis()
    figure.subplots_adjust(left=0.25, right=0.99, wspace=0.12, top=0.92, bottom=0.09)
    return _svg(figure, "scores")


@matplotlib.rc_context(STYLE)
def latency_figure(session: Session) -> Markup:
    """Draw the cumulative distribution of each step's latency, in ms after a volume's arrival."""
    figure = Figure(figsize=(11, 3))
    axis = figure.subplots()
    steps = [step for step in STEPS if session.times_s[step]]
    for step, colour in zip(steps, (INK, GREEN, BLUE, ORANGE), strict=False):
        times_ms = 1e3 * np.sort(session.times_s[step])
        shares = np.arange(1, len(times_ms) + 1) / len(times_ms)
        axis.step(np.r_[times_ms[0], times_ms], np.r_[0, shares], where="post", color=colour, label=STEPS[step])
    axis.axvline(1e3 * session.hello.tr_s, color=INK, linewidth=0.8, linestyle="--")
    axis.annotate(
        "next volume", (1e3 * session.hello.tr_s, 0.02), xytext=(-4, 0), textcoords="offset points", ha="right",
        fontsize=8,
    )  # fmt: skip
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_ylim(0, 1.02)
    axis.set_xlabel("ms after the volume arrived")
    axis.set_ylabel("share of decodes")
    axis.grid(color=FAINT, linewidth=0.6)
    axis.legend(loc="upper left")
    figure.subplots_adjust(left=0.06, right=0.99, top=0.96, bottom=0.17)
    return _svg(figure, "latency")


def picture_uri(picture: Array, most_px: int) -> str:
    """Return a picture (height, width, 3) uint8 as a data URI, at most `most_px` wide."""
    return _uri(Image.fromarray(picture), most_px)


def file_uri(path: Path, most_px: int) -> str:
    """Return a picture file as a data URI, at most `most_px` wide."""
    with Image.open(path) as image:
        return _uri(image.convert("RGB"), most_px)


def _uri(image: Any, most_px: int) -> str:
    if image.width > most_px:
        image = image.resize((most_px, round(image.height * most_px / image.width)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=85)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _canonical(labels: Array, affine: Array) -> tuple[Array, Array]:
    """Reorient a volume to RAS+ axes; return the volume and its affine."""
    image: Any = nib.as_closest_canonical(nib.Nifti1Image(labels, affine))  # pyright: ignore[reportPrivateImportUsage]
    return np.asarray(image.dataobj), image.affine


def _svg(figure: Figure, name: str) -> Markup:
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # Ids of parts would repeat in every figure.
    text = re.sub(r' id="(?:figure|axes|patch|text|line2d|xtick|ytick|matplotlib\.axis|legend|Quad|Poly)\w*"', "", text)
    text = re.sub(
        r'<svg ([^>]*?)width="[^"]*" height="[^"]*"', rf'<svg role="img" aria-label="{name}" \1', text, count=1
    )
    for placeholder, colour in THEME.items():
        text = text.replace(placeholder, colour)
    return Markup(text)  # noqa: S704
