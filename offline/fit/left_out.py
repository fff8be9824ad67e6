"""Fits on some of a subject's training pictures, so that settings are chosen on the others.

Shared pictures are never used.
"""

from dataclasses import dataclass, replace

import numpy as np

from ...arrays import Array
from ...config import Config
from ...models.fit import fit_weights
from ...models.fit_profiles import PROFILES, FitProfile, FitSettings
from ...models.ridge.training_trials import TrainingTrials
from ...models.weights.roi import union_index
from ...models.weights.weights import Weights, WeightsCard
from ..data_sets import ensure_tree
from ..from_settings import load_ldm
from .subject import card_of
from .targets import encode_targets, picture_size_of_z

# The live profile searches eleven penalties in every fold. This penalty is the one that a median target chooses.
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
