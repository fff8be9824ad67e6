"""Evaluation: how well a subject's held-out pictures come back, beside controls that know less of them.

Every score is averaged over a picture's decodes first, then over pictures; intervals are bootstrapped over pictures.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .held_out import HeldOut, Row, Training, distinct_rows, rows_of
from .judge import Judge
from .metrics import bootstrap_ci, permutation_p, random_signs
from .noise_ceiling import correlation_ceiling, repeat_correlation, voxel_ceilings
from .protocols import Protocol
from .studio import MODES, Decodes, Progress, Reconstruct, Scores, Studio
from .target_likeness import standardised, target_correlation
from .weights import Weights

Array = NDArray[Any]

N_PERMUTATIONS = 10_000
DECIMALS = 6  # of what is reported: finer digits are the arithmetic's own


def evaluate(
    weights: Weights,
    held_out: HeldOut,
    training: Training,
    reconstructs: Sequence[Reconstruct],
    judge: Judge,
    protocol: Protocol,
    *,
    bold: Row | None = None,
    seed: int = 42,
    n_bootstrap: int = 2000,
    max_trials_per_picture: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Decode held-out trials and score them.

    Parameters
    ----------
    weights : Weights
    held_out : HeldOut
    training : Training
    reconstructs : z (*latent_shape), c (*text_shape), mode → picture (px, px, 3) uint8; one for each sample
    judge : of the held-out pictures
    protocol : Protocol
    bold : responses estimated causally from BOLD, with the weights that decode them
    max_trials_per_picture : only the first trials of each picture; all by default
    progress : called after every picture made

    Returns
    -------
    scores : dict, JSON-ready
        For each row of the protocol (`single`, `averaged`, `running`, `bold`): scores by mode (`z`, `c`, `zc`) and
        measure, and `z_correlation` and `c_correlation` of the predictions. `controls`: by control and measure.
        `ceilings`: `seen_pictures` scored as if they were decodes, `seen_z_and_c` through the same decoder, and what
        noise leaves possible. `comparisons`: row, mode, measure, control → mean `difference` and its permutation `p`.
        `novel_kinds`: the same for pictures of kinds that training lacks, which the others leave out. A score is a
        `mean`, its `ci95` and the number of pictures `n`.

    Raises
    ------
    EvaluateError
        If the held-out arrays do not fit each other.
    """
    rows = rows_of(weights, held_out, max_trials_per_picture) | ({} if bold is None else {"bold": bold})
    rows = {name: rows[name] for name in protocol.rows if name in rows}
    studio = Studio(weights, held_out, judge, reconstructs, seed, progress)
    # 1. every different response, in every mode
    decodes, places, decoded = _decoded(studio, rows, len(rows["averaged"].voxels))
    # 2. what comes out when the decoder knows less
    controls: dict[str, Scores] = {}
    for name in ("single", "averaged"):
        if name in rows:
            controls[f"shuffled_{name}"] = decodes.scores_of_shuffled(places[name])
            controls[f"nearest_training_{name}"] = studio.nearest_training(training, decodes, places[name])
    controls["mean_prediction"] = studio.mean_prediction()
    controls |= studio.exchanged(training, decodes, places["averaged"])
    # 3. what could come out at best
    ceilings = studio.ceilings()
    # 4. means, intervals and comparisons over pictures
    is_novel = np.zeros(len(held_out.pictures), bool)
    if held_out.is_novel is not None:
        is_novel |= np.asarray(held_out.is_novel, bool)
    settings = seed, n_bootstrap
    answer = _summary(decoded, controls, ceilings, ~is_novel, *settings)
    answer["ceilings"] |= noise_ceilings(weights, held_out, ~is_novel, *settings)
    if is_novel.any():
        answer["novel_kinds"] = _summary(decoded, controls, ceilings, is_novel, *settings)
    answer["n_bootstrap"], answer["n_permutations"] = n_bootstrap, N_PERMUTATIONS
    answer["n_samples"] = len(reconstructs)
    answer["n_distractors"] = len(held_out.pictures) - 1
    for name, row in rows.items():
        answer[name]["n_decodes"] = int((~is_novel)[row.picture_of_row].sum())
    return _rounded(answer)


def compare_rows(
    weights: Weights,
    rows: dict[str, Row],
    held_out: HeldOut,
    reconstructs: Sequence[Reconstruct],
    judge: Judge,
    *,
    seed: int = 42,
    n_bootstrap: int = 2000,
    progress: Progress | None = None,
) -> dict[str, dict[str, Any]]:
    """Decode rows of held-out trials, each by its own weights, and score them as `evaluate` does; no controls."""
    studio = Studio(weights, held_out, judge, reconstructs, seed, progress)
    *_, decoded = _decoded(studio, rows, 0)
    scored = np.ones(len(held_out.pictures), bool)
    if held_out.is_novel is not None:
        scored &= ~np.asarray(held_out.is_novel, bool)
    answer = _summary(decoded, {}, {}, scored, seed, n_bootstrap)
    return _rounded(
        {name: answer[name] | {"n_decodes": int(scored[row.picture_of_row].sum())} for name, row in rows.items()}
    )


def _decoded(
    studio: Studio, rows: dict[str, Row], n_averaged: int
) -> tuple[Decodes, dict[str, Array], dict[str, dict[str, Any]]]:
    """Decode every different response in every mode; return where each row's are, and each row's scores by picture."""
    responses, places = distinct_rows(rows)
    studio.expect(len(responses), n_averaged)
    decodes = studio.decode(responses)
    decoded = {name: decodes.scores_of_row(place) for name, place in places.items()}
    held_out = studio.held_out
    for name, row in rows.items():
        z, c = decodes.z[places[name]], decodes.c[places[name]]
        for target, part, true, predicted in (
            ("z", row.weights.z, held_out.z, z),
            ("c", row.weights.c, held_out.c, c),
        ):
            correlation = target_correlation(part, true[row.picture_of_row], predicted)
            decoded[name][f"{target}_correlation"] = studio.by_picture(correlation, row.picture_of_row)
    return decodes, places, decoded


def noise_ceilings(
    weights: Weights, held_out: HeldOut, scored: Array, seed: int, n_bootstrap: int
) -> dict[str, dict[str, Any]]:
    """Return what noise leaves possible, from the repeats of the scored pictures: of z and c, and of the voxels."""
    chosen = scored[held_out.picture_of_trial]
    voxels, picture_of_trial = held_out.voxels[chosen], held_out.picture_of_trial[chosen]
    n_trials = np.unique(picture_of_trial, return_counts=True)[1]
    # n trials averaged leave 1/n of the noise, so their mean number is a harmonic one
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
    }
    return {
        **means(decoded),
        "controls": means(controls),
        "ceilings": means(ceilings),
        "comparisons": comparisons,
        "n_pictures": int(scored.sum()),
    }


def _controls_of(row: str, controls: dict[str, Scores]) -> list[str]:
    """Name the controls of a row: averaged repeats are compared with averaged ones, all others with single trials."""
    wrong = "_single" if row == "averaged" else "_averaged"
    return [name for name in controls if not name.endswith(wrong)]


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


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return round(value, DECIMALS) if isinstance(value, float) else value
