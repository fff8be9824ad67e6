"""Score tables and plots where something was not measured: unknown is a dash, never a zero."""

import pytest

from braind.offline.evaluate.bold_plot import draw_bold
from braind.offline.evaluate.tables import bold_table, not_measured, print_tables, score_tables

MISSING = {"not_measured": "no picture to score"}


def score(mean):
    return {"mean": mean, "ci95": [mean - 0.05, mean + 0.05], "n": 4}


def bold_row(z=None, clip=None):
    return {
        "zc": {"clip_two_way": MISSING if clip is None else score(clip)},
        "z_correlation": MISSING if z is None else score(z),
        "c_correlation": MISSING if z is None else score(z),
        "n_decodes": 3,
    }


def bold_scores(**changes):
    return {
        "beta": bold_row(0.4, 0.9),
        "bold": {"seconds_after_onset": {"4.0": bold_row(), "8.0": bold_row(0.2, 0.7)}, "final": bold_row(0.3, 0.8)},
        "lagged": {"not_measured": "needs a lagged ridge"},
        "measures": {"clip_two_way": {"title": "two-way CLIP (own)"}},
        "provenance": {"subject": 1, "simulated": False},
        **changes,
    }


def test_a_delay_that_was_not_scored_is_a_dash():
    rows = dict((row[0], row[1:]) for row in bold_table(bold_scores()).rows)
    assert rows["BOLD, 4 s"] == ["–", "–", "–"]
    assert rows["BOLD, 8 s"] == ["0.200 (50%)", "0.200 (50%)", "0.700 (50%)"]


@pytest.mark.parametrize("beta", [bold_row(), bold_row(0.0, 0.5)])
def test_without_betas_above_chance_there_is_no_share_of_them(beta):
    rows = dict((row[0], row[1:]) for row in bold_table(bold_scores(beta=beta)).rows)
    assert rows["BOLD, final"] == ["0.300", "0.300", "0.800"]


def test_scores_below_chance_have_a_negative_share():
    rows = dict((row[0], row[1:]) for row in bold_table(bold_scores(beta=bold_row(0.4, 0.9))).rows)
    assert rows["betas"][-1] == "0.900 (100%)"
    below = bold_scores()
    below["bold"]["final"] = bold_row(-0.1, 0.4)
    assert dict((row[0], row[1:]) for row in bold_table(below).rows)["BOLD, final"][-1] == "0.400 (−25%)"


def test_a_measure_that_was_not_made_has_no_column():
    assert bold_table(bold_scores(measures={})).columns == ["", "z correlation", "c correlation"]


def test_the_plot_leaves_out_delays_that_were_not_scored(tmp_path):
    draw_bold(bold_scores(), tmp_path / "bold.svg")
    drawn = (tmp_path / "bold.svg").read_text()
    assert "causal estimates" in drawn
    assert "SIMULATED" not in drawn


def test_the_plot_of_nothing_but_betas_shows_them(tmp_path):
    nothing = {"seconds_after_onset": {"4.0": bold_row()}, "final": bold_row()}
    draw_bold(bold_scores(bold=nothing), tmp_path / "bold.svg")
    drawn = (tmp_path / "bold.svg").read_text()
    assert "betas" in drawn
    assert "causal estimates" not in drawn


@pytest.fixture
def scores():
    return {
        "single": {"zc": {"clip": score(0.0)}, "z_correlation": MISSING, "c_correlation": score(0.0)},
        "controls": {"mean_prediction": {"clip": MISSING}},
        "ceilings": {"z_correlation": {}, "c_correlation": {}},
        "comparisons": {"single": {"zc": {"clip": {"mean_prediction": {}}}}},
        "novel_kinds": {"not_measured": "not available: needs kinds"},
        "measures": {
            "clip": {"title": "CLIP", "status": "measured"},
            "swav": {"title": "SwAV", "status": "not measured: needs swav.pth"},
        },
        "n_distractors": 3,
        "n_pictures": 4,
        "n_permutations": 10_000,
        "protocol": "mindeye",
        "provenance": {"simulated": False},
    }


def test_zero_and_unknown_look_different(scores):
    pictures, predictions = score_tables(scores)
    assert pictures.rows == [["single trial zc", "0.000 [−0.050, 0.050]"], ["control: mean prediction", "–"]]
    assert predictions.rows == [["single trial", "–", "not defined", "0.000 [−0.050, 0.050]", "not defined"]]


def test_a_comparison_without_pictures_in_common_has_no_row(scores):
    assert not any(table.title.startswith("Mode zc less") for table in score_tables(scores))


def test_a_comparison_that_some_measures_lack_leaves_their_cells_empty(scores):
    scores["measures"]["swav"]["status"] = "measured"
    scores["single"]["zc"]["swav"] = score(0.7)
    of_row = scores["comparisons"]["single"]["zc"]
    of_row["clip"]["mean_prediction"] = {"difference": -0.25, "p": 0.5}
    of_row["swav"] = {}
    (table,) = (table for table in score_tables(scores) if table.title.startswith("Mode zc less"))
    assert table.rows == [["single trial zc − mean prediction", "−0.250 (p = 0.5000, Holm = 0.5000)", ""]]


def test_what_was_not_measured_is_named_with_what_it_needs(scores, capsys):
    assert not_measured(scores) == [
        "SwAV: not measured: needs swav.pth",
        "kinds that training lacks: not measured: not available: needs kinds",
    ]
    print_tables(scores)
    printed = capsys.readouterr().out
    assert "4 held-out pictures; means over pictures" in printed
    assert "SIMULATED" not in printed
