"""The whole road through the program's own commands: simulate, fit, decode, evaluate, serve, replay, status.

A tree of two sessions keeps it short; what is proved here is that everything connects, not how good the pictures are.
"""

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from installed import Installed
from PIL import Image

from braind.cli import main
from braind.config import candidates_path, load_config, weights_path
from braind.models.demo.subject.nsd_tree import TreeSize, simulate
from braind.models.weights.weights import Weights

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SMALL = TreeSize(shapes=((12, 14, 10),), n_shared=16, n_bold_sessions=1)
N_VOLUMES = 6


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A data folder with a small simulated tree and fitted weights of subject 1."""
    folder = tmp_path_factory.mktemp("data")
    simulate(folder / "nsd-simulated", [1], n_sessions=2, size=SMALL)
    fitted = braind("fit", "--subject", "1", "--data", folder)
    assert fitted.exit_code == 0, fitted.stderr
    assert Path(fitted.stdout.strip()) == weights_path(config_of(folder), 1)
    return folder


def config_of(folder):
    return load_config(None, {"paths": {"data": str(folder)}})


def braind(*arguments) -> Result:
    """Run a command to its end, here: half of the time of one in a process of its own goes into loading networks."""
    return CliRunner().invoke(main, [*map(str, arguments)], catch_exceptions=False)


def braind_process(*arguments) -> subprocess.CompletedProcess[str]:
    """Run a command to its end in a process of its own."""
    command = [sys.executable, "-m", "braind", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280)


@contextmanager
def serving(data, tmp_path):
    """Run `braind serve` on free ports with its own journals; yields the folder that clients find it by."""
    weights, candidates = weights_path(config_of(data), 1), candidates_path(config_of(data), 1)
    daemon = subprocess.Popen(
        [sys.executable, "-m", "braind", "serve", "--data", tmp_path, "--weights", weights, "--candidates", candidates,
         "--policy", "all", "--ingest-port", "0", "--decodes-port", "0", "--control-port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert daemon.stdout.readline().startswith("ready "), daemon.stderr.read()
        assert json.loads(braind("status", "--json", "--data", tmp_path).stdout)["state"] == "ready"
        yield tmp_path
    finally:
        daemon.terminate()
        daemon.communicate(timeout=60)
    assert daemon.returncode == 0


def replay(data, serve_data, *arguments):
    replayed = braind_process("replay", "--data", serve_data, "--nsd", data / "nsd-simulated", "--flat-out", "--json",
                              "--max-volumes", N_VOLUMES, *arguments)  # fmt: skip
    assert replayed.returncode == 0, replayed.stderr
    return json.loads(replayed.stdout)


def published_pictures(serve_data):
    """Fetch every Xzc of the daemon's history: {(session, run, index): PNG}."""
    from braind.client.control import ControlClient
    from braind.client.endpoints import endpoints

    with ControlClient(*endpoints(config_of(serve_data)).address("control"), timeout_s=20) as control:
        messages = control.fetch(1, 1000)
    return {
        (message.session, message.run, message.index): payload[0]
        for message, payload in messages
        if getattr(message, "stage", "") == "xzc"
    }


def test_every_replayed_volume_is_decoded_and_a_second_replay_gives_the_same_pictures(data, tmp_path):
    with serving(data, tmp_path) as serve_data:
        first = replay(data, serve_data, "--session-id", "one")
        second = replay(data, serve_data, "--session-id", "two")
        pictures = published_pictures(serve_data)
    for summary in (first, second):
        assert summary["n_acked"] == summary["n_decoded"] == N_VOLUMES
        assert summary["n_refused"] == summary["n_skipped"] == summary["n_outstanding"] == 0
    sessions = sorted({session for session, _, _ in pictures})
    assert len(sessions) == 2
    by_session = [
        {(run, index): png for (session, run, index), png in pictures.items() if session == name} for name in sessions
    ]
    assert len(by_session[0]) == N_VOLUMES
    assert by_session[0] == by_session[1]


def test_bold_volumes_give_a_picture_a_trial(data, tmp_path):
    with serving(data, tmp_path) as serve_data:
        replayed = braind_process("replay", "--data", serve_data, "--nsd", data / "nsd-simulated", "--flat-out",
                                  "--json", "--kind", "bold", "--session", "2", "--max-volumes", "40")  # fmt: skip
        assert replayed.returncode == 0, replayed.stderr
        summary = json.loads(replayed.stdout)
        pictures = published_pictures(serve_data)
    assert summary["n_acked"] == 40
    assert 0 < summary["n_decoded"] == len(pictures) < 20


@pytest.fixture(scope="session")
def bold_path(data):
    """Weights of subject 1 for BOLD, beside those for betas, and the lagged ridge."""
    fitted = braind("fit", "--kind", "bold", "--lagged", "--data", data)
    assert fitted.exit_code == 0, fitted.stderr
    return Path(fitted.stdout.strip())


@pytest.mark.timeout(600)  # its fixture fits for BOLD and the lagged ridge
def test_weights_for_bold_are_fitted_and_scored_against_seconds_after_onset(data, bold_path, tmp_path):
    path = bold_path
    weights = Weights.load(path)
    assert path == weights_path(config_of(data), 1, "bold")
    assert weights.card.kind == "bold"
    assert weights.bold is not None
    assert weights.card.tr_s == pytest.approx(4 / 3)
    assert weights.card.fitted_on in path.with_suffix(".md").read_text()
    evaluated = braind("evaluate", "--kind", "bold", "--data", data, "--json", "--max-trials", "1",
                       "--preset", "live-1", "--engine", "torch", "--plot", tmp_path / "bold.svg")  # fmt: skip
    assert evaluated.exit_code == 0, evaluated.stderr
    scores = json.loads(evaluated.stdout)
    assert list(scores["bold"]["seconds_after_onset"]) == ["4.0", "6.0", "8.0", "10.0"]
    after = {**scores["bold"]["seconds_after_onset"], "final": scores["bold"]["final"], "beta": scores["beta"]}
    by_lags = scores["lagged"]["seconds_after_onset"]
    assert by_lags.keys() == scores["bold"]["seconds_after_onset"].keys()
    after |= {"lagged 4": by_lags["4.0"], "lagged 8": by_lags["8.0"], "lagged": scores["lagged"]["final"]}
    assert len({row["n_decodes"] for row in after.values()}) == 1
    assert all({"zc", "z", "c", "z_correlation", "c_correlation"} <= row.keys() for row in after.values())
    assert after["final"]["z_correlation"]["mean"] > after["4.0"]["z_correlation"]["mean"]
    assert after["lagged 8"]["z_correlation"]["mean"] > after["lagged 4"]["z_correlation"]["mean"]
    assert "SIMULATED" in (tmp_path / "bold.svg").read_text()


def test_decode_writes_pictures_with_provenance_and_a_sheet(data, tmp_path):
    decoded = braind("decode", "--data", data, "--trials", "0:2", "-o", tmp_path)
    assert decoded.exit_code == 0, decoded.stderr
    paths = [Path(line) for line in decoded.stdout.split()]
    assert len(paths) == 3
    assert all(path.is_file() for path in paths)
    with Image.open(paths[0]) as picture:
        assert picture.size == (128, 128)
    sidecar = json.loads(paths[0].with_suffix(".json").read_text())
    assert sidecar["simulated"] is True
    assert sidecar["weights"] == Weights.load(weights_path(config_of(data), 1)).fingerprint
    assert sidecar["preset"]["name"] == "live-4"
    assert sidecar["seed"] == 42


def test_evaluate_prints_the_scores_as_json(data, bold_path):
    evaluated = braind("evaluate", "--data", data, "--json", "--max-trials", "1", "--num-inference-steps", "1",
                       "--guidance-scale", "1")  # fmt: skip
    assert evaluated.exit_code == 0, evaluated.stderr
    scores = json.loads(evaluated.stdout)
    for part in ("single", "averaged", "running"):
        for mode in ("zc", "z", "c"):
            for score in ("clip_two_way", "pixcorr", "ssim"):
                low, high = scores[part][mode][score]["ci95"]
                assert low <= scores[part][mode][score]["mean"] <= high
    assert set(scores["controls"]) >= {"shuffled_single", "nearest_training_averaged", "seen_z_decoded_c"}
    shuffled = scores["controls"]["shuffled_single"]
    assert scores["single"]["z"]["clip_two_way"]["mean"] > shuffled["clip_two_way"]["mean"]
    assert (scores["n_pictures"], scores["novel_kinds"]["n_pictures"]) == (16 - 3, 3)
    assert set(scores["bold"]) >= {"zc", "z", "c"}
    assert scores["measures"]["alexnet_2"]["status"].startswith("not measured: needs ")
    assert scores["provenance"]["simulated"] is True


def test_takagis_profile_fits_a_smaller_z_without_an_intercept(data, tmp_path):
    (tmp_path / "nsd-simulated").symlink_to(data / "nsd-simulated")
    fitted = braind("fit", "--data", tmp_path, "--profile", "takagi")
    assert fitted.exit_code == 0, fitted.stderr
    card = Weights.load(Path(fitted.stdout.strip())).card
    assert card.profile == "takagi"
    assert card.latent_shape == (4, 10, 10)
    decoded = braind("decode", "--data", tmp_path, "--preset", "takagi", "--trials", "0", "--no-sheet", "-o", tmp_path,
                     "--num-inference-steps", "2")  # fmt: skip
    assert decoded.exit_code == 0, decoded.stderr


@pytest.mark.parametrize(
    ("arguments", "words", "status"),
    [
        (["fit", "--subject", "7"], "subj07", 2),
        (["fit", "--nsd", "/nonexistent"], "/nonexistent", 2),
        (["fit", "--ldm", "/nonexistent"], "model_index.json", 2),
        (["fit", "--lagged"], "--kind bold", 2),
        (["evaluate", "--plot", "bold.png"], "--kind bold", 2),
        (["evaluate", "--kind", "bold", "--plot", "bold.jpeg"], "neither .png nor .svg", 2),
        (["decode", "--trials", "999"], "numbered 0 to", 2),
        (["decode", "--trials", "last"], "0,3,10-19", 2),
        (["decode", "--preset", "takagy"], "takagi", 2),
        (["serve", "--subject", "2"], "braind fit --subject 2", 2),
        (["serve", "--host", "0.0.0.0"], "tunnel its ports", 2),
        (["replay", "--subject", "1"], "braind serve", 3),
        (["status"], "braind serve", 3),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_an_exit_status(data, arguments, words, status):
    answer = braind(*arguments, "--data", data)
    assert answer.exit_code == status, answer.stderr
    assert words in answer.stderr


def test_a_broken_setting_names_file_key_and_remedy(data, tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("[decode]\nguidence_scale = 2\n")
    answer = braind("status", "--config", path, "--data", data)
    assert answer.exit_code == 2
    assert str(path) in answer.stderr
    assert "guidance_scale" in answer.stderr


def test_the_benchmarks_run_in_their_quick_form_and_fill_the_document(data, tmp_path):
    environment = {**os.environ, "BRAIND_PATHS__DATA": str(data), "OMP_NUM_THREADS": "1"}
    parts = ("startup", "overhead", "feedback", "replay", "growth", "pictures", "presets")
    document = tmp_path / "benchmarks.md"
    shutil.copy(BENCHMARKS.parent / "docs" / "benchmarks.md", document)
    for command in (["run.py", *parts, "--quick", "--out", tmp_path],
                    ["tables.py", "--results", tmp_path, "--document", document]):  # fmt: skip
        script, *arguments = command
        ran = subprocess.run(
            [sys.executable, BENCHMARKS / script, *arguments], capture_output=True, text=True, timeout=280,
            env=environment,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
    results = {part: json.loads((tmp_path / f"{part}.json").read_text()) for part in parts}
    assert all(result["machine"]["cores"] and result["versions"]["torch"] for result in results.values())
    arms = [(row["arm"], row["calls"], row["start"]) for row in results["pictures"]["rows"]]
    assert len(arms) == 2 * 5
    # diffusers' own rule asks for one step of two and starts it at the schedule's end; all others start alike
    assert [start for arm, calls, start in arms if arm == "diffusers as written" and calls == 1] == [1]
    assert {start for arm, _, start in arms if arm != "diffusers as written"} == {799}
    assert all(0 < row["floor_ms"] and 0 <= row["two_way"] <= 1 for row in results["pictures"]["rows"])
    what = [(row["what"], row["score"]["n"]) for row in results["feedback"]["rows"]]
    assert what == [("betas", 3), ("BOLD, a trial unfolds", 6), ("BOLD, a trial's last volume", 3)]
    assert results["replay"]["n_acked"] == results["replay"]["n_sent"] == 3
    assert [row["volumes"] for row in results["growth"]["rows"]] == [5, 10]
    assert {path.name for path in tmp_path.glob("*.png")} == {"benchmarks-latency.png", "benchmarks-memory.png"}
    filled = document.read_text()
    assert filled.count("A quick run") == len(parts)
    assert "| 2 | braind onnx |" in filled


def test_the_demo_runs_from_the_wheel_in_a_folder_without_a_checkout(built, data, tmp_path):
    installed = Installed(tmp_path, built.wheel, borrowed=True)
    home = installed.python("import braind; print(braind.__file__)")
    assert Path(home.strip()).is_relative_to(installed.packages)
    shown = installed.braind("demo", "--headless", "--data", data)
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert sum("volume" in line and " ms " in line for line in lines) == 24
    assert "24 decoded, 0 skipped" in shown.stdout
    assert "That was a simulated brain. What to do next:" in shown.stderr
    with Image.open(installed.elsewhere / lines[-1]) as image:
        assert image.width > 12 * 128
