"""Scores the decodes of a subject's held-out pictures beside controls and ceilings.

Every score is averaged over a picture's decodes, then over pictures. Intervals are bootstrapped over pictures, and
permutation tests flip the signs of paired differences. Weights that have a prior over the training captions are scored
by the c decoder `expected` too, beside the linear one, in the modes that c has a part in.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...arrays import Array
from ...choices import Mode
from ..weights.weights import Weights
from .decodes import MODES, DecodedTrials, Evaluation, EvaluationDecodes, Scores
from .held_out import DistinctRows, HeldOut, Row, Training, distinct_rows, rows_of
from .metrics import bootstrap_ci, permutation_p, random_signs
from .noise_ceiling import correlation_ceiling, repeat_correlation, voxel_ceilings
from .protocols import Protocol
from .targets import standardised, target_correlation

N_PERMUTATIONS = 10_000
EXPECTED = "_expected"  # ends the name of a row that the c decoder `expected` decodes
WITH_C: tuple[Mode, ...] = ("c", "zc")
DECIMALS = 6  # of reported scores: finer digits differ between machines


def evaluate(
    evaluation: Evaluation,
    training: Training,
    protocol: Protocol,
    *,
    bold: Row | None = None,
    max_trials_per_picture: int | None = None,
) -> dict[str, Any]:
    """Decode held-out trials and score them.

    Parameters
    ----------
    evaluation : Evaluation
    training : Training
    protocol : Protocol
    bold : responses estimated causally from BOLD, with the weights that decode them
    max_trials_per_picture : only the first trials of each picture; all by default

    Returns
    -------
    scores : dict, JSON-ready
        For each row of the protocol (`single`, `averaged`, `running`, `bold`): scores by mode (`z`, `c`, `zc`) and
        measure, and `z_correlation` and `c_correlation` of the predictions. `controls`: by control and measure.
        `ceilings`: `seen_pictures` scored as if they were decodes, `seen_z_and_c` through the same decoder, and noise
        ceilings. `comparisons`: row, mode, measure, control → mean `difference` and its permutation `p`. `paired`: row,
        pair (`zc - z`, …), measure → `difference`, its `ci95`, permutation `p` and the number of pictures `n`. Where
        the weights decode c linearly and have a prior, the rows `single_expected` and `averaged_expected` score modes
        c and zc by the c decoder `expected`.
        `novel_kinds`: the same for pictures of kinds that training lacks; all other entries leave these out. A score is
        a `mean`, its `ci95` and the number of pictures `n`.

    Raises
    ------
    EvaluateError
        If the held-out arrays do not fit each other.
    """
    weights, held_out, seed, n_bootstrap = (
        evaluation.weights, evaluation.held_out, evaluation.seed, evaluation.n_bootstrap
    )  # fmt: skip
    rows = rows_of(weights, held_out, max_trials_per_picture) | ({} if bold is None else {"bold": bold})
    rows = {name: rows[name] for name in protocol.rows if name in rows}
    decodes = EvaluationDecodes(evaluation)
    expected = _expected_rows(weights, rows)
    distinct, distinct_expected = distinct_rows(rows), distinct_rows(expected)
    positions = distinct[1]
    compared = {name: positions[name] for name in ("single", "averaged") if name in rows}
    decodes.expect(
        *[len(distinct[0])] * len(MODES),
        *[len(distinct_expected[0])] * len(WITH_C),
        *map(len, compared.values()),
        *[len(positions["averaged"])] * 4,  # with z or c exchanged
        *[len(held_out.pictures)] * 3,  # decodes of the mean, the seen pictures, decodes of their z and c
    )
    # 1. every distinct response, in every mode
    decoded, scores_of_rows = _decoded(decodes, rows, distinct, MODES)
    if expected:
        scores_of_rows |= _decoded(decodes, expected, distinct_expected, WITH_C)[1]
    # 2. controls: the decoder knows less
    controls: dict[str, Scores] = {}
    for name, of_row in compared.items():
        controls[f"shuffled_{name}"] = decoded.scores_of_shuffled(of_row)
        controls[f"nearest_training_{name}"] = decodes.nearest_training(training, decoded, of_row)
    controls["mean_prediction"] = decodes.mean_prediction()
    controls |= decodes.exchanged(training, decoded, positions["averaged"])
    # 3. ceilings
    ceilings = decodes.ceilings()
    # 4. means, intervals and comparisons over pictures
    is_novel = np.zeros(len(held_out.pictures), bool)
    if held_out.is_novel is not None:
        is_novel |= np.asarray(held_out.is_novel, bool)
    settings = seed, n_bootstrap
    answer = _summary(scores_of_rows, controls, ceilings, ~is_novel, *settings)
    answer["ceilings"] |= noise_ceilings(weights, held_out, ~is_novel, *settings)
    if is_novel.any():
        answer["novel_kinds"] = _summary(scores_of_rows, controls, ceilings, is_novel, *settings)
    answer["n_bootstrap"], answer["n_permutations"] = n_bootstrap, N_PERMUTATIONS
    answer["n_samples"] = evaluation.n_samples
    answer["n_distractors"] = len(held_out.pictures) - 1
    for name, row in (rows | expected).items():
        answer[name]["n_decodes"] = int((~is_novel)[row.picture_of_row].sum())
    return _rounded(answer)


def compare_rows(evaluation: Evaluation, rows: dict[str, Row]) -> dict[str, dict[str, Any]]:
    """Decode rows of held-out trials by their own weights and score them as `evaluate` does, without controls."""
    held_out = evaluation.held_out
    decodes = EvaluationDecodes(evaluation)
    distinct = distinct_rows(rows)
    decodes.expect(*[len(distinct[0])] * len(MODES))
    _, scores_of_rows = _decoded(decodes, rows, distinct, MODES)
    scored = np.ones(len(held_out.pictures), bool)
    if held_out.is_novel is not None:
        scored &= ~np.asarray(held_out.is_novel, bool)
    answer = _summary(scores_of_rows, {}, {}, scored, evaluation.seed, evaluation.n_bootstrap)
    return _rounded(
        {name: answer[name] | {"n_decodes": int(scored[row.picture_of_row].sum())} for name, row in rows.items()}
    )


def _decoded(
    decodes: EvaluationDecodes, rows: dict[str, Row], distinct: DistinctRows, modes: Sequence[Mode]
) -> tuple[DecodedTrials, dict[str, dict[str, Any]]]:
    """Decode every distinct response in the modes; return each row's scores by picture."""
    responses, positions = distinct
    decoded = decodes.decode(responses, modes)
    scores = {name: decoded.scores_of_row(of_row) for name, of_row in positions.items()}
    held_out = decodes.held_out
    for name, row in rows.items():
        z, c = decoded.z[positions[name]], decoded.c[positions[name]]
        for target, part, true, predicted in (
            ("z", row.weights.z, held_out.z, z),
            ("c", row.weights.c, held_out.c, c),
        ):
            correlation = target_correlation(part, true[row.picture_of_row], predicted)
            scores[name][f"{target}_correlation"] = decodes.by_picture(correlation, row.picture_of_row)
    return decoded, scores


def _expected_rows(weights: Weights, rows: dict[str, Row]) -> dict[str, Row]:
    """Return the rows that the c decoder `expected` decodes beside the linear one; none without a prior."""
    if weights.prior is None or weights.c_decoder == "expected":
        return {}
    expected = weights.with_c_decoder("expected")
    return {
        f"{name}{EXPECTED}": Row(expected, rows[name].voxels, rows[name].picture_of_row)
        for name in ("single", "averaged")
        if name in rows
    }


def noise_ceilings(
    weights: Weights, held_out: HeldOut, scored: Array, seed: int, n_bootstrap: int
) -> dict[str, dict[str, Any]]:
    """Return noise ceilings of z, c and the voxels, from the repeats of the scored pictures."""
    chosen = scored[held_out.picture_of_trial]
    voxels, picture_of_trial = held_out.voxels[chosen], held_out.picture_of_trial[chosen]
    n_trials = np.unique(picture_of_trial, return_counts=True)[1]
    # averaging n trials leaves 1/n of the noise variance: the mean number of repeats is the harmonic mean
    n_repeats = {"single": 1.0, "averaged": float(len(n_trials) / (1 / n_trials).sum())}
    ceilings: dict[str, dict[str, Any]] = {"z_correlation": {}, "c_correlation": {}, "voxels": {}}
    for target, part, predicted in zip("zc", (weights.z, weights.c), weights.predict(voxels), strict=True):
        repeats = repeat_correlation(standardised(part, predicted), picture_of_trial, len(held_out.pictures))
        repeats = repeats[np.isfinite(repeats)]
        for name, n in n_repeats.items():
            if len(repeats):
                low, high = bootstrap_ci(repeats, seed, n_bootstrap)
                ceilings[f"{target}_correlation"][name] = {
                    "mean": correlation_ceiling(float(repeats.mean()), n),
                    "ci95": [correlation_ceiling(low, n), correlation_ceiling(high, n)],
                    "n": len(repeats),
                }
    for name, n in n_repeats.items():
        ceiling = voxel_ceilings(voxels, picture_of_trial, n)
        if np.isfinite(ceiling).all():
            medians = {f"{target}_voxels": float(np.median(ceiling[part.positions]))
                       for target, part in (("z", weights.z), ("c", weights.c))}  # fmt: skip
            ceilings["voxels"][name] = medians
    return ceilings


def _summary(
    decoded: dict[str, Any],
    controls: dict[str, Scores],
    ceilings: dict[str, Scores],
    scored: Array,
    seed: int,
    n_bootstrap: int,
) -> dict[str, Any]:
    """Summarise the `scored` pictures: means with intervals, and every row against every control."""

    def means(scores: dict[str, Any]) -> dict[str, Any]:
        return {
            name: means(value) if isinstance(value, dict) else _mean(value[scored], seed, n_bootstrap)
            for name, value in scores.items()
        }

    signs = random_signs(N_PERMUTATIONS, int(scored.sum()), seed)
    comparisons = {
        row: {
            mode: {
                measure: {
                    control: _comparison(values[scored], controls[control][measure][scored], signs)
                    for control in _controls_of(row, controls)
                    if measure in controls[control]
                }
                for measure, values in scores[mode].items()
            }
            for mode in MODES
        }
        for row, scores in decoded.items()
        if not row.endswith(EXPECTED)  # the controls are decoded linearly
    }
    paired = {
        row: {
            pair: {
                measure: _paired(values[scored], second[measure][scored], signs, seed, n_bootstrap)
                for measure, values in first.items()
                if measure in second
            }
            for pair, (first, second) in _pairs(row, decoded, controls).items()
        }
        for row in decoded
        if not row.endswith(EXPECTED)
    }
    return {
        **means(decoded),
        "controls": means(controls),
        "ceilings": means(ceilings),
        "comparisons": comparisons,
        "paired": paired,
        "n_pictures": int(scored.sum()),
    }


def _controls_of(row: str, controls: dict[str, Scores]) -> list[str]:
    """Return a row's controls: averaged controls for averaged repeats, single-trial controls for all other rows."""
    wrong = "_single" if row == "averaged" else "_averaged"
    return [name for name in controls if not name.endswith(wrong)]


def _pairs(row: str, decoded: dict[str, Any], controls: dict[str, Scores]) -> dict[str, tuple[Scores, Scores]]:
    """Return the decodes of a row that are compared with each other or with the nearest training picture."""
    scores, expected = decoded[row], decoded.get(row + EXPECTED)
    pairs = {"zc - z": (scores["zc"], scores["z"]), "zc - c": (scores["zc"], scores["c"])}
    if expected:
        pairs |= {f"{mode} - {mode} expected": (scores[mode], expected[mode]) for mode in WITH_C}
    if nearest := controls.get(f"nearest_training_{row}"):
        pairs["zc - nearest training picture"] = scores["zc"], nearest
    return pairs


def _mean(values: Array, seed: int, n_bootstrap: int) -> dict[str, Any]:
    values = values[np.isfinite(values)]
    if not values.size:
        return {"not_measured": "no picture to score"}
    return {"mean": float(values.mean()), "ci95": list(bootstrap_ci(values, seed, n_bootstrap)), "n": len(values)}


def _comparison(values: Array, control: Array, signs: Array) -> dict[str, float]:
    both = np.isfinite(values) & np.isfinite(control)
    if not both.any():
        return {}
    differences = (values - control)[both]
    return {"difference": float(differences.mean()), "p": permutation_p(differences, signs[:, both])}


def _paired(first: Array, second: Array, signs: Array, seed: int, n_bootstrap: int) -> dict[str, Any]:
    comparison = _comparison(first, second, signs)
    if not comparison:
        return {}
    differences = (first - second)[np.isfinite(first) & np.isfinite(second)]
    return {**comparison, "ci95": list(bootstrap_ci(differences, seed, n_bootstrap)), "n": len(differences)}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return round(value, DECIMALS) if isinstance(value, float) else value
