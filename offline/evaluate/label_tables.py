"""Formats the scores of decoded classes as Markdown tables."""

from typing import Any

from ...printable import printable
from .tables import ScoreTable, print_all, score_cell


def label_tables(scores: dict[str, Any]) -> list[ScoreTable]:
    """Return the tables: accuracy by seconds after onset, the confusion of classes, and the calibration."""
    labels = scores["labels"]
    names = [printable(name) for name in labels["classes"]]
    after = [
        [f"{delay_s} s", score_cell(one), f"{one['calibration_error']:.3f}", str(one["n"])]
        for delay_s, one in labels["seconds_after_onset"].items()
    ]
    final = ["final", score_cell(labels["top1"]), f"{labels['calibration_error']:.3f}", str(labels["n_trials"])]
    confusion = [[name, *map(str, row)] for name, row in zip(names, labels["confusion"], strict=True)]
    curve = [[f"{one['probability']:.2f}", f"{one['accuracy']:.2f}", str(one["n"])] for one in labels["calibration"]]
    return [
        ScoreTable(
            f"Top-1 accuracy after onset (chance {labels['chance']:.3f})",
            ["", "accuracy", "calibration error", "trials"],
            [*after, final],
        ),
        ScoreTable("Final estimates: true class by row, decoded class by column", ["", *names], confusion),
        ScoreTable("Final estimates: probability and accuracy", ["probability", "accuracy", "trials"], curve),
    ]


def print_labels(scores: dict[str, Any]) -> None:
    """Print the tables on stdout."""
    simulated = ", SIMULATED" if scores["provenance"]["simulated"] else ""
    n_trials, n_classes = scores["labels"]["n_trials"], len(scores["labels"]["classes"])
    print_all(
        label_tables(scores),
        f"{n_trials} trials of {n_classes} classes, held out: {scores['splits']}{simulated}; means over trials "
        "[95 % interval]",
    )
