"""Formats an evaluation's scores as Markdown tables."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rich.console import Console

ROWS = {
    "single": "single trial",
    "averaged": "averaged repeats",
    "single_expected": "single trial (c expected)",
    "averaged_expected": "averaged repeats (c expected)",
    "running": "running average",
    "bold": "causal BOLD",
}
CONTROLS = {
    "shuffled_single": "shuffled, single trial",
    "shuffled_averaged": "shuffled, averaged",
    "mean_prediction": "mean prediction",
    "nearest_training_single": "nearest training picture, single trial",
    "nearest_training_averaged": "nearest training picture, averaged",
    "random_caption_c": "random caption alone (c)",
    "random_caption_zc": "decoded z, random caption",
    "seen_z_decoded_c": "seen z, decoded c",
    "decoded_z_seen_c": "decoded z, seen c",
}
CEILINGS = {"seen_pictures": "the seen pictures themselves", "seen_z_and_c": "seen z and c"}
RETRIEVAL = ("forward_", "backward_")
WIDTH = 200  # characters, when the output is no terminal


class ScoreTable(NamedTuple):
    """A table of text: title, column headings and rows."""

    title: str
    columns: list[str]
    rows: list[list[str]]


def score_tables(scores: dict[str, Any]) -> list[ScoreTable]:
    """Return the tables of an evaluation: pictures, retrieval, predictions, and differences from the controls."""
    measured = [name for name, measure in scores["measures"].items() if measure["status"] == "measured"]
    pictures = [name for name in measured if not name.startswith(RETRIEVAL)]
    retrieval = [name for name in measured if name.startswith(RETRIEVAL)]
    title = f"Retrieval from z and c, among {scores['n_distractors'] + 1} pictures"
    tables = [
        _scores_table("Pictures, by protocol " + scores["protocol"], scores, scores, pictures),
        _scores_table(title, scores, scores, retrieval),
        _scores_table("Pictures of kinds that training lacks", scores, scores["novel_kinds"], pictures),
        _scores_table(title + ", of kinds that training lacks", scores, scores["novel_kinds"], retrieval),
        _predictions_table(scores),
        _paired_table("Paired differences", scores, scores, pictures),
        _paired_table("Paired differences, kinds that training lacks", scores, scores["novel_kinds"], pictures),
        _comparisons_table(scores, pictures),
    ]
    return [table for table in tables if table.rows]


def bold_table(scores: dict[str, Any]) -> ScoreTable:
    """Return the table of scores by delay after onset, with each score's share of the betas' score above chance."""
    rows = {"betas": scores["beta"]}
    for words, part in (("BOLD", scores["bold"]), ("lagged ridge", scores["lagged"])):
        if "final" in part:
            after = part["seconds_after_onset"]
            rows |= {f"{words}, {float(delay_s):g} s": row for delay_s, row in after.items()}
            rows[f"{words}, final"] = part["final"]
    measures = {name: measure["title"] for name, measure in scores["measures"].items()}
    compared = {"z_correlation": 0.0, "c_correlation": 0.0} | (
        {"clip_two_way": 0.5} if "clip_two_way" in measures else {}
    )

    def mean(row: dict[str, Any], name: str) -> float | None:
        return (row[name] if name in row else row["zc"][name]).get("mean")

    def cell(row: dict[str, Any], name: str) -> str:
        found, best, chance = mean(row, name), mean(scores["beta"], name), compared[name]
        if found is None:
            return "–"
        share = f" ({(found - chance) / (best - chance):.0%})" if best is not None and best > chance else ""
        return f"{found:.3f}{share}"

    heads = {"z_correlation": "z correlation", "c_correlation": "c correlation", **measures}
    return ScoreTable(
        "Held-out trials by seconds after onset (share of the betas' score above chance)",
        ["", *(heads[name] for name in compared)],
        [[words, *(cell(row, name) for name in compared)] for words, row in rows.items()],
    )


def print_bold_table(scores: dict[str, Any]) -> None:
    """Print the table of scores by delay after onset on stdout."""
    simulated = ", SIMULATED" if scores["provenance"]["simulated"] else ""
    console = print_all([bold_table(scores)], f"{scores['beta']['n_decodes']} trials{simulated}; means over pictures")
    if "not_measured" in scores["lagged"]:
        line = f"lagged ridge: not measured: {scores['lagged']['not_measured']}"
        console.print(line, markup=False, highlight=False)


def not_measured(scores: dict[str, Any]) -> list[str]:
    """Return a sentence for each score that was not measured, with the missing input."""
    lines = [
        f"{measure['title']}: {measure['status']}"
        for measure in scores["measures"].values()
        if measure["status"] != "measured"
    ]
    for name, words in {**ROWS, "novel_kinds": "kinds that training lacks"}.items():
        if "not_measured" in scores.get(name, {}):
            lines.append(f"{words}: not measured: {scores[name]['not_measured'].removeprefix('not measured: ')}")
    return lines


def print_tables(scores: dict[str, Any]) -> None:
    """Print the tables on stdout."""
    simulated = ", SIMULATED" if scores["provenance"]["simulated"] else ""
    console = print_all(
        score_tables(scores),
        f"{scores['n_pictures']} held-out pictures{simulated}; means over pictures [95 % interval]",
    )
    for line in not_measured(scores):
        console.print(line, markup=False, highlight=False)


def print_all(tables: list[ScoreTable], words: str) -> "Console":
    """Print words and tables on stdout; return the console."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    console.print(words)
    for score_table in tables:
        table = Table(title=score_table.title, title_justify="left", box=box.MARKDOWN)
        for column in score_table.columns:
            table.add_column(column)
        for row in score_table.rows:
            table.add_row(*row)
        console.print(table)
        console.print()
    return console


def _lines(part: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every line of the table: label, and scores by measure."""
    for name, words in ROWS.items():
        for mode in ("zc", "z", "c"):
            if mode in part.get(name, {}):
                yield f"{words} {mode}", part[name][mode]
    for group, names in (("controls", CONTROLS), ("ceilings", CEILINGS)):
        for name, words in names.items():
            if name in part.get(group, {}):
                yield f"{group[:-1]}: {words}", part[group][name]


def _scores_table(title: str, scores: dict[str, Any], part: dict[str, Any], names: list[str]) -> ScoreTable:
    rows = [
        [words, *(score_cell(line[name]) if name in line else "" for name in names)]
        for words, line in _lines(part)
        if any(name in line for name in names)
    ]
    return ScoreTable(title, ["", *(scores["measures"][name]["title"] for name in names)], rows)


def _predictions_table(scores: dict[str, Any]) -> ScoreTable:
    """Tabulate the correlations of decoded z and c, with their noise ceilings."""
    rows = []
    for name, words in ROWS.items():
        if "z_correlation" not in scores.get(name, {}):
            continue
        cells = [words]
        for target in ("z_correlation", "c_correlation"):
            ceiling = scores["ceilings"][target].get(name)
            cells += [score_cell(scores[name][target]), score_cell(ceiling) if ceiling else "not defined"]
        rows.append(cells)
    return ScoreTable(
        "Correlation of decoded with true targets", ["", "z", "noise ceiling of z", "c", "noise ceiling of c"], rows
    )


def _comparisons_table(scores: dict[str, Any], names: list[str]) -> ScoreTable:
    """Tabulate the differences between mode zc and each control."""
    rows = []
    for row, words in ROWS.items():
        if row not in scores["comparisons"]:
            continue
        by_measure = scores["comparisons"][row]["zc"]
        for control, control_words in CONTROLS.items():
            cells = [by_measure[name].get(control, {}) for name in names]
            if any(cells):
                rows.append([f"{words} zc − {control_words}", *(_difference(cell) for cell in cells)])
    return ScoreTable(
        "Mode zc less each control: mean difference (p of paired permutation over pictures)",
        ["", *(scores["measures"][name]["title"] for name in names)],
        rows,
    )


def _paired_table(title: str, scores: dict[str, Any], part: dict[str, Any], names: list[str]) -> ScoreTable:
    """Tabulate the differences between modes, between c decoders, and from the nearest training picture."""
    rows = [
        [f"{ROWS[row]} {pair}", *(_difference_with_interval(by_measure.get(name, {})) for name in names)]
        for row, pairs in part.get("paired", {}).items()
        for pair, by_measure in pairs.items()
    ]
    return ScoreTable(
        f"{title}: mean [95 % interval] (p of paired permutation over pictures)",
        ["", *(scores["measures"][name]["title"] for name in names)],
        rows,
    )


def score_cell(score: dict[str, Any]) -> str:
    """Return a mean with its interval; a dash if there is none."""
    if "mean" not in score:
        return "–"
    low, high = score["ci95"]
    return f"{score['mean']:.3f} [{low:.3f}, {high:.3f}]"


def _difference(cell: dict[str, Any]) -> str:
    return f"{cell['difference']:+.3f} ({cell['p']:.4f})" if cell else ""


def _difference_with_interval(cell: dict[str, Any]) -> str:
    if not cell:
        return ""
    low, high = cell["ci95"]
    return f"{cell['difference']:+.3f} [{low:+.3f}, {high:+.3f}] ({cell['p']:.4f})"
