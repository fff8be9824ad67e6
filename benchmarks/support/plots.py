"""The plots of docs/benchmarks.md and docs/calibration.md."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

Rows = list[dict[str, Any]]


def draw_latency(rows: Rows, path: Path) -> None:
    """Plot the lag of pictures in volumes against pictures per second, one point per number of calls."""
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    by_arm: dict[str, Rows] = defaultdict(list)
    for row in rows:
        by_arm[row["arm"]].append(row)
    # arms without delay would lie on each other
    n_prompt = sum(not any(row["lag_volumes"] for row in of_arm) for of_arm in by_arm.values())
    shifts = iter([0.12 * (n - (n_prompt - 1) / 2) for n in range(n_prompt)])
    for name, of_arm in by_arm.items():
        shift = 0.0 if any(row["lag_volumes"] for row in of_arm) else next(shifts, 0.0)
        points = [(1000 / row["p50_ms"], row["lag_volumes"] + shift) for row in of_arm]
        axes.plot(*zip(*points, strict=True), marker="o", linewidth=1, label=name)
        for (x, y), row in zip(points, of_arm, strict=True):
            axes.annotate(str(row["calls"]), (x, y), xytext=(3, 3), textcoords="offset points", fontsize=7)
    axes.set(xscale="log", xlabel="pictures a second (numbers: denoiser calls)", ylabel="volumes late")
    axes.legend(fontsize=8)
    _save(figure, path)


def draw_memory(rows: Rows, path: Path) -> None:
    """Plot both processes' memory over the volumes acked."""
    figure, axes = pyplot.subplots(figsize=(7, 3.2), layout="constrained")
    volumes = [row["volumes"] for row in rows]
    for name in ("front", "decoder"):
        axes.plot(volumes, [row[f"{name}_mb"] for row in rows], marker="o", label=name)
    axes.set(xlabel="volumes acked", ylabel="resident memory, MB", ylim=(0, None))
    axes.legend()
    _save(figure, path)


def draw_ridge(growth: dict[str, Any], path: Path) -> None:
    """Plot a fit's time and memory as voxels, and as targets, are doubled."""
    figure, all_axes = pyplot.subplots(2, 2, figsize=(8, 5), layout="constrained", sharex="col")
    for column, what in zip(all_axes.T, ("voxels", "targets"), strict=True):
        counts = [int(count) for count in growth[what]]
        for axes, (key, words) in zip(
            column, {"total_s": "fit, s", "peak_rss_gib": "peak memory, GiB"}.items(), strict=True
        ):
            axes.plot(counts, [row[key] for row in growth[what].values()], marker="o")
            axes.set(xscale="log", ylim=(0, None), xticks=counts, xticklabels=[f"{n:,}" for n in counts])
            axes.minorticks_off()
            if what == "voxels":
                axes.set_ylabel(words)
        column[-1].set_xlabel(what)
    _save(figure, path)


def draw_calibration(kinds: dict[str, Any], path: Path) -> None:
    """Plot two-way identification over minutes of calibration: held-out, and as shown to the operator."""
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for number, (kind, measured) in enumerate(kinds.items()):
        rows, colour = measured["rows"], f"C{number}"
        minutes = [row["minutes"] for row in rows]
        held_out = [row["held_out"] for row in rows]
        axes.plot(minutes, [score["mean"] for score in held_out], color=colour, marker="o", label=f"{kind}, held out")
        low, high = zip(*(score["ci95"] for score in held_out), strict=True)
        axes.fill_between(minutes, low, high, color=colour, alpha=0.15, linewidth=0)
        told = [row["told"]["mean"] for row in rows]
        axes.plot(minutes, told, color=colour, linestyle="--", marker=".", label=f"{kind}, as the monitor says")
    axes.axhline(0.5, color="grey", linewidth=0.8, linestyle=":")
    axes.set(xlabel="minutes of calibration (simulated subject)", ylabel="two-way identification, single trials")
    axes.legend(fontsize=8)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
