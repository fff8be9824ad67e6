"""The encoding analysis of one subject: `braind encode`."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..client.config import Config
from ..client.data_set import BrainDataSet
from ..client.nsd import MARKER, NsdTree
from ..models.encoding import (
    ALPHAS,
    FALSE_DISCOVERY_RATE,
    EncodingError,
    VoxelScores,
    best_layer,
    bootstrap_counts,
    interval,
    is_significant,
    p_values,
    reduce_features,
    score_voxels,
)
from ..models.unet_features import MOMENTS, FeatureError, FeatureSettings, step_feature, strength_feature, tapped_blocks
from .data_sets import data_set_of
from .encoding_features import FeatureFiles, extract_features
from .encoding_maps import MapFolder
from .encoding_responses import mean_responses, write_mean_responses
from .fitting import load_ldm
from .progress import progress_bar

Array = NDArray[Any]
Report = Callable[[str, int, int], None]

JSON_NAME = "encoding.json"
N_DRAWS = 1000


@dataclass(frozen=True)
class EncodeSettings:
    """What an encoding analysis does.

    Parameters
    ----------
    n_components : int
        Common dimension of all features; the paper's is 6,400, the size of its z.
    max_pictures : int, optional
        Training pictures, drawn at random; all by default.
    surfaces : pair of paths, optional
        Left and right cortical surface (GIFTI or FreeSurfer), in mm of the volumes' own space.
    """

    n_components: int = 1024
    max_pictures: int | None = None
    strengths: tuple[float, ...] = FeatureSettings.strengths
    n_calls: int = FeatureSettings.n_calls
    seed: int = FeatureSettings.seed
    surfaces: tuple[Path, Path] | None = None

    @property
    def features(self) -> FeatureSettings:
        """Return the settings of the features."""
        return FeatureSettings(
            strengths=self.strengths, n_calls=self.n_calls, seed=self.seed, n_projected=2 * self.n_components
        )


def encode_subject(config: Config, subject: int, out: Path, settings: EncodeSettings) -> dict[str, Any]:
    """Do all four analyses; write maps, figures and one JSON into `out`; return what the JSON holds."""
    from .encoding_figures import check_surfaces, draw_figures

    features = settings.features  # refuses what cannot be before anything is loaded
    if settings.surfaces is not None:
        check_surfaces(settings.surfaces)
    data, ldm = data_set_of(config), load_ldm(config)
    trials = data.trials(subject)
    held_out = np.unique(trials.nsd_id[trials.is_shared])
    chosen = chosen_pictures(trials.nsd_id, held_out, settings)
    maps = MapFolder.create(out, data, subject)
    with progress_bar("encoding") as report:
        files = extract_features(config, data, ldm, subject, chosen, features, report)
        responses_path = files.folder / "responses.float32"
        write_mean_responses(responses_path, data, subject, chosen, maps.voxel_index, report)
        models = Models(
            files=files,
            responses=mean_responses(responses_path, len(chosen)),
            is_training=~np.isin(chosen, held_out),
            rois=_rois(data, subject, maps.voxel_index),
            n_components=settings.n_components,
            n_folds=config.fit.folds,
            seed=settings.seed,
            report=report,
        )
        analyses = analyse(models, tapped_blocks(ldm.unet), features)
        truth = None
        if isinstance(data, NsdTree) and data.is_simulated():
            truth = _ground_truth(data, subject, maps, report)
        report("writing maps and figures", 0, 1)
        paths = write_maps(maps, models, analyses)
        if truth is not None:
            analyses["truth"] = compare_with_truth(models, truth)
            paths.append(maps.write(np.nan_to_num(truth), "truthLookShare", "statmap"))
        figures = draw_figures(out, maps, data.brainmask(subject), models, analyses, truth, settings.surfaces)
    result = {
        **analyses,
        "subject": subject,
        "simulated": data.is_simulated(),
        "n_pictures": {"training": int(models.is_training.sum()), "held_out": int((~models.is_training).sum())},
        "n_voxels": {name: int(mask.sum()) for name, mask in models.rois.items()} | {"all": len(maps.voxel_index)},
        "parameters": {**asdict(features), "n_components": settings.n_components, "folds": config.fit.folds,
                       "alphas": ALPHAS, "fdr": FALSE_DISCOVERY_RATE, "n_draws": N_DRAWS},
        "provenance": {"braind": __version__, "ldm": ldm.fingerprint, "denoiser": ldm.denoiser_fingerprint,
                       "data_set": data.root.name, "estimates": data.estimates},
        "maps": sorted(str(path.relative_to(out)) for path in paths),
        "figures": {name: str(path.relative_to(out)) for name, path in figures.items()},
    }  # fmt: skip
    (out / JSON_NAME).write_text(json.dumps(result, indent=2) + "\n")
    responses_path.unlink()
    return result


def chosen_pictures(seen_ids: Array, shared_ids: Array, settings: EncodeSettings) -> Array:
    """Return the pictures to encode, sorted: those that the subject saw, or some of the training ones and all shared.

    Raises
    ------
    EncodingError
        If no shared picture was seen.
    """
    seen = np.unique(seen_ids)
    is_shared = np.isin(seen, shared_ids)
    if not is_shared.any():
        raise EncodingError("none of the seen pictures is shared, so none is held out; take more sessions")
    training = seen[~is_shared]
    if settings.max_pictures is not None and settings.max_pictures < len(training):
        training = np.random.default_rng(settings.seed).choice(training, settings.max_pictures, replace=False)
    return np.sort(np.concatenate([training, seen[is_shared]]))


def _rois(data: BrainDataSet, subject: int, voxel_index: Array) -> dict[str, Array]:
    """Return masks of the data set's regions; the ventral and dorsal halves of a visual area, V1v and V1d, are one."""
    names = data.regions(subject)
    parts: dict[str, list[str]] = {}
    for name in names:
        area = name[:-1]
        is_half = {f"{area}v", f"{area}d"} <= set(names)
        parts.setdefault(area if is_half else name, []).append(name)
    masks = {name: data.roi_mask(subject, labels).reshape(-1)[voxel_index] for name, labels in parts.items()}
    if not any(mask.any() for mask in masks.values()):
        raise EncodingError(f"subject {subject} of {data.root} has no region with a voxel in its brain mask; add one")
    return {name: mask for name, mask in masks.items() if mask.any()}


@dataclass(eq=False)
class Models:
    """Scores of encoding models, each fitted when it is first asked for.

    Parameters
    ----------
    rois : ROI → mask of shape (n_voxels,), bool
    """

    files: FeatureFiles
    responses: Array
    is_training: Array
    rois: dict[str, Array]
    n_components: int
    n_folds: int
    seed: int
    report: Report
    scores: dict[str, VoxelScores] = field(default_factory=dict)
    _kept: dict[str, Array] = field(default_factory=dict)

    @property
    def n_held_out(self) -> int:
        """Return the number of pictures that scores come from."""
        return int((~self.is_training).sum())

    def __getitem__(self, names: str) -> VoxelScores:
        """Return the scores of a feature, or of several in one model: "z", "z + zc_strength-0.8"."""
        if names not in self.scores:
            features = np.concatenate([self._reduced(name) for name in names.split(" + ")], axis=1)
            self.scores[names] = score_voxels(
                features,
                self.responses,
                self.is_training,
                self.rois,
                self._counts,
                n_folds=self.n_folds,
                progress=lambda done, total: self.report(f"fitting {names}", done, total),
            )
        return self.scores[names]

    def mean_correlation(self, name: str, roi: str) -> dict[str, Any]:
        """Return a model's mean r over a ROI's voxels."""
        scores, row = self[name], list(self.rois).index(roi)
        return interval(scores.correlation[self.rois[roi]].mean(), scores.drawn_correlation[row])

    def correlation_gain(self, name: str, over: str, roi: str) -> dict[str, Any]:
        """Return how much larger a model's mean r is than another's, in the same draws of pictures."""
        first, second, row, mask = self[name], self[over], list(self.rois).index(roi), self.rois[roi]
        gain = first.correlation[mask].mean() - second.correlation[mask].mean()
        return interval(gain, first.drawn_correlation[row] - second.drawn_correlation[row])

    def unique_variance(self, name: str, beside: str, roi: str) -> dict[str, Any]:
        """Return the mean R² that a feature adds to another."""
        both, other, row, mask = self[_joint(name, beside)], self[beside], list(self.rois).index(roi), self.rois[roi]
        unique = both.explained[mask].mean() - other.explained[mask].mean()
        return interval(unique, both.drawn_explained[row] - other.drawn_explained[row])

    def unique_map(self, name: str, beside: str) -> Array:
        """Return the R² that a feature adds to another, voxel by voxel: (n_voxels,) float32."""
        return self[_joint(name, beside)].explained - self[beside].explained

    @cached_property
    def _counts(self) -> Array:
        return bootstrap_counts(self.n_held_out, N_DRAWS, self.seed)

    def _reduced(self, name: str) -> Array:
        if name not in self._kept:
            # z stands in every joint model, and another feature is asked for alone and then beside it
            self._kept = {kept: features for kept, features in self._kept.items() if kept == "z"}
            self._kept[name] = reduce_features(self.files.read(name), self.is_training, self.n_components)
        return self._kept[name]


def _joint(first: str, second: str) -> str:
    return " + ".join(sorted([first, second]))


def analyse(models: Models, layers: tuple[str, ...], settings: FeatureSettings) -> dict[str, Any]:
    """Do the four analyses: z, c and zc; z and zc under noise; over denoising steps; over U-Net blocks."""
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
    strengths = [strength_feature(strength) for strength in settings.strengths]
    steps = [zc if moment == "late" else step_feature("zc", moment) for moment in MOMENTS]
    blocks = {layer: [step_feature(layer, moment) for moment in MOMENTS] for layer in layers}
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


def _against_z(models: Models, features: list[str]) -> dict[str, Any]:
    """Return, a ROI each, lists over `features`: unique variance of z and of zc, and r of zc alone."""
    return {
        region: {
            "z": [models.unique_variance("z", feature, region) for feature in features],
            "zc": [models.unique_variance(feature, "z", region) for feature in features],
            "zc_correlation": [models.mean_correlation(feature, region) for feature in features],
        }
        for region in models.rois
    }


def layer_labels(models: Models, layers: list[str], moment: str) -> Array:
    """Label every voxel with its best layer at a step, from 1 on; 0 where none predicts it."""
    correlations = np.stack([models[step_feature(layer, moment)].correlation for layer in layers])
    return best_layer(correlations, models.n_held_out)


def _best_layers(models: Models, blocks: dict[str, list[str]]) -> dict[str, Any]:
    """Return the share of a ROI's predicted voxels that each layer predicts best: ROI → step → layer → share."""
    labels = {moment: layer_labels(models, list(blocks), moment) for moment in MOMENTS}
    shares: dict[str, Any] = {}
    for region, mask in models.rois.items():
        shares[region] = {}
        for moment, label in labels.items():
            found = np.bincount(label[mask], minlength=len(blocks) + 1)[1:]
            shares[region][moment] = dict(zip(blocks, (found / max(found.sum(), 1)).tolist(), strict=True))
    return shares


def write_maps(maps: MapFolder, models: Models, analyses: dict[str, Any]) -> list[Path]:
    """Write r, p and FDR masks of every single model, unique variances, and best layers."""
    paths = []
    for name, scores in models.scores.items():
        if " + " in name:
            zc = name.removeprefix("z + ")
            paths.append(maps.write(models.unique_map(zc, "z"), f"{_camel(zc)}UniqueBesideZ", "stat-r2_statmap"))
            paths.append(maps.write(models.unique_map("z", zc), f"zUniqueBeside{_camel(zc, True)}", "stat-r2_statmap"))
            continue
        p = p_values(scores.correlation, models.n_held_out).astype(np.float32)
        significant = is_significant(scores.correlation, models.n_held_out)
        paths.append(maps.write(scores.correlation, _camel(name), "stat-r_statmap"))
        paths.append(maps.write(p, _camel(name), "stat-p_statmap"))
        paths.append(maps.write(significant.astype(np.uint8), f"{_camel(name)}Fdr", "mask"))
    layers = analyses["layers"]["layers"]
    for moment in MOMENTS:
        path = maps.write(layer_labels(models, layers, moment), f"bestLayer{moment.title()}", "dseg")
        rows = [f"{number}\t{layer}" for number, layer in enumerate(layers, start=1)]
        table = path.with_name(path.name.replace(".nii.gz", ".tsv"))
        table.write_text("\n".join(["index\tname", *rows]) + "\n")
        paths += [path, table]
    return paths


def _camel(name: str, capital: bool = False) -> str:
    """Turn a feature's name into letters and digits: "zc_strength-0.8" → "zcStrength08"."""
    words = "".join(letter if letter.isalnum() else " " for letter in name.replace(".", "")).split()
    camel = words[0] + "".join(word.title() for word in words[1:])
    return camel[0].upper() + camel[1:] if capital else camel


def _ground_truth(tree: NsdTree, subject: int, maps: MapFolder, report: Report) -> Array:
    """Return the simulator's share of early channels in each voxel's signal: (n_voxels,), NaN outside visual cortex."""
    from ..models.demo.ground_truth import look_shares

    report("computing the simulation's truth", 0, 1)
    marker = msgspec.json.decode((tree.root / MARKER).read_bytes())
    volume = look_shares(
        tree.shape(subject),
        tree.pictures,
        seed=marker["seed"],
        subject=subject,
        subjects=marker["subjects"],
        n_sessions=marker["n_sessions"],
        n_shared=len(tree.shared_ids()),
    )
    return volume.reshape(-1)[maps.voxel_index]


def preference(models: Models) -> Array:
    """Return how much better z predicts a voxel than c does: r of z − r of c, (n_voxels,) float32."""
    return models["z"].correlation - models["c"].correlation


def compare_with_truth(models: Models, truth: Array) -> dict[str, Any]:
    """Correlate the voxels' preference for z over c with the simulator's share of early channels in their signal."""
    from scipy.stats import spearmanr

    visual = np.isfinite(truth)
    groups = {"visual": visual, "higher": visual & (truth < 1)}
    found = preference(models)
    return {
        "truth": "share of the noise-free signal that early visual channels drive",
        "recovered": "r of z minus r of c",
        **{
            name: {
                "pearson": float(np.corrcoef(truth[group], found[group])[0, 1]),
                "spearman": float(np.asarray(spearmanr(truth[group], found[group]))[0]),
                "n_voxels": int(group.sum()),
            }
            for name, group in groups.items()
        },
    }


def parse_strengths(text: str) -> tuple[float, ...]:
    """Read "0.2,0.8,1" into strengths, sorted."""
    try:
        return tuple(sorted({float(part) for part in text.split(",")}))
    except ValueError:
        raise FeatureError(f"strengths {text!r}: give numbers, such as 0.2,0.8,1") from None


def print_rois(result: dict[str, Any]) -> None:
    """Print the table of ROIs on stderr."""
    from rich.console import Console
    from rich.table import Table

    n = result["n_pictures"]
    simulated = ", SIMULATED" if result["simulated"] else ""
    table = Table(title=f"mean r on {n['held_out']} held-out pictures, {n['training']} for training{simulated}")
    for column in ("", "voxels", "z", "c", "zc", "z − c"):
        table.add_column(column)
    for roi, row in result["roi"].items():
        cells = (row[name] for name in ("z", "c", "zc", "z_minus_c"))
        words = (f"{cell['mean']:.2f} [{cell['ci95'][0]:.2f}, {cell['ci95'][1]:.2f}]" for cell in cells)
        table.add_row(roi, str(result["n_voxels"][roi]), *words)
    Console(stderr=True).print(table)
