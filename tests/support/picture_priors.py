"""A prior over training captions, drawn at random, for weights of tests."""

from dataclasses import replace

import numpy as np

from braind.models.weights.prior import PicturePrior
from braind.models.weights.weights import Weights


def with_random_prior(weights: Weights) -> Weights:
    """Return the weights with a prior of 20 pictures in 6 components."""
    rng = np.random.default_rng(4)
    scores = replace(weights.c, right=weights.c.right[:, :6], **{
        name: getattr(weights.c, name)[:6]
        for name in ("column_scale", "intercept", "target_mean", "target_std", "cv_correlation")
    })  # fmt: skip
    prior = PicturePrior(
        scores=scores, gain=rng.uniform(0.1, 1, 6).astype(np.float32), noise=rng.uniform(1, 2, 6).astype(np.float32),
        pictures=rng.normal(size=(20, 6)).astype(np.float16),
        components=rng.normal(size=(6, len(weights.c.intercept))).astype(np.float16),
        mean=rng.normal(size=len(weights.c.intercept)).astype(np.float32),
    )  # fmt: skip
    return replace(weights, prior=prior, fingerprint="")
