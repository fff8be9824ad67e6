"""`braind fit --labels` and `braind evaluate --labels` on a small simulated block design."""

import json
from pathlib import Path

import numpy as np
import pytest
from block_runs import CLASSES, TR_S, block_options, block_study
from click.testing import CliRunner

from braind.cli import main
from braind.models.weights.weights import Weights


def braind(*arguments):
    return CliRunner().invoke(main, [str(one) for one in arguments])


def scores_of(root, data, *more):
    result = braind("evaluate", *block_options(root, data), "--json", *more)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refusal_of(command, root, data, *more):
    result = braind(command, *block_options(root, data), *more)
    assert result.exit_code not in (0, None)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.output


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return block_study(tmp_path_factory.mktemp("blocks") / "study")


@pytest.fixture(scope="module")
def left_out(root, tmp_path_factory):
    return scores_of(root, tmp_path_factory.mktemp("left-out"), "--leave-one-run-out")


def test_each_run_is_decoded_by_a_fit_to_the_others(left_out):
    labels = left_out["labels"]
    assert labels["classes"] == list(CLASSES)
    assert labels["n_trials"] == 9
    assert labels["top1"]["mean"] > 0.7
    assert labels["chance"] == pytest.approx(1 / 3)
    assert np.sum(labels["confusion"], axis=1).tolist() == [3, 3, 3]
    assert next(iter(labels["seconds_after_onset"])) == "5"
    assert all(one["n"] <= 9 for one in labels["seconds_after_onset"].values())
    assert left_out["splits"] == "leave one run out"
    assert left_out["provenance"]["n_runs"] == 3


def test_the_same_evaluation_gives_the_same_numbers(root, tmp_path, left_out):
    assert scores_of(root, tmp_path, "--leave-one-run-out") == left_out
    assert not list(tmp_path.rglob("*.safetensors"))  # no weights of the subject: each fit is one run's own


def test_weights_are_fitted_without_the_test_runs_and_scored_on_them(root, tmp_path):
    fitted = braind("fit", *block_options(root, tmp_path), "--test-runs", "3")
    assert fitted.exit_code == 0, fitted.output
    path = Path(fitted.stdout.strip())
    weights = Weights.load(path)
    assert weights.card.labels == CLASSES
    assert weights.card.test_runs == "3"
    assert {run for _, run in weights.card.prior_runs} <= {1, 2}
    assert weights.card.n_trials == 6
    assert not weights.has_pictures
    assert weights.card.scores["labels_top1"] > 0.6
    assert path.with_suffix(".md").read_text()
    scores = scores_of(root, tmp_path, "--test-runs", "3")
    assert scores["splits"] == "runs 3"
    assert scores["labels"]["n_trials"] == 3
    assert scores["labels"]["top1"]["mean"] >= 0.6
    assert scores["provenance"]["weights"] == weights.fingerprint
    assert "test runs 3" in refusal_of("evaluate", root, tmp_path, "--test-runs", "2")
    table = braind("evaluate", *block_options(root, tmp_path), "--test-runs", "3")
    assert table.exit_code == 0, table.output
    assert "3 trials of 3 classes" in table.output


def test_runs_with_rest_without_a_class_cut_off_and_with_dead_voxels_are_decoded(tmp_path):
    def change(number, rows, volumes):
        volumes[:, 7 * number : 7 * number + 7] = 0
        if number == 1:  # the last block goes on at the run's end
            volumes = volumes[: int((rows[-1][0] + 10) / TR_S)]
        if number == 2:  # the last block begins at the run's end
            volumes = volumes[: int(rows[-1][0] / TR_S)]
        if number == 3:
            rows = [row for row in rows if row[2] != "house"]
        if number == 4:
            rows = [(*row[:2], "n/a") for row in rows]
        return rows, volumes

    root = block_study(tmp_path / "study", n_runs=5, change=change)
    scores = scores_of(root, tmp_path / "data", "--leave-one-run-out")
    assert scores["provenance"]["n_runs"] == 4
    assert scores["labels"]["n_trials"] == 3 + 2 + 2 + 3
    assert scores["labels"]["top1"]["mean"] >= 0.6
    assert scores["labels"]["classes"] == list(CLASSES)


def test_a_class_that_only_the_test_run_shows_is_counted_as_wrong(tmp_path):
    def change(number, rows, volumes):
        return ([*rows[:-1], (*rows[-1][:2], "zebra")] if number == 3 else rows), volumes

    root = block_study(tmp_path / "study", change=change)
    labels = scores_of(root, tmp_path / "data", "--test-runs", "3")["labels"]
    assert labels["classes"] == [*CLASSES, "zebra"]
    assert sum(labels["confusion"][3]) == 1
    assert labels["confusion"][3][3] == 0
    assert labels["n_trials"] == 3


def test_one_class_is_refused(tmp_path):
    root = block_study(tmp_path / "study", classes=("house",))
    for command, more in (("evaluate", ["--leave-one-run-out"]), ("fit", [])):
        assert "the trials are of one class, house; give trials of two or more" in refusal_of(
            command, root, tmp_path / "data", *more
        )


def test_a_class_in_one_run_only_is_refused_by_name(tmp_path):
    def change(number, rows, volumes):
        return [row for row in rows if row[2] != "tool" or number == 2], volumes

    root = block_study(tmp_path / "study", change=change)
    sentence = "class 'tool' occurs in one training run only"
    assert sentence in refusal_of("evaluate", root, tmp_path / "data", "--leave-one-run-out")
    assert sentence in refusal_of("fit", root, tmp_path / "data")


def test_leaving_out_runs_refuses_what_contradicts_it(root, tmp_path):
    assert "leave --test-runs out" in refusal_of("evaluate", root, tmp_path, "--leave-one-run-out", "--test-runs", "5")
    result = braind("evaluate", "--data", tmp_path, "--bids", root, "--task", "blocks", "--leave-one-run-out")
    assert result.exit_code == 2
    assert "--leave-one-run-out: scores classes" in result.output


def test_one_run_and_two_runs_cannot_be_left_out(tmp_path):
    for n_runs in (1, 2):
        root = block_study(tmp_path / f"study{n_runs}", n_runs=n_runs)
        output = refusal_of("evaluate", root, tmp_path / "data", "--leave-one-run-out")
        assert f"the number of runs with a class is {n_runs}; --leave-one-run-out" in output
