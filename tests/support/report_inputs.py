"""Small inputs of a report: scores as `braind evaluate --json` prints them, weights' maps, and recorded sessions."""

from typing import Any

import numpy as np
from running_daemon import N_VOXELS, hello

from braind.client import wire
from braind.config import Config, weights_path
from braind.daemon.journal.journal import Journal
from braind.models.scores.protocols import PROTOCOLS, own_measures
from braind.models.weights.low_rank import LowRankMap, TargetStatistics, low_rank_map
from braind.offline.evaluate.tables import CEILINGS, CONTROLS

SETTINGS = ("--preset", "live-1", "--engine", "torch")
MARKUP = "<script>alert(1)</script>\x1b[2J"


def random_map(positions: np.ndarray, n_targets: int) -> LowRankMap:
    generator = np.random.default_rng(n_targets)
    return low_rank_map(
        positions,
        generator.normal(size=(len(positions), 4)),
        generator.normal(size=(4, n_targets)) / 10,
        np.zeros(len(positions)),
        np.zeros(n_targets),
        TargetStatistics(np.zeros(n_targets), np.ones(n_targets), np.zeros(n_targets)),
    )


def score(mean: float) -> dict[str, Any]:
    return {"mean": mean, "ci95": [mean - 0.1, mean + 0.1], "n": 12}


DIFFERENCE = {"difference": 0.2, "p": 0.01}
FLOORED = {"difference": -0.2, "p": 0.0001, "ci95": [-0.3, -0.1], "n": 12}


def scores_with(provenance: dict[str, Any]) -> dict[str, Any]:
    protocol = PROTOCOLS["mindeye"]
    measures = (*protocol.measures, *own_measures(protocol))
    measured = ("pixcorr", "ssim", "clip_two_way", "forward_top1")
    line = {name: score(0.3 + 0.1 * n) for n, name in enumerate(measured)}
    rows = {row: {mode: line for mode in ("z", "c", "zc")} for row in ("single", "averaged")}
    return {
        **rows,
        "controls": {name: line for name in CONTROLS},
        "ceilings": {**{name: line for name in CEILINGS}, "z_correlation": {}, "c_correlation": {}},
        "comparisons": {"single": {"zc": {name: {"mean_prediction": DIFFERENCE} for name in line}}},
        "paired": {"single": {"zc - z": {name: FLOORED for name in line}}},
        "novel_kinds": {"not_measured": "not available"},
        "bold": {"not_measured": "needs weights of kind bold"},
        "measures": {
            measure.name: {
                "title": measure.title,
                "status": "measured" if measure.name in measured else "not measured: needs a network",
            }
            for measure in measures
        },
        "protocol": "mindeye",
        "n_pictures": 6,
        "n_distractors": 5,
        "n_samples": 1,
        "n_bootstrap": 2000,
        "n_permutations": 10_000,
        "provenance": provenance,
    }


def journal_of(
    config: Config, session: str, subject: int, made: int = 0, weights: str = "weights", **provenance: Any
) -> None:
    """Journal a session whose volume n was decoded in 100 + n ms, with classes; volume 0 is wrong."""
    folder = weights_path(config, 1).parent.parent / "journals"
    folder.mkdir(exist_ok=True)
    journal = Journal(folder / f"{session}.sqlite3")
    journal.open_run(hello(session=session, subject=subject), weights)
    by = {"preset": "live-1", "mode": "zc", "seed": 42, "engine": "torch-cpu", "weights": weights, "ldm": "",
          "simulated": True, "version": "0.1.0", **provenance}  # fmt: skip
    probabilities = {"face": 0.75, MARKUP: 0.25}.items()
    labels = tuple(wire.LabelProbability(label=name, probability=p) for name, p in probabilities)
    for n in range(made):
        volume = wire.Volume(session=session, run="run-01", index=n, dtype="int16", shape=(1, 1, 1), crc32=0)
        journal.add_volume(volume, np.zeros(N_VOXELS, np.float32), seen=None, whole=None)
        stages: dict[wire.Stage, dict[str, float]] = {
            "scores": {"ack": 0.002, "scores": 0.005},
            "xzc": {"xz": 0.05, "xzc": 0.1 + n / 1000},
        }
        for k, (stage, times_s) in enumerate(stages.items()):
            message = wire.Decode(
                seq=1 + 2 * n + k, session=session, run="run-01", index=n, stage=stage, timings_s=times_s,
                labels=labels if stage == "scores" else (), label=MARKUP if n == 0 else "face",
                provenance=wire.Provenance(subject=subject, **by),
            )  # fmt: skip
            journal.add_decode(message, b"png", outcome="decoded" if stage == "xzc" else None)
    journal.close()
