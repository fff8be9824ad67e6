"""How decodable the simulated brain is without any latent diffusion model: two proxy decoders describe it.

The proxy decoders are ridge regressions on single training trials. One predicts the picture shrunk to 16 x 16 from
early voxels, the other the object's kind from ventral voxels. Both are scored on the shared test pictures.
Run: python benchmarks/simulated_decodability.py TREE
"""

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.linalg import eigh

from braind.arrays import Array
from braind.client.datasets.nsd.tree import NsdTree
from braind.models.demo.kinds import CATEGORIES, KINDS
from braind.models.demo.scenes import PICTURE_PX

SMALL_PX = 16
ALPHAS = (3e2, 1e3, 3e3, 1e4, 3e4, 1e5)


def main(root: Path) -> None:
    """Print the scores of every subject."""
    tree = NsdTree(root)
    with (root / "simulated_scenes.tsv").open() as file:
        kinds = np.array([KINDS.index(row["kind"]) for row in csv.DictReader(file, delimiter="\t")])
    for subject in tree.subjects():
        print(f"subject {subject}: single trials / repeats averaged")
        _score_layout(tree, subject)
        _score_objects(tree, subject, kinds)


def _score_layout(tree: NsdTree, subject: int) -> None:
    trials = tree.trials(subject)
    ids = np.unique(trials.nsd_id)
    small = np.stack([tree.pictures([nsd_id])[0] for nsd_id in ids]).astype(np.float32) / 255
    block = PICTURE_PX // SMALL_PX
    small = small.reshape(len(ids), SMALL_PX, block, SMALL_PX, block, 3).mean((2, 4)).reshape(len(ids), -1)
    targets = small[np.searchsorted(ids, trials.nsd_id)]
    for name, predicted, nsd_ids in _predict_test(tree, subject, "early", targets):
        seen = tree.pictures(nsd_ids)
        correlations = [_pixcorr(_enlarge(p), picture) for p, picture in zip(predicted, seen, strict=True)]
        constant = [_pixcorr(_enlarge(small.mean(0)), picture) for picture in seen]
        print(f"  layout, {name}: PixCorr {np.mean(correlations):.3f} (mean picture {np.mean(constant):.3f})")


def _score_objects(tree: NsdTree, subject: int, kinds: Array) -> None:
    trials = tree.trials(subject)
    targets = np.eye(len(KINDS), dtype=np.float32)[kinds[trials.nsd_id]]
    novel = tree.novel_kind_ids()
    n_in_category = len(KINDS) // len(CATEGORIES)
    for name, predicted, nsd_ids in _predict_test(tree, subject, "ventral", targets):
        named = predicted.argmax(1)
        true = kinds[nsd_ids]
        known = ~np.isin(nsd_ids, novel)
        top_1 = (named == true)[known].mean()
        category = (named // n_in_category == true // n_in_category)[known].mean()
        novel_category = (named // n_in_category == true // n_in_category)[~known].mean()
        print(f"  object, {name}: top-1 {top_1:.3f}, category {category:.3f}, of novel kinds {novel_category:.3f}")


def _predict_test(tree: NsdTree, subject: int, label: str, targets: Array) -> list[tuple[str, Array, Array]]:
    """Predict targets of the shared pictures: for single and for averaged trials, predictions and 73k ids."""
    trials = tree.trials(subject)
    voxel_index = np.flatnonzero(tree.roi_mask(subject, [label]))
    voxels = tree.masked_betas(subject, tree.sessions(subject), voxel_index)
    train = ~trials.is_shared
    single = voxels[~train]
    single_ids = trials.nsd_id[~train]
    ids = np.unique(single_ids)
    averaged = np.stack([single[single_ids == nsd_id].mean(0) for nsd_id in ids])
    predicted = _ridge(voxels[train], targets[train], trials.nsd_id[train], np.concatenate([single, averaged]))
    return [("single", predicted[: len(single)], single_ids), ("averaged", predicted[len(single) :], ids)]


def _ridge(voxels: Array, targets: Array, nsd_ids: Array, test_voxels: Array) -> Array:
    """Fit ridge, its penalty chosen on a fifth of the pictures left out, and predict for test voxels."""
    mean, spread = voxels.mean(0), voxels.std(0)
    train, test, offset = (voxels - mean) / spread, (test_voxels - mean) / spread, targets.mean(0)
    left_out = nsd_ids % 5 == 0
    parts = _decompose(train[~left_out], (targets - offset)[~left_out])
    errors = [np.mean((_apply(parts, train[left_out], a) + offset - targets[left_out]) ** 2) for a in ALPHAS]
    return _apply(_decompose(train, targets - offset), test, ALPHAS[int(np.argmin(errors))]) + offset


def _decompose(voxels: Array, targets: Array) -> tuple[Array, Array, Array]:
    values, vectors = eigh(voxels.T @ voxels)
    return values, vectors, vectors.T @ (voxels.T @ targets)


def _apply(parts: tuple[Array, Array, Array], voxels: Array, alpha: float) -> Array:
    values, vectors, products = parts
    return voxels @ (vectors @ (products / (values + alpha)[:, None]))


def _enlarge(small: Array) -> Array:
    channels = small.reshape(SMALL_PX, SMALL_PX, 3)
    size = (PICTURE_PX, PICTURE_PX)
    images = [Image.fromarray(channels[..., n]).resize(size, Image.Resampling.BILINEAR) for n in range(3)]
    return np.stack([np.asarray(image) for image in images], -1)


def _pixcorr(predicted: Array, seen: Array) -> float:
    return float(np.corrcoef(predicted.ravel(), seen.ravel())[0, 1])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
