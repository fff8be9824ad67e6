"""Predicts a picture's CLIP embedding by ridge regression from voxels without z and c, and from c decoded from voxels.

Scores single trials of training pictures that the regressions and the fit left out; the shared test pictures take no
part. Prints a Markdown table of two-way identification by the regressions' own predictions, for each penalty.
Run: python benchmarks/regions_to_clip.py [--subject 2]
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from settings import LeftOut, left_out_trials

from braind.arrays import Array
from braind.config import load_config
from braind.models.scores.clip import PictureClip
from braind.models.scores.metrics import two_way
from braind.offline.data_sets import ensure_tree
from braind.offline.fit.left_out import PictureSplits

PENALTIES = (3e3, 1e4, 3e4)


class Regression(NamedTuple):
    """What a regression learns from, and what it predicts from.

    Parameters
    ----------
    name : of the inputs
    inputs, targets : (n, n_inputs) standardised and (n, width) CLIP embeddings, float32
    left_out : the left-out trials' inputs, (n_left_out, n_inputs) float32
    """

    name: str
    inputs: Array
    targets: Array
    left_out: Array

    def identified(self, seen: Array, penalty: float) -> float:
        """Return the share of comparisons in which the prediction is nearer to the seen picture's embedding.

        Parameters
        ----------
        seen : the left-out pictures' CLIP embeddings, (n_left_out, width) float32
        """
        mean = self.targets.mean(axis=0)
        gram, products = self.inputs.T @ self.inputs, self.inputs.T @ (self.targets - mean)
        weights = np.linalg.solve(gram + penalty * np.eye(len(gram)), products)
        return float(two_way(seen - mean, self.left_out @ weights).mean())


def from_voxels(splits: PictureSplits, embedded: Array, left_out: Array) -> Iterator[Regression]:
    """Yield the regressions from the voxels of z, of c and of both, of single trials.

    Parameters
    ----------
    embedded : (n_pictures, width) float32; left_out : the left-out pictures' rows, (n_left_out,) int
    """
    trials = splits.trials
    is_trained = ~np.isin(trials.picture_of_trial, left_out)
    first = np.array([np.flatnonzero(trials.picture_of_trial == picture)[0] for picture in left_out])
    voxels = (trials.voxels - trials.voxels[is_trained].mean(axis=0)) / trials.voxels[is_trained].std(axis=0)
    both = np.union1d(trials.z_positions, trials.c_positions)
    for name, positions in (("of z", trials.z_positions), ("of c", trials.c_positions), ("of both", both)):
        own = voxels[:, positions]
        targets = embedded[trials.picture_of_trial[is_trained]]
        yield Regression(f"voxels {name}", own[is_trained], targets, own[first])


def from_decoded_c(splits: PictureSplits, embedded: Array, trials: LeftOut) -> Regression:
    """Return the regression that learns from captions' c and predicts from decoded c.

    Parameters
    ----------
    embedded : (n_pictures, width) float32
    """
    is_trained = ~np.isin(splits.nsd_ids, trials.nsd_ids)
    c = splits.trials.c[is_trained].reshape(is_trained.sum(), -1)
    mean, std = c.mean(axis=0), c.std(axis=0) + 1e-6
    decoded = (trials.c.reshape(len(trials.c), -1) - mean) / std
    return Regression("decoded c", (c - mean) / std, embedded[is_trained], decoded)


@click.command()
@click.option("--subject", default=2, show_default=True)
@click.option("--state", default=Path("build/settings"), type=click.Path(path_type=Path))
def main(subject: int, state: Path) -> None:
    """Identify pictures left out by what voxels and decoded c tell of their embeddings."""
    config = load_config()
    splits = PictureSplits.read(config, subject)
    trials = left_out_trials(subject, state)
    embedded = PictureClip().embed(ensure_tree(config).pictures(splits.nsd_ids))
    left_out = np.flatnonzero(np.isin(splits.nsd_ids, trials.nsd_ids))
    click.echo(f"| from | {' | '.join(f'penalty {penalty:g}' for penalty in PENALTIES)} |")
    click.echo("|---" * (1 + len(PENALTIES)) + "|")
    regressions = (*from_voxels(splits, embedded, left_out), from_decoded_c(splits, embedded, trials))
    for regression in regressions:
        cells = (f"{regression.identified(embedded[left_out], penalty):.3f}" for penalty in PENALTIES)
        click.echo(f"| {regression.name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
