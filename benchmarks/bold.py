"""What the estimator of BOLD trials costs: ms a volume, and whether it stays so; results/bold.json.

A picture every 4 s and a volume every 4/3 s, as in NSD, for as long as wanted: noise is as dear as signal. Each volume
is taken, and the trials that unfold are read out, as the daemon does.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from measuring import origin, summary, write_result

from braind.models.bold.estimator import CausalEstimator
from braind.models.weights.bold_prior import HRF_SHIFTS_S, BoldPrior

RESULTS = Path(__file__).parent / "results"
TR_S, TRIAL_S = 4 / 3, 4.0


def time_volumes(n_voxels: int, n_volumes: int) -> list[float]:
    """Return seconds for each volume."""
    rng = np.random.default_rng(0)
    prior = BoldPrior(
        rng.integers(0, len(HRF_SHIFTS_S), n_voxels), np.ones(n_voxels, np.float32), np.ones(n_voxels, np.float32)
    )
    estimator = CausalEstimator(TR_S, prior)
    volumes = (1000 + rng.normal(0, 10, (64, n_voxels))).astype(np.float32)
    times_s = []
    for index in range(n_volumes):
        if index % round(TRIAL_S / TR_S) == 0:
            estimator.add_event(index, index * TR_S)
        began_s = time.perf_counter()
        estimator.add_volume(index, volumes[index % len(volumes)])
        estimator.current_estimates()
        times_s.append(time.perf_counter() - began_s)
    return times_s


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--voxels", type=int, default=14_000)
    parser.add_argument("--volumes", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    where = origin()
    times_s = time_volumes(options.voxels, options.volumes)
    tenth = max(options.volumes // 10, 1)
    # a run's first trials are few: what they cost says little
    begun = min(200, options.volumes // 4)
    parts = {
        "all": summary(times_s), "first": summary(times_s[begun : begun + tenth]), "last": summary(times_s[-tenth:])
    }  # fmt: skip
    path = write_result(options.out, "bold", where, {"n_voxels": options.voxels, "n_volumes": options.volumes, **parts})
    for name, part in parts.items():
        print(f"{name}: median {part['p50_ms']} ms, p99 {part['p99_ms']} ms, best {part['best_ms']} ms a volume")
    print(path)


if __name__ == "__main__":
    main()
