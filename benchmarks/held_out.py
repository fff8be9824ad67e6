"""Held-out trials to make pictures of, and a judge that tells what a picture lost."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braind.config import Config
from braind.models.scores.clip import PictureClip
from braind.models.scores.metrics import bootstrap_ci, pixcorr, two_way
from braind.models.weights.weights import Weights
from braind.offline.data_sets import ensure_tree
from braind.offline.fit.subject import ready_weights

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Decoded z and c of single trials, one a picture, the pictures seen in them, and all seen pictures as foils.

    Parameters
    ----------
    z : array of shape (n, *latent_shape), float32
    c : array of shape (n, *text_shape), float32
    seen : array of shape (n, px, px, 3), uint8
    foils : array of shape (n_foils, d), float32
        CLIP embeddings of all held-out pictures of trained kinds; the first n are those seen.
    clip : PictureClip
    """

    z: Array
    c: Array
    seen: Array
    foils: Array
    clip: PictureClip

    @classmethod
    def load(cls, config: Config, subject: int, n: int) -> "HeldOut":
        """Read each held-out picture's first trial and predict its z and c; at most n."""
        tree = ensure_tree(config)
        weights = Weights.load(ready_weights(config, subject))
        trials = tree.trials(subject)
        known = trials.is_shared & ~np.isin(trials.nsd_id, tree.novel_kind_ids())
        picture_ids, first = np.unique(trials.nsd_id[known], return_index=True)
        sessions = [int(session) for session in np.unique(trials.session)]
        voxels = tree.masked_betas(subject, sessions, weights.voxel_index)[known][first[:n]]
        z, c = weights.predict(voxels)
        clip, seen = PictureClip(), tree.pictures(picture_ids)
        return cls(z, c, seen[:n], clip.embed(seen), clip)

    def __len__(self) -> int:
        return len(self.z)

    def scores(self, pictures: Array) -> dict[str, Any]:
        """Return two-way identification with its interval, and PixCorr, of the pictures made of all z and c."""
        identified = two_way(self.foils, self.clip.embed(pictures), np.arange(len(pictures)))
        return {
            "two_way": round(float(identified.mean()), 4),
            "two_way_ci95": [round(bound, 4) for bound in bootstrap_ci(identified, seed=42)],
            "pixcorr": round(float(pixcorr(self.seen[: len(pictures)], pictures).mean()), 4),
        }


def psnr(reference: Array, pictures: Array) -> float:
    """Return the mean peak signal-to-noise ratio in dB, of uint8 pictures."""
    error = ((reference.astype(np.float64) - pictures) ** 2).mean(axis=(1, 2, 3))
    return round(float(np.mean(10 * np.log10(255**2 / np.maximum(error, 1e-3)))), 2)
