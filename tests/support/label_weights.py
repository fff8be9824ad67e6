"""Weights that decode classes and no pictures, and what a daemon needs to serve them: their file alone."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
from running_daemon import N_VOXELS, LdmFacts, random_weights

from braind.choices import Kind
from braind.models.weights.blank import blank_map
from braind.models.weights.label_map import LabelMap
from braind.models.weights.low_rank import LowRankMap, TargetStatistics, low_rank_map
from braind.models.weights.weights import Weights

CLASSES = ("face", "house", "shoe", "cat", "scissors", "scrambledpix", "bottle", "chair")


def label_map(n_voxels: int, n_classes: int, size: float = 0.2, seed: int = 3) -> LabelMap:
    """Return a map from voxels to classes, drawn at random."""
    generator = np.random.default_rng(seed)
    rank = min(4, n_classes)
    scores: LowRankMap = low_rank_map(
        np.arange(n_voxels),
        generator.normal(scale=size, size=(n_voxels, rank)),
        generator.normal(scale=size, size=(rank, n_classes)),
        np.zeros(n_voxels),
        np.zeros(n_classes),
        TargetStatistics(np.zeros(n_classes), np.ones(n_classes), np.zeros(n_classes)),
    )
    return LabelMap(scores, 1.5)


def label_weights(kind: Kind = "beta", classes: Sequence[str] = CLASSES, **card: Any) -> Weights:
    """Return weights of the tests' grid that decode these classes and no pictures."""
    weights = random_weights(LdmFacts("", (1, 1, 1), (1, 1)))
    nothing = blank_map(N_VOXELS)
    return replace(
        weights,
        z=nothing,
        c=nothing,
        labels=label_map(N_VOXELS, len(classes)),
        voxel_mean=np.random.default_rng(5).normal(size=N_VOXELS).astype(np.float32),
        card=msgspec.structs.replace(weights.card, kind=kind, labels=tuple(classes), **card),
        fingerprint="",
    )


def label_files(weights: Weights, folder: Path) -> Any:
    """Write weights into a folder; return the files of a daemon: no candidates and no latent diffusion model."""
    path = folder / "labels.safetensors"
    weights.save(path)
    return SimpleNamespace(weights=weights, weights_path=path, candidates_path=None, ldm_path=None)


def expected_labels(weights: Weights, voxels: Any) -> list[tuple[str, float]]:
    """Return the classes that a decode must carry, by the offline map: sorted by probability, then by their order."""
    assert weights.labels is not None
    shares = weights.labels.probabilities(voxels).tolist()
    return sorted(zip(weights.card.labels, shares, strict=True), key=lambda one: -one[1])


def labels_of(decode: Any) -> list[tuple[str, float]]:
    """Return a decode's classes with their probabilities."""
    return [(one.label, one.probability) for one in decode.labels]
