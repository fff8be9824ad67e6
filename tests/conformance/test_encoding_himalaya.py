"""Voxel-wise correlations against himalaya's RidgeCV on the same features, folds and penalties."""

import numpy as np
from himalaya.ridge import RidgeCV
from himalaya.scoring import correlation_score, r2_score
from sklearn.model_selection import PredefinedSplit

from braind.models.encoding import voxel_models as encoding
from braind.models.encoding.voxel_models import ALPHAS, bootstrap_counts, reduce_features, score_voxels
from braind.models.ridge.folds import picture_folds


def test_r_and_r2_of_every_voxel_are_himalayas(monkeypatch):
    monkeypatch.setattr(encoding, "VOXELS_AT_ONCE", 170)
    rng = np.random.default_rng(3)
    properties = rng.normal(size=(460, 20))
    pictures = properties @ rng.normal(size=(20, 150)) + rng.normal(size=(460, 150))
    signal = properties @ rng.normal(size=(20, 500)) / 5 * np.linspace(0, 2, 500)
    responses = (signal + rng.normal(size=(460, 500)) + 1.2).astype(np.float32)
    is_training = np.arange(460) % 4 > 0
    features = reduce_features(pictures, is_training, 100)

    rois = {"all": np.ones(500, bool)}
    ours = score_voxels(features, responses, is_training, rois, bootstrap_counts(115, 20, 0))

    training = features[is_training].astype(np.float64)
    fold = np.empty(len(training), int)
    for number, (_, held_out) in enumerate(picture_folds(np.arange(len(training)), 5, grouped=True)):
        fold[held_out] = number
    theirs = RidgeCV(alphas=np.array(ALPHAS), fit_intercept=True, cv=PredefinedSplit(fold))
    theirs.fit(training, responses[is_training].astype(np.float64))
    predicted = theirs.predict(features[~is_training].astype(np.float64))
    assert len(np.unique(theirs.best_alphas_)) > 3
    r = correlation_score(responses[~is_training].astype(np.float64), predicted)
    assert r.max() > 0.7
    assert np.abs(ours.correlation - r).max() < 1e-4
    assert np.abs(ours.explained - r2_score(responses[~is_training].astype(np.float64), predicted)).max() < 1e-4
