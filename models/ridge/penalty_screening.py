"""Held-out statistics of very many targets, from the residuals of few.

Residuals are linear in the targets, so their squares and their products with the targets are quadratic forms. Every
target is split into coordinates in a basis that nearly all targets lie close to, and a remainder. The basis's residuals
are computed. The remainder's share of the error is estimated from a random sample of targets, whose residuals are
computed too. The sample also tells how far off the estimates are. Where the errors of two penalties
differ by less, the target's own residuals decide.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ...arrays import Array
from .checkpoint import Checkpoint
from .held_out_residuals import held_out_residuals
from .held_out_sums import HeldOutSums
from .linear_algebra import leading_basis, matmul
from .problem import Progress, RidgeProblem, RidgeTargets, in_chunks

BASIS_SIZE = 512  # at most
PICTURES_PER_BASIS = 8
BASIS_TARGETS = 6144  # from which the basis is found
SAMPLE_SIZE = 256
FLOAT32_ROUNDING = 1e-7
MARGIN = 1.5  # standard deviations of the sample's errors
WORSE = 1.05  # once every target's error is above this share of its least error, no smaller penalty is tried


def is_worth_screening(n_targets: int) -> bool:
    """Say whether there are more targets than the basis and sample that screening must compute anyway."""
    return n_targets > BASIS_SIZE + SAMPLE_SIZE


def are_all_worse(errors: Array) -> bool:
    """Say whether every target's last error is well above its least error.

    Parameters
    ----------
    errors : array of shape (n_tried, n_targets)
        By falling penalty.
    """
    return bool((errors[-1] > WORSE * errors.min(axis=0)).all())


def screened_statistics(
    problem: RidgeProblem, targets: RidgeTargets, checkpoint: Checkpoint, progress: Progress
) -> Array:
    """Return statistics of the varying targets at the penalties tried, (n_tried, 4, n_varying) float64.

    They are as `HeldOutSums.statistics`: exact where two penalties are close, else estimated. Errors that cannot be
    compared with the exact ones are infinite.
    """
    residuals_at, sums, penalties = held_out_residuals(problem), HeldOutSums(problem), problem.falling_penalties
    varying, rng = targets.varying, np.random.default_rng(0)
    sampled = np.sort(rng.choice(len(varying), SAMPLE_SIZE, replace=False))
    found_from = np.sort(rng.choice(len(varying), min(BASIS_TARGETS, len(varying)), replace=False))
    basis = torch.as_tensor(
        checkpoint.array("basis", lambda: _basis(targets.deviations(varying[found_from])).cpu().numpy()),
        device=problem.design.device,
    )
    split = _Split.of(targets, basis, checkpoint, lambda share: progress(0.2 * share))

    sample = targets.deviations(varying[sampled])
    both, size = torch.cat([basis, sample], dim=1), basis.shape[1]
    own, estimated, forms = [], [], []
    for position, penalty in enumerate(penalties):
        compute = lambda penalty=penalty: residuals_at(penalty)(both).cpu().numpy()  # noqa: E731
        residuals = torch.as_tensor(checkpoint.array(f"residuals-{position:02d}", compute), device=basis.device)
        own.append(sums.statistics(sample, residuals[:, size:]))
        forms.append(sums.quadratic_forms(basis, residuals[:, :size]))
        errors = _evaluate(forms[-1][:size], split.coordinates)
        share = (own[-1][0] - errors[sampled]).sum() / split.remainder[sampled].sum()
        estimated.append(errors + share * split.remainder)
        progress(0.2 + 0.5 * (position + 1) / len(penalties))
        if are_all_worse(np.stack(estimated)):
            break
    statistics = np.zeros((len(estimated), 4, len(varying)))
    statistics[:, 0] = estimated

    missed = np.stack(own)[:, 0] - statistics[:, 0, sampled]
    close = _close_to_best(statistics[:, 0], missed, np.sqrt(split.remainder * split.energy), sampled)
    # A target's exact errors and its estimated errors do not compare.
    statistics[:, 0][~close & close.any(axis=0)] = np.inf
    for position in np.flatnonzero(close.any(axis=1))[::-1].tolist():

        def settled(position: int = position) -> Array:
            residuals_of, found = residuals_at(penalties[position]), []
            for chunk in in_chunks(varying[close[position]]):
                values = targets.deviations(chunk)
                found.append(sums.statistics(values, residuals_of(values)))
            return np.concatenate(found, axis=1)

        statistics[position][:, close[position]] = checkpoint.array(f"settled-{position:02d}", settled)
        progress(0.7 + 0.3 * float(close[position:].sum() / close.sum()))

    best = statistics[:, 0].argmin(axis=0)
    for position in np.unique(best).tolist():
        picked = np.flatnonzero((best == position) & ~close.any(axis=0))
        statistics[position, 1:, picked] = _other_statistics(forms[position], split.coordinates, picked).T
        missed = own[position][1:] - _other_statistics(forms[position], split.coordinates, sampled)
        missed[0] = 0  # a sum of residuals has either sign
        share = missed.sum(1) / split.remainder[sampled].sum()
        statistics[position, 1:, picked] += np.outer(split.remainder[picked], share)
    progress(1.0)
    return statistics


@dataclass(frozen=True, eq=False)
class _Split:
    """Targets as coordinates in an orthonormal basis, and a remainder.

    Parameters
    ----------
    coordinates : tensor of shape (n_basis, n_varying), float32
    energy, remainder : arrays of shape (n_varying,), float64
        Sum of squares over pictures of the target, and of the part outside the basis.
    """

    coordinates: torch.Tensor
    energy: Array
    remainder: Array

    @classmethod
    def of(cls, targets: RidgeTargets, basis: torch.Tensor, checkpoint: Checkpoint, progress: Progress) -> "_Split":
        """Split the varying targets, a chunk at a time."""

        def coordinates_and_energy(chunk: Array) -> Array:
            values = targets.deviations(chunk)
            return torch.cat([matmul(basis.T, values), (values**2).sum(0)[None]]).cpu().numpy()

        chunks, found = in_chunks(targets.varying), []
        for number, chunk in enumerate(chunks):
            compute = lambda chunk=chunk: coordinates_and_energy(chunk)  # noqa: E731
            found.append(checkpoint.array(f"coordinates-{number:04d}", compute))
            progress((number + 1) / len(chunks))
        rows = np.concatenate(found, axis=1)
        coordinates, energy = torch.as_tensor(rows[:-1], device=basis.device), rows[-1].astype(np.float64)
        inside = (coordinates.double() ** 2).sum(0).cpu().numpy()
        return cls(coordinates, energy, np.maximum(energy - inside, FLOAT32_ROUNDING * energy))


def _basis(values: torch.Tensor) -> torch.Tensor:
    """Return an orthonormal basis near targets, (n_pictures, n_targets), that all count the same."""
    values = values - values.mean(0)
    size = min(BASIS_SIZE, max(len(values) // PICTURES_PER_BASIS, 32))
    return leading_basis(values / values.norm(dim=0), size)


def _evaluate(form: torch.Tensor, coordinates: torch.Tensor) -> Array:
    """Return a quadratic form of every column, (n_targets,) float64."""
    parts = [torch.einsum("kt,kt->t", part, matmul(form, part)) for part in coordinates.split(4096, dim=1)]
    return torch.cat(parts).double().cpu().numpy()


def _other_statistics(forms: torch.Tensor, coordinates: torch.Tensor, picked: Array) -> Array:
    """Return the sums of e, e·y and e² of picked targets, (3, n_picked), without their remainders' share."""
    own = coordinates[:, torch.as_tensor(picked, device=coordinates.device)]
    total, (_, product, square) = (forms[-1:] @ own)[0].double().cpu().numpy(), forms[:-1].chunk(3)
    return np.stack([total, _evaluate(product, own), _evaluate(square, own)])


def _close_to_best(errors: Array, missed: Array, scale: Array, sampled: Array) -> Array:
    """Say which penalties may be a target's best, (n_penalties, n_targets) bool; none where only one may.

    Parameters
    ----------
    errors : array of shape (n_penalties, n_targets)
        Estimated.
    missed : array of shape (n_penalties, n_sampled)
        Exact less estimated errors of the sample.
    scale : array of shape (n_targets,)
        The estimates' errors are in proportion to it.
    """
    best = errors.argmin(axis=0)
    steps_away = np.abs(np.arange(len(errors))[:, None] - best)
    # Only differences between penalties matter; the farther apart two penalties are, the more their difference is off.
    off = (missed - missed[best[sampled], np.arange(len(sampled))]) / scale[sampled]
    margin = np.zeros(len(errors))
    for steps in range(1, len(errors)):
        at = off[steps_away[:, sampled] == steps]
        margin[steps] = max(margin[steps - 1], MARGIN * float(np.sqrt(np.mean(at**2))) if at.size else 0.0)
    close = errors - errors.min(axis=0) <= margin[steps_away] * scale
    return close & (close.sum(axis=0) > 1)
