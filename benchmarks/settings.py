"""Settings compared: how a decoded z and c become a picture, scored on training pictures that a fit left out.

Never on the shared test pictures, which report what was chosen. Prints Markdown rows.
Run: python benchmarks/settings.py scale | few-step [--subject 2] [--n-pictures 60]
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import click
import msgspec
import numpy as np

from braind.arrays import Array
from braind.choices import Mode
from braind.client.datasets.nsd.tree import NsdTree
from braind.config import load_config
from braind.models.ldm.reconstruct import Reconstructor
from braind.models.pipeline.decoding_pipeline import DecodingPipeline, load_model
from braind.models.presets import PRESETS, Preset
from braind.models.scores.clip import PictureClip
from braind.models.scores.metrics import pixcorr, two_way
from braind.models.weights.low_rank import LowRankMap
from braind.offline.data_sets import ensure_tree
from braind.offline.decoding import kind_captions
from braind.offline.fit.left_out import ONE_PENALTY, PictureSplits
from braind.offline.from_settings import pipeline_settings

N_LEFT_OUT = 100
USUAL, EXPECTED = "restored per channel", "expected"  # of z by default, and of c by `--c-decoder expected`
CALLS, SCALES = (1, 2, 4, 8), (1.0, 2.0, 3.0, 5.0)


@dataclass(frozen=True, eq=False)
class LeftOut:
    """One trial each of pictures that the fit left out: what was seen, and z and c decoded, by how they were scaled."""

    seen: Array
    kinds: list[str]
    z: dict[str, Array]
    c: dict[str, Array]


class LeftOutScorer:
    """Scores pictures of the left-out trials."""

    def __init__(self, left_out: LeftOut) -> None:
        self.left_out, self.clip = left_out, PictureClip()
        self.names, captions = kind_captions()
        self.texts, self.seen = self.clip.embed_texts(captions), self.clip.embed(left_out.seen)

    def row(self, words: str, pictures: Array) -> str:
        """Return a Markdown row of two-way identification, PixCorr and the share of objects named."""
        named = np.array(self.clip.name_objects(pictures, self.names, self.texts)) == np.array(self.left_out.kinds)
        identified = two_way(self.seen, self.clip.embed(pictures)).mean()
        return (
            f"| {words} | {identified:.3f} | {pixcorr(self.left_out.seen, pictures).mean():.3f} | {named.mean():.2f} |"
        )


def left_out_trials(subject: int, n_pictures: int, path: Path) -> LeftOut:
    """Return the decoded trials of pictures left out, from the file that the first run writes."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **decode_left_out_once(subject))  # pyright: ignore[reportArgumentType]
    kept = np.load(path)
    parts = {part: {name[2:]: kept[name][:n_pictures] for name in kept if name.startswith(f"{part} ")} for part in "zc"}
    return LeftOut(kept["seen"][:n_pictures], kept["kinds"][:n_pictures].tolist(), **parts)


def decode_left_out_once(subject: int) -> dict[str, Array]:
    """Decode one trial each of pictures left out, with scales restored per channel and token, by one factor, or not."""
    config = load_config()
    splits, tree = PictureSplits.read(config, subject), ensure_tree(config)
    chosen = np.sort(np.random.default_rng(2).choice(len(splits.nsd_ids), N_LEFT_OUT, replace=False))
    left_out = np.isin(np.arange(len(splits.nsd_ids)), chosen)
    restored = splits.fit_without(left_out, ONE_PENALTY)
    plain = splits.fit_without(left_out, replace(ONE_PENALTY, restore_scale=False, prior=False))
    first = [np.flatnonzero(splits.trials.picture_of_trial == picture)[0] for picture in chosen]
    voxels, ids = splits.trials.voxels[first], splits.nsd_ids[chosen]
    z, c = restored.with_c_decoder("expected").predict(voxels)
    return {
        "seen": tree.pictures(ids),
        "kinds": np.array([_kind(tree, int(nsd_id)) for nsd_id in ids]),
        f"z {USUAL}": z,
        "z restored by one factor": _by_one_factor(plain.z, restored.z, voxels).reshape(z.shape),
        "z as the ridge has it": plain.z.predict(voxels).reshape(z.shape),
        f"c {EXPECTED}": c,
        "c restored per token": restored.c.predict(voxels).reshape(c.shape),
        "c restored by one factor": _by_one_factor(plain.c, restored.c, voxels).reshape(c.shape),
        "c as the ridge has it": plain.c.predict(voxels).reshape(c.shape),
    }


def _by_one_factor(plain: LowRankMap, restored: LowRankMap, voxels: Array) -> Array:
    """Scale predictions by one factor that restores all targets' variance together."""
    own, scaled = plain.predict(voxels), restored.predict(voxels)
    varying = own.std(0) > 0
    spread, factor = np.square(restored.target_std[varying]), scaled.std(0)[varying] / own.std(0)[varying]
    one_factor = np.sqrt(spread.sum() / (spread / np.square(factor)).sum())
    return plain.target_mean + one_factor * (own - plain.target_mean)


def _kind(tree: NsdTree, nsd_id: int) -> str:
    names = set(kind_captions()[0])
    return next(word for word in tree.captions(nsd_id)[0].split() if word in names)


def made(reconstructor: Reconstructor, z: Array, c: Array, mode: Mode = "zc") -> Array:
    """Return pictures of z's and c's."""
    return np.stack([reconstructor.picture(one_z, one_c, mode) for one_z, one_c in zip(z, c, strict=True)])


def scale_rows(left_out: LeftOut, scorer: LeftOutScorer, reconstruct: Callable[..., Reconstructor]) -> Iterator[str]:
    """Compare scales of c over calls and guidance, and scales of z at the presets' guidance."""
    yield "| z | c | calls | guidance | two-way | PixCorr | named |"
    yield "|---|---|---|---|---|---|---|"
    arms = [(USUAL, c, k, g) for c in left_out.c for k in CALLS for g in SCALES]
    arms += [(z, EXPECTED, k, 3.0) for z in left_out.z if z != USUAL for k in CALLS]
    for z, c, k, g in arms:
        preset = Preset("compared", 799, k, guidance_scale=g)
        pictures = made(reconstruct(preset), left_out.z[z], left_out.c[c])
        yield scorer.row(f"{z} | {c} | {k} | {g:g}", pictures)


def few_step_rows(left_out: LeftOut, scorer: LeftOutScorer, reconstruct: Callable[..., Reconstructor]) -> Iterator[str]:
    """Compare teacher and student, full and small decoder."""
    z, c = left_out.z[USUAL], left_out.c[EXPECTED]
    yield "| denoiser | decoder | calls | two-way | PixCorr | named |"
    yield "|---|---|---|---|---|---|"
    for few_step, calls in ((False, (1, 2, 4, 8, 40)), (True, (1, 2, 4))):
        for k in calls:
            preset = replace(PRESETS["live-1"], n_calls=k, guidance="none" if few_step else "full")
            for tiny in (False, True):
                pictures = made(reconstruct(preset, few_step=few_step, tiny=tiny), z, c)
                words = f"{'few-step' if few_step else 'guided'} | {'small' if tiny else 'full'} | {k}"
                yield scorer.row(words, pictures)
    for tiny in (False, True):
        pictures = made(reconstruct(PRESETS["live-1"], tiny=tiny), z, c, "z")
        yield scorer.row(f"none, mode z | {'small' if tiny else 'full'} | 0", pictures)


@click.command()
@click.argument("what", type=click.Choice(["scale", "few-step"]))
@click.option("--subject", default=2, show_default=True)
@click.option("--n-pictures", default=100, show_default=True, type=click.IntRange(2, N_LEFT_OUT))
@click.option("--prepare", is_flag=True, help="Stop after decoding the trials.")
@click.option("--state", default=Path("build/settings"), type=click.Path(path_type=Path))
def main(what: str, subject: int, n_pictures: int, prepare: bool, state: Path) -> None:
    """Compare settings on training pictures that a fit left out."""
    left_out = left_out_trials(subject, n_pictures, state / f"subj{subject:02d}.npz")
    if prepare:
        return
    settings = msgspec.structs.replace(pipeline_settings(load_config()), engine="onnx")
    ldm, scorer = load_model(settings), LeftOutScorer(left_out)

    def reconstruct(preset: Preset, *, few_step: bool = False, tiny: bool = False) -> Reconstructor:
        preset = replace(preset, few_step=few_step, decoder="tiny" if tiny else "full")
        return DecodingPipeline.around(ldm, msgspec.structs.replace(settings, preset=preset)).reconstructor

    rows = scale_rows if what == "scale" else few_step_rows
    for row in rows(left_out, scorer, reconstruct):
        print(row, flush=True)


if __name__ == "__main__":
    main()
