"""Turns the outputs of `braind evaluate --json` of two subjects into docs/benchmarks.md's table of quality.

Writes what stands between `<!-- quality -->` and `<!-- end -->`.
Run: python benchmarks/quality_table.py
"""

import json
import re
from typing import Any

import click
from support.names import RESULTS_PATH
from tables import DOCUMENT_PATH

from braind.signs import number

FILES = ("quality.json", "quality-2.json")
MEASURES = {
    "clip_two_way": "two-way CLIP",
    "pixcorr": "PixCorr",
    "background_pixcorr": "PixCorr of the background",
    "kind_named": "kind named",
    "category_named": "category named",
}
BOLD = ("single zc", "averaged zc")
CONTROLS = {
    "controls/shuffled_single": "control: shuffled, single",
    "controls/mean_prediction": "control: mean prediction",
    "controls/random_caption_c": "control: random caption alone",
    "controls/random_caption_zc": "control: random caption with decoded z",
    "controls/nearest_training_single": "control: nearest training picture, single",
    "controls/nearest_training_averaged": "control: nearest training picture, averaged",
    "controls/seen_z_decoded_c": "control: seen z, decoded c (averaged)",
    "controls/decoded_z_seen_c": "control: decoded z (averaged), seen c",
    "ceilings/seen_z_and_c": "ceiling: seen z and c",
}


def decoded_rows(prefix: str, words: str) -> dict[str, str]:
    """Return the rows of one repeat count: path in the JSON → name."""
    rows = {f"{prefix}/{mode}": f"{words} {mode}" for mode in ("zc", "z", "c")}
    return rows | {f"{prefix}_expected/{mode}": f"{words} {mode}, c by `expected`" for mode in ("zc", "c")}


ROWS = decoded_rows("single", "single") | decoded_rows("averaged", "averaged") | CONTROLS
ROWS |= decoded_rows("novel_kinds/single", "novel kinds, single")
ROWS |= decoded_rows("novel_kinds/averaged", "novel kinds, averaged")


def cell(score: dict[str, Any]) -> str:
    """Return a mean and its interval."""
    mean, low, high = (number(value, ".2f") for value in (score["mean"], *score["ci95"]))
    return f"{mean} [{low}, {high}]"


def found(scores: dict[str, Any], path: str) -> dict[str, Any]:
    """Return the measures at a path of the JSON."""
    for part in path.split("/"):
        scores = scores[part]
    return scores


@click.command()
def main() -> None:
    """Write the table into docs/benchmarks.md."""
    subjects = [json.loads((RESULTS_PATH / name).read_text()) for name in FILES]
    lines = [f"| | {' | '.join(MEASURES.values())} |", "|---" * (1 + len(MEASURES)) + "|"]
    for path, name in ROWS.items():
        cells = ["<br>".join(cell(found(scores, path)[measure]) for scores in subjects) for measure in MEASURES]
        lines.append(f"| {f'**{name}**' if name in BOLD else name} | {' | '.join(cells)} |")
    text = DOCUMENT_PATH.read_text(encoding="utf-8")
    block = re.compile(r"(<!-- quality -->\n).*?(<!-- end -->)", re.DOTALL)
    table = "\n".join(lines) + "\n"
    DOCUMENT_PATH.write_text(block.sub(lambda marks: marks[1] + table + marks[2], text), encoding="utf-8")


if __name__ == "__main__":
    main()
