"""Which responses a decoder of BOLD is fitted on: few estimates from BOLD, or many betas made to look like them."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from .design import standardise

Array = NDArray[Any]

ENOUGH = 0.5
"""With BOLD of so many of the trials nothing is compared: estimates from BOLD are what will be decoded."""
HELD_OUT = 5
PENALTIES = (1e3, 1e4, 1e5)


class Responses(NamedTuple):
    """Single trials: `voxels` (n_trials, n_voxels) float32, % signal change; `picture` (n_trials,), the one seen."""

    voxels: Array
    picture: Array

    def without(self, pictures: Array) -> "Responses":
        """Return the trials of other pictures."""
        kept = ~np.isin(self.picture, pictures)
        return Responses(self.voxels[kept], self.picture[kept])


def as_bold(betas: Responses, bold: Responses) -> Responses:
    """Return betas with each voxel's mean and spread taken from estimates from BOLD."""
    z_scored, *_ = standardise(betas.voxels)
    _, mean, std = standardise(bold.voxels)
    return Responses((z_scored * std + mean).astype(np.float32), betas.picture)


def choose_responses(
    betas: Responses, bold: Responses, bold_rows: Array, targets: Array, seed: int = 0
) -> tuple[Responses, str, dict[str, float]]:
    """Return what to fit on, its name, and what was compared: correlations for BOLD trials of pictures left out.

    Parameters
    ----------
    betas, bold : Responses
    bold_rows : array of shape (n_bold_trials,), int
        Which of the betas' trials the estimates from BOLD are of.
    targets : array of shape (n_pictures, n_targets), float
        Of every picture that trials name; a few tens are enough.
    """
    if len(bold.voxels) >= ENOUGH * len(betas.voxels):
        return bold, "bold", {}
    moved = as_bold(betas, bold)
    replaced = moved.voxels.copy()
    replaced[bold_rows] = bold.voxels
    candidates = {"bold": bold, "betas": moved, "both": Responses(replaced, betas.picture)}
    shown = np.unique(bold.picture)
    left_out = np.random.default_rng(seed).permutation(shown)[: max(len(shown) // HELD_OUT, 1)]
    tested = bold.without(np.setdiff1d(shown, left_out))
    scores = {name: _score(one.without(left_out), tested, targets) for name, one in candidates.items()}
    best = max(scores, key=lambda name: scores[name])
    return candidates[best], best, scores


def _score(trained: Responses, tested: Responses, targets: Array) -> float:
    """Return the best penalty's mean correlation of predicted targets with true ones."""
    x, mean, std = standardise(trained.voxels)
    x, y = x.astype(np.float32), targets[trained.picture].astype(np.float32)
    y = y - y.mean(axis=0)
    new, wanted = ((tested.voxels - mean) / std).astype(np.float32), targets[tested.picture]
    is_wide = len(x) < x.shape[1]
    gram = x @ x.T if is_wide else x.T @ x
    best = -1.0
    for penalty in PENALTIES:
        factor = cho_factor(gram + np.float32(penalty) * np.eye(len(gram), dtype=np.float32), overwrite_a=True)
        weights = x.T @ cho_solve(factor, y) if is_wide else cho_solve(factor, x.T @ y)
        best = max(best, float(_correlations(new @ weights, wanted).mean()))
    return best


def _correlations(predicted: Array, wanted: Array) -> Array:
    a, b = predicted - predicted.mean(axis=0), wanted - wanted.mean(axis=0)
    norm = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return np.divide((a * b).sum(axis=0), norm, out=np.zeros(a.shape[1]), where=norm > 0)
