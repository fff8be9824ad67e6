"""The four encoding analyses: features z, c and zc; noise strengths; denoising steps; U-Net blocks."""

from typing import Any

import numpy as np

from ...arrays import Array
from ...models.encoding.unet_features import MOMENTS, FeatureSettings, step_feature, strength_feature
from ...models.encoding.voxel_models import best_layer, is_significant
from .models import Models, joint_model


def analyse(models: Models, layers: tuple[str, ...], settings: FeatureSettings) -> dict[str, Any]:
    """Do the four analyses; return their entries of `encoding.json`."""
    zc = strength_feature(settings.strength)
    names = {"z": "z", "c": "c", "zc": zc}
    roi = {
        region: {
            **{name: models.mean_correlation(feature, region) for name, feature in names.items()},
            "z_minus_c": models.correlation_gain("z", "c", region),
        }
        for region in models.rois
    }
    significant = {
        name: int(is_significant(models[feature].correlation, models.n_held_out).sum())
        for name, feature in names.items()
    }
    strengths, steps, blocks = _compared_features(layers, settings)
    correlations = {
        region: {layer: [models.mean_correlation(name, region) for name in names] for layer, names in blocks.items()}
        for region in models.rois
    }
    return {
        "zc": zc,
        "roi": roi,
        "significant_voxels": significant,
        "noise": {"strengths": list(settings.strengths), "roi": _against_z(models, strengths)},
        "steps": {
            "steps": list(MOMENTS),
            "calls": [position + 1 for position in settings.moments],
            "roi": _against_z(models, steps),
        },
        "layers": {
            "layers": list(layers),
            "steps": list(MOMENTS),
            "roi": correlations,
            "best": _best_layers(models, blocks),
        },
    }


def model_names(layers: tuple[str, ...], settings: FeatureSettings) -> list[str]:
    """Return the names of all models that the analyses need."""
    strengths, steps, blocks = _compared_features(layers, settings)
    beside_z = [*strengths, *steps]
    of_blocks = [name for names in blocks.values() for name in names]
    return list(dict.fromkeys(["z", "c", *beside_z, *(joint_model(name, "z") for name in beside_z), *of_blocks]))


def _compared_features(
    layers: tuple[str, ...], settings: FeatureSettings
) -> tuple[list[str], list[str], dict[str, list[str]]]:
    """Return the features of the strengths and of the steps, and each layer's features of the steps."""
    zc = strength_feature(settings.strength)
    strengths = [strength_feature(strength) for strength in settings.strengths]
    steps = [zc if moment == "late" else step_feature("zc", moment) for moment in MOMENTS]
    return strengths, steps, {layer: [step_feature(layer, moment) for moment in MOMENTS] for layer in layers}


def _against_z(models: Models, features: list[str]) -> dict[str, Any]:
    """Return for each ROI the unique variances of z and zc, and r of zc alone: lists over `features`."""
    return {
        region: {
            "z": [models.unique_variance("z", feature, region) for feature in features],
            "zc": [models.unique_variance(feature, "z", region) for feature in features],
            "zc_correlation": [models.mean_correlation(feature, region) for feature in features],
        }
        for region in models.rois
    }


def layer_labels(models: Models, layers: list[str], moment: str) -> Array:
    """Label every voxel with its best layer at a step, from 1 on; 0 if no layer predicts the voxel."""
    correlations = np.stack([models[step_feature(layer, moment)].correlation for layer in layers])
    return best_layer(correlations, models.n_held_out)


def _best_layers(models: Models, blocks: dict[str, list[str]]) -> dict[str, Any]:
    """Return the share of predicted voxels that each layer predicts best: ROI → step → layer → share."""
    labels = {moment: layer_labels(models, list(blocks), moment) for moment in MOMENTS}
    shares: dict[str, Any] = {}
    for region, mask in models.rois.items():
        shares[region] = {}
        for moment, label in labels.items():
            found = np.bincount(label[mask], minlength=len(blocks) + 1)[1:]
            shares[region][moment] = dict(zip(blocks, (found / max(found.sum(), 1)).tolist(), strict=True))
    return shares
