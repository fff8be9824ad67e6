"""What an evaluation reads beside the trials, and what it prints."""

from types import SimpleNamespace

import numpy as np
import pytest

from braind.client.replay_runs import ReplayEvent, ReplayRun, ReplayTrial, ReplayVolume
from braind.models.streaming import response
from braind.offline.evaluating import EvaluatingError, bold_row, estimated_trials, read_kinds
from braind.offline.score_tables import not_measured, print_tables, score_tables


def score(mean):
    return {"mean": mean, "ci95": [mean - 0.1, mean + 0.1], "n": 4}


@pytest.fixture
def scores():
    modes = {mode: {"pixcorr": score(0.3), "forward_top1": score(0.2)} for mode in ("z", "c", "zc")}
    part = {
        "averaged": {**modes, "z_correlation": score(0.4), "c_correlation": score(0.5)},
        "controls": {"mean_prediction": {"pixcorr": {"not_measured": "no picture to score"}}},
        "ceilings": {"seen_pictures": {"pixcorr": score(1.0)}, "z_correlation": {}, "c_correlation": {}},
    }
    comparison = {"mean_prediction": {"difference": 0.25, "p": 0.0031}}
    return {
        **part,
        "ceilings": {**part["ceilings"], "z_correlation": {"averaged": score(0.7)}},
        "comparisons": {"averaged": {"zc": {"pixcorr": comparison}}},
        "bold": {"not_measured": "needs weights of kind bold"},
        "novel_kinds": {"not_measured": "not available: needs the kind of object in each picture"},
        "measures": {
            "pixcorr": {"title": "PixCorr", "status": "measured"},
            "clip": {"title": "CLIP", "status": "not measured: needs a network"},
            "forward_top1": {"title": "picture top-1", "status": "measured"},
        },
        "n_distractors": 3,
        "n_pictures": 4,
        "protocol": "mindeye",
        "provenance": {"simulated": True},
    }


def test_tables_hold_every_row_with_its_interval_and_controls(scores):
    pictures, retrieval, predictions, comparisons = score_tables(scores)
    assert pictures.columns == ["", "PixCorr"]
    assert pictures.rows[0] == ["averaged repeats zc", "0.300 [0.200, 0.400]"]
    assert ["control: mean prediction", "–"] in pictures.rows
    assert ["ceiling: the seen pictures themselves", "1.000 [0.900, 1.100]"] in pictures.rows
    assert retrieval.title == "Retrieval from z and c, among 4 pictures"
    assert predictions.rows[0][2:5] == ["0.700 [0.600, 0.800]", "0.500 [0.400, 0.600]", "not defined"]
    assert comparisons.rows == [["averaged repeats zc − mean prediction", "+0.250 (0.0031)"]]


def test_what_was_not_measured_is_said_below_the_tables(scores, capsys):
    assert not_measured(scores) == [
        "CLIP: not measured: needs a network",
        "causal BOLD: not measured: needs weights of kind bold",
        "kinds that training lacks: not measured: not available: needs the kind of object in each picture",
    ]
    print_tables(scores)
    printed = capsys.readouterr().out
    assert "SIMULATED" in printed
    assert "| averaged repeats zc" in printed
    assert all(line in printed for line in not_measured(scores))


def test_kinds_are_read_from_a_table(tmp_path):
    path = tmp_path / "kinds.tsv"
    path.write_text("nsd_id\tkind\n12\tdog\n7\tteddy bear\n\n")
    assert read_kinds(path) == {12: "dog", 7: "teddy bear"}
    path.write_text("nsd_id\tkind\ndog\t12\n")
    with pytest.raises(EvaluatingError, match=r"kinds\.tsv: no table of kinds"):
        read_kinds(path)
    with pytest.raises(EvaluatingError, match="no table of kinds"):
        read_kinds(tmp_path / "missing.tsv")


def test_bold_trials_are_estimated_from_the_volumes_so_far():
    tr_s, onsets_s, n_volumes = 4 / 3, [8.0, 24.0, 40.0], 50
    times_s = np.arange(n_volumes) * tr_s
    betas = np.array([[2.0, 0, 1], [0, 3, 1], [1, 1, 0]])
    series = 1000 * (1 + sum(np.outer(response(times_s - onset_s, 3.0), beta) / 100
                             for onset_s, beta in zip(onsets_s, betas, strict=True)))  # fmt: skip
    asked_after = []

    def volumes(first):
        for index in range(first, n_volumes):
            asked_after.append(index)
            yield ReplayVolume(index, series[index].reshape(3, 1, 1), 1.0, None)

    events = [ReplayEvent(n, onset_s, ReplayTrial(n, 70 + n)) for n, onset_s in enumerate(onsets_s)]
    run = ReplayRun(SimpleNamespace(tr_s=tr_s), n_volumes, events, volumes)
    estimates = estimated_trials(run, np.array([0, 1, 2]))
    assert [nsd_id for _, nsd_id in estimates] == [70, 71, 72]
    assert np.stack([estimate for estimate, _ in estimates]) == pytest.approx(betas, abs=0.15)
    assert asked_after == list(range(n_volumes))


def test_missing_bold_weights_are_named(tmp_path):
    needs = bold_row(None, 1, tmp_path / "subj01.bold.safetensors", "", np.array([1]))
    assert needs == "needs weights of kind bold, subj01.bold.safetensors"
