"""Two-way identification after few trials: penalties, voxels and c decoders compared with scikit-learn's RidgeCV.

The simulated subject's first trials are fitted. Held out are single trials of session 15 whose pictures no fit shows,
as in calibration.py. Prints a Markdown table.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from sklearn.linear_model import RidgeCV

from braind.arrays import Array
from braind.choices import CDecoder
from braind.client.datasets.nsd.tree import NsdTree
from braind.config import load_config, nsd_path
from braind.models.fit import fit_weights
from braind.models.fit_profiles import PROFILES, FitProfile, FitSettings, PenaltyFor
from braind.models.model_card import penalty_words
from braind.models.ridge.design import standardise
from braind.models.ridge.training_trials import TrainingTrials
from braind.models.scores.metrics import bootstrap_ci, identified_among_seen, mean_by_picture
from braind.models.weights.candidates import Candidates
from braind.models.weights.roi import union_index
from braind.models.weights.weights import Weights
from braind.offline.fit.subject import card_of
from braind.offline.fit.targets import encode_targets
from braind.offline.from_settings import load_ldm

SUBJECT, SESSIONS, OTHER_SESSION = 1, [1, 2], 15
N_TRIALS = (38, 75, 150, 450)
LIVE = PROFILES["live"]
PLAIN, RULE = "RidgeCV, one penalty, all voxels", "braind: linear c, penalties by the rule, all voxels"


class Comparison:
    """The subject's first trials, held-out trials, and the candidates that two-way identification compares."""

    def __init__(self) -> None:
        config = load_config()
        tree, ldm = NsdTree(nsd_path(config)), load_ldm(config)
        masks = (tree.roi_mask(SUBJECT, list(rois)) for rois in (config.fit.z_rois, config.fit.c_rois))
        index, self.z_positions, self.c_positions = union_index(*masks)
        other, n = NsdTree(tree.root, sessions=[OTHER_SESSION]), max(N_TRIALS)
        trials, others = tree.trials(SUBJECT), other.trials(SUBJECT)
        ids, picture = np.unique(trials.nsd_id[:n], return_inverse=True)
        (unshown,) = np.nonzero(~np.isin(others.nsd_id, ids))
        held_out_ids, self.held_out_picture = np.unique(others.nsd_id[unshown], return_inverse=True)
        self.held_out = other.masked_betas(SUBJECT, [OTHER_SESSION], index)[unshown]
        voxels = tree.masked_betas(SUBJECT, SESSIONS, index)[:n]
        z, c = encode_targets(tree, ldm, ids, ldm.picture_px)
        self.card = card_of(config, tree, SUBJECT, ldm, z, c)
        self.trials = TrainingTrials(voxels, picture, index, self.z_positions, self.c_positions, z, c)
        held_out_z, held_out_c = encode_targets(tree, ldm, held_out_ids, ldm.picture_px)
        self.candidates = Candidates(held_out_z, held_out_c, held_out_ids, [""] * len(held_out_ids))

    def fitted(self, n_trials: int, profile: FitProfile, *, all_voxels: bool) -> Weights:
        """Fit braind's weights on the first trials."""
        trials = self.trials.of(np.arange(n_trials))
        if all_voxels:
            both = np.arange(len(trials.voxel_index))
            trials = replace(trials, z_positions=both, c_positions=both)
        return fit_weights(trials, self.card, FitSettings(profile))

    def plain(self, n_trials: int, *, all_voxels: bool) -> tuple[Array, Array]:
        """Decode the held-out trials' z and c by scikit-learn's RidgeCV with one penalty for each of z and c."""
        decoded = []
        trials = self.trials.of(np.arange(n_trials))
        for positions, targets in ((self.z_positions, trials.z), (self.c_positions, trials.c)):
            own = np.arange(len(trials.voxel_index)) if all_voxels else positions
            z_scored, mean, std = standardise(trials.voxels[:, own])
            shown = targets.reshape(len(targets), -1)[trials.picture_of_trial]
            ridge = RidgeCV(LIVE.penalties).fit(z_scored, shown)
            predicted = ridge.predict(((self.held_out[:, own] - mean) / std).astype(np.float32))
            decoded.append(predicted.reshape(-1, *targets.shape[1:]))
        return decoded[0], decoded[1]

    def two_way(self, decoded: tuple[Array, Array]) -> tuple[float, str]:
        """Return two-way identification of the held-out trials, and its 95 % interval in words."""
        likeness = np.stack([self.candidates.scores(z, c) for z, c in zip(*decoded, strict=True)])
        identified = identified_among_seen(likeness, self.held_out_picture)
        scores = mean_by_picture(identified, self.held_out_picture, len(self.candidates.nsd_id))
        low, high = bootstrap_ci(scores, 0)
        return float(scores.mean()), f"{low:.2f}–{high:.2f}"


def main() -> None:
    """Measure and print."""
    data = Comparison()
    ways: tuple[PenaltyFor, ...] = ("target", "map", "better")
    fits = {
        (penalty_for, is_all, n): data.fitted(n, replace(LIVE, penalty_for=penalty_for), all_voxels=is_all)
        for penalty_for in ways
        for is_all in (False, True)
        for n in N_TRIALS
    }

    def by(penalty_for: PenaltyFor, c_decoder: CDecoder, *, all_voxels: bool) -> Callable[[int], tuple[Array, Array]]:
        return lambda n: fits[penalty_for, all_voxels, n].with_c_decoder(c_decoder).predict(data.held_out)

    arms = {
        "RidgeCV, one penalty, regions": lambda n: data.plain(n, all_voxels=False),
        PLAIN: lambda n: data.plain(n, all_voxels=True),
        "expected c, a penalty per target, regions": by("target", "expected", all_voxels=False),
        "linear c, a penalty per target, regions": by("target", "linear", all_voxels=False),
        "linear c, one penalty a map, regions": by("map", "linear", all_voxels=False),
        "linear c, a penalty per target, all voxels": by("target", "linear", all_voxels=True),
        "linear c, one penalty a map, all voxels": by("map", "linear", all_voxels=True),
        "expected c, penalties by the rule, all voxels": by("better", "expected", all_voxels=True),
        "linear c, penalties by the rule, regions": by("better", "linear", all_voxels=False),
        RULE: by("better", "linear", all_voxels=True),
    }
    print(f"{len(data.held_out)} held-out trials of {len(data.candidates.nsd_id)} pictures\n")
    print("| |", " | ".join(f"{n} trials" for n in N_TRIALS), "|")
    print("|---" * (len(N_TRIALS) + 1) + "|")
    means = {}
    for words, decode in arms.items():
        scores = [data.two_way(decode(n)) for n in N_TRIALS]
        means[words] = np.array([mean for mean, _ in scores])
        print(f"| {words} |", " | ".join(f"{mean:.3f} ({interval})" for mean, interval in scores), "|", flush=True)
    for name, target in (("alphas_z", "z"), ("alphas_c", "c")):
        chosen = [penalty_words(getattr(fits["better", True, n].card, name)) for n in N_TRIALS]
        print(f"| penalties of {target} by the rule |", " | ".join(chosen), "|")
    is_met = (means[RULE] >= means[PLAIN] - 0.01).all()
    print(f"\nbraind is {'' if is_met else 'not '}within 0.01 of RidgeCV, or above it, at every number of trials")


if __name__ == "__main__":
    main()
