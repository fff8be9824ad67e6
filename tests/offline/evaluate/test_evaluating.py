"""What an evaluation reads beside the trials, and what it prints."""

import pytest
from PIL import Image

from braind.client.datasets.nsd.tree import NsdTree
from braind.config import load_config
from braind.offline.evaluate.bold_plot import DPI, HEIGHT_INCHES, PANEL_INCHES, draw_bold
from braind.offline.evaluate.evaluate import EvaluatingError, load_bold_weights, read_kinds
from braind.offline.evaluate.tables import bold_table, not_measured, print_bold_table, print_tables, score_tables


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
        "n_permutations": 10_000,
        "protocol": "mindeye",
        "provenance": {"simulated": True},
    }


def test_tables_hold_every_row_with_its_interval_and_controls(scores):
    pictures, retrieval, predictions, comparisons = score_tables(scores)
    assert pictures.columns == ["", "PixCorr"]
    assert pictures.rows[0] == ["averaged repeats zc", "0.300 [0.200, 0.400]"]
    assert ["control: mean prediction", "–"] in pictures.rows
    assert ["ceiling: the seen pictures themselves", "1.000 [0.900, 1.100]"] in pictures.rows
    assert retrieval.title == "Retrieval from z and c, among 4 pictures (n = 4)"
    assert predictions.rows[0][2:5] == ["0.700 [0.600, 0.800]", "0.500 [0.400, 0.600]", "not defined"]
    assert comparisons.rows == [["averaged repeats zc − mean prediction", "+0.250 (p = 0.0031, Holm = 0.0031)"]]


def test_the_decoder_expected_and_paired_differences_have_rows_of_their_own(scores):
    scores["averaged_expected"] = {"c": {"pixcorr": score(0.1)}, "zc": {"pixcorr": score(0.2)}}
    compared = {"difference": 0.1, "p": 0.0123, "ci95": [-0.05, 0.25], "n": 4}
    scores["paired"] = {"averaged": {"zc - z": {"pixcorr": compared}, "c - c expected": {"pixcorr": {}}}}
    tables = score_tables(scores)
    assert ["averaged repeats (c expected) c", "0.100 [0.000, 0.200]"] in tables[0].rows
    paired = next(
        table for table in tables if table.title.startswith("Paired differences (n = 4): mean [95 % interval]")
    )
    assert paired.rows == [
        ["averaged repeats zc − z", "+0.100 [−0.050, +0.250] (p = 0.0123, Holm = 0.0123)"],
        ["averaged repeats c − c expected", ""],
    ]


def test_each_table_corrects_its_own_p_values_and_marks_the_floor_of_the_permutations(scores):
    floor = {"difference": -0.2, "p": 0.0001, "ci95": [-0.3, -0.1], "n": 4}
    scores["comparisons"]["averaged"]["zc"]["pixcorr"]["random_caption_c"] = {"difference": 0.1, "p": 0.04}
    scores["paired"] = {"averaged": {"zc - z": {"pixcorr": floor}}}
    paired, comparisons = score_tables(scores)[-2:]
    assert paired.rows[0][1] == "−0.200 [−0.300, −0.100] (p ≤ 0.0001, Holm ≤ 0.0001)"
    assert [row[1] for row in comparisons.rows] == [
        "+0.250 (p = 0.0031, Holm = 0.0062)",
        "+0.100 (p = 0.0400, Holm = 0.0400)",
    ]
    assert "corrected over the 2 tests of this table" in comparisons.title


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


def test_every_row_is_one_line_of_markdown_however_many_measures_there_are(scores, capsys):
    names = [f"measure {n}" for n in range(20)]
    scores["measures"] = {name: {"title": name, "status": "measured"} for name in names}
    compared = {"difference": -0.1, "p": 0.0123, "ci95": [-0.25, -0.05], "n": 4}
    scores["comparisons"], scores["paired"] = {}, {"averaged": {"zc - z": dict.fromkeys(names, compared)}}
    print_tables(scores)
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| averaged repeats zc − z")]
    assert row.count("−0.100 [−0.250, −0.050] (p = 0.0123, Holm = 0.2460)") == 20


def test_kinds_are_read_from_a_table(tmp_path):
    path = tmp_path / "kinds.tsv"
    path.write_text("nsd_id\tkind\n12\tdog\n7\tteddy bear\n\n")
    assert read_kinds(path) == {12: "dog", 7: "teddy bear"}
    path.write_text("nsd_id\tkind\ndog\t12\n")
    with pytest.raises(EvaluatingError, match=r"kinds\.tsv: no table of kinds"):
        read_kinds(path)
    with pytest.raises(EvaluatingError, match="no table of kinds"):
        read_kinds(tmp_path / "missing.tsv")


def test_bold_scores_stand_beside_the_betas_in_a_table_and_a_plot(tmp_path, capsys):
    def row(z, clip):
        return {
            "zc": {"clip_two_way": score(clip)},
            "z_correlation": score(z),
            "c_correlation": score(z),
            "n_decodes": 9,
        }

    scores = {
        "beta": row(0.4, 0.9),
        "bold": {"seconds_after_onset": {"4.0": row(0.1, 0.6), "8.0": row(0.36, 0.86)}, "final": row(0.4, 0.9)},
        "lagged": {"seconds_after_onset": {"4.0": row(0.2, 0.7), "8.0": row(0.3, 0.8)}, "final": row(0.2, 0.7)},
        "measures": {"clip_two_way": {"title": "two-way CLIP (own)"}},
        "provenance": {"subject": 1, "simulated": True},
    }
    table = bold_table(scores)
    assert table.columns == ["", "z correlation", "c correlation", "two-way CLIP (own)"]
    assert table.rows[1] == ["BOLD, 4 s", "0.100 (25%)", "0.100 (25%)", "0.600 (25%)"]
    assert table.rows[2][-1] == "0.860 (90%)"
    lagged = ["lagged ridge, 4 s", "lagged ridge, 8 s", "lagged ridge, final"]
    assert [row[0] for row in table.rows] == ["betas", "BOLD, 4 s", "BOLD, 8 s", "BOLD, final", *lagged]

    draw_bold(scores, tmp_path / "bold.png")
    draw_bold(scores, tmp_path / "bold.svg")
    with Image.open(tmp_path / "bold.png") as picture:
        assert picture.size == (round(3 * PANEL_INCHES * DPI), round(HEIGHT_INCHES * DPI))
    drawn = (tmp_path / "bold.svg").read_text()
    for words in (
        "SIMULATED",
        "9 held-out",
        "seconds after onset",
        "causal estimates",
        "lagged ridge",
        "chance",
        "betas",
    ):
        assert words in drawn

    scores["lagged"] = {"not_measured": "needs a lagged ridge"}
    draw_bold(scores, tmp_path / "bold.svg")
    assert "lagged ridge" not in (tmp_path / "bold.svg").read_text()
    print_bold_table(scores)
    assert "lagged ridge: not measured: needs a lagged ridge" in capsys.readouterr().out


def test_missing_bold_weights_are_named(tmp_path):
    tree = object.__new__(NsdTree)
    config = load_config(None, {"paths": {"data": str(tmp_path)}})
    with pytest.raises(
        EvaluatingError, match=r"needs weights of kind bold, subj01.bold.safetensors: braind fit --kind"
    ):
        load_bold_weights(config, 1, tree, "")
