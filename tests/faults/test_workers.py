"""kill -9 of workers and of the driver amid real work, and a full object store: nothing is lost or twice."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
from click.testing import CliRunner
from local_ray import ray_on_this_machine
from PIL import Image

from braind.cli import main
from braind.config import load_config
from braind.errors import ExitCode
from braind.models.scores.comparison import Comparison, Decodes
from braind.offline.decoding import SubjectDecoder
from braind.offline.evaluate.comparing import Comparer, Scoring
from braind.offline.evaluate.evaluate import held_out_of
from braind.offline.from_settings import on_every_node
from braind.offline.pictures import PictureMaker, PictureRequest
from braind.offline.pieces import open_pool
from braind.offline.workers import ONE_PROCESS, Workers

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1500)]  # killed workers load the model again

N_KILLS = 5
PATIENCE_S = 120
OPTIONS = ("--trials", "all", "--preset", "takagi", "--engine", "torch", "--no-sheet")


@pytest.fixture(scope="module")
def data(small_data, tmp_path_factory):
    """A data folder with a fitted subject."""
    folder = shutil.copytree(small_data, tmp_path_factory.mktemp("workers") / "data")
    SubjectDecoder.load(_config(folder), 1)
    return folder


def _config(folder):
    return load_config(None, {"paths": {"data": str(folder)}, "decode": {"engine": "torch"}, "fit": {"folds": 2}})


@pytest.fixture
def ray():
    """Ray with two workers on this machine, ended after the test."""
    with ray_on_this_machine(2):
        yield


def test_five_killed_workers_lose_no_picture_and_double_none(data, ray):
    decoder = SubjectDecoder.load(_config(data), 1)
    requests = []
    for voxels in decoder.test_voxels.repeat(5, axis=0):
        (z,), (c,) = decoder.weights.predict(voxels[None])
        requests.append(PictureRequest(z, c, (("zc", len(requests)),)))  # each with noise of its own
    pipeline = decoder.pipeline
    with open_pool(ONE_PROCESS, lambda: PictureMaker(pipeline)) as pool:
        expected = [one["pictures"] for one in pool.map(PictureMaker.pictures, requests)]
    found, killed, next_kill = [], set(), 3
    with open_pool(Workers(2), partial(PictureMaker.load, pipeline.settings)) as pool:
        for one in pool.map(PictureMaker.pictures, requests):
            found.append(one["pictures"])
            living = [pid for pid in (int(facts["process"]) for facts in pool.facts()) if pid not in killed]
            if len(killed) < N_KILLS and len(found) >= next_kill and living:
                os.kill(living[0], signal.SIGKILL)
                killed.add(living[0])
                next_kill = len(found) + 3
    assert len(killed) == N_KILLS
    assert np.array_equal(found, expected)


def test_killed_workers_lose_no_comparison_and_double_none(data, ray):
    config = _config(data)
    decoder = SubjectDecoder.load(config, 1)
    held_out, _ = held_out_of(decoder)
    z, c = decoder.weights.predict(held_out.voxels)
    comparisons = [
        Comparison(Decodes(z[[n]], c[[n]], "zc", (n,)), held_out.picture_of_trial[[n]])  # each with noise of its own
        for n in range(len(z))
    ]
    scoring = Scoring("mindeye", None, held_out.nsd_ids, held_out.kinds)
    load = partial(Comparer.load, on_every_node(config), scoring, decoder.pipeline.settings)
    with open_pool(ONE_PROCESS, load) as pool:
        expected = list(pool.map(Comparer.likeness, comparisons))
    found, killed = [], set()
    with open_pool(Workers(2), load) as pool:
        for one in pool.map(Comparer.likeness, comparisons):
            found.append(one)
            living = [pid for pid in (int(facts["process"]) for facts in pool.facts()) if pid not in killed]
            if len(killed) < 2 and len(found) >= 3 * (len(killed) + 1) and living:
                os.kill(living[0], signal.SIGKILL)
                killed.add(living[0])
    assert len(killed) == 2
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        assert all(one[name].tobytes() == other[name].tobytes() for name in one)


def _decode(data, out, *words, **options):
    command = [sys.executable, "-m", "braind", "decode", "--data", data, "-o", out, *OPTIONS, *words]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, **options)


def _wait_for_kept(data, driver, job="decode"):
    """Wait until a few results are kept; return their files."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and driver.poll() is None:
        kept = sorted((data / "unfinished").glob(f"{job}_sub-01-*/*.npz"))
        if len(kept) >= 2:
            return kept
        time.sleep(0.05)
    raise AssertionError(f"nothing was kept, exit status {driver.poll()}")


def test_the_command_of_a_killed_driver_goes_on_with_the_pictures_that_are_kept(data, tmp_path):
    assert _decode(data, tmp_path / "one").wait(PATIENCE_S) == 0
    driver = _decode(data, tmp_path / "two", "--workers", "2")
    try:
        kept = _wait_for_kept(data, driver)
        children = psutil.Process(driver.pid).children(recursive=True)
        working = [child for child in children if not child.name().endswith("Agent")]
    finally:
        driver.kill()
        driver.wait()
    # The workers and Ray end with the driver; two idle agents of Ray take a minute, and are not waited for.
    _, left = psutil.wait_procs(working, timeout=PATIENCE_S)
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    assert not left
    # A kept picture is taken as it is.
    np.savez(kept[0], pictures=np.zeros_like(np.load(kept[0])["pictures"]))
    assert _decode(data, tmp_path / "two", "--workers", "2").wait(PATIENCE_S) == 0
    one, two = ({path.name: path for path in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert set(one) == set(two)
    differing = [name for name in one if one[name].read_bytes() != two[name].read_bytes()]
    assert len(differing) == 1
    assert not np.asarray(Image.open(two[differing[0]])).any()
    assert not list((data / "unfinished").iterdir())


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_a_driver_that_is_told_to_end_says_one_sentence_and_keeps_its_pictures(data, tmp_path, which):
    driver = _decode(data, tmp_path / "out", "--workers", "2", stderr=subprocess.PIPE, text=True)
    try:
        kept = _wait_for_kept(data, driver)
        driver.send_signal(which)
        _, words = driver.communicate(timeout=PATIENCE_S)
    finally:
        driver.kill()
        driver.wait()
    assert driver.returncode == ExitCode.INTERRUPTED
    lines = [line for line in words.splitlines() if not line.startswith("braind: decoding")]
    assert lines == ["braind: interrupted"]
    assert all(path.exists() for path in kept)
    shutil.rmtree(data / "unfinished")


def test_the_scores_of_a_killed_evaluation_go_on_with_the_comparisons_that_are_kept(data, monkeypatch):
    words = ["evaluate", "--data", str(data), "--max-trials", "1", "--json", "--preset", "live-2", "--engine", "torch"]
    compared, likeness = [], Comparer.likeness
    monkeypatch.setattr(Comparer, "likeness", lambda self, one: compared.append(one.name) or likeness(self, one))

    def scores():
        compared.clear()
        ran = CliRunner().invoke(main, words, catch_exceptions=False)
        return {name: part for name, part in json.loads(ran.stdout).items() if name != "made"}

    expected, names = scores(), list(compared)
    driver = subprocess.Popen([sys.executable, "-m", "braind", *words], stdout=subprocess.DEVNULL)
    try:
        _wait_for_kept(data, driver, "evaluate")
    finally:
        driver.kill()
        driver.wait()
    (folder,) = (data / "unfinished").iterdir()
    kept = {path.stem for path in folder.glob("*.npz")}
    assert kept < set(names)
    assert scores() == expected
    assert compared == [name for name in names if name not in kept]
    assert not list((data / "unfinished").iterdir())


FULL_STORE = """
import ray
ray.init(address="local", num_cpus=2, object_store_memory=80 * 1024**2, include_dashboard=False,
         log_to_driver=False, logging_level="critical", _system_config={"local_fs_capacity_threshold": 0.0001})
from functools import partial
import numpy as np
from braind.offline.pieces import open_pool
from braind.offline.workers import Workers, WorkersError
large = partial(np.ones, 60 * 1024**2, np.uint8)
larger = np.ones(100 * 1024**2, np.uint8)
try:
    with open_pool(Workers(1), LOAD) as pool:
        held = list(pool.map(lambda tool, piece: {"large": tool}, PIECES))
except WorkersError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("load", "pieces"),
    [("large", "range(6)"), ("partial(len, larger)", "range(6)"), ("dict", "[larger]")],
    ids=["results", "the tool's inputs", "pieces"],
)
def test_a_full_object_store_ends_with_a_sentence(load, pieces):
    environment = {**os.environ, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    program = FULL_STORE.replace("LOAD", load).replace("PIECES", pieces)
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert ran.stdout.startswith("Ray's object store and the disk behind it are full: free the disk"), ran.stderr


def test_the_benchmark_of_workers_runs_and_writes_every_arm(data, tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    script = Path(__file__).parents[2] / "benchmarks" / "scale.py"
    ran = subprocess.run(
        [sys.executable, script, "--data", data, "--trials", "4", "--out", tmp_path],
        capture_output=True, text=True, timeout=600, env=environment,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    work_s = json.loads((tmp_path / "scale.json").read_text())["work_s"]
    assert work_s.keys() == {"one process", "1 worker", "2 workers"}
    assert all(taken > 0 for taken in work_s.values())
