"""The published choices: `fit --profile takagi` and the preset takagi, scored on averages of all shared pictures.

Prints a Markdown table of the modes z and zc: does zc identify better than z?
Run: python benchmarks/published_choices.py [--subjects 1,2]
"""

import tempfile

import click
import numpy as np

from braind.arrays import Array
from braind.choices import Mode
from braind.config import load_config, nsd_path
from braind.models.pipeline.decoding_pipeline import DecodingPipeline
from braind.models.scores.clip import PictureClip
from braind.models.scores.held_out import average_repeats
from braind.models.scores.metrics import permutation_p, pixcorr, random_signs, two_way
from braind.models.weights.weights import Weights
from braind.offline.data_sets import ensure_tree
from braind.offline.evaluate.scenes import scene_judge
from braind.offline.fit.subject import ready_weights
from braind.offline.from_settings import pipeline_settings

MODES: tuple[Mode, ...] = ("z", "zc")
N_PERMUTATIONS, SEED = 10_000, 42


def scores_of(subject: int, data: str) -> dict[Mode, dict[str, Array]]:
    """Fit in another folder, decode the averages, and return each mode's scores by picture."""
    nsd = str(nsd_path(load_config()))
    config = load_config(
        overrides={
            "paths": {"data": data, "nsd": nsd},
            "fit": {"profile": "takagi"},
            "decode": {"preset": "takagi", "engine": "onnx"},
        }
    )
    tree = ensure_tree(config)
    weights = Weights.load(ready_weights(config, subject))
    trials = tree.trials(subject)
    ids, picture = np.unique(trials.nsd_id[trials.is_shared], return_inverse=True)
    sessions = [int(session) for session in np.unique(trials.session)]
    voxels = tree.masked_betas(subject, sessions, weights.voxel_index)[trials.is_shared]
    z, c = weights.predict(average_repeats(voxels, picture)[0])
    seen, clip = tree.pictures(ids), PictureClip()
    judge = scene_judge(tree, seen, ids)
    if judge is None:
        raise SystemExit("the simulated folder does not say what its pictures show")
    reconstructor = DecodingPipeline.load(pipeline_settings(config)).reconstructor
    scores: dict[Mode, dict[str, Array]] = {}
    for mode in MODES:
        made = np.stack([reconstructor.picture(*latents, mode) for latents in zip(z, c, strict=True)])
        scores[mode] = {
            "two-way": two_way(clip.embed(seen), clip.embed(made)),
            "PixCorr": pixcorr(seen, made),
            "kind named": judge.names(made)["kind_named"] == judge.truth["kind_named"],
        }
    return scores


@click.command()
@click.option("--subjects", default="1,2", show_default=True)
def main(subjects: str) -> None:
    """Score the published choices on simulated subjects."""
    click.echo("| subject | two-way: z | zc | zc − z | p | PixCorr: z | zc | kind named: z | zc |")
    click.echo("|---" * 9 + "|")
    for subject in map(int, subjects.split(",")):
        with tempfile.TemporaryDirectory() as data:
            scores = scores_of(subject, data)
        gain = scores["zc"]["two-way"] - scores["z"]["two-way"]
        p = permutation_p(gain, random_signs(N_PERMUTATIONS, len(gain), SEED))
        cells = [f"{scores[mode]['two-way'].mean():.3f}" for mode in MODES] + [f"{gain.mean():+.3f}", f"{p:.4f}"]
        cells += [f"{scores[mode]['PixCorr'].mean():.3f}" for mode in MODES]
        cells += [f"{scores[mode]['kind named'].mean():.2f}" for mode in MODES]
        click.echo(f"| {subject} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
