"""Evaluation with a decoder whose pictures show z and c directly, so that every score is known beforehand."""

import json
from dataclasses import replace

import numpy as np
import pytest

from braind.models.fit import fit_weights
from braind.models.fit_profiles import FitSettings
from braind.models.scores.comparison import likeness_of
from braind.models.scores.decodes import Evaluation
from braind.models.scores.evaluate import evaluate
from braind.models.scores.held_out import (
    EvaluateError,
    HeldOut,
    Row,
    Training,
    average_repeats,
    distinct_rows,
    first_trials,
    repeat_of_trial,
    rows_of,
    running_averages,
)
from braind.models.scores.likeness import OwnClip, SimilarityScorer
from braind.models.scores.metrics import unit_rows
from braind.models.scores.protocols import PROTOCOLS, Measure, own_measures
from braind.models.scores.targets import nearest_by_decode

KINDS = ("apple", "bee", "car")
N_TRAINING, N_PICTURES = 150, 30
SEED = 42
MODES = ("z", "c", "zc")


def paint(z, c, mode, light=0.0):
    """Show z in the upper half (unless mode is c) and c in the lower (unless mode is z)."""
    picture = np.full((12, 12, 3), 128.0) + light
    if mode != "c":
        picture[:6] += 25 * np.resize(z, (6, 12, 3))
    if mode != "z":
        picture[6:] += 10 * np.resize(c[1:], (6, 12, 3))
    return np.clip(picture, 0, 255).astype(np.uint8)


def embed(pictures):
    """See the lower half only, where c is shown."""
    return pictures.reshape(len(pictures), -1)[:, 216:].astype(np.float64)


def upper_half(pictures):
    return {"inception": pictures[:, :6].reshape(len(pictures), -1).astype(np.float32)}


def name_objects(embeddings):
    return [KINDS[int(embedding.sum()) % 3] for embedding in embeddings]


def scorer_of(held_out, protocol, extractors=(), measures=None):
    own = OwnClip(embed, unit_rows(embed(held_out.pictures)))
    if measures is None:
        # pictures of 425 px take long: one test has them
        measures = [
            measure
            for measure in (*protocol.measures, *own_measures(protocol))
            if measure.kind not in ("pixcorr", "ssim", "ssim_detail")
        ]
    return SimilarityScorer(held_out.pictures, measures, extractors, own, held_out.kinds)


@pytest.fixture(scope="module")
def scene(simulate, blank_card):
    trials = simulate(n_pictures=N_TRAINING + N_PICTURES)
    is_training = trials.picture_of_trial < N_TRAINING
    weights = fit_weights(trials.of(is_training), blank_card, FitSettings())
    z, c = trials.z[N_TRAINING:], trials.c[N_TRAINING:]
    pictures = np.stack([paint(one_z, one_c, "zc") for one_z, one_c in zip(z, c, strict=True)])
    held_out = HeldOut(
        voxels=trials.voxels[~is_training],
        picture_of_trial=trials.picture_of_trial[~is_training] - N_TRAINING,
        pictures=pictures,
        nsd_ids=np.arange(N_TRAINING, N_TRAINING + N_PICTURES),
        z=z,
        c=c,
        kinds=name_objects(embed(pictures)),
    )
    training = Training(
        average_repeats(trials.voxels[is_training], trials.picture_of_trial[is_training])[0],
        np.arange(N_TRAINING),
        trials.c[:N_PICTURES],
    )
    return weights, held_out, training, lambda chosen: np.stack([paint(trials.z[n], trials.c[n], "zc") for n in chosen])


def with_paints(paints, scorer, recorded):
    """Make comparisons with one function for each sample."""

    def make(z, c, mode, seeds):
        return np.stack([paints[seed - SEED](z, c, mode) for seed in seeds])

    return lambda comparisons, _words: (likeness_of(one, scorer, make, recorded) for one in comparisons)


def score(scene, name="mindeye", paints=(paint,), **options):
    weights, held_out, training, recorded = scene
    protocol = PROTOCOLS[name]
    scorer = options.pop("scorer", None) or scorer_of(held_out, protocol, [upper_half])
    settings = {name: options.pop(name) for name in ("n_bootstrap", "progress") if name in options}
    compare = with_paints(paints, scorer, recorded)
    evaluation = Evaluation(
        weights, held_out, compare, scorer, SEED, n_samples=len(paints), **{"n_bootstrap": 200, **settings}
    )
    return evaluate(evaluation, training, protocol, **options)


@pytest.fixture(scope="module")
def answer(scene):
    return score(scene)


def test_the_answer_has_the_documented_fields_and_is_json(answer):
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer
    for row in ("single", "averaged", "running"):
        assert set(answer[row]) == {"z", "c", "zc", "z_correlation", "c_correlation", "n_decodes"}
    assert set(answer["controls"]) == {
        "shuffled_single", "shuffled_averaged", "nearest_training_single", "nearest_training_averaged",
        "mean_prediction", "random_caption_c", "random_caption_zc", "seen_z_decoded_c", "decoded_z_seen_c",
    }  # fmt: skip
    for scores in (answer["averaged"]["c"], answer["controls"]["shuffled_single"]):
        assert set(scores) == {
            "inception", "clip_two_way", "clip_two_way_same_kind", "caption_top1", "caption_top5",
            "forward_top1", "forward_top5", "backward_top1", "backward_top5",
        }  # fmt: skip
        low, high = scores["clip_two_way"]["ci95"]
        assert low <= scores["clip_two_way"]["mean"] <= high
    assert (answer["n_pictures"], answer["single"]["n_decodes"], answer["averaged"]["n_decodes"]) == (30, 90, 30)


def test_modes_score_what_they_show(answer):
    single = answer["single"]
    # the own CLIP sees c only, the network z only
    assert single["c"]["clip_two_way"]["mean"] > 0.8
    assert single["zc"]["clip_two_way"] == single["c"]["clip_two_way"]
    assert single["z"]["clip_two_way"]["mean"] == 0.5
    assert single["zc"]["inception"] == single["z"]["inception"]
    assert single["z"]["inception"]["mean"] > 0.8
    assert single["c"]["inception"]["mean"] == 0.5


def test_averaging_repeats_helps_and_the_running_average_lies_between(answer):
    for score in ("clip_two_way", "forward_top1"):
        single, running, averaged = (answer[row]["zc"][score]["mean"] for row in ("single", "running", "averaged"))
        assert single < min(running, averaged)
    single, running, averaged = (answer[row]["z_correlation"]["mean"] for row in ("single", "running", "averaged"))
    assert 0.5 < single < running < averaged


def test_controls_that_know_nothing_stand_at_chance(answer):
    for name in ("shuffled_single", "shuffled_averaged", "mean_prediction", "random_caption_c"):
        assert answer["controls"][name]["clip_two_way"]["mean"] == pytest.approx(0.5, abs=0.12), name
    mean_prediction = answer["controls"]["mean_prediction"]
    assert mean_prediction["clip_two_way"]["mean"] == pytest.approx(0.5)
    assert mean_prediction["backward_top1"]["mean"] == pytest.approx(1 / 30, abs=1e-6)


def test_exchanged_latents_score_as_what_they_show(answer):
    controls = answer["controls"]
    assert controls["seen_z_decoded_c"]["inception"]["mean"] == 1
    assert controls["seen_z_decoded_c"]["clip_two_way"] == answer["averaged"]["c"]["clip_two_way"]
    assert controls["decoded_z_seen_c"]["clip_two_way"]["mean"] == 1
    assert controls["decoded_z_seen_c"]["inception"] == answer["averaged"]["z"]["inception"]
    assert controls["random_caption_zc"]["inception"] == answer["averaged"]["z"]["inception"]
    assert answer["ceilings"]["seen_z_and_c"]["clip_two_way"]["mean"] == 1
    assert answer["ceilings"]["seen_pictures"]["inception"]["mean"] == 1


def test_nearest_training_pictures_identify_but_less_than_the_decodes(answer):
    nearest = answer["controls"]["nearest_training_averaged"]["clip_two_way"]["mean"]
    assert 0.6 < nearest < answer["averaged"]["zc"]["clip_two_way"]["mean"]


def test_rows_are_compared_with_controls_of_their_own_kind(answer):
    comparison = answer["comparisons"]["averaged"]["zc"]["clip_two_way"]
    assert "shuffled_single" not in comparison
    shuffled = comparison["shuffled_averaged"]
    means = answer["averaged"]["zc"]["clip_two_way"]["mean"], answer["controls"]["shuffled_averaged"]["clip_two_way"]
    assert shuffled["difference"] == pytest.approx(means[0] - means[1]["mean"], abs=2e-6)
    assert shuffled["p"] < 0.001
    assert comparison["seen_z_decoded_c"] == {"difference": 0, "p": 1}
    assert set(answer["comparisons"]["running"]["z"]["inception"]) >= {"shuffled_single", "mean_prediction"}


def test_the_decoder_expected_is_scored_beside_the_linear_one(scene, answer):
    weights, held_out, training, recorded = scene
    expecting = score((weights.with_c_decoder("expected"), held_out, training, recorded))
    for row in ("single", "averaged"):
        beside = answer[f"{row}_expected"]
        assert set(beside) == {"c", "zc", "z_correlation", "c_correlation", "n_decodes"}
        for mode in ("c", "zc"):
            assert beside[mode] == expecting[row][mode]
        assert beside["c_correlation"] == expecting[row]["c_correlation"] != answer[row]["c_correlation"]
    assert not [row for row in expecting if row.endswith("_expected")]
    assert set(answer["comparisons"]) == {"single", "averaged", "running"}
    without = score((replace(weights, prior=None), held_out, training, recorded), n_bootstrap=50)
    assert not [row for row in without if row.endswith("_expected")]
    assert without["single"]["zc"]["clip_two_way"]["mean"] == answer["single"]["zc"]["clip_two_way"]["mean"]


def test_modes_and_decoders_are_compared_in_pairs_over_pictures(answer):
    assert set(answer["paired"]) == {"single", "averaged", "running"}
    pairs = answer["paired"]["averaged"]
    both = {"zc - z", "zc - c", "c - c expected", "zc - zc expected", "zc - nearest training picture"}
    assert set(pairs) == both
    for pair, first, second in (
        ("zc - z", answer["averaged"]["zc"], answer["averaged"]["z"]),
        ("c - c expected", answer["averaged"]["c"], answer["averaged_expected"]["c"]),
        ("zc - nearest training picture", answer["averaged"]["zc"], answer["controls"]["nearest_training_averaged"]),
    ):
        compared = pairs[pair]["clip_two_way"]
        difference = first["clip_two_way"]["mean"] - second["clip_two_way"]["mean"]
        assert compared["difference"] == pytest.approx(difference, abs=2e-6)
        low, high = compared["ci95"]
        assert low <= compared["difference"] <= high
        assert compared["n"] == N_PICTURES
    # the own CLIP sees c only: z is at chance, and zc is c
    assert pairs["zc - z"]["clip_two_way"]["p"] < 0.001
    assert pairs["zc - z"]["clip_two_way"]["ci95"][0] > 0.3
    assert pairs["zc - c"]["clip_two_way"] == {"difference": 0, "p": 1, "ci95": [0, 0], "n": N_PICTURES}


def test_no_row_exceeds_what_its_repeats_leave_possible(answer):
    for target in ("z_correlation", "c_correlation"):
        for row in ("single", "averaged"):
            assert answer[row][target]["mean"] <= answer["ceilings"][target][row]["mean"] + 0.05
    voxels = answer["ceilings"]["voxels"]
    assert 0 < voxels["single"]["z_voxels"] < voxels["averaged"]["z_voxels"] < 1


def test_the_same_seed_gives_the_same_answer_to_the_byte(scene, answer):
    assert json.dumps(score(scene)) == json.dumps(answer)


def test_pictures_of_novel_kinds_are_scored_apart(scene, answer):
    weights, held_out, training, recorded = scene
    split = score((weights, replace(held_out, is_novel=np.arange(N_PICTURES) < 10), training, recorded), n_bootstrap=50)
    assert (split["n_pictures"], split["novel_kinds"]["n_pictures"]) == (20, 10)
    both = (2 * split["single"]["zc"]["inception"]["mean"]
            + split["novel_kinds"]["single"]["zc"]["inception"]["mean"]) / 3  # fmt: skip
    assert both == pytest.approx(answer["single"]["zc"]["inception"]["mean"], abs=1e-5)
    assert set(split["novel_kinds"]["controls"]) == set(answer["controls"])


def test_takagis_protocol_averages_samples_of_averaged_repeats(scene):
    samples = [lambda z, c, mode, light=light: paint(z, c, mode, light) for light in (0, 20, -20)]
    answer = score(scene, "takagi", samples)
    assert answer["n_samples"] == 3
    assert "single" not in answer
    assert answer["averaged"]["zc"]["inception"]["mean"] > 0.9
    assert answer["controls"]["shuffled_averaged"]["inception"]["mean"] == pytest.approx(0.5, abs=0.12)
    assert answer["controls"]["mean_prediction"]["inception"]["mean"] == pytest.approx(0.5)


def test_pixels_are_compared_and_shuffled_too(scene):
    weights, held_out, training, recorded = scene
    keep = held_out.picture_of_trial < 4
    of_pictures = {name: getattr(held_out, name)[:4] for name in ("pictures", "nsd_ids", "z", "c", "kinds")}
    few = replace(held_out, voxels=held_out.voxels[keep], picture_of_trial=held_out.picture_of_trial[keep],
                  **of_pictures)  # fmt: skip
    measures = [Measure("pixcorr", "PixCorr", "pixcorr"), Measure("ssim", "SSIM", "ssim")]
    scorer = scorer_of(few, PROTOCOLS["mindeye"], measures=measures)
    answer = score((weights, few, replace(training, random_c=training.random_c[:4]), recorded), scorer=scorer,
                   max_trials_per_picture=1)  # fmt: skip
    zc, shuffled = answer["averaged"]["zc"], answer["controls"]["shuffled_averaged"]
    assert zc["pixcorr"]["mean"] > shuffled["pixcorr"]["mean"] + 0.2
    assert zc["ssim"]["mean"] > shuffled["ssim"]["mean"]
    assert answer["ceilings"]["seen_pictures"]["pixcorr"]["mean"] == 1


def test_bold_trials_are_a_row_of_their_own(scene):
    weights, held_out, *_ = scene
    bold = Row(weights, held_out.voxels[:5], held_out.picture_of_trial[:5])
    answer = score(scene, bold=bold, max_trials_per_picture=1)
    assert answer["bold"]["n_decodes"] == 5
    assert answer["bold"]["zc"]["clip_two_way"]["n"] == len(set(held_out.picture_of_trial[:5].tolist()))


def test_progress_counts_every_comparison(scene):
    steps = []
    score(scene, max_trials_per_picture=1, progress=lambda *step: steps.append(step))
    # One trial a picture: single, averaged and running are the same 30 decodes, compared in two parts. In three modes;
    # with c expected, in two; nearest training pictures, twice; four exchanges; decodes of the mean; two ceilings.
    n_all = 2 * (3 + 2 + 2 + 4 + 1 + 2)
    assert {n for _, _, n in steps} == {n_all}
    assert [done for _, done, _ in steps] == list(range(1, n_all + 1))


def test_first_trials_are_taken_in_order():
    picture_of_trial = np.array([2, 0, 2, 1, 0, 2])
    assert first_trials(picture_of_trial, 1).tolist() == [0, 1, 3]
    assert first_trials(picture_of_trial, 2).tolist() == [0, 1, 2, 3, 4]
    assert first_trials(picture_of_trial, None).tolist() == list(range(6))
    assert repeat_of_trial(picture_of_trial).tolist() == [0, 0, 1, 0, 1, 2]


def test_repeats_are_averaged_by_picture():
    voxels, pictures = average_repeats(np.array([[1.0, 0], [3, 4], [5, 6]], np.float32), np.array([4, 1, 4]))
    assert pictures.tolist() == [1, 4]
    assert voxels.tolist() == [[3, 4], [3, 3]]


def test_a_running_average_knows_no_later_trial():
    voxels = np.array([[1.0], [10], [3], [8]], np.float32)
    assert running_averages(voxels, np.array([0, 1, 0, 0])).ravel().tolist() == [1, 10, 2, 4]


def test_what_several_rows_share_is_decoded_once(scene):
    weights, held_out, *_ = scene
    rows = rows_of(weights, held_out)
    responses, places = distinct_rows(rows)
    # 90 single trials, 30 means of two and 30 of three
    assert len(responses) == 90 + 30 + 30
    for name, row in rows.items():
        assert [responses[place][2] for place in places[name]] == row.picture_of_row.tolist()
        assert np.array_equal(np.stack([responses[place][1] for place in places[name]]), row.voxels)


def test_a_training_response_is_nearest_to_itself(scene):
    weights, _, training, _ = scene
    z, c = weights.predict(training.voxels[40:50])
    assert nearest_by_decode(weights, training.voxels, z, c, at_once=32).tolist() == list(range(40, 50))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"kinds": ["bee"]}, "1 kinds for 30"),
        ({"picture_of_trial": np.full(90, 30)}, "shows picture 30"),
        ({"voxels": np.ones((3, 90), np.float32)}, "3 rows of voxels for 90 trials"),
    ],
)
def test_held_out_trials_that_do_not_fit_are_refused(scene, changes, sentence):
    with pytest.raises(EvaluateError, match=sentence):
        replace(scene[1], **changes)
