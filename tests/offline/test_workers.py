"""`--workers` and `--ray`: the same files as one process, nothing lost when a worker dies, and refusals."""

import json
import os
import shutil
import signal
import socket
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from local_ray import ray_on_this_machine

from braind.cli import main
from braind.config import load_config
from braind.errors import ExitCode
from braind.models.ridge.checkpoint import Checkpoint
from braind.offline.pieces import map_pieces, open_pool, with_speed
from braind.offline.workers import ONE_PROCESS, Workers, WorkersError, check_alike, check_one_kind

ONE, TWO = Workers(1), Workers(2)
FAST = "--preset", "live-2", "--engine", "torch"


@pytest.fixture(scope="module")
def ray():
    """Ray for up to four workers on this machine, for the module's tests."""
    with ray_on_this_machine(4):
        yield


def run(*words):
    """Run a command in this process."""
    ran = CliRunner().invoke(main, [str(word) for word in words])
    assert ran.exit_code == 0, ran.output
    return ran


def files_in(folder, but=()):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in but
    }


def test_two_and_four_workers_write_the_files_of_one_process_byte_for_byte(ray, small_data, tmp_path, monkeypatch):
    for name, workers in (("one", []), ("two", ["--workers", 2])):
        data = shutil.copytree(small_data, tmp_path / name)
        run("fit", "--data", data, "--folds", 2, *workers)
        run("decode", "--data", data, "--trials", "0:6", *FAST, "-o", tmp_path / f"{name}-out", *workers)
        assert not any((data / "unfinished").iterdir())
    for kind in ("weights", "out"):
        one, two = (
            files_in(tmp_path / name / "weights" if kind == "weights" else tmp_path / f"{name}-out")
            for name in ("one", "two")
        )
        assert one == two
        assert len(one) > 2
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    four = tmp_path / "four-out"
    run("decode", "--data", tmp_path / "one", "--trials", "0:6", *FAST, "-o", four, "--workers", 4)
    assert files_in(four) == one


def test_two_workers_evaluate_to_the_scores_of_one_process_byte_for_byte(ray, small_data, tmp_path, monkeypatch):
    monkeypatch.setattr("braind.models.scores.decodes.SEEN_AT_ONCE", 2)  # five pictures are three comparisons
    data = shutil.copytree(small_data, tmp_path / "data")
    run("fit", "--data", data, "--folds", 2)
    scores = []
    for workers in ([], ["--workers", 2]):
        ran = run("evaluate", "--data", data, "--max-trials", 1, "--json", *FAST, *workers)
        assert not any((data / "unfinished").iterdir())
        scores.append(json.loads(ran.stdout))
        assert set(scores[-1].pop("made")) == {"at", "seconds"}
    one, two = map(json.dumps, scores)
    assert one == two
    assert scores[0]["single"]["zc"]["ssim"]["n"] > 4  # of more than two comparisons


def square(tool, piece):
    """Work on a piece so long that a worker can be killed meanwhile; the sum depends on the order of its terms."""
    total = np.float32(0)
    for _ in range(20_000):
        total += np.float32(1 / 3) * piece
    return {"sum": np.array([tool * piece, total])}


def by_value(function):
    """Return the function as one that workers need not import: they do not see the tests."""
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[function.__module__])
    return function


def test_killed_workers_are_replaced_and_every_piece_is_there_once(ray, capfd):
    pieces, found = list(range(300)), []
    with open_pool(TWO, by_value(lambda: 7)) as pool:
        pids = [int(one["process"]) for one in pool.facts()]
        for number, result in enumerate(pool.map(by_value(square), pieces)):
            found.append(result["sum"])
            if number in (20, 150):
                os.kill(pids.pop(), signal.SIGKILL)
    with open_pool(ONE_PROCESS, lambda: 7) as one_process:
        expected = [result["sum"] for result in one_process.map(square, pieces)]
    assert np.array_equal(found, expected)
    assert capfd.readouterr().out == ""


def test_a_piece_that_kills_its_workers_ends_the_job(ray, monkeypatch):
    monkeypatch.setattr("braind.offline.ray_pool.MOST_DEATHS", 1)

    def deadly(tool, piece):
        if piece == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"piece": np.array(piece)}

    with (
        open_pool(TWO, by_value(lambda: 7)) as pool,
        pytest.raises(WorkersError, match="2 workers died on the same piece"),
    ):
        list(pool.map(deadly, range(8)))


def test_a_worker_that_finds_no_free_core_is_waited_for_and_the_log_says_so(ray, monkeypatch):
    monkeypatch.setattr("braind.offline.ray_pool.START_SILENT_S", 0.5)
    said = []
    with open_pool(TWO, by_value(lambda: 7)) as other_job:

        def hear(sentence, *values):
            said.append(sentence % values)
            other_job.close()

        monkeypatch.setattr("braind.offline.ray_pool.log.warning", hear)
        with open_pool(ONE, by_value(lambda: 7)) as pool:
            results = list(pool.map(by_value(square), [1]))
    assert len(results) == 1
    assert "other jobs have the cluster's cores" in said[0]


def test_an_error_of_ours_in_a_worker_is_the_jobs_error(ray, tmp_path):
    def refuse(tool, piece):
        from braind.models.ldm.engine import EngineError

        if piece == 5:
            raise EngineError("piece 5 is refused", code="option")
        return {"piece": np.array(piece)}

    checkpoint, found = Checkpoint(tmp_path), []
    with open_pool(TWO, by_value(lambda: 7)) as pool:
        with pytest.raises(Exception, match="^piece 5 is refused$") as caught:
            found += [int(one["piece"]) for one in map_pieces(refuse, range(9), pool, checkpoint=checkpoint)]
        assert (type(caught.value).__name__, caught.value.code) == ("EngineError", "option")
        assert sorted(path.stem for path in tmp_path.iterdir()) == [f"{n:06d}" for n in range(5)]
        # The pool goes on after the error.
        assert len(list(pool.map(refuse, range(5)))) == 5


def test_a_node_without_the_data_folder_is_named(ray, small_data, tmp_path):
    from braind.offline.fit.targets import TargetEncoder

    config = load_config(None, {"paths": {"data": str(tmp_path), "nsd": str(tmp_path / "elsewhere")}})
    sentence = rf"^node {socket.gethostname()}: .*elsewhere is not a Natural Scenes Dataset"
    with (
        pytest.raises(WorkersError, match=sentence),
        open_pool(ONE, partial(TargetEncoder.load, config)),
    ):
        pass


def test_a_node_without_the_model_is_named(ray, small_data, tmp_path):
    from braind.offline.fit.targets import TargetEncoder

    paths = {"data": str(small_data), "ldm": str(tmp_path / "no-model")}
    config = load_config(None, {"paths": paths})
    with (
        pytest.raises(WorkersError, match=rf"^node {socket.gethostname()}: .*no-model"),
        open_pool(ONE, partial(TargetEncoder.load, config)),
    ):
        pass


def test_an_interrupted_job_works_only_on_the_pieces_that_are_missing(tmp_path):
    asked = []

    def work(tool, piece):
        asked.append(piece)
        if piece == tool:
            raise KeyboardInterrupt
        return {"piece": np.array(piece)}

    with open_pool(ONE_PROCESS, lambda: 3) as pool, pytest.raises(KeyboardInterrupt):
        list(map_pieces(work, range(6), pool, checkpoint=Checkpoint(tmp_path)))
    with open_pool(ONE_PROCESS, lambda: -1) as pool:
        found = list(map_pieces(work, range(6), pool, checkpoint=Checkpoint(tmp_path)))
    assert [int(one["piece"]) for one in found] == list(range(6))
    assert asked == [0, 1, 2, 3, 3, 4, 5]


def test_the_progress_says_pieces_workers_rate_and_time_left(monkeypatch):
    now, lines = [100.0], []
    monkeypatch.setattr("braind.offline.pieces.time.monotonic", lambda: now[0])
    report = with_speed(lambda words, n, n_pieces: lines.append(words), "4 workers")
    for n in (1, 21, 41):
        report("decoding", n, 1241)
        now[0] += 10
    assert lines[0] == "decoding, 1 of 1241 pieces, 4 workers"
    assert lines[-1] == "decoding, 41 of 1241 pieces, 4 workers, 2 a second, 10 min left"


def refused(*words):
    ran = CliRunner().invoke(main, ["decode", *words])
    assert "Traceback" not in ran.output
    return ran.exit_code, ran.output


def test_an_address_where_nothing_listens_ends_with_a_sentence_and_status_3():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    status, words = refused("--ray", address)
    assert status == ExitCode.NO_DAEMON
    assert f"--ray {address}: nothing answers there" in words


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--workers", "0"], "Invalid value for '--workers': 0 is not in the range x>=1."),
        (["--ray", "head"], "--ray head: give host:port of the cluster's head, or auto"),
        (["--ray", "ray://head:10001"], "give host:port"),
        (["--ray", ""], "the address is empty; give host:port of the cluster's head, or auto"),
        (["--workers", "1000"], f"--workers 1000: this machine has {os.cpu_count()} cores, and each worker takes one"),
    ],
)
def test_workers_that_are_none_are_refused(options, sentence):
    status, words = refused(*options)
    assert status == ExitCode.USAGE
    assert sentence in words


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("braind.offline.cluster_address.find_spec", lambda name: None)
    status, words = refused("--workers", "2")
    assert status == ExitCode.USAGE
    assert 'pip install "braind[cluster]"' in words


def test_a_node_with_another_version_is_refused():
    own = {"braind": "0.2.0", "torch": "2.13.0"}
    check_alike([{"node": "a", **own}], own)
    with pytest.raises(WorkersError, match=r"^node b differs from this one: torch 2.12.0 \(here 2.13.0\); install"):
        check_alike([{"node": "a", **own}, {"node": "b", **own, "torch": "2.12.0"}], own)


def test_engines_of_two_kinds_are_refused():
    assert check_one_kind([{"node": "a", "engine": "torch-cpu"}], "engine") == "torch-cpu"
    facts = [{"node": "a", "engine": "torch-cpu"}, {"node": "b", "engine": "torch-cuda"}]
    with pytest.raises(WorkersError, match="torch-cpu on a; torch-cuda on b"):
        check_one_kind(facts, "engine")


def test_each_worker_has_a_gpu_of_its_own_where_there_are_any(caplog):
    from braind.offline.ray_cluster import shares

    gpus, cores = {"GPU": 4.0, "CPU": 64.0}, {"CPU": 8.0}
    n, options = shares(Workers(address="auto"), 2, gpus)
    assert (n, options["num_gpus"]) == (4, 1)
    with pytest.raises(WorkersError, match="there are 4 GPUs, and each worker takes one; give --workers 4"):
        shares(Workers(5, "auto"), 2, gpus)
    with caplog.at_level("WARNING", "braind"):
        n, options = shares(Workers(address="10.0.0.1:6379"), 2, cores)
    assert (n, options["num_gpus"]) == (4, 0)
    assert "has no GPU: its 8 cores do the work" in caplog.text
    assert options["runtime_env"]["env_vars"]["OMP_NUM_THREADS"] == "2"


def test_no_path_of_the_settings_depends_on_where_a_worker_runs(monkeypatch, tmp_path):
    from braind.offline.from_settings import on_every_node

    monkeypatch.chdir(tmp_path)
    paths = on_every_node(load_config(None, {"paths": {"nsd": "nsd", "data": "data"}})).paths
    assert (paths.nsd, paths.data) == (str(tmp_path / "nsd"), str(tmp_path / "data"))
    assert Path(paths.engines).is_absolute()
    assert not paths.bids
