"""Holm's correction against values that others published."""

import numpy as np
import pytest

from braind.models.scores.multiple_comparisons import holm

# Benjamini & Hochberg 1995, section 4.1: 15 hypotheses of a trial of thrombolysis.
BENJAMINI_HOCHBERG = (
    0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0
)  # fmt: skip


def test_r_documents_these_values_of_p_adjust():
    assert holm(np.array([0.01, 0.02, 0.03, 0.04, 0.05])) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])


def test_the_order_of_the_tests_does_not_matter():
    # The worked example of the Holm-Bonferroni method: only the first and the fourth hypothesis are rejected at 0.05.
    corrected = holm(np.array([0.01, 0.04, 0.03, 0.005]))
    assert corrected == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert (corrected <= 0.05).tolist() == [True, False, False, True]


def test_of_the_fifteen_hypotheses_of_benjamini_and_hochberg_three_are_rejected():
    corrected = holm(np.array(BENJAMINI_HOCHBERG))
    assert (corrected <= 0.05).sum() == 3
    assert corrected[:4] == pytest.approx([0.0015, 0.0056, 0.0247, 0.114])
    assert corrected.max() == 1
    assert (np.diff(corrected) >= 0).all()


def test_one_test_is_not_corrected_and_none_gives_none():
    assert holm(np.array([0.03])) == pytest.approx([0.03])
    assert holm(np.array([])).shape == (0,)
