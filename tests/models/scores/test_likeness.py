"""Comparing decodes with seen pictures: which measures are scored, and each score against numpy and scipy."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import correlation as correlation_distance

from braind.models.scores.likeness import Likeness, OwnClip, SimilarityScorer
from braind.models.scores.protocols import PROTOCOLS, Measure, own_measures
from braind.models.scores.scene_judge import SceneJudge

N = 20
MEASURES = (
    Measure("net", "Net", "among_seen"),
    Measure("far", "Far", "distance"),
    Measure("clip_two_way", "CLIP", "among_seen"),
    Measure("clip_two_way_same_kind", "CLIP of a kind", "same_kind"),
    Measure("kind_named", "named", "named"),
    Measure("colours_named", "colours", "named"),
    Measure("background_pixcorr", "background", "background_pixcorr"),
    Measure("caption_top2", "caption", "caption", 2),
    Measure("forward_top1", "forward", "forward", 1),
    Measure("backward_top1", "backward", "backward", 1),
    Measure("absent", "Absent", "among_seen"),
)
KINDS = tuple(["bee", "car"] * (N // 2))


def net(pictures):
    flat = pictures.reshape(len(pictures), -1).astype(np.float32)
    return {"net": flat[:, :40], "far": flat[:, 40:]}


def embed(pictures):
    return pictures.reshape(len(pictures), -1)[:, ::3].astype(np.float64)


class Judge(SceneJudge):
    """Names every picture a bee on red above blue, and finds backgrounds half alike."""

    def __init__(self):
        self.truth = {
            "kind_named": np.array(KINDS),
            "colours_named": np.array([("red", "teal"), ("pink", "teal")] * (N // 2)),
        }

    def names(self, decoded):
        n = len(decoded)
        return {"kind_named": np.array(["bee"] * n), "colours_named": np.array([("red", "blue")] * n)}

    def background_pixcorr(self, decoded, picture_of_decoded):
        return np.full(len(decoded), 0.5)


@pytest.fixture(scope="module")
def seen():
    return np.random.default_rng(0).integers(0, 256, (N, 6, 6, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def decoded(seen):
    noise = np.random.default_rng(1).normal(0, 90, seen.shape)
    return np.clip(seen + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def scorer(seen):
    captions = embed(seen)[:, ::-1].copy()
    return SimilarityScorer(seen, MEASURES, [net], OwnClip(embed, captions), KINDS, judge=Judge())


@pytest.fixture(scope="module")
def scores(scorer, decoded):
    return scorer.scores(scorer.compare(decoded, np.arange(N)), np.arange(N))


def correlation(first, second):
    return np.array([[np.corrcoef(a, b)[0, 1] for b in second] for a in first])


def test_a_measure_without_features_is_left_out(scorer):
    assert [measure.name for measure in scorer.measures] == [measure.name for measure in MEASURES[:-1]]


def test_without_a_clip_and_kinds_their_measures_are_left_out(seen):
    names = [measure.name for measure in SimilarityScorer(seen, MEASURES, [net]).measures]
    assert names == ["net", "far", "forward_top1", "backward_top1"]


def test_kinds_without_scenes_score_identification_but_no_naming(seen):
    own = OwnClip(embed, embed(seen))
    names = [measure.name for measure in SimilarityScorer(seen, MEASURES, [], own, KINDS).measures]
    assert "clip_two_way_same_kind" in names
    assert not {"kind_named", "colours_named", "background_pixcorr"} & set(names)


def test_unknown_kinds_are_not_scored(seen):
    own = OwnClip(embed, embed(seen))
    names = [measure.name for measure in SimilarityScorer(seen, MEASURES, [], own, [""] * N).measures]
    assert "clip_two_way_same_kind" not in names


def test_identification_counts_the_seen_pictures_that_correlate_less(seen, decoded, scores):
    found = correlation(net(decoded)["net"], net(seen)["net"])
    wanted = [np.mean([found[n, n] > found[n, other] for other in range(N) if other != n]) for n in range(N)]
    assert scores["net"] == pytest.approx(wanted)


def test_distances_are_scipys_correlation_distance(seen, decoded, scores):
    features = net(seen)["far"], net(decoded)["far"]
    assert scores["far"] == pytest.approx([correlation_distance(features[0][n], features[1][n]) for n in range(N)])


def test_identification_within_a_kind_has_rivals_of_that_kind_only(seen, decoded, scores):
    found = correlation(embed(decoded), embed(seen))
    wanted = [
        np.mean([found[n, n] > found[n, other] for other in range(N) if other != n and KINDS[other] == KINDS[n]])
        for n in range(N)
    ]
    assert scores["clip_two_way_same_kind"] == pytest.approx(wanted)


def test_a_decode_is_named_right_or_wrong(scores):
    assert scores["kind_named"].tolist() == [1, 0] * (N // 2)


def test_each_of_two_colours_counts_half(scores):
    assert scores["colours_named"].tolist() == [0.5, 0] * (N // 2)
    assert scores["background_pixcorr"].tolist() == [0.5] * N


def test_captions_are_found_among_the_two_of_the_largest_cosine(seen, decoded, scores):
    cosine = embed(decoded) @ embed(seen)[:, ::-1].T
    ranks = [(cosine[n] > cosine[n, n]).sum() for n in range(N)]
    assert scores["caption_top2"].tolist() == [float(rank < 2) for rank in ranks]


def test_retrieval_finds_pictures_by_decodes_and_decodes_by_pictures(scorer):
    # decode 0 looks like picture 1, all others like their own
    likeness = np.eye(4)
    likeness[0] = [0.5, 0.9, 0, 0]
    found = scorer.retrieval(likeness, np.arange(4), np.zeros(4, int))
    assert found["forward_top1"].tolist() == [0, 1, 1, 1]
    # of picture 1 its own decode is still the best
    assert found["backward_top1"].tolist() == [1, 1, 1, 1]


def test_decodes_of_other_repeats_are_no_rivals(scorer):
    likeness = np.array([[0.1, 0.0], [0.9, 0.0], [0.0, 0.2]])
    pictures = np.array([0, 0, 1])
    assert scorer.retrieval(likeness, pictures, np.array([0, 1, 0]))["backward_top1"].tolist() == [1, 1, 1]


def test_parts_and_samples_are_put_together(scorer, decoded):
    whole = scorer.compare(decoded, np.arange(N))
    parts = [scorer.compare(decoded[chunk], np.arange(N)[chunk]) for chunk in (slice(0, 7), slice(7, N))]
    joined = Likeness.joined(parts)
    for name, values in whole.correlation.items():
        assert joined.correlation[name] == pytest.approx(values)
    doubled = replace(whole, correlation={name: values + 1 for name, values in whole.correlation.items()})
    averaged = Likeness.averaged([whole, doubled])
    assert averaged.correlation["net"] == pytest.approx(whole.correlation["net"] + 0.5)
    assert {name: names.tolist() for name, names in averaged.named.items()} == {
        name: names.tolist() for name, names in whole.named.items()
    }


def test_the_shuffled_control_compares_pixels_with_the_other_picture(seen, decoded):
    pixels = SimilarityScorer(seen[:4], (Measure("pixcorr", "PixCorr", "pixcorr"),))
    other = np.array([1, 2, 3, 0])
    compared = pixels.compare(decoded[:4], np.arange(4), other)
    swapped = pixels.compare(decoded[:4], other)
    assert compared.shuffled().pixels["pixcorr"] == pytest.approx(swapped.pixels["pixcorr"])
    assert not pixels.compare(decoded[:4], np.arange(4)).pixels_of_other


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_every_measure_of_a_protocol_has_its_features_from_one_network(name):
    protocol = PROTOCOLS[name]
    layers = [measure for network in protocol.networks for measure in network.layers]
    compared = [measure.name for measure in protocol.measures if measure.kind not in ("pixcorr", "ssim")]
    assert sorted(layers) == sorted(compared)
    names = [measure.name for measure in (*protocol.measures, *own_measures(protocol))]
    assert len(set(names)) == len(names)


def test_only_distances_are_better_lower():
    measures = [measure for protocol in PROTOCOLS.values() for measure in protocol.measures]
    assert {measure.name for measure in measures if measure.better == "lower"} == {"efficientnet", "swav"}
