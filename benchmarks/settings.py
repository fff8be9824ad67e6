"""Compares settings of reconstruction on training pictures that a fit left out.

The shared test pictures take no part: they score the settings that were chosen. Prints a Markdown table.
Run: python benchmarks/settings.py [--subject 2] [--n-pictures 400]
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import click
import msgspec
import numpy as np

from braind.arrays import Array
from braind.choices import Mode
from braind.config import load_config
from braind.models.ldm.reconstruct import Reconstructor
from braind.models.pipeline.decoding_pipeline import DecodingPipeline, load_model
from braind.models.presets import EMBEDDED_PRESETS, PRESETS, Preset, even_schedule, text_schedule
from braind.models.scores.clip import PictureClip
from braind.models.scores.metrics import pixcorr, two_way
from braind.offline.data_sets import ensure_tree
from braind.offline.evaluate.scenes import scene_judge
from braind.offline.fit.left_out import ONE_PENALTY, PictureSplits
from braind.offline.from_settings import pipeline_settings

N_LEFT_OUT = 400
MEASURES = ("two-way", "PixCorr", "PixCorr of the background", "kind named")


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Trials of pictures that the fit left out: what was seen, and z and c decoded from one trial and from averages.

    Parameters
    ----------
    seen : array of shape (n, px, px, 3), uint8
    nsd_ids : array of shape (n,), int
    z, c : decoded from each picture's first trial, (n, …) float32
    averaged_z, averaged_c : decoded from the mean of each picture's trials, (n, …) float32
    """

    seen: Array
    nsd_ids: Array
    z: Array
    c: Array
    averaged_z: Array
    averaged_c: Array

    def first(self, n: int) -> "LeftOut":
        """Return the first n."""
        return LeftOut(*(getattr(self, name)[:n] for name in self.__dataclass_fields__))


def left_out_trials(subject: int, state: Path) -> LeftOut:
    """Return the decoded trials of pictures left out, from a file in `state` that the first run writes."""
    path = state / f"left-out-subj{subject:02d}.npz"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **vars(decode_left_out(subject)))
    return LeftOut(**np.load(path))


def decode_left_out(subject: int) -> LeftOut:
    """Fit without some pictures, and decode their trials."""
    config = load_config()
    splits, tree = PictureSplits.read(config, subject), ensure_tree(config)
    trials, nsd_ids = splits.trials, splits.nsd_ids
    chosen = np.sort(np.random.default_rng(2).choice(len(nsd_ids), N_LEFT_OUT, replace=False))
    weights = splits.fit_without(np.isin(np.arange(len(nsd_ids)), chosen), ONE_PENALTY)
    own = [np.flatnonzero(trials.picture_of_trial == picture) for picture in chosen]
    z, c = weights.predict(np.stack([trials.voxels[of_picture[0]] for of_picture in own]))
    averaged = weights.predict(np.stack([trials.voxels[of_picture].mean(axis=0) for of_picture in own]))
    return LeftOut(tree.pictures(nsd_ids[chosen]), nsd_ids[chosen], z, c, *averaged)


class LeftOutScorer:
    """Scores pictures of the left-out trials."""

    def __init__(self, left_out: LeftOut) -> None:
        self.left_out, self.clip = left_out, PictureClip()
        self.seen = self.clip.embed(left_out.seen)
        judge = scene_judge(ensure_tree(load_config()), left_out.seen, left_out.nsd_ids)
        if judge is None:
            raise SystemExit("the data set does not say what its pictures show; compare settings on simulated subjects")
        self.judge = judge

    def scores(self, pictures: Array) -> dict[str, Array]:
        """Return each picture's score by measure, (n,) float64."""
        numbers = np.arange(len(pictures))
        named = self.judge.names(pictures)["kind_named"] == self.judge.truth["kind_named"]
        values = (
            two_way(self.seen, self.clip.embed(pictures)),
            pixcorr(self.left_out.seen, pictures),
            self.judge.background_pixcorr(pictures, numbers),
            named.astype(np.float64),
        )
        return dict(zip(MEASURES, values, strict=True))


@dataclass(frozen=True)
class Arm:
    """A way to make pictures, and whether of averages."""

    mode: Mode
    preset: Preset
    averaged: bool = False

    @property
    def words(self) -> str:
        """Return the first cells of the arm's row."""
        name = f"{self.mode}, averages" if self.averaged else self.mode
        if self.mode == "z":
            return f"| {name} | | | |"
        name += f", `{self.preset.name}`" if self.preset.name else ""
        schedule = (
            text_schedule(self.preset) if self.mode == "c" else even_schedule(self.preset.start, self.preset.n_calls)
        )
        guidance = "built in" if self.preset.few_step else f"{self.preset.guidance_scale:g}"
        return f"| {name} | {schedule.noise} | {len(schedule.timesteps)} × {self.preset.rule} | {guidance} |"


def arms() -> Iterator[Arm]:
    """Yield the compared arms."""
    chosen, plain = EMBEDDED_PRESETS["live-4"], replace(PRESETS["live-4"], name="")
    yield Arm("z", plain)
    yield Arm("c", plain)
    yield Arm("c", chosen)
    for start in (799, 699, 649, 599):
        yield Arm("zc", replace(plain, start=start))
    yield Arm("zc", replace(chosen, name="", start=699))
    for name in ("live-4", "live-8"):
        yield Arm("zc", EMBEDDED_PRESETS[name])
    for name in ("live-2", "live-1"):
        yield Arm("zc", PRESETS[name])
    yield Arm("zc", chosen, averaged=True)


def made(reconstructor: Reconstructor, left_out: LeftOut, arm: Arm) -> Array:
    """Return the arm's pictures."""
    z, c = (left_out.averaged_z, left_out.averaged_c) if arm.averaged else (left_out.z, left_out.c)
    return np.stack([reconstructor.picture(one_z, one_c, arm.mode) for one_z, one_c in zip(z, c, strict=True)])


def rows(left_out: LeftOut, compared: Iterator[Arm], reconstruct: Callable[[Preset], Reconstructor]) -> Iterator[str]:
    """Yield the table's rows: means, and in parentheses the standard errors."""
    scorer = LeftOutScorer(left_out)
    yield f"| mode | start | calls | guidance | {' | '.join(MEASURES)} |"
    yield "|---" * (4 + len(MEASURES)) + "|"
    for arm in compared:
        scores = scorer.scores(made(reconstruct(arm.preset), left_out, arm)).values()
        cells = (f"{score.mean():.3f} ({score.std() / len(score) ** 0.5:.3f})" for score in scores)
        yield f"{arm.words} {' | '.join(cells)} |"


@click.command()
@click.option("--subject", default=2, show_default=True)
@click.option("--n-pictures", default=N_LEFT_OUT, show_default=True, type=click.IntRange(2, N_LEFT_OUT))
@click.option("--state", default=Path("build/settings"), type=click.Path(path_type=Path))
def main(subject: int, n_pictures: int, state: Path) -> None:
    """Compare settings on training pictures that a fit left out."""
    left_out = left_out_trials(subject, state).first(n_pictures)
    settings = msgspec.structs.replace(pipeline_settings(load_config()), engine="onnx")
    model = load_model(settings)

    def reconstruct(preset: Preset) -> Reconstructor:
        return DecodingPipeline.around(model, msgspec.structs.replace(settings, preset=preset)).reconstructor

    for row in rows(left_out, arms(), reconstruct):
        click.echo(row)


if __name__ == "__main__":
    main()
