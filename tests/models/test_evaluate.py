"""Evaluation with a decoder whose pictures show z and c directly, so that every score can be foreseen."""

import json
from dataclasses import replace

import numpy as np
import pytest

from braind.models.evaluate import EvaluateError, HeldOut, average_repeats, evaluate, first_trials
from braind.models.fit import fit_weights

KINDS = ("apple", "bee", "car")


def paint(z, c, mode):
    """Show z in the upper half (unless mode is c) and c in the lower (unless mode is z)."""
    picture = np.full((12, 12, 3), 128.0)
    if mode != "c":
        picture[:6] += 25 * np.resize(z, (6, 12, 3))
    if mode != "z":
        picture[6:] += 10 * np.resize(c[1:], (6, 12, 3))
    return np.clip(picture, 0, 255).astype(np.uint8)


def embed(pictures):
    return pictures.reshape(len(pictures), -1)[:, 216:].astype(np.float64)


def name_objects(pictures):
    return [KINDS[int(picture[6:].astype(int).sum()) % 3] for picture in pictures]


@pytest.fixture(scope="module")
def scene(simulate, blank_card):
    trials = simulate(n_pictures=190)
    training = trials.picture_of_trial < 150
    weights = fit_weights(
        **{**vars(trials), "voxels": trials.voxels[training], "picture_of_trial": trials.picture_of_trial[training]},
        card=blank_card,
    )
    z, c = trials.z[150:], trials.c[150:]
    pictures = np.stack([paint(one_z, one_c, "zc") for one_z, one_c in zip(z, c, strict=True)])
    held_out = HeldOut(
        voxels=trials.voxels[~training],
        picture_of_trial=trials.picture_of_trial[~training] - 150,
        pictures=pictures,
        z=z,
        c=c,
        kinds=name_objects(pictures),
    )
    return weights, held_out


@pytest.fixture(scope="module")
def answer(scene):
    return evaluate(*scene, paint, embed, name_objects, n_bootstrap=200)


def test_the_answer_has_the_documented_fields_and_is_json(answer):
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer
    assert set(answer) == {"single", "averaged", "controls", "seen", "n_pictures", "n_trials", "n_bootstrap"}
    assert set(answer["single"]) == {"z", "c", "zc", "z_correlation", "c_correlation"}
    assert set(answer["controls"]) == {"shuffled", "mean_prediction", "text_only_random_caption"}
    for scores in (answer["averaged"]["c"], answer["controls"]["shuffled"]):
        assert set(scores) == {"clip_two_way", "pixcorr", "ssim", "object_named"}
        low, high = scores["pixcorr"]["ci95"]
        assert low <= scores["pixcorr"]["mean"] <= high
    assert (answer["n_pictures"], answer["n_trials"]) == (40, 120)


def test_modes_score_what_they_show(answer):
    single = answer["single"]
    # the embedding sees the lower half only, where c is shown
    assert single["c"]["clip_two_way"]["mean"] > 0.8
    assert single["zc"]["clip_two_way"] == single["c"]["clip_two_way"]
    assert single["z"]["clip_two_way"]["mean"] == 0.5
    assert single["zc"]["pixcorr"]["mean"] > single["c"]["pixcorr"]["mean"] > 0.2


def test_averaging_repeats_helps(answer):
    for score in ("clip_two_way", "pixcorr"):
        assert answer["averaged"]["zc"][score]["mean"] > answer["single"]["zc"][score]["mean"]
    assert answer["averaged"]["z_correlation"]["mean"] > answer["single"]["z_correlation"]["mean"] > 0.5


def test_controls_stand_at_chance(answer):
    for name, scores in answer["controls"].items():
        assert scores["clip_two_way"]["mean"] == pytest.approx(0.5, abs=0.12), name
    assert answer["controls"]["mean_prediction"]["clip_two_way"]["mean"] == pytest.approx(0.5)


def test_the_same_seed_gives_the_same_answer(scene, answer):
    assert evaluate(*scene, paint, embed, name_objects, n_bootstrap=200) == answer


def test_pictures_of_novel_kinds_are_scored_apart(scene, answer):
    weights, held_out = scene
    is_novel = np.arange(40) < 10
    split = evaluate(weights, replace(held_out, is_novel=is_novel), paint, embed, name_objects, n_bootstrap=50)
    assert (split["n_pictures"], split["novel_kinds"]["n_pictures"]) == (30, 10)
    both = 0.75 * split["single"]["zc"]["ssim"]["mean"] + 0.25 * split["novel_kinds"]["single"]["zc"]["ssim"]["mean"]
    assert both == pytest.approx(answer["single"]["zc"]["ssim"]["mean"])


def test_fewer_trials_a_picture_can_be_decoded_and_progress_is_told(scene):
    steps = []
    answer = evaluate(
        *scene, paint, embed, name_objects, n_bootstrap=10, max_trials_per_picture=1,
        progress=lambda *step: steps.append(step),
    )  # fmt: skip
    assert answer["n_trials"] == 40
    assert [n_done for _, n_done, _ in steps] == list(range(1, 282))
    assert {n_all for _, _, n_all in steps} == {281}


def test_first_trials_are_taken_in_order():
    picture_of_trial = np.array([2, 0, 2, 1, 0, 2])
    assert first_trials(picture_of_trial, 1).tolist() == [0, 1, 3]
    assert first_trials(picture_of_trial, 2).tolist() == [0, 1, 2, 3, 4]
    assert first_trials(picture_of_trial, None).tolist() == list(range(6))


def test_repeats_are_averaged_by_picture():
    voxels, pictures = average_repeats(np.array([[1.0, 0], [3, 4], [5, 6]], np.float32), np.array([4, 1, 4]))
    assert pictures.tolist() == [1, 4]
    assert voxels.tolist() == [[3, 4], [3, 3]]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"kinds": ["bee"]}, "1 kinds for 40"),
        ({"picture_of_trial": np.full(120, 40)}, "shows picture 40"),
        ({"voxels": np.ones((3, 90), np.float32)}, "3 rows of voxels for 120 trials"),
    ],
)
def test_held_out_trials_that_do_not_fit_are_refused(scene, changes, sentence):
    weights, held_out = scene
    with pytest.raises(EvaluateError, match=sentence):
        evaluate(weights, replace(held_out, **changes), paint, embed, name_objects)
