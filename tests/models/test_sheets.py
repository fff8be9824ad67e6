"""Contact sheets: every picture, each trial's label and score, and the mark of a simulated brain."""

import numpy as np
import pytest

from braind.models.sheets import Column, contact_sheet

GREY = np.full((64, 64, 3), 120, np.uint8)


def sheet(n=3, label="ses-01 run-02\ntrial-03", score="PixCorr 0.42", title="title", simulated=False, **options):
    columns = [Column([GREY, GREY], label, score) for _ in range(n)]
    return np.asarray(contact_sheet(columns, ["seen", "Xzc"], title, simulated, **options))


def differing_rows(first, second):
    """Return the first and the last row of pixels in which two sheets differ."""
    rows = np.flatnonzero((first != second).any(axis=(1, 2)))
    return int(rows[0]), int(rows[-1])


def picture_rows(pixels):
    rows = np.flatnonzero((pixels == 120).all(axis=2).any(axis=1))
    return int(rows[0]), int(rows[-1])


def test_a_sheet_of_simulated_data_says_so_and_holds_every_picture():
    plain, marked = sheet(14), sheet(14, simulated=True)
    assert plain.shape == marked.shape
    assert not np.array_equal(plain, marked)
    assert (plain == 120).all(axis=2).sum() >= 14 * 2 * 64 * 64


def test_a_trials_label_stands_above_its_pictures_and_its_score_below():
    plain = sheet()
    first, last = picture_rows(plain)
    assert differing_rows(plain, sheet(label="ses-99 run-99\ntrial-99"))[1] < first
    assert differing_rows(plain, sheet(score="PixCorr 0.99"))[0] > last


def test_scores_that_differ_in_the_minus_sign_look_different():
    # a font without a minus sign draws the same box for every character that it lacks
    assert not np.array_equal(sheet(score="−0.42"), sheet(score="\uffff0.42"))


@pytest.mark.parametrize("words", ["ses-123 run-12", "a label that is longer than any picture"])
def test_a_long_label_keeps_to_its_pictures_column_as_far_as_it_can_be_read(words):
    alone = sheet(n=1, label="", score="", title="")
    labelled = sheet(n=1, label=words, score="", title="")
    assert labelled.shape[1] == alone.shape[1]
    if len(words) < 20:
        label_rows = labelled[26:41]
        assert (label_rows[:, : 44 + 2] == np.array([18, 18, 22])).all()


def test_a_title_is_never_cut():
    words = "a title that is much longer than one small picture is wide"
    assert sheet(n=1, title=words).shape[1] > 300
    assert sheet(n=1, title=words, simulated=True).shape[1] > sheet(n=1, title=words).shape[1]


def test_trials_continue_in_the_next_line_with_labels_of_their_own():
    one, two = sheet(n=2, per_line=2), sheet(n=4, per_line=2)
    assert two.shape[1] == one.shape[1]
    line_px = two.shape[0] - one.shape[0]
    assert np.array_equal(two[26 : 26 + line_px], two[26 + line_px : 26 + 2 * line_px])
