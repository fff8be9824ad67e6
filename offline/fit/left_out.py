"""Decodes training trials by cross-validation: each trial by weights that were fitted without its picture.

Settings are chosen on these decodes, and the few-step denoiser is trained on them. Shared pictures are never used.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np

from ...arrays import Array
from ...config import Config, load_config
from ...models.fit import fit_weights
from ...models.fit_profiles import PROFILES, FitProfile, FitSettings
from ...models.ridge.training_trials import TrainingTrials
from ...models.weights.roi import union_index
from ...models.weights.weights import Weights, WeightsCard
from ..data_sets import ensure_tree
from ..from_settings import load_ldm
from .subject import card_of
from .targets import encode_targets, picture_size_of_z

# The live profile searches eleven penalties in every fold. Nearly all targets choose this penalty.
ONE_PENALTY = replace(PROFILES["live"], penalties=(1e4,), folds=3)


@dataclass(frozen=True, eq=False)
class PictureSplits:
    """A subject's training trials, for fits on some pictures and decodes of the other pictures.

    Parameters
    ----------
    trials : TrainingTrials
        Trials of pictures that are not shared; voxels in % signal change.
    nsd_ids : array of shape (n_pictures,), int
        0-based 73k ids of the trials' pictures.
    card : WeightsCard
    """

    trials: TrainingTrials
    nsd_ids: Array
    card: WeightsCard

    @classmethod
    def read(cls, config: Config, subject: int) -> "PictureSplits":
        """Read a subject's trials and encode their pictures and captions."""
        tree, ldm = ensure_tree(config), load_ldm(config)
        index = union_index(
            tree.roi_mask(subject, list(config.fit.z_rois)), tree.roi_mask(subject, list(config.fit.c_rois))
        )
        trials = tree.trials(subject)
        trained = ~trials.is_shared
        nsd_ids, picture_of_trial = np.unique(trials.nsd_id[trained], return_inverse=True)
        sessions = [int(session) for session in np.unique(trials.session)]
        voxels = tree.masked_betas(subject, sessions, index[0])[trained]
        z, c = encode_targets(tree, ldm, nsd_ids, picture_size_of_z(ldm, 1.0))
        card = card_of(config, tree, subject, ldm, z, c)
        return cls(TrainingTrials(voxels, picture_of_trial, *index, z, c), nsd_ids, card)

    def fit_without(self, left_out: Array, profile: FitProfile) -> Weights:
        """Fit weights on the trials of all pictures but `left_out`, (n_pictures,) bool."""
        kept = ~left_out[self.trials.picture_of_trial]
        return fit_weights(self.trials.of(kept), self.card, FitSettings(profile))


def decode_left_out(splits: PictureSplits, n_folds: int) -> dict[str, Array]:
    """Decode every trial by a fit without the trial's picture.

    Returns
    -------
    z, c : arrays of shape (n_trials, *latent_shape) and (n_trials, *text_shape), float16
        Decoded targets.
    seen_z, seen_c : arrays of the same shapes, float16
        True targets of the seen pictures.
    """
    trials = splits.trials
    z, c = (np.empty((len(trials), *one.shape[1:]), np.float16) for one in (trials.z, trials.c))
    fold_of_picture = np.random.default_rng(0).integers(0, n_folds, len(splits.nsd_ids))
    for fold in range(n_folds):
        left_out = fold_of_picture == fold
        rows = left_out[trials.picture_of_trial]
        z[rows], c[rows] = splits.fit_without(left_out, ONE_PENALTY).predict(trials.voxels[rows])
    seen = trials.picture_of_trial
    decoded = {"z": z, "c": c, "seen_z": trials.z[seen], "seen_c": trials.c[seen]}
    # safetensors ignores strides, and the autoencoder's latents may have channels last.
    return {name: np.ascontiguousarray(value, np.float16) for name, value in decoded.items()}


@click.command()
@click.option("--subject", default=1, show_default=True)
@click.option("--n-folds", default=5, show_default=True)
@click.option("--state", default=Path("build/demo-training"), type=click.Path(path_type=Path))
def main(subject: int, n_folds: int, state: Path) -> None:
    """Decode a subject's training trials, each by a fit without its picture, for `train_few_step.py`."""
    from safetensors.numpy import save_file

    state.mkdir(parents=True, exist_ok=True)
    decoded = decode_left_out(PictureSplits.read(load_config(), subject), n_folds)
    save_file(decoded, state / "decoded_trials.safetensors")


if __name__ == "__main__":
    main()
