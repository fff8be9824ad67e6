"""What Ray gains and costs on this machine: decoding with 1 and 2 workers, and pieces without work.

    OMP_NUM_THREADS=1 python benchmarks/scale.py              # 3 minutes on two idle cores
    OMP_NUM_THREADS=1 python benchmarks/scale.py --trials 20  # to know that it works

Every arm has one thread for each piece, so that two workers are compared with one on two cores. docs/scale.md shows the
results, and benchmarks/scale_on_paper.py reads them.
"""

import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
import psutil
from support.measuring import origin, write_result
from support.names import RESULTS_PATH

from braind.config import load_config
from braind.offline.decoding import SubjectDecoder
from braind.offline.from_settings import on_every_node, pipeline_settings
from braind.offline.pictures import PictureMaker, PictureRequest
from braind.offline.pieces import Pool, open_pool
from braind.offline.ray_cluster import connect
from braind.offline.workers import Arrays, Workers

SUBJECT = 1
MODES = ("z", "c", "zc")
ARMS = {"one process": Workers(), "1 worker": Workers(1), "2 workers": Workers(2)}
STABLE_DIFFUSION = {"z": (4, 64, 64), "c": (77, 768), "pictures": (3, 512, 512, 3)}
N_EMPTY = 1000
BLOCK = 40
"""Trials after which the next arm takes its turn: other load on the machine slows all arms alike."""


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help="Data folder with a fitted subject.")
@click.option("--trials", default=200, show_default=True, help="Trials that each arm decodes.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS_PATH, help="Folder of the results.")
def main(data: Path | None, trials: int, out: Path) -> None:
    """Measure."""
    warnings.simplefilter("ignore")
    config = load_config(None, {"paths": {"data": str(data)} if data else {}, "decode": {"threads": 1}})
    decoder = SubjectDecoder.load(config, SUBJECT)
    requests = [_request(decoder, voxels, config.decode.seed) for voxels in _cycled(decoder.test_voxels, trials)]
    began_s = time.perf_counter()
    connect(Workers(3))
    started_s = time.perf_counter() - began_s
    open_s: dict[str, float] = {}
    blocks: dict[str, list[float]] = {name: [] for name in ARMS}
    cpu_s = dict.fromkeys(ARMS, 0.0)
    with ExitStack() as stack:
        pools = {name: stack.enter_context(_opened(decoder, name, requests[:4], open_s)) for name in ARMS}
        for start in range(0, trials, BLOCK):
            for name, pool in pools.items():
                block_s, block_cpu_s = time.perf_counter(), _cpu_s(ARMS[name])
                for _ in pool.map(PictureMaker.pictures, requests[start : start + BLOCK]):
                    pass
                blocks[name].append(round(time.perf_counter() - block_s, 3))
                cpu_s[name] += _cpu_s(ARMS[name]) - block_cpu_s
            print({name: taken[-1] for name, taken in blocks.items()}, flush=True)
    work_s = {name: round(sum(taken), 2) for name, taken in blocks.items()}
    result = {
        "preset": decoder.reconstructor.preset.name,
        "engine": decoder.reconstructor.engine_words,
        "n_trials": trials,
        "ray_start_s": round(started_s, 2),
        "open_s": open_s,
        "blocks_s": blocks,
        "work_s": work_s,
        "work_cpu_s": {name: round(taken, 2) for name, taken in cpu_s.items()},
        "speedup_over_one_worker": _ratio(blocks["1 worker"], blocks["2 workers"]),
        "speedup_over_one_process": _ratio(blocks["one process"], blocks["2 workers"]),
        "one_worker_over_one_process": _ratio(blocks["1 worker"], blocks["one process"]),
        "pieces": {"demo": _empty_pieces(requests[0], (3, decoder.ldm.picture_px, decoder.ldm.picture_px, 3)),
                   "stable diffusion, 512 px": _empty_pieces(_large_request(), STABLE_DIFFUSION["pictures"])},
    }  # fmt: skip
    print(write_result(out, "scale", origin(), result))


@contextmanager
def _opened(
    decoder: SubjectDecoder, name: str, first: list[PictureRequest], open_s: dict[str, float]
) -> Iterator[Pool]:
    """Open an arm's pool and make its first pictures, which open the networks; note the time of both."""
    settings = msgspec.structs.replace(
        pipeline_settings(on_every_node(decoder.config)),
        engine="onnx" if decoder.reconstructor.engine.name.startswith("onnx") else "torch",
    )
    began_s = time.perf_counter()
    with open_pool(ARMS[name], partial(PictureMaker.load, settings), lambda: PictureMaker(decoder.pipeline)) as pool:
        list(pool.map(PictureMaker.pictures, first))
        open_s[name] = round(time.perf_counter() - began_s, 2)
        yield pool


def _cpu_s(workers: Workers) -> float:
    """Return the CPU time that an arm's processes have taken: with Ray also all of Ray's own."""
    this = psutil.Process()
    processes = [this, *this.children(recursive=True)] if workers.on_ray else [this]
    times = [process.cpu_times() for process in processes]
    return sum(one.user + one.system for one in times)


def _ratio(first: list[float], second: list[float]) -> dict[str, Any]:
    """Return the ratio of two arms' times over all blocks, and its median and quartiles over blocks."""
    ratios = np.divide(first, second)
    low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75)).round(3).tolist()
    return {"all": round(sum(first) / sum(second), 3), "median": middle, "quartiles": [low, high]}


def _empty_pieces(request: PictureRequest, shape: tuple[int, ...]) -> dict[str, float]:
    """Time pieces of a request's size that result in pictures without any work: what Ray itself takes."""
    result = {"pictures": np.zeros(shape, np.uint8)}
    with open_pool(Workers(1), partial(dict, result)) as pool:
        list(pool.map(_nothing, [request] * 50))
        began_s = time.perf_counter()
        for _ in pool.map(_nothing, [request] * N_EMPTY):
            pass
        taken_s = time.perf_counter() - began_s
    return {
        "ms": round(1000 * taken_s / N_EMPTY, 3),
        # The arrays alone: names and Ray's own words add some hundred bytes.
        "bytes_to_worker": request.z.nbytes + request.c.nbytes,
        "bytes_to_driver": result["pictures"].nbytes,
    }


def _nothing(tool: Arrays, _request: PictureRequest) -> Arrays:
    return {name: array.copy() for name, array in tool.items()}


def _request(decoder: SubjectDecoder, voxels: np.ndarray, seed: int) -> PictureRequest:
    (z,), (c,) = decoder.weights.predict(voxels[None])
    return PictureRequest(z, c, tuple((mode, seed) for mode in MODES))


def _large_request() -> PictureRequest:
    random = np.random.default_rng(0)
    z, c = (random.standard_normal(STABLE_DIFFUSION[name], np.float32) for name in ("z", "c"))
    return PictureRequest(z, c, tuple((mode, 42) for mode in MODES))


def _cycled(voxels: np.ndarray, n: int) -> list[np.ndarray]:
    return [voxels[position % len(voxels)] for position in range(n)]


if __name__ == "__main__":
    main()
