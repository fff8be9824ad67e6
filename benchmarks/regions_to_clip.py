"""Predicts a picture's CLIP embedding from the voxels of z, of c, or of both, by ridge regression without z and c.

Scores single trials of training pictures that the regression left out; the shared test pictures take no part. Prints a
Markdown table of two-way identification by the regression's own predictions, for each penalty.
Run: python benchmarks/regions_to_clip.py [--subject 2]
"""

import click
import numpy as np

from braind.config import load_config
from braind.models.scores.clip import PictureClip
from braind.models.scores.metrics import two_way
from braind.offline.data_sets import ensure_tree
from braind.offline.fit.left_out import PictureSplits

N_LEFT_OUT = 400
PENALTIES = (3e3, 1e4, 3e4)


@click.command()
@click.option("--subject", default=2, show_default=True)
def main(subject: int) -> None:
    """Identify pictures left out by what the regions' voxels predict of their embeddings."""
    config = load_config()
    splits = PictureSplits.read(config, subject)
    trials, n_pictures = splits.trials, len(splits.nsd_ids)
    chosen = np.sort(np.random.default_rng(2).choice(n_pictures, N_LEFT_OUT, replace=False))
    embedded = PictureClip().embed(ensure_tree(config).pictures(splits.nsd_ids))
    is_trained = ~np.isin(trials.picture_of_trial, chosen)
    first = np.array([np.flatnonzero(trials.picture_of_trial == picture)[0] for picture in chosen])
    voxels = trials.voxels - trials.voxels[is_trained].mean(axis=0)
    voxels /= trials.voxels[is_trained].std(axis=0)
    targets = embedded[trials.picture_of_trial[is_trained]]
    mean = targets.mean(axis=0)
    regions = {
        "of z": trials.z_positions,
        "of c": trials.c_positions,
        "of both": np.union1d(trials.z_positions, trials.c_positions),
    }
    click.echo(f"| voxels | {' | '.join(f'penalty {penalty:g}' for penalty in PENALTIES)} |")
    click.echo("|---" * (1 + len(PENALTIES)) + "|")
    for name, positions in regions.items():
        own = voxels[is_trained][:, positions]
        gram, products = own.T @ own, own.T @ (targets - mean)
        cells = []
        for penalty in PENALTIES:
            predicted = voxels[first][:, positions] @ np.linalg.solve(gram + penalty * np.eye(len(gram)), products)
            cells.append(f"{two_way(embedded[chosen] - mean, predicted).mean():.3f}")
        click.echo(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
