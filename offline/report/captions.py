"""Numbers a report's figures and tables, and says what the encoding analysis's figures show."""

from collections.abc import Iterable

ENCODING_FIGURES = {
    "features": "Encoding by z, c and zc: r on held-out pictures of each voxel, the difference between z and c, and "
    "the mean r of each region.",
    "noise": "zc against z under noise: the variance that zc alone explains, less the variance that z alone explains, "
    "by strength.",
    "steps": "zc against z over denoising steps: the variance that zc alone explains, less the variance that z alone "
    "explains.",
    "layers": "The U-Net block that predicts each voxel best, and the mean r of each block over denoising steps.",
    "truth": "Preferences that the analysis recovered against the preferences that were simulated.",
}
SURFACE = "-surface"
"""Ends the name of a figure whose maps are drawn on the cortical surfaces."""


def numbered(names: Iterable[str]) -> dict[str, int]:
    """Number figures or tables from 1, in the order of the page."""
    return {name: n for n, name in enumerate(names, 1)}


def encoding_caption(name: str) -> str:
    """Return the caption of a figure of the encoding analysis."""
    caption = ENCODING_FIGURES.get(name.removesuffix(SURFACE), f"Encoding analysis: {name}.")
    return f"{caption} On the cortical surfaces." if name.endswith(SURFACE) else caption
