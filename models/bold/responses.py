"""Chooses a BOLD decoder's training responses: few estimates from BOLD, or many rescaled betas."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from ..ridge.design import standardise

Array = NDArray[Any]

ENOUGH = 0.5
"""If this share of the trials has BOLD, nothing is compared: the daemon will decode estimates from BOLD."""
HELD_OUT = 5
"""One picture in so many is left out of the comparison's fits."""
PENALTIES = (1e3, 1e4, 1e5)


class Responses(NamedTuple):
    """Single trials: `voxels` (n_trials, n_voxels) float32, % signal change, and `picture` (n_trials,)."""

    voxels: Array
    picture: Array

    def without(self, pictures: Array) -> "Responses":
        """Return the trials of other pictures."""
        kept = ~np.isin(self.picture, pictures)
        return Responses(self.voxels[kept], self.picture[kept])


def as_bold(betas: Responses, bold: Responses) -> Responses:
    """Return betas rescaled to the mean and standard deviation that each voxel has in the estimates from BOLD."""
    z_scored, *_ = standardise(betas.voxels)
    _, mean, std = standardise(bold.voxels)
    return Responses((z_scored * std + mean).astype(np.float32), betas.picture)


def choose_responses(
    betas: Responses, bold: Responses, bold_rows: Array, targets: Array, seed: int = 0
) -> tuple[Responses, str, dict[str, float]]:
    """Choose the training responses that predict left-out BOLD trials best.

    Parameters
    ----------
    betas, bold : Responses
    bold_rows : array of shape (n_bold_trials,), int
        Row in `betas` of each trial in `bold`.
    targets : array of shape (n_pictures, n_targets), float
        Targets of every picture in the trials; a few tens of targets are enough.

    Returns
    -------
    responses : Responses
    name : "bold", "betas" or "both"
    scores : dict
        Mean correlation on BOLD trials of left-out pictures, by name; empty without a comparison.
    """
    if len(bold.voxels) >= ENOUGH * len(betas.voxels):
        return bold, "bold", {}
    rescaled = as_bold(betas, bold)
    replaced = rescaled.voxels.copy()
    replaced[bold_rows] = bold.voxels
    candidates = {"bold": bold, "betas": rescaled, "both": Responses(replaced, betas.picture)}
    pictures = np.unique(bold.picture)
    left_out = np.random.default_rng(seed).permutation(pictures)[: max(len(pictures) // HELD_OUT, 1)]
    tested = bold.without(np.setdiff1d(pictures, left_out))
    scores = {name: _score(one.without(left_out), tested, targets) for name, one in candidates.items()}
    best = max(scores, key=lambda name: scores[name])
    return candidates[best], best, scores


def _score(trained: Responses, tested: Responses, targets: Array) -> float:
    """Return the mean correlation of true targets with a ridge regression's predictions, under the best penalty."""
    x, mean, std = standardise(trained.voxels)
    x, y = x.astype(np.float32), targets[trained.picture].astype(np.float32)
    y = y - y.mean(axis=0)
    new, true = ((tested.voxels - mean) / std).astype(np.float32), targets[tested.picture]
    is_wide = len(x) < x.shape[1]
    gram = x @ x.T if is_wide else x.T @ x
    best = -1.0
    for penalty in PENALTIES:
        factor = cho_factor(gram + np.float32(penalty) * np.eye(len(gram), dtype=np.float32), overwrite_a=True)
        weights = x.T @ cho_solve(factor, y) if is_wide else cho_solve(factor, x.T @ y)
        best = max(best, float(_correlations(new @ weights, true).mean()))
    return best


def _correlations(predicted: Array, true: Array) -> Array:
    a, b = predicted - predicted.mean(axis=0), true - true.mean(axis=0)
    norm = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return np.divide((a * b).sum(axis=0), norm, out=np.zeros(a.shape[1]), where=norm > 0)
