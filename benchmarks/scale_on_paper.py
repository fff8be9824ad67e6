"""How long eight NSD subjects take on 1, 8 and 64 GPUs, on paper: no GPU was measured.

    python benchmarks/scale_on_paper.py          # prints the table of docs/scale.md

What Ray takes for a piece is measured (benchmarks/results/scale.json). GPU times are arithmetic at a share of an
H100's peak; the driver's and the disk's are assumptions that stand below. An analysis takes as long as the slowest of
the workers, the driver's own work on each piece and the bytes to and from the driver, and what is not divided on top.
"""

import json
from dataclasses import dataclass

from support.names import RESULTS_PATH

N_SUBJECTS = 8
N_GPUS = (1, 8, 64)
# NSD: 40 sessions of 750 trials, 9,000 own pictures and 982 shared pictures, each shown three times.
N_TRIALS, N_PICTURES, N_SHARED, N_REPEATS = 30_000, 9_982, 982, 3
N_VOXELS, N_LAYERS = 220_000, 25
# H100: dense bf16, of which published pipelines reach 18-33 %; float32, as `fit` encodes its targets.
GPU_FLOPS, GPU_FLOPS_32 = 0.30 * 790e12, 0.30 * 67e12
CPU_FLOPS = 8 * 50e9  # cores beside each GPU: encoding models are fitted on them
# Stable Diffusion 1.x, FLOP a call at 512 px; at 320 px the encoder.
UNET, DECODE, ENCODE, ENCODE_320 = 0.803e12, 2.515e12, 1.117e12, 0.428e12
ORIGINAL = 68.87e12  # published preset: decode, encode, 40 steps with guidance, decode
C_ONLY = 100 * UNET + DECODE  # 50 steps with guidance, from noise
NETWORK_BYTES_S, DISK_BYTES_S = 1.25e9, 0.5e9  # 10 Gb/s into the driver; a shared file system
START_S = 60.0  # of Ray and of the model in each worker
# Measured on one core with simulated pictures, 425 px for SSIM, without the networks: comparing one picture.
SCORE_S, AT_ONCE, N_FEATURES = 0.19, 16, 7
# Measured with 982 pictures on one core: 622 intervals of 18 ms, 1,275 p values of 64 ms, as many as without networks.
INTERVALS_S = 622 * 0.018 + 1275 * 0.064
BETAS_BYTES = 699_192 * 2 * N_TRIALS


@dataclass(frozen=True)
class Analysis:
    """One subject's share of an analysis; times in s."""

    name: str
    n_pieces: int
    piece_s: float  # a worker's
    driver_piece_s: float  # the driver's, beside Ray's own
    piece_bytes: float  # to and from the driver
    undivided_s: float

    def seconds(self, n_workers: int, ray_piece_s: float) -> dict[str, float]:
        """Return what each part takes with so many workers; the slowest of the first three, and the last, add up."""
        n_rounds = -(-self.n_pieces // n_workers)
        return {
            "workers": n_rounds * self.piece_s,
            "driver": self.n_pieces * (self.driver_piece_s + ray_piece_s),
            "network": self.n_pieces * self.piece_bytes / NETWORK_BYTES_S,
            "not divided": self.undivided_s + START_S,
        }


def analyses() -> list[Analysis]:
    """Return the analyses of one subject."""
    single, c_only, z_only = ORIGINAL / GPU_FLOPS, C_ONLY / GPU_FLOPS, DECODE / GPU_FLOPS
    n_single = N_SHARED * N_REPEATS
    n_responses = n_single + 2 * N_SHARED  # and averages of two and of three repeats
    n_expected = n_single + N_SHARED  # decoded by both c decoders
    # modes z, c and zc; then five controls and a ceiling
    counts = {
        z_only: n_responses,
        c_only: n_responses + n_expected + N_SHARED,
        single: n_responses + n_expected + 4 * N_SHARED,
    }
    n_evaluated = sum(counts.values())
    evaluated_s = sum(time_s * n for time_s, n in counts.items())
    # a nearest training picture for each single trial and average, the seen pictures, the decode of the mean
    n_compared = n_evaluated + n_single + 3 * N_SHARED
    n_pieces = -(-n_compared // AT_ONCE)
    z_and_c_bytes, likeness_bytes = (77 * 768 + 4 * 64 * 64) * 4, N_FEATURES * N_SHARED * 8
    sd_picture, features_bytes = 512 * 512 * 3, (2 + 6 + 3 + 3 * N_LAYERS) * 2048 * 4
    n_models = 2 + 6 + 2 + 8 + 3 * N_LAYERS
    # nine penalties on held-out pictures, products and coordinates of five folds
    model_flops = (9 * 2 + 5 * 2) * N_PICTURES * 1024 * N_VOXELS + 5 * 2 * 1024**2 * N_VOXELS
    n_chunks = -(-N_PICTURES // 40)
    return [
        Analysis("fit", n_chunks, 40 * ENCODE_320 / GPU_FLOPS_32, 0, 40 * (77 * 768 + 4 * 40 * 40) * 4,
                 BETAS_BYTES / DISK_BYTES_S + 240e12 / GPU_FLOPS_32),
        Analysis("decode", n_single, single + c_only + z_only, 0.03, 3 * sd_picture, BETAS_BYTES / 10 / DISK_BYTES_S),
        Analysis("evaluate", n_pieces, (evaluated_s + n_compared * SCORE_S) / n_pieces, 0,
                 AT_ONCE * (z_and_c_bytes + likeness_bytes), BETAS_BYTES / DISK_BYTES_S + INTERVALS_S),
        Analysis("encode, features", N_PICTURES, (ENCODE + 16 * UNET) / GPU_FLOPS, 0.001, features_bytes, 0),
        Analysis("encode, voxels", n_models, model_flops / CPU_FLOPS, 0, 2e6, BETAS_BYTES / DISK_BYTES_S),
    ]  # fmt: skip


def main() -> None:
    """Print the table."""
    ray_piece_s = (
        json.loads((RESULTS_PATH / "scale.json").read_text())["pieces"]["stable diffusion, 512 px"]["ms"] / 1000
    )
    heads = " | ".join(f"{n} GPU{'s' if n > 1 else ''}" for n in N_GPUS)
    print(f"| analysis | pieces a subject | s a piece | {heads} | first to saturate |")
    print("|---|---|---|" + "---|" * (len(N_GPUS) + 1))
    totals = dict.fromkeys(N_GPUS, 0.0)
    for analysis in analyses():
        cells, limit = [], ""
        for n in N_GPUS:
            parts = analysis.seconds(n, ray_piece_s)
            undivided_s = parts.pop("not divided")
            slowest = max(parts, key=lambda name: parts[name])
            hours = N_SUBJECTS * (parts[slowest] + undivided_s) / 3600
            totals[n] += hours
            cells.append(f"{hours:.1f} h")
            limit = slowest if parts[slowest] > undivided_s else "what is not divided"
        row = [analysis.name, f"{analysis.n_pieces:,}", f"{analysis.piece_s:.2g}", *cells, limit]
        print(f"| {' | '.join(row)} |")
    print(f"| all | | | {' | '.join(f'{totals[n]:.1f} h' for n in N_GPUS)} | |")


if __name__ == "__main__":
    main()
