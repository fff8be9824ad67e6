"""Which penalty predicts held-out trials of a target best, for very many targets.

The residuals of trials whose fold v was left out follow from the fit to all trials, e_v = (I - H_vv)⁻¹ (y_v - ŷ_v)
with H = U diag(s² / (s² + alpha)) Uᵀ, plus 1 / n_trials for an intercept: one decomposition serves all folds and
penalties. That formula divides rounding by rounding where penalties are next to nothing beside the largest eigenvalue;
there every fold's training trials are decomposed by themselves.

Residuals are linear in the targets, so what is needed of them (their squares, their products with the target) are
quadratic forms. Few targets get their residuals themselves. Many are split into coordinates in a basis that nearly all
of them lie close to, whose residuals are computed, and a remainder, whose share is taken from a sample of targets. The
sample's residuals are computed too: they tell how far off that can be, and where two penalties lie closer together than
that, the target's own residuals decide.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .decomposition import Decomposition, decompose, gram, leading_basis, shrinkage_of
from .kept import Kept

Array = NDArray[Any]
Residuals = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Targets by picture, and their UᵀY → held-out residuals, (n_trials, n_targets)."""

BASIS_SIZE = 1024  # at most
PICTURES_PER_BASIS = 8
BASIS_TARGETS = 6144  # that the basis is found from
SAMPLE_SIZE = 256
FLOAT32_ROUNDING = 1e-7
MARGIN = 1.5  # standard deviations of the sample's errors
# Penalties below these shares of the largest and the mean eigenvalue need the folds' own decompositions, and float64.
REFIT_BELOW = 1e-8
FLOAT64_BELOW = 1e-3
LARGEST_CACHE = 2**28  # bytes of the folds' factors, which are wanted twice a penalty


def cross_validate(
    decomposition: Decomposition,
    z_scored: Array,
    picture_of_trial: Array,
    folds: list[tuple[Array, Array]],
    alphas: Array,
    intercept: bool,
    chunks: list[Array],
    shown: Callable[[Array], torch.Tensor],
    projected: Callable[[int], Array],
    kept: Kept,
    progress: Callable[[float], None],
) -> tuple[Array, Array]:
    """Choose each target's penalty.

    Parameters
    ----------
    chunks : list of arrays of int
        The targets, as `shown` knows them.
    shown : from targets to their values, (n_pictures, n) float32
    projected : from a chunk's number to its UᵀY, (n_components, n) float32
    kept : where finished penalties lie
    progress : called with the share that is done, 0–1.

    Returns
    -------
    alphas : array of shape (n_targets,), float64
    held_out : array of shape (3, n_targets), float64
        Standard deviation of held-out predictions, their correlation with the targets (0 where either is constant),
        and their mean squared error, averaged over folds.
    """
    folds_of = _refitted if alphas.min() < REFIT_BELOW * float(decomposition.singular_values[-1]) ** 2 else _left_out
    residuals_of = folds_of(decomposition, z_scored, picture_of_trial, folds, intercept)
    if 4 * len(alphas) * sum(len(held_out) ** 2 for _, held_out in folds) <= LARGEST_CACHE:
        residuals_of = cache(residuals_of)
    trials = _Trials(picture_of_trial, folds, decomposition.summed.device)
    n_targets = sum(map(len, chunks))
    if n_targets <= BASIS_SIZE + SAMPLE_SIZE:
        statistics = np.empty((len(alphas), 4, n_targets))
        values = shown(np.concatenate(chunks))
        own = torch.cat([torch.as_tensor(projected(number), device=values.device) for number in range(len(chunks))], 1)
        for position, alpha in enumerate(alphas):
            statistics[position] = trials.statistics(values, residuals_of(alpha)(values, own))
            progress((position + 1) / len(alphas))
    else:
        statistics = _screen_and_settle(
            decomposition, residuals_of, trials, alphas, chunks, shown, projected, kept, progress
        )
    best = statistics[:, 0].argmin(axis=0)
    errors, total, product, square = statistics[best, :, np.arange(n_targets)].T
    values = torch.cat([trials.moments(shown(chunk)) for chunk in chunks], dim=1).cpu().numpy()
    return alphas[best], _held_out(errors, total, product, square, values, len(picture_of_trial))


def _held_out(errors: Array, total: Array, product: Array, square: Array, values: Array, n_trials: int) -> Array:
    """Turn sums over trials of residuals e and targets y (e, e·y, e²; y, y²) into predictions' statistics."""
    predicted_mean = (values[0] - total) / n_trials
    predicted_variance = np.maximum((values[1] - 2 * product + square) / n_trials - predicted_mean**2, 0)
    target_variance = np.maximum(values[1] / n_trials - (values[0] / n_trials) ** 2, 0)
    covariance = (values[1] - product) / n_trials - predicted_mean * values[0] / n_trials
    spread = np.sqrt(predicted_variance * target_variance)
    correlation = np.divide(covariance, spread, out=np.zeros_like(spread), where=spread > 0)
    return np.stack([np.sqrt(predicted_variance), np.clip(correlation, -1, 1), errors])


class _Trials:
    """Sums over trials of targets and of their residuals."""

    def __init__(self, picture_of_trial: Array, folds: list[tuple[Array, Array]], device: torch.device) -> None:
        self.picture_of_trial = torch.as_tensor(picture_of_trial, device=device)
        # each fold counts the same, however many trials it holds
        weights = np.empty(len(picture_of_trial))
        for _, held_out in folds:
            weights[held_out] = 1 / len(held_out) / len(folds)
        self.weights = torch.as_tensor(weights, dtype=torch.float32, device=device)

    def statistics(self, values: torch.Tensor, residuals: torch.Tensor) -> Array:
        """Return the mean squared error over folds and the sums of e, e·y and e², (4, n_targets) float64."""
        squares = residuals**2
        by_trial = values[self.picture_of_trial]
        rows = [self.weights @ squares, residuals.sum(0), (residuals * by_trial).sum(0), squares.sum(0)]
        return torch.stack(rows).double().cpu().numpy()

    def moments(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sums of y and y², (2, n_targets) float64."""
        by_trial = values[self.picture_of_trial].double()
        return torch.stack([by_trial.sum(0), (by_trial**2).sum(0)])

    def error_form(self, residuals: torch.Tensor) -> torch.Tensor:
        """Return the matrix of the quadratic form that gives the mean squared error of targets in a basis."""
        return gram(residuals * self.weights.sqrt()[:, None])

    def other_forms(self, basis: torch.Tensor, residuals: torch.Tensor) -> torch.Tensor:
        """Return what gives the other `statistics`: a row for the sum of e, matrices for e·y and for e²."""
        return torch.cat([residuals.sum(0)[None], basis[self.picture_of_trial].T @ residuals, gram(residuals)], dim=0)


def _screen_and_settle(
    decomposition: Decomposition,
    residuals_of: Callable[[float], Residuals],
    trials: _Trials,
    alphas: Array,
    chunks: list[Array],
    shown: Callable[[Array], torch.Tensor],
    projected: Callable[[int], Array],
    kept: Kept,
    progress: Callable[[float], None],
) -> Array:
    """Return every target's statistics at every penalty, (n_alphas, 4, n_targets): its own where it is close."""
    targets, starts = np.concatenate(chunks), np.cumsum([0, *map(len, chunks)])
    rng = np.random.default_rng(0)
    sampled = np.sort(rng.choice(len(targets), SAMPLE_SIZE, replace=False))
    found_from = np.sort(rng.choice(len(targets), min(BASIS_TARGETS, len(targets)), replace=False))
    basis = torch.as_tensor(
        kept.array("basis", lambda: _scaled_basis(shown(targets[found_from])).cpu().numpy()),
        device=decomposition.summed.device,
    )

    def coordinates_and_energy(number: int) -> Array:
        values = shown(chunks[number])
        return torch.cat([basis.T @ values, (values**2).sum(0)[None]]).cpu().numpy()

    # UᵀY and the coordinates are a chunk's two products: side by side, while its targets are at hand
    coordinates = []
    for number in range(len(chunks)):
        projected(number)
        coordinates.append(kept.array(f"coordinates-{number:04d}", lambda n=number: coordinates_and_energy(n)))
        progress(0.4 * (number + 1) / len(chunks))
    coordinates = np.concatenate(coordinates, axis=1)
    coordinates, energy = torch.as_tensor(coordinates[:-1], device=basis.device), coordinates[-1].astype(np.float64)
    remainder = np.maximum(energy - (coordinates.double() ** 2).sum(0).cpu().numpy(), FLOAT32_ROUNDING * energy)

    sample = shown(targets[sampled])
    both = torch.cat([basis, sample], dim=1)
    both_projected = decomposition.summed.T @ both
    n, size = len(targets), basis.shape[1]
    statistics = np.empty((len(alphas), 4, n))
    own = np.empty((len(alphas), 4, len(sampled)))

    def residuals(position: int) -> torch.Tensor:
        compute = lambda: residuals_of(alphas[position])(both, both_projected).cpu().numpy()  # noqa: E731
        return torch.as_tensor(kept.array(f"residuals-{position:02d}", compute), device=basis.device)

    for position in range(len(alphas)):
        found = residuals(position)
        own[position] = trials.statistics(sample, found[:, size:])
        statistics[position, 0] = _evaluate(trials.error_form(found[:, :size]), coordinates)
        progress(0.4 + 0.3 * (position + 1) / len(alphas))
    wrong = own[:, 0] - statistics[:, 0, sampled]
    share = wrong.sum(1) / remainder[sampled].sum()
    statistics[:, 0] += share[:, None] * remainder
    wrong -= share[:, None] * remainder[sampled]

    close = _close_to_best(statistics[:, 0], wrong, np.sqrt(remainder * energy), sampled)
    # a target's own errors and estimates of it do not compare
    statistics[:, 0][~close & close.any(axis=0)] = np.inf
    for position in np.flatnonzero(close.any(axis=1)).tolist():

        def settled(position: int = position) -> Array:
            left_out, own = residuals_of(alphas[position]), np.empty((4, close[position].sum()))
            done = 0
            for number, chunk in enumerate(chunks):
                picked = np.flatnonzero(close[position, starts[number] : starts[number + 1]])
                if len(picked):
                    values = shown(chunk[picked])
                    components = torch.as_tensor(projected(number)[:, picked], device=values.device)
                    own[:, done : done + len(picked)] = trials.statistics(values, left_out(values, components))
                    done += len(picked)
            return own

        statistics[position][:, close[position]] = kept.array(f"settled-{position:02d}", settled)
        progress(0.7 + 0.3 * float(close[: position + 1].sum() / close.sum()))

    best = statistics[:, 0].argmin(axis=0)
    for position in np.unique(best).tolist():
        forms = trials.other_forms(basis, residuals(position)[:, :size])
        picked = np.flatnonzero((best == position) & ~close.any(axis=0))
        statistics[position, 1:, picked] = _other_statistics(forms, coordinates, picked).T
        wrong = own[position, 1:] - _other_statistics(forms, coordinates, sampled)
        wrong[0] = 0  # a sum of residuals has either sign
        statistics[position, 1:, picked] += np.outer(remainder[picked], wrong.sum(1) / remainder[sampled].sum())
    progress(1.0)
    return statistics


def _scaled_basis(values: torch.Tensor) -> torch.Tensor:
    values = values - values.mean(0)
    size = min(BASIS_SIZE, max(len(values) // PICTURES_PER_BASIS, 32))
    return leading_basis(values / values.norm(dim=0), size)


def _evaluate(form: torch.Tensor, coordinates: torch.Tensor) -> Array:
    """Return a quadratic form of every column, (n_targets,) float64."""
    parts = [torch.einsum("kt,kt->t", part, form @ part) for part in coordinates.split(4096, dim=1)]
    return torch.cat(parts).double().cpu().numpy()


def _other_statistics(forms: torch.Tensor, coordinates: torch.Tensor, picked: Array) -> Array:
    own = coordinates[:, torch.as_tensor(picked, device=coordinates.device)]
    total, (product, square) = (forms[:1] @ own)[0].double().cpu().numpy(), forms[1:].chunk(2)
    return np.stack([total, _evaluate(product, own), _evaluate(square, own)])


def _close_to_best(errors: Array, wrong: Array, scale: Array, sampled: Array) -> Array:
    """Return which penalties may be a target's best, (n_alphas, n_targets) bool; none where only one may.

    Parameters
    ----------
    errors : array of shape (n_alphas, n_targets)
        Estimated.
    wrong : array of shape (n_alphas, n_sampled)
        True less estimated errors.
    scale : array of shape (n_targets,)
        What the estimates' errors are in proportion to.
    """
    best = errors.argmin(axis=0)
    steps_away = np.abs(np.arange(len(errors))[:, None] - best)
    # Only differences between penalties matter, and the farther apart two are, the more theirs are off.
    off = (wrong - wrong[best[sampled], np.arange(len(sampled))]) / scale[sampled]
    margin = np.zeros(len(errors))
    for steps in range(1, len(errors)):
        at = off[steps_away[:, sampled] == steps]
        margin[steps] = max(margin[steps - 1], MARGIN * float(np.sqrt(np.mean(at**2))) if at.size else 0.0)
    close = errors - errors.min(axis=0) <= margin[steps_away] * scale
    return close & (close.sum(axis=0) > 1)


def _left_out(
    decomposition: Decomposition,
    z_scored: Array,
    picture_of_trial: Array,
    folds: list[tuple[Array, Array]],
    intercept: bool,
) -> Callable[[float], Residuals]:
    """Residuals from the fit to all trials."""
    components, device = decomposition.components, decomposition.components.device
    trial_pictures = torch.as_tensor(picture_of_trial, device=device)
    held_outs = [torch.as_tensor(held_out, device=device) for _, held_out in folds]
    mean_eigenvalue = float((decomposition.singular_values**2).mean())

    def residuals_of(alpha: float) -> Residuals:
        dtype = torch.float64 if alpha < FLOAT64_BELOW * mean_eigenvalue else torch.float32
        shrinkage = shrinkage_of(decomposition.singular_values, np.array([alpha]))
        factors = []
        for held_out in held_outs:
            own = (components[held_out].to(dtype) * shrinkage[:, 0].sqrt().to(dtype)).T.contiguous()
            left = torch.eye(len(held_out), dtype=dtype, device=device) - gram(own)
            factors.append(torch.linalg.cholesky(left - intercept / len(components)))

        def residuals(values: torch.Tensor, projected: torch.Tensor) -> torch.Tensor:
            missed = values[trial_pictures].to(dtype) - components.to(dtype) @ (shrinkage.to(dtype) * projected)
            for held_out, factor in zip(held_outs, factors, strict=True):
                missed[held_out] = torch.cholesky_solve(missed[held_out], factor)
            return missed.float()

        return residuals

    return residuals_of


def _refitted(
    decomposition: Decomposition,
    z_scored: Array,
    picture_of_trial: Array,
    folds: list[tuple[Array, Array]],
    intercept: bool,
) -> Callable[[float], Residuals]:
    """Residuals from a fit to every fold's training trials."""
    n_pictures, device = len(decomposition.summed), decomposition.components.device
    fitted = []
    for training, held_out in folds:
        own = decompose(
            z_scored[training], picture_of_trial[training], n_pictures, intercept=intercept, device=device.type
        )
        voxels = z_scored[held_out].astype(np.float64) - intercept * z_scored[training].mean(axis=0, dtype=np.float64)
        components = (torch.as_tensor(voxels, device=device) @ own.directions / own.singular_values).float()
        share = np.bincount(picture_of_trial[training], minlength=n_pictures) / len(training) * intercept
        fitted.append((own, components, torch.as_tensor(share, dtype=torch.float32, device=device)))

    def residuals_of(alpha: float) -> Residuals:
        def residuals(values: torch.Tensor, projected: torch.Tensor) -> torch.Tensor:
            missed = torch.empty(len(picture_of_trial), values.shape[1], device=device)
            for (_, held_out), (own, components, share) in zip(folds, fitted, strict=True):
                shrinkage = shrinkage_of(own.singular_values, np.array([alpha])).float()
                predicted = components @ (shrinkage * (own.summed.T @ values)) + share @ values
                missed[held_out] = values[picture_of_trial[held_out]] - predicted
            return missed

        return residuals

    return residuals_of
