"""Scores of decoded classes, against hand-made decodes and scikit-learn."""

import json

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from braind.models.scores.labels import DecodedClasses, calibration, score_classes

CLASSES = ("cat", "chair", "house")


def decoded_of(*rows):
    """Each row: the trial, its class, the three probabilities, seconds after onset, and whether it is final."""
    trial_of, class_of, probabilities, since_onset_s, is_final = zip(*rows, strict=True)
    return DecodedClasses(
        CLASSES, np.array(probabilities, float), np.array(class_of), np.array(trial_of),
        np.array(since_onset_s, float), np.array(is_final),
    )  # fmt: skip


CAT, CHAIR, HOUSE = (0.8, 0.1, 0.1), (0.2, 0.6, 0.2), (0.0, 0.0, 1.0)

HAND_MADE = decoded_of(
    (0, 0, CHAIR, 5.0, False),
    (0, 0, CHAIR, 7.0, False),
    (0, 0, CAT, 9.0, True),
    (1, 1, CHAIR, 4.2, False),
    (1, 1, HOUSE, 6.2, True),
    (2, 2, HOUSE, 4.9, False),
    (2, 2, HOUSE, 6.9, True),
    (3, 0, CAT, 5.9, True),
)


def test_accuracy_counts_the_final_estimate_of_each_trial():
    scores = score_classes(HAND_MADE, tr_s=2.0)
    assert scores["classes"] == list(CLASSES)
    assert scores["n_trials"] == 4
    assert (scores["top1"]["mean"], scores["top1"]["n"]) == (0.75, 4)
    low, high = scores["top1"]["ci95"]
    assert 0 <= low <= 0.75 <= high <= 1
    assert scores["chance"] == 0.5  # two of four are cats


def test_accuracy_by_delay_takes_each_trials_first_estimate_from_then_on():
    by_delay = score_classes(HAND_MADE, tr_s=2.0)["seconds_after_onset"]
    assert list(by_delay) == ["4", "6", "8"]
    # 4 s: trial 0 wrong, 1 right, 2 right, 3 right; 6 s: 0 wrong, 1 wrong, 2 right; 8 s: only trial 0 goes on
    assert [(one["mean"], one["n"]) for one in by_delay.values()] == [(0.75, 4), (pytest.approx(1 / 3), 3), (1.0, 1)]


def test_the_order_of_estimates_does_not_matter():
    shuffled = HAND_MADE.of(np.random.default_rng(0).permutation(len(HAND_MADE.class_of)))
    scores, wanted = score_classes(shuffled, 2.0), score_classes(HAND_MADE, 2.0)
    assert scores["confusion"] == wanted["confusion"]
    for delay, one in scores["seconds_after_onset"].items():
        assert one["mean"] == pytest.approx(wanted["seconds_after_onset"][delay]["mean"])


def test_a_delay_that_rounding_makes_a_little_late_counts():
    decoded = decoded_of((0, 0, CAT, 4.999999999, False), (0, 0, HOUSE, 7.5, True))
    assert score_classes(decoded, 2.5)["seconds_after_onset"]["5"]["mean"] == 1.0


def test_confusion_is_scikit_learns():
    rng = np.random.default_rng(0)
    class_of = rng.integers(0, 3, 90)
    probabilities = rng.dirichlet(np.ones(3), 90) + 0.5 * np.eye(3)[class_of]
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    decoded = DecodedClasses(CLASSES, probabilities, class_of, np.arange(90), np.full(90, 12.0), np.ones(90, bool))
    scores = score_classes(decoded, 2.5)
    assert scores["confusion"] == confusion_matrix(class_of, probabilities.argmax(axis=1)).tolist()
    assert np.trace(scores["confusion"]) / 90 == pytest.approx(scores["top1"]["mean"])


def test_confusion_has_a_row_and_a_column_for_classes_that_were_not_shown_or_not_decoded():
    scores = score_classes(decoded_of((0, 0, HOUSE, 9.0, True), (1, 0, HOUSE, 9.0, True)), 2.0)
    assert scores["confusion"] == [[0, 0, 2], [0, 0, 0], [0, 0, 0]]
    assert scores["top1"]["mean"] == 0
    assert scores["chance"] == 1


def test_calibration_compares_probability_and_accuracy_by_bins():
    finals = HAND_MADE.of(HAND_MADE.is_final)
    curve, error = calibration(finals)
    # 0.8 twice, both right; 1.0 twice, one right: in the bins 0.8–0.9 and 0.9–1.0
    assert curve == [
        {"probability": pytest.approx(0.8), "accuracy": 1.0, "n": 2},
        {"probability": 1.0, "accuracy": 0.5, "n": 2},
    ]
    assert error == pytest.approx(0.5 * 0.2 + 0.5 * 0.5)


def test_true_probabilities_are_calibrated_and_overconfident_ones_are_not():
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.ones(3), 4000)
    class_of = (rng.random((4000, 1)) > probabilities.cumsum(axis=1)).sum(axis=1)
    decoded = DecodedClasses(CLASSES, probabilities, class_of, np.arange(4000), np.full(4000, 9.0), np.ones(4000, bool))
    assert calibration(decoded)[1] < 0.03
    sure = DecodedClasses(CLASSES, np.eye(3)[probabilities.argmax(axis=1)], class_of, *[decoded.trial_of] * 3)
    assert calibration(sure)[1] == pytest.approx(1 - sure.is_right.mean())


def test_scores_are_json_and_the_same_each_time():
    first, second = (json.dumps(score_classes(HAND_MADE, 2.0, seed=3), allow_nan=False) for _ in range(2))
    assert first == second
