"""Plots the scores of `braind evaluate --kind bold` against seconds after onset, on white, for a paper."""

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...models.bold.windows import FINAL_WINDOW_S

# Okabe & Ito's colour-blind safe colours. Markers and line styles differ too.
CAUSAL: Any = {"color": "#0072B2", "marker": "o", "linestyle": "-", "label": "causal estimates"}
LAGGED: Any = {"color": "#D55E00", "marker": "s", "linestyle": "--", "label": "lagged ridge"}
BETAS, CHANCE = "#000000", "#777777"
STYLE: Any = {
    "font.size": 8, "axes.linewidth": 0.7, "axes.spines.top": False, "axes.spines.right": False, "svg.fonttype": "none",
    "svg.hashsalt": "bold", "legend.frameon": False, "figure.facecolor": "white", "savefig.facecolor": "white",
    "axes.unicode_minus": True,
}  # fmt: skip
PANEL_INCHES, HEIGHT_INCHES, DPI = 2.4, 2.7, 200
APART_S = 0.12
"""Horizontal distance between points of one delay: without it their intervals would overlap."""


@matplotlib.rc_context(STYLE)
def draw_bold(scores: dict[str, Any], path: Path) -> None:
    """Plot the scores from `evaluate_bold` into a PNG or SVG file, by the path's suffix."""
    panels = {"z_correlation": ("correlation of z", 0.0), "c_correlation": ("correlation of c", 0.0)}
    if "clip_two_way" in scores["measures"]:
        panels = {"clip_two_way": (f"{scores['measures']['clip_two_way']['title']}, 0–1", 0.5)} | panels
    figure = Figure(figsize=(PANEL_INCHES * len(panels), HEIGHT_INCHES), layout="constrained")
    all_axes: list[Axes] = figure.subplots(1, len(panels), squeeze=False)[0].tolist()
    for axes, (name, (words, chance)) in zip(all_axes, panels.items(), strict=True):
        _draw_panel(axes, scores, name, chance)
        axes.set(xlabel="seconds after onset", ylabel=words)
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    simulated = ", SIMULATED" if scores["provenance"]["simulated"] else ""
    figure.suptitle(
        f"Subject {scores['provenance']['subject']}{simulated}: {scores['beta']['n_decodes']} held-out single trials, "
        "means and 95 % intervals over pictures",
        fontsize=8,
    )
    metadata = {"Date": None} if path.suffix == ".svg" else {}
    figure.savefig(path, dpi=DPI, metadata=metadata)


def _draw_panel(axes: Axes, scores: dict[str, Any], name: str, chance: float) -> None:
    betas = _score(scores["beta"], name)
    if "mean" in betas:
        axes.axhspan(*betas["ci95"], color=BETAS, alpha=0.1, linewidth=0)
        axes.axhline(betas["mean"], color=BETAS, linewidth=1, label="betas (whole sessions)")
    axes.axhline(chance, color=CHANCE, linewidth=0.9, linestyle=":", label="chance")
    drawn = [(CAUSAL, scores["bold"]), *([(LAGGED, scores["lagged"])] if "final" in scores["lagged"] else [])]
    for number, (look, by_delay) in enumerate(drawn):
        rows = {float(delay): row for delay, row in by_delay["seconds_after_onset"].items()}
        rows[FINAL_WINDOW_S] = by_delay["final"]
        measured = {delay_s: _score(row, name) for delay_s, row in rows.items() if "mean" in _score(row, name)}
        if not measured:
            continue
        found = list(measured.values())
        means = [score["mean"] for score in found]
        reach = zip(
            *((score["mean"] - score["ci95"][0], score["ci95"][1] - score["mean"]) for score in found), strict=True
        )
        times_s = [delay_s + APART_S * (number - (len(drawn) - 1) / 2) for delay_s in measured]
        axes.errorbar(times_s, means, list(reach), **look, markersize=3.5, linewidth=1.1, elinewidth=0.8)
    delays = [float(delay) for delay in scores["bold"]["seconds_after_onset"]]
    axes.set_xticks([*delays, FINAL_WINDOW_S], [*(f"{delay_s:g}" for delay_s in delays), "final"])


def _score(row: dict[str, Any], name: str) -> dict[str, Any]:
    return row[name] if name in row else row["zc"][name]
