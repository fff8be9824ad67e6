"""Which penalty predicts held-out trials of a target best, for very many targets.

The residuals of trials whose fold v was left out follow from the fit to all trials, e_v = (I - H_vv)⁻¹ (y_v - ŷ_v)
with H = X (XᵀX + alpha)⁻¹ Xᵀ, plus 1 / n_trials for an intercept: one factor serves all folds. Where voxels are few,
fitting every fold's training trials by themselves is faster (`models/fold_fits.py`), and where penalties are next to
nothing beside the largest eigenvalue it is needed: the formula divides rounding by rounding there.

Penalties are tried from the largest down, until every target has become much worse than it was.

Residuals are linear in the targets, so what is needed of them (their squares, their products with the target) are
quadratic forms. Few targets get their residuals themselves. Many are split into coordinates in a basis that nearly all
of them lie close to, whose residuals are computed, and a remainder, whose share is taken from a sample of targets. The
sample's residuals are computed too: they tell how far off that can be, and where two penalties lie closer together than
that, the target's own residuals decide.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .design import Design, in_chunks, leading_basis
from .fold_fits import held_out_statistics
from .kept import Kept
from .linear_algebra import cholesky, cholesky_solve, gram, matmul, whiten

Array = NDArray[Any]
Residuals = Callable[[torch.Tensor], torch.Tensor]
"""Targets by picture → held-out residuals, (n_trials, n_targets)."""
Shown = Callable[[Array], torch.Tensor]

BASIS_SIZE = 512  # at most
PICTURES_PER_BASIS = 8
BASIS_TARGETS = 6144  # that the basis is found from
SAMPLE_SIZE = 256
FLOAT32_ROUNDING = 1e-7
MARGIN = 1.5  # standard deviations of the sample's errors
# Penalties below this share of the voxels' whole variance need fits to every fold's own training trials.
REFIT_BELOW = 1e-8
FEW_VOXELS = 1024  # up to which such fits are faster
WORSE = 1.05  # times a target's least error: penalties smaller than one so bad need not be tried
LARGEST_CACHE = 5 * 2**28  # bytes of what solves for the held-out residuals at some penalties


def cross_validate(
    design: Design,
    picture_of_trial: Array,
    folds: list[tuple[Array, Array]],
    alphas: Array,
    intercept: bool,
    targets: Array,
    shown: Shown,
    moments: Array,
    kept: Kept,
    progress: Callable[[float], None],
) -> tuple[Array, Array]:
    """Choose each target's penalty.

    Parameters
    ----------
    targets : array of shape (n_targets,), int
        As `shown` knows them; none is constant.
    shown : from targets to their values, (n_pictures, n) float32
    moments : array of shape (2, n_targets), float64
        Mean of those values over trials, and standard deviation.
    kept : where finished penalties lie
    progress : called with the share that is done, 0–1.

    Returns
    -------
    alphas : array of shape (n_targets,), float64
    held_out : array of shape (3, n_targets), float64
        Standard deviation of held-out predictions, their correlation with the targets (0 where either is constant),
        and their mean squared error, averaged over folds.
    """
    alphas = np.sort(alphas)[::-1]
    trials = _Trials(picture_of_trial, folds, design.voxels.device)
    is_tiny = alphas[-1] < REFIT_BELOW * float(design.gram.trace())
    if is_tiny or len(design.gram) <= FEW_VOXELS:
        dtype = torch.float64 if is_tiny else torch.float32
        statistics = held_out_statistics(
            design, picture_of_trial, folds, alphas, intercept, targets, shown, trials.statistics, dtype, kept, progress
        )
    else:
        # Some are wanted again once all are tried, and most likely the last ones.
        bytes_each = 4 * (design.voxels.numel() + sum(len(held_out) ** 2 for _, held_out in folds))
        n_held = max(1, LARGEST_CACHE // bytes_each)
        residuals_of = lru_cache(n_held)(_left_out(design, picture_of_trial, folds, intercept))
        compute = _try_all if len(targets) <= BASIS_SIZE + SAMPLE_SIZE else _screen_and_settle
        statistics = compute(residuals_of, trials, alphas, targets, shown, kept, progress)
    best = statistics[:, 0].argmin(axis=0)
    errors, total, product, square = statistics[best, :, np.arange(len(targets))].T
    mean, std = moments
    values = len(picture_of_trial) * np.stack([mean, std**2 + mean**2])
    return alphas[best], _held_out(errors, total, product, square, values, len(picture_of_trial))


def _all_worse(errors: Array) -> bool:
    """Say whether every target's last error, of falling penalties, is well above its least one."""
    return bool((errors[-1] > WORSE * errors.min(axis=0)).all())


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

    def forms(self, basis: torch.Tensor, residuals: torch.Tensor) -> torch.Tensor:
        """Return what gives `statistics` of targets in a basis: matrices for errors, e·y and e², a row for e."""
        by_trial = basis[self.picture_of_trial]
        error = gram(residuals * self.weights.sqrt()[:, None])
        return torch.cat([error, matmul(by_trial.T, residuals), gram(residuals), residuals.sum(0)[None]])


def _try_all(
    residuals_of: Callable[[float], Residuals],
    trials: _Trials,
    alphas: Array,
    targets: Array,
    shown: Shown,
    kept: Kept,
    progress: Callable[[float], None],
) -> Array:
    """Return targets' statistics at the penalties tried, (n_tried, 4, n_targets)."""
    values, tried = shown(targets), []
    for position, alpha in enumerate(alphas):
        own = lambda alpha=alpha: trials.statistics(values, residuals_of(alpha)(values))  # noqa: E731
        tried.append(kept.array(f"tried-{position:02d}", own))
        progress(len(tried) / len(alphas))
        if _all_worse(np.stack(tried)[:, 0]):
            break
    progress(1.0)
    return np.stack(tried)


def _screen_and_settle(
    residuals_of: Callable[[float], Residuals],
    trials: _Trials,
    alphas: Array,
    targets: Array,
    shown: Shown,
    kept: Kept,
    progress: Callable[[float], None],
) -> Array:
    """Return targets' statistics at the penalties tried, (n_tried, 4, n_targets): their own where two are close."""
    rng = np.random.default_rng(0)
    sampled = np.sort(rng.choice(len(targets), SAMPLE_SIZE, replace=False))
    found_from = np.sort(rng.choice(len(targets), min(BASIS_TARGETS, len(targets)), replace=False))
    basis = torch.as_tensor(
        kept.array("basis", lambda: _scaled_basis(shown(targets[found_from])).cpu().numpy()),
        device=trials.weights.device,
    )

    def coordinates_and_energy(chunk: Array) -> Array:
        values = shown(chunk)
        return torch.cat([matmul(basis.T, values), (values**2).sum(0)[None]]).cpu().numpy()

    chunks, coordinates = in_chunks(targets), []
    for number, chunk in enumerate(chunks):
        compute = lambda chunk=chunk: coordinates_and_energy(chunk)  # noqa: E731
        coordinates.append(kept.array(f"coordinates-{number:04d}", compute))
        progress(0.2 * (number + 1) / len(chunks))
    coordinates = np.concatenate(coordinates, axis=1)
    coordinates, energy = torch.as_tensor(coordinates[:-1], device=basis.device), coordinates[-1].astype(np.float64)
    remainder = np.maximum(energy - (coordinates.double() ** 2).sum(0).cpu().numpy(), FLOAT32_ROUNDING * energy)

    sample = shown(targets[sampled])
    both, size = torch.cat([basis, sample], dim=1), basis.shape[1]
    own, estimated, forms = [], [], []
    for position, alpha in enumerate(alphas):
        compute = lambda alpha=alpha: residuals_of(alpha)(both).cpu().numpy()  # noqa: E731
        residuals = torch.as_tensor(kept.array(f"residuals-{position:02d}", compute), device=basis.device)
        own.append(trials.statistics(sample, residuals[:, size:]))
        forms.append(trials.forms(basis, residuals[:, :size]))
        errors = _evaluate(forms[-1][:size], coordinates)
        share = (own[-1][0] - errors[sampled]).sum() / remainder[sampled].sum()
        estimated.append(errors + share * remainder)
        progress(0.2 + 0.5 * (position + 1) / len(alphas))
        if _all_worse(np.stack(estimated)):
            break
    statistics = np.zeros((len(estimated), 4, len(targets)))
    statistics[:, 0] = estimated

    wrong = np.stack(own)[:, 0] - statistics[:, 0, sampled]
    close = _close_to_best(statistics[:, 0], wrong, np.sqrt(remainder * energy), sampled)
    # a target's own errors and estimates of it do not compare
    statistics[:, 0][~close & close.any(axis=0)] = np.inf
    for position in np.flatnonzero(close.any(axis=1))[::-1].tolist():

        def settled(position: int = position) -> Array:
            left_out, own = residuals_of(alphas[position]), []
            for picked in in_chunks(targets[close[position]]):
                values = shown(picked)
                own.append(trials.statistics(values, left_out(values)))
            return np.concatenate(own, axis=1)

        statistics[position][:, close[position]] = kept.array(f"settled-{position:02d}", settled)
        progress(0.7 + 0.3 * float(close[position:].sum() / close.sum()))

    best = statistics[:, 0].argmin(axis=0)
    for position in np.unique(best).tolist():
        picked = np.flatnonzero((best == position) & ~close.any(axis=0))
        statistics[position, 1:, picked] = _other_statistics(forms[position], coordinates, picked).T
        wrong = own[position][1:] - _other_statistics(forms[position], coordinates, sampled)
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
    parts = [torch.einsum("kt,kt->t", part, matmul(form, part)) for part in coordinates.split(4096, dim=1)]
    return torch.cat(parts).double().cpu().numpy()


def _other_statistics(forms: torch.Tensor, coordinates: torch.Tensor, picked: Array) -> Array:
    own = coordinates[:, torch.as_tensor(picked, device=coordinates.device)]
    total, (_, product, square) = (forms[-1:] @ own)[0].double().cpu().numpy(), forms[:-1].chunk(3)
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
    design: Design, picture_of_trial: Array, folds: list[tuple[Array, Array]], intercept: bool
) -> Callable[[float], Residuals]:
    """Residuals from the fit to all trials."""
    device, n_trials = design.voxels.device, len(design.voxels)
    trial_pictures = torch.as_tensor(picture_of_trial, device=device)
    held_outs = [torch.as_tensor(held_out, device=device) for _, held_out in folds]

    def residuals_of(alpha: float) -> Residuals:
        factor = design.factor(alpha)
        dtype = factor.dtype
        whitened = whiten(design.voxels.to(dtype), factor)
        # whitened whitenedᵀ = H
        left_factors = []
        for held_out in held_outs:
            left = torch.eye(len(held_out), dtype=dtype, device=device) - gram(whitened[held_out].T)
            left_factors.append(cholesky(left - intercept / n_trials))

        def residuals(values: torch.Tensor) -> torch.Tensor:
            by_trial = values[trial_pictures].to(dtype)
            missed = by_trial - matmul(whitened, matmul(whitened.T, by_trial))
            for held_out, left_factor in zip(held_outs, left_factors, strict=True):
                missed[held_out] = cholesky_solve(missed[held_out], left_factor)
            return missed.float()

        return residuals

    return residuals_of
