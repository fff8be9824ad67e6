"""Numbers as a reader of a journal expects them."""

import pytest

from braind.offline.typography import number, p_words, scientific


@pytest.mark.parametrize(
    ("value", "spec", "printed"),
    [
        (-0.25, ".3f", "−0.250"),
        (0.25, "+.3f", "+0.250"),
        (-0.25, "+.3f", "−0.250"),
        (-0.0001, ".3f", "0.000"),
        (-0.0001, "+.3f", "0.000"),
        (0.0001, "+.3f", "0.000"),
        (0, "+.3f", "0.000"),
        (-0.254, ".0%", "−25%"),
        (-1234.5, ",.1f", "−1,234.5"),
        (-3, ".2f", "−3.00"),
    ],
)
def test_numbers_have_true_minus_signs_and_zero_has_none(value, spec, printed):
    assert number(value, spec) == printed


@pytest.mark.parametrize(
    ("value", "printed"),
    [(10, "10"), (316.2, "316.2"), (1e4, "10⁴"), (31_623, "3.2 × 10⁴"), (0.01, "0.01"), (2.5e-5, "2.5 × 10⁻⁵")],
)
def test_large_and_small_numbers_have_powers_of_ten(value, printed):
    assert scientific(value).replace("\u00a0", " ") == printed


def test_a_p_at_the_floor_of_its_permutations_is_an_upper_bound_raw_and_corrected():
    # 1 / 10,001, which scores round to 0.0001
    for floor in (1 / 10_001, 0.0001):
        assert p_words([floor, 0.03, floor, 0.5], 10_000) == [
            "p ≤ 0.0001, Holm ≤ 0.0004",
            "p = 0.0300, Holm = 0.0600",
            "p ≤ 0.0001, Holm ≤ 0.0004",
            "p = 0.5000, Holm = 0.5000",
        ]


def test_the_next_p_above_the_floor_is_none():
    assert p_words([2 / 10_001], 10_000) == ["p = 0.0002, Holm = 0.0002"]


def test_a_corrected_p_that_follows_from_a_p_at_the_floor_is_a_bound_too():
    # The correction of 0.00012 alone is 2 × 0.00012. The step before it, 3 × 0.0001, is larger.
    assert p_words([1 / 10_001, 0.00012, 0.9], 10_000)[1] == "p = 0.0001, Holm ≤ 0.0003"


def test_bounds_are_rounded_up_and_a_p_of_one_is_no_bound():
    assert p_words([1 / 3_001], 3_000) == ["p ≤ 0.0004, Holm ≤ 0.0004"]
    assert p_words([1e-6, 3e-6], 1_000_000) == ["p ≤ 0.000001, Holm ≤ 0.000002", "p = 0.000003, Holm = 0.000003"]
    assert p_words([1 / 11] * 20, 10)[0] == "p ≤ 0.10, Holm = 1.00"
    assert p_words([1.0], 10_000) == ["p = 1.0000, Holm = 1.0000"]


def test_a_table_without_tests_has_no_p():
    assert p_words([], 10_000) == []
