"""Formats an evaluation's scores as Markdown tables."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from ..typography import MINUS, number, p_words

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
WIDTH = 10_000  # characters, when the output is no terminal: a row of Markdown is one line


class ScoreTable(NamedTuple):
    """A table of text: title, column headings and rows."""

    title: str
    columns: list[str]
    rows: list[list[str]]


def score_tables(scores: dict[str, Any]) -> list[ScoreTable]:
    """Return the tables of an evaluation: pictures and retrieval, predictions, and paired differences.

    Kinds that training lacks have tables of their own. n is the number of pictures that a mean is taken over.
    """
    measured = [name for name, measure in scores["measures"].items() if measure["status"] == "measured"]
    pictures = [name for name in measured if not name.startswith(RETRIEVAL)]
    retrieval = [name for name in measured if name.startswith(RETRIEVAL)]
    title, novel = f"Retrieval from z and c, among {scores['n_distractors'] + 1} pictures", scores["novel_kinds"]
    lacking = "of kinds that training lacks"
    n, n_novel = f"(n = {scores['n_pictures']})", f"(n = {novel.get('n_pictures')})"
    tables = [
        _scores_table(f"Pictures, by protocol {scores['protocol']} {n}", scores, scores, pictures),
        _scores_table(f"{title} {n}", scores, scores, retrieval),
        _scores_table(f"Pictures {lacking} {n_novel}", scores, novel, pictures),
        _scores_table(f"{title}, {lacking} {n_novel}", scores, novel, retrieval),
        _predictions_table(scores),
        _paired_table(f"Paired differences {n}", scores, scores, pictures),
        _paired_table(f"Paired differences, pictures {lacking} {n_novel}", scores, novel, pictures),
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
        share = (found - chance) / (best - chance) if best is not None and best > chance else None
        return number(found, ".3f") + (f" ({number(share, '.0%')})" if share is not None else "")

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
        f"Correlation of decoded with true targets (n = {scores['n_pictures']})",
        ["", "z", "noise ceiling of z", "c", "noise ceiling of c"],
        rows,
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
                rows.append((f"{words} zc {MINUS} {control_words}", cells))
    title = f"Mode zc less each control (n = {scores['n_pictures']}): mean difference"
    return _differences_table(title, scores, names, rows)


def _paired_table(title: str, scores: dict[str, Any], part: dict[str, Any], names: list[str]) -> ScoreTable:
    """Tabulate the differences between modes, between c decoders, and from the nearest training picture."""
    rows = [
        (f"{ROWS[row]} {pair.replace(' - ', f' {MINUS} ')}", [by_measure.get(name, {}) for name in names])
        for row, pairs in part.get("paired", {}).items()
        for pair, by_measure in pairs.items()
    ]
    return _differences_table(f"{title}: mean [95 % interval]", scores, names, rows)


def _differences_table(
    title: str, scores: dict[str, Any], names: list[str], rows: list[tuple[str, list[dict[str, Any]]]]
) -> ScoreTable:
    """Tabulate differences with their p values. The p values of the whole table are one family."""
    p = [cell["p"] for _, cells in rows for cell in cells if cell]
    words = iter(p_words(p, scores["n_permutations"]) if p else [])
    n_tests = f"the {len(p)} tests" if len(p) > 1 else "the one test"
    return ScoreTable(
        f"{title} (p of paired permutation over pictures; Holm: p corrected over {n_tests} of this table)",
        ["", *(scores["measures"][name]["title"] for name in names)],
        [[label, *(f"{_difference(cell)} ({next(words)})" if cell else "" for cell in cells)] for label, cells in rows],
    )


def score_cell(score: dict[str, Any]) -> str:
    """Return a mean with its interval; a dash if there is none."""
    return f"{number(score['mean'], '.3f')} {_interval(score, '.3f')}" if "mean" in score else "–"


def _difference(cell: dict[str, Any]) -> str:
    difference = number(cell["difference"], "+.3f")
    return f"{difference} {_interval(cell, '+.3f')}" if "ci95" in cell else difference


def _interval(cell: dict[str, Any], spec: str) -> str:
    low, high = cell["ci95"]
    return f"[{number(low, spec)}, {number(high, spec)}]"
