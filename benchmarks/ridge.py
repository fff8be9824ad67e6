"""Ridge at NSD's size: braind's fit and prediction beside himalaya's and scikit-learn's; results/ridge.json.

`--scale` multiplies NSD's 8,859 trials, 7,604 voxels and 59,136 targets. Data are random with the spectra of real ones:
correlated voxels, targets with few strong and many weak directions, each picture seen once. braind fits everything.
himalaya's own functions are timed part by part (a fold's decomposition, one penalty's matrix, its products with a
slice of targets) and added up to the whole fit, as is scikit-learn's Ridge; `--whole` runs himalaya's RidgeCV too.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

TRIALS, VOXELS, TARGETS = 8859, 7604, 59136
Z_VOXELS, Z_TARGETS, RANK = 5917, 6400, 512
RESULTS = Path(__file__).parent / "results" / "ridge.json"
N_FOLDS, SLICE = 5, 2048


def main() -> None:
    """Run the chosen parts and add them to the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=0.25)
    parser.add_argument("--parts", default="braind,himalaya,scikit-learn,predict,growth")
    parser.add_argument("--whole", action="store_true", help="himalaya's RidgeCV whole as well")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--work", type=Path, help="folder that an interrupted fit goes on from")
    parser.add_argument("--fit-only", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = (round(options.scale * TRIALS), round(options.scale * VOXELS), round(options.scale * TARGETS))
    if options.fit_only:
        print(json.dumps(fit(options.fit_only)))
        return
    results = json.loads(options.out.read_text()) if options.out.exists() else {}
    for part in options.parts.split(","):
        measured: dict[str, Any] = {}
        if part == "braind":
            measured = fitted(*sizes, options.work)
        elif part == "himalaya":
            measured = himalaya_parts(*sizes)
            if options.whole:
                measured["whole_s"] = himalaya_whole(*sizes)
        elif part == "scikit-learn":
            measured = sklearn_parts(*sizes)
        elif part == "predict":
            measured = predict()
        elif part == "growth":
            measured = growth()
        key = part if part in ("predict", "growth") else f"{part} at {options.scale:g}"
        results[key] = {**measured, "machine": machine(), "sizes": None if part in ("predict", "growth") else sizes}
        print(key, json.dumps(measured, indent=2), flush=True)
        options.out.parent.mkdir(exist_ok=True)
        options.out.write_text(json.dumps(results, indent=2) + "\n")


def machine() -> dict[str, Any]:
    """Describe what measured."""
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
                if line.startswith("model name")), platform.machine())  # fmt: skip
    return {
        "processor": cpu, "cores": os.cpu_count(), "threads": torch.get_num_threads(),
        "clock": "CPU seconds" if os.environ.get("BENCH_CPU") else "wall clock",
        "load_average": round(os.getloadavg()[0], 1), "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "torch", "himalaya", "scikit-learn")},
        "commit": subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], text=True).strip(),
    }  # fmt: skip


def voxels_of(n_trials: int, n_voxels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return z-scored voxels and the pictures' hidden properties that they mix."""
    rng = np.random.default_rng(0)
    n_hidden = min(400, n_voxels)
    hidden = rng.normal(size=(n_trials, n_hidden)).astype(np.float32)
    strength = (np.arange(1, n_hidden + 1) ** -0.5).astype(np.float32)
    voxels = 0.3 * (hidden * strength) @ rng.normal(size=(n_hidden, n_voxels)).astype(np.float32)
    shared = rng.normal(size=(n_trials, 20)).astype(np.float32)
    voxels += 0.3 * shared @ rng.normal(size=(20, n_voxels)).astype(np.float32)
    voxels += rng.normal(size=voxels.shape).astype(np.float32)
    voxels -= voxels.mean(0)
    return voxels / voxels.std(0), hidden * strength


def write_targets(path: Path, hidden: np.ndarray, n_targets: int) -> None:
    """Write targets in chunks: hidden properties, 3,000 directions of falling strength, and noise of their own."""
    rng = np.random.default_rng(1)
    n = len(hidden)
    n_directions = min(3000, n)
    directions = rng.normal(size=(n, n_directions)).astype(np.float32)
    directions *= (np.arange(1, n_directions + 1) ** -0.7).astype(np.float32)
    file = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, n_targets))
    for start in range(0, n_targets, SLICE):
        m = min(SLICE, n_targets - start)
        chunk = 0.7 * hidden @ rng.normal(size=(hidden.shape[1], m)).astype(np.float32)
        chunk += directions @ rng.normal(size=(n_directions, m)).astype(np.float32)
        file[:, start : start + m] = chunk + 0.1 * chunk.std() * rng.normal(size=(n, m)).astype(np.float32)
    file.flush()


def live_penalties() -> np.ndarray:
    """Return the `live` profile's penalties."""
    from braind.models.fit_profiles import PROFILES

    return np.array(PROFILES["live"].penalties, np.float32)


def fit(folder: Path) -> dict[str, Any]:
    """Fit and compress what lies in a folder; run in a process of its own, so that its peak memory is the fit's."""
    from braind.models.ridge.checkpoint import Checkpoint
    from braind.models.ridge.design import make_design
    from braind.models.ridge.fit import fit_targets
    from braind.models.ridge.folds import picture_folds
    from braind.models.ridge.problem import RidgeProblem
    from braind.models.ridge.reduced_rank import reduce_rank

    clock = time.process_time if os.environ.get("BENCH_CPU") else time.perf_counter
    began_s = clock()
    marks: dict[str, float] = {}
    voxels, targets = np.load(folder / "voxels.npy"), np.load(folder / "targets.npy", mmap_mode="r")
    picture_of_trial, checkpoint = np.arange(len(voxels)), Checkpoint(folder / "work")
    folds = picture_folds(picture_of_trial, N_FOLDS, grouped=True)

    def mark(name: str) -> None:
        marks[name] = round(clock() - began_s - sum(marks.values()), 2)
        print(name, marks[name], file=sys.stderr, flush=True)

    def progress(share: float) -> None:
        print(f"{share:.1%}, {clock() - began_s:.0f} s", file=sys.stderr, flush=True)

    design = make_design(voxels, picture_of_trial, len(voxels))
    mark("design_s")
    problem = RidgeProblem(design, folds, live_penalties().tolist())
    ridge = fit_targets(problem, targets, checkpoint=checkpoint, progress=progress)
    mark("cross_validate_s")
    left, _, discarded = reduce_rank(ridge, np.ones(targets.shape[1]), 0.005)
    mark("reduce_rank_s")
    chosen, counts = np.unique(ridge.penalties, return_counts=True)
    return {
        **marks,
        "total_s": round(sum(marks.values()), 1),
        "cpu_s": round(time.process_time(), 1),
        "peak_rss_gib": round(_peak_bytes() / 2**30, 2),
        "rank": left.shape[1],
        "discarded_variance": round(discarded, 5),
        "chosen": {f"{alpha:.4g}": int(count) for alpha, count in zip(chosen, counts, strict=True)},
        "held_out_correlation": round(float(ridge.held_out_correlation.mean()), 4),
    }


def _peak_bytes() -> int:
    # getrusage would count what the process that started this one had in memory
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def fitted(n_trials: int, n_voxels: int, n_targets: int, work: Path | None = None) -> dict[str, Any]:
    """Make data of a size and fit them in another process."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = work or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "targets.npy").exists():
            voxels, hidden = voxels_of(n_trials, n_voxels)
            np.save(folder / "voxels.npy", voxels)
            write_targets(folder / "unfinished.npy", hidden, n_targets)
            (folder / "unfinished.npy").rename(folder / "targets.npy")
        ran = subprocess.run([sys.executable, __file__, "--fit-only", str(folder)], check=True, stdout=subprocess.PIPE)
        return json.loads(ran.stdout)


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Return a call's seconds and what it returned; with BENCH_CPU=1, for a busy machine, seconds of CPU."""
    clock = time.process_time if os.environ.get("BENCH_CPU") else time.perf_counter
    began_s = clock()
    returned = function()
    return clock() - began_s, returned


def himalaya_parts(n_trials: int, n_voxels: int, n_targets: int) -> dict[str, Any]:
    """Time himalaya's own steps for one fold, one penalty and a slice of targets, and add them up.

    The refit is counted with the fold's smaller matrices and the penalties that braind chose at this size (half of
    them where it has not run), which favours himalaya.
    """
    from himalaya.ridge._random_search import _decompose_ridge
    from himalaya.scoring import l2_neg_loss

    voxels, hidden = voxels_of(n_trials, n_voxels)
    rng = np.random.default_rng(1)
    shown = hidden @ rng.normal(size=(hidden.shape[1], SLICE)).astype(np.float32)
    held_out = n_trials // N_FOLDS
    training, test = voxels[held_out:], voxels[:held_out]
    penalties = live_penalties()
    steps = _decompose_ridge(training, penalties[:2], n_alphas_batch=1)
    first_s, _ = timed(lambda: next(steps))
    matrix_s, (matrix, _) = timed(lambda: next(steps))
    # matrix.shape = (1, n_voxels, n_training)
    test_s, predictor = timed(lambda: np.matmul(test, matrix))
    score_s, _ = timed(lambda: l2_neg_loss(shown[:held_out], np.matmul(predictor, shown[held_out:])))
    refit_s, _ = timed(lambda: np.matmul(matrix, shown[held_out:]))
    n_slices, n_used = n_targets / SLICE, max(1, len(penalties) // 2)
    decompose_s = first_s - matrix_s
    fold_s = decompose_s + len(penalties) * (matrix_s + test_s + n_slices * score_s)
    refit_all_s = decompose_s + n_used * (matrix_s + n_slices * refit_s)
    return {
        "decompose_s": decompose_s, "matrix_s": matrix_s, "test_s": test_s, "score_slice_s": score_s,
        "refit_slice_s": refit_s, "slice": SLICE, "n_alphas": len(penalties), "n_used_alphas": n_used,
        "cross_validation_s": N_FOLDS * fold_s, "refit_s": refit_all_s, "total_s": N_FOLDS * fold_s + refit_all_s,
    }  # fmt: skip


def himalaya_whole(n_trials: int, n_voxels: int, n_targets: int) -> float:
    """Time himalaya's RidgeCV on all of it, in batches that keep its memory in bounds."""
    from himalaya.ridge import RidgeCV
    from sklearn.model_selection import KFold

    voxels, hidden = voxels_of(n_trials, n_voxels)
    shown = hidden @ np.random.default_rng(1).normal(size=(hidden.shape[1], n_targets)).astype(np.float32)
    batches = {"n_targets_batch": SLICE, "n_targets_batch_refit": SLICE, "n_alphas_batch": 2}
    cv: Any = KFold(N_FOLDS)
    model = RidgeCV(alphas=live_penalties(), fit_intercept=True, cv=cv, solver_params=batches)
    return timed(lambda: model.fit(voxels, shown))[0]


def sklearn_parts(n_trials: int, n_voxels: int, n_targets: int) -> dict[str, Any]:
    """Time scikit-learn's Ridge on one fold, one penalty and two slices; per-target penalties need one fit of each."""
    from sklearn.linear_model import Ridge

    voxels, hidden = voxels_of(n_trials, n_voxels)
    shown = hidden @ np.random.default_rng(1).normal(size=(hidden.shape[1], SLICE)).astype(np.float32)
    held_out = n_trials // N_FOLDS

    def one(n: int) -> float:
        def fold() -> None:
            model = Ridge(alpha=1000.0, solver="cholesky").fit(voxels[held_out:], shown[held_out:, :n])
            ((model.predict(voxels[:held_out]) - shown[:held_out, :n]) ** 2).mean(0)

        return timed(fold)[0]

    few_s, many_s = one(SLICE // 8), one(SLICE)
    by_target_s = max(many_s - few_s, 0) / (SLICE - SLICE // 8)
    fixed_s = max(few_s - by_target_s * SLICE // 8, 0)
    n_fits = N_FOLDS * len(live_penalties()) + max(1, len(live_penalties()) // 2)
    return {
        "fixed_s": fixed_s, "by_target_s": by_target_s, "n_fits": n_fits,
        "total_s": n_fits * (fixed_s + n_targets * by_target_s),
    }  # fmt: skip


def predict() -> dict[str, Any]:
    """Time one volume's voxels → z and c at NSD's full size, in turn, after two warm-up rounds."""
    from himalaya.ridge import Ridge as HimalayaRidge
    from sklearn.linear_model import Ridge

    from braind.models.weights.low_rank import LowRankMap
    from braind.models.weights.prior import PicturePrior

    rng = np.random.default_rng(0)
    n_all, rounds = 13521, 7
    voxels = rng.normal(size=(1, n_all)).astype(np.float32)

    def low_rank(n_own: int, rank: int, n_targets: int) -> LowRankMap:
        flat = np.ones(n_targets, np.float32)
        return LowRankMap(
            positions=np.arange(n_own), left=np.full((n_own, rank), 0.01, np.float16),
            row_scale=np.ones(n_own, np.float32), right=np.full((rank, n_targets), 0.01, np.float16),
            column_scale=flat, intercept=flat, target_mean=flat, target_std=flat, cv_correlation=flat,
        )  # fmt: skip

    z, c = low_rank(Z_VOXELS, RANK, Z_TARGETS), low_rank(VOXELS, RANK, TARGETS)
    ones = np.ones(RANK, np.float32)
    prior = PicturePrior(
        scores=low_rank(VOXELS, RANK, RANK), gain=ones, noise=ones,
        pictures=rng.normal(size=(TRIALS, RANK)).astype(np.float16), components=c.right,
        mean=np.zeros(TARGETS, np.float32),
    )  # fmt: skip
    dense: list[Callable[[], Any]] = []
    theirs: list[Callable[[], Any]] = []
    for n_own, n_targets in ((Z_VOXELS, Z_TARGETS), (VOXELS, TARGETS)):
        own = np.ascontiguousarray(voxels[:, :n_own])
        coefficients = np.full((n_targets, n_own), 0.01, np.float32)
        ridge: Any = Ridge()
        himalaya: Any = HimalayaRidge()
        ridge.coef_, ridge.intercept_, ridge.n_features_in_ = coefficients, np.zeros(n_targets, np.float32), n_own
        # himalaya keeps the transposed matrix; laid out as it lays it out
        himalaya.coef_, himalaya.n_features_in_, himalaya.dtype_ = coefficients.T, n_own, "float32"
        dense.append(lambda model=ridge, own=own: model.predict(own))
        theirs.append(lambda model=himalaya, own=own: model.predict(own))
    arms = {
        "scikit-learn dense": lambda: [one() for one in dense],
        "himalaya dense": lambda: [one() for one in theirs],
        "braind, c linear": lambda: (z.predict(voxels), c.predict(voxels)),
        "braind, c expected": lambda: (z.predict(voxels), prior.expected(voxels)),
    }
    times: dict[str, list[float]] = {name: [] for name in arms}
    for number in range(rounds + 2):
        for name, arm in arms.items():
            taken_s, _ = timed(arm)
            if number >= 2:
                times[name].append(1000 * taken_s)
    return {name: {"median_ms": round(median(own), 2), "best_ms": round(min(own), 2)} for name, own in times.items()}


def growth() -> dict[str, Any]:
    """Fit with more voxels and with more targets, 2,000 trials."""
    curves: dict[str, Any] = {"voxels": {}, "targets": {}}
    for times in (1, 2, 4, 8):
        curves["voxels"][500 * times] = _short(fitted(2000, 500 * times, 4000))
    for times in (1, 2, 4, 8):
        curves["targets"][4000 * times] = _short(fitted(2000, 1000, 4000 * times))
    return curves


def _short(measured: dict[str, Any]) -> dict[str, Any]:
    return {name: measured[name] for name in ("total_s", "cpu_s", "peak_rss_gib", "rank")}


if __name__ == "__main__":
    main()
