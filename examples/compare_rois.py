"""Compare regions: which voxels decode z better, and which c? On a small slice of the data, in a minute or so.

    python examples/compare_rois.py NSD_FOLDER [SUBJECT [N_PICTURES]]

NSD_FOLDER is a Natural Scenes Dataset folder, or the simulated one that `braind simulate` makes.
"""

# %% What goes in
import argparse
import signal
from pathlib import Path

import numpy as np

from braind.client.datasets.nsd.tree import NsdTree
from braind.models.fit import fit_weights
from braind.models.fit_profiles import FitSettings
from braind.models.ldm.model import LatentDiffusionModel
from braind.models.ridge.training_trials import TrainingTrials
from braind.models.scores.targets import target_correlation
from braind.models.weights.roi import union_index
from braind.models.weights.weights import WeightsCard

parser = argparse.ArgumentParser()
parser.add_argument("nsd_folder", type=Path)
parser.add_argument("subject", type=int, nargs="?", default=1)
parser.add_argument("n_pictures", type=int, nargs="?", default=300)
options = parser.parse_args()
tree, subject, n_pictures = NsdTree(options.nsd_folder), options.subject, options.n_pictures

# A program such as `head` may close the pipe that it reads: end quietly then.
if hasattr(signal, "SIGPIPE"):
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)

# z and c are decoded from the regions in the pair. The first pair is the published one, the second the other way round.
choices = {"as published": (["early"], ["ventral"]), "exchanged": (["ventral"], ["early"])}

# %% A slice: the first session, and only so many of its training pictures. Pictures that all subjects see are held out.
trials = tree.trials(subject, session=tree.sessions(subject)[0])
training_ids = np.unique(trials.nsd_id[~trials.is_shared])[:n_pictures]
held_out_ids = np.unique(trials.nsd_id[trials.is_shared])
in_slice = np.isin(trials.nsd_id, np.concatenate([training_ids, held_out_ids]))
trials = trials.of(in_slice)

# %% What is to be decoded: the pictures' latents and their captions' text embeddings
ldm = LatentDiffusionModel.load()


def targets(nsd_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    z = ldm.encode_pictures(tree.pictures(nsd_ids))
    return z, ldm.encode_captions([tree.captions(int(nsd_id)) for nsd_id in nsd_ids])


training_z, training_c = targets(training_ids)
held_out_z, held_out_c = targets(held_out_ids)

# %% Fit both choices, and correlate what they predict with the truth: 0 is chance
print(f"{len(training_ids)} training pictures, {int(trials.is_shared.sum())} held-out trials")
for words, (z_rois, c_rois) in choices.items():
    index = union_index(tree.roi_mask(subject, z_rois), tree.roi_mask(subject, c_rois))
    voxels = tree.masked_betas(subject, [int(trials.session[0])], index[0])[in_slice]
    card = WeightsCard(
        subject=subject, shape=tree.shape(subject), affine=tuple(map(tuple, tree.affine(subject).tolist())),
        z_rois=tuple(z_rois), c_rois=tuple(c_rois), ldm=ldm.fingerprint,
        latent_shape=training_z.shape[1:], text_shape=training_c.shape[1:], simulated=tree.is_simulated(),
    )  # fmt: skip
    is_training = ~trials.is_shared
    picture_of_trial = np.searchsorted(training_ids, trials.nsd_id[is_training])
    training = TrainingTrials(voxels[is_training], picture_of_trial, *index, training_z, training_c)
    weights = fit_weights(training, card, FitSettings())
    predicted_z, predicted_c = weights.predict(voxels[trials.is_shared])
    seen = np.searchsorted(held_out_ids, trials.nsd_id[trials.is_shared])
    z_correlation = target_correlation(weights.z, held_out_z[seen], predicted_z).mean()
    c_correlation = target_correlation(weights.c, held_out_c[seen], predicted_c).mean()
    print(
        f"{words:13} z from {'+'.join(z_rois)}: {z_correlation:.3f}   c from {'+'.join(c_rois)}: {c_correlation:.3f}"
        f"   (cross-validated {weights.card.scores['z_correlation']:.3f}, {weights.card.scores['c_correlation']:.3f})"
    )
