"""One (z, c) → one picture: diffusers, StreamDiffusion's schedule and braind's engines with the same calls, in turn.

Every round decodes another held-out trial, so that the pictures that were timed are those that are judged.
"""

import time
from typing import Any

import numpy as np
import torch
from arms import (
    SEED,
    Arm,
    as_written,
    at_its_best,
    braind_arm,
    pipeline_at_its_best,
    stock_pipeline,
    stream_batch,
)
from held_out import Array, HeldOut, psnr
from measuring import N_WARM_UPS, flops_of, peak_flops, summary
from msgspec.structs import replace
from names import AS_WRITTEN, AT_ITS_BEST, ONNX, STREAM_BATCH, TORCH

from braind.config import Config
from braind.models.ldm.model import LatentDiffusionModel
from braind.models.presets import Preset
from braind.offline.from_settings import pipeline_settings

SUBJECT = 1
START, GUIDANCE = 799, 3.0
PASSES = {1: 4, 2: 2, 4: 4, 8: 2, 40: 1}  # over the held-out trials, by denoiser calls
N_PICTURES = 24
LONGEST_STREAM = 8  # more pictures in flight than that would be minutes of delay
PACED_CALLS, N_PACED, PACED_GAP_S = 4, 12, 1.33
SAME_PSNR_DB = 40.0


def measure(config: Config, *, quick: bool) -> dict[str, Any]:
    """Time and judge every arm for every number of calls."""
    passes = {1: 1, 2: 1} if quick else PASSES
    ldm = LatentDiffusionModel.load()
    held_out = HeldOut.load(config, SUBJECT, 2 if quick else N_PICTURES)
    eager = pipeline_at_its_best(ldm, compiled=False)
    best, inductor = (eager, {"taken": False, "why": "not tried"}) if quick else faster_pipeline(ldm, eager, held_out)
    written = stock_pipeline(ldm)
    peak_before = peak_flops()
    rows, pictures, paced = [], {}, []
    for n_calls, n_passes in passes.items():
        preset = Preset("bench", START, n_calls, guidance_scale=GUIDANCE)
        arms = make_arms(ldm, preset, config, written, best)
        times, pictures[n_calls] = run_rounds(arms, held_out, n_passes)
        for name, arm in arms.items():
            rows.append({
                "arm": name, "calls": n_calls, "batch": arm.batch, "decoder": type(ldm.autoencoder).__name__,
                "guidance": GUIDANCE, "start": arm.start, "lag_volumes": arm.lag, **summary(times[name]),
                **held_out.scores(pictures[n_calls][name]),
            })  # fmt: skip
        check_same(pictures[n_calls], n_calls)
        if n_calls == (2 if quick else PACED_CALLS):
            n_paced, gap_s = (1, 0.01) if quick else (N_PACED, PACED_GAP_S)
            paced += [{"arm": name, "calls": n_calls, "gap_s": gap_s, **summary(times)}
                      for name, times in run_paced(arms, held_out, n_paced, gap_s).items()]  # fmt: skip
    add_psnr(rows, pictures)
    peak = max(peak_before, peak_flops())  # other work on the machine only lowers it
    add_floor(rows, ldm, peak)
    return {
        "trials": len(held_out), "foils": len(held_out.foils), "peak_gflops": round(peak / 1e9, 1),
        "inductor": inductor, "rows": rows, "paced": paced,
    }  # fmt: skip


def make_arms(ldm: LatentDiffusionModel, preset: Preset, config: Config, written: Any, best: Any) -> dict[str, Arm]:
    """Return the arms for one number of calls."""
    settings = replace(pipeline_settings(config), preset=preset, seed=SEED)
    arms = {
        AS_WRITTEN: as_written(written, ldm, preset),
        AT_ITS_BEST: at_its_best(best, ldm, preset),
        STREAM_BATCH: stream_batch(ldm, preset),
        TORCH: braind_arm(ldm, replace(settings, engine="torch")),
        ONNX: braind_arm(ldm, replace(settings, engine="onnx")),
    }
    if preset.n_calls > LONGEST_STREAM:
        del arms[STREAM_BATCH]
    return arms


def faster_pipeline(ldm: LatentDiffusionModel, eager: Any, held_out: HeldOut) -> tuple[Any, dict[str, Any]]:
    """Try whether inductor, with frozen weights, makes diffusers at its best faster still; return the faster one."""
    preset = Preset("bench", START, PACED_CALLS, guidance_scale=GUIDANCE)
    began_s = time.perf_counter()
    compiled = pipeline_at_its_best(ldm, compiled=True)
    try:
        arms = {"eager": at_its_best(eager, ldm, preset), "compiled": at_its_best(compiled, ldm, preset)}
        times, _ = run_rounds(arms, held_out, 1)
    except Exception as error:  # noqa: BLE001 (a missing C++ compiler shows as one of many exceptions)
        return eager, {"taken": False, "why": f"inductor failed: {type(error).__name__}"}
    p50_ms = {f"{name}_p50_ms": summary(values)["p50_ms"] for name, values in times.items()}
    is_taken = p50_ms["compiled_p50_ms"] < p50_ms["eager_p50_ms"]
    tried_in_s = round(time.perf_counter() - began_s, 1)
    why = f"the faster one with {PACED_CALLS} calls"
    return compiled if is_taken else eager, {"taken": is_taken, "why": why, **p50_ms, "tried_in_s": tried_in_s}


# ── rounds ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def run_rounds(
    arms: dict[str, Arm], held_out: HeldOut, n_passes: int
) -> tuple[dict[str, list[float]], dict[str, Array]]:
    """Run all arms in turn over the held-out trials; return times in s after warming up, and each trial's picture."""
    times: dict[str, list[float]] = {name: [] for name in arms}
    pictures: dict[str, dict[int, Array]] = {name: {} for name in arms}
    n, n_timed = len(held_out), n_passes * len(held_out)
    for step in range(N_WARM_UPS + n_timed + max(arm.lag for arm in arms.values())):
        is_timed = N_WARM_UPS <= step < N_WARM_UPS + n_timed
        for name, arm in arms.items():
            if step >= N_WARM_UPS + n_timed and not arm.lag:
                continue  # only what lags has pictures to come
            began_s = time.perf_counter()
            picture = arm.run(held_out.z[step % n], held_out.c[step % n])
            if is_timed:
                times[name].append(time.perf_counter() - began_s)
            if step >= arm.lag:
                pictures[name][(step - arm.lag) % n] = picture
    return times, {name: np.stack([made[at] for at in range(n)]) for name, made in pictures.items()}


def run_paced(arms: dict[str, Arm], held_out: HeldOut, n_rounds: int, gap_s: float) -> dict[str, list[float]]:
    """Run all arms in turn with a pause before each picture, as between two volumes."""
    times: dict[str, list[float]] = {name: [] for name in arms}
    for step in range(n_rounds):
        for name, arm in arms.items():
            time.sleep(gap_s)
            began_s = time.perf_counter()
            arm.run(held_out.z[step % len(held_out)], held_out.c[step % len(held_out)])
            times[name].append(time.perf_counter() - began_s)
    return times


# ── what the figures are held against ───────────────────────────────────────────────────────────────────────────────


def least_flops(ldm: LatentDiffusionModel, n_calls: int) -> int:
    """Count the least arithmetic that makes one guided picture of z and c, one multiplication being one operation.

    Keys and values of the cross-attention depend on c alone: they are counted once a volume, the unconditional ones
    never, though only some arms save them.
    """
    latents, embeddings = torch.zeros((2, *ldm.latent_shape)), torch.zeros((2, *ldm.text_shape))
    call = flops_of(lambda: ldm.unet(latents, 500, embeddings))
    keys_values = sum(
        2 * ldm.text_shape[0] * module.weight.numel()
        for name, module in ldm.unet.named_modules()
        if name.endswith(("attn2.to_k", "attn2.to_v"))
    )
    decoder = flops_of(lambda: ldm.decode_latents(latents[:1]))
    return n_calls * (call - 2 * keys_values) + keys_values + decoder


def add_floor(rows: list[dict[str, Any]], ldm: LatentDiffusionModel, peak: float) -> None:
    """Add the time that the arithmetic alone takes at the measured peak rate, and how many times that each row took."""
    for row in rows:
        floor_ms = 1000 * least_flops(ldm, row["calls"]) / peak
        row |= {"floor_ms": round(floor_ms, 2), "times_floor": round(row["p50_ms"] / floor_ms, 2)}


def check_same(pictures: dict[str, Array], n_calls: int) -> None:
    """Refuse to compare speeds of arms that do not make the same pictures."""
    for name in (AT_ITS_BEST, STREAM_BATCH, ONNX):
        if name in pictures:
            alike_db = psnr(pictures[TORCH], pictures[name])
            if alike_db < SAME_PSNR_DB:
                raise SystemExit(
                    f"{name}, {n_calls} calls: {alike_db} dB from braind torch; it does not do the same work"
                )


def add_psnr(rows: list[dict[str, Any]], pictures: dict[int, dict[str, Array]]) -> None:
    """Add each row's distance to the same arm's pictures with the most calls."""
    most = max(pictures)
    for row in rows:
        # the stream batch has no such arm: its pictures are those of the same networks one by one
        reference = pictures[most].get(row["arm"], pictures[most][TORCH])
        row["psnr_db"] = None if row["calls"] == most else psnr(reference, pictures[row["calls"]][row["arm"]])
