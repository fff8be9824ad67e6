"""Judging demo pictures by attribute: the ceiling, chance, and layout apart from meaning."""

from dataclasses import replace

import numpy as np
import pytest

from braind.models.demo.scenes import PICTURE_PX, draw_held_out_scene, render
from braind.models.scores.clip import PictureClip
from braind.models.scores.likeness import SimilarityScorer
from braind.models.scores.protocols import PROTOCOLS, own_measures
from braind.models.scores.scene_judge import SceneJudge, object_pixels

N = 64
CHANCE = {
    "kind_named": 1 / 64,
    "category_named": 1 / 8,
    "colours_named": 1 / 10,
    "place_named": 1 / 3,
    "size_named": 1 / 2,
}
LAYOUT, MEANING = ("colours_named", "place_named", "size_named"), ("kind_named", "category_named")


@pytest.fixture(scope="module")
def scenes():
    rng = np.random.default_rng(0)
    return [draw_held_out_scene(rng) for _ in range(N)]


@pytest.fixture(scope="module")
def seen(scenes):
    return np.stack([render(scene) for scene in scenes])


@pytest.fixture(scope="module")
def scorer(scenes, seen):
    measures = [
        measure for measure in own_measures(PROTOCOLS["takagi"]) if measure.name in (*CHANCE, "background_pixcorr")
    ]
    return SimilarityScorer(seen, measures, judge=SceneJudge(seen, scenes, PictureClip().embed))


@pytest.fixture(scope="module")
def of_seen(scorer, seen):
    return scorer.compare(seen, np.arange(N))


def means(scorer, likeness, picture):
    return {name: score.mean() for name, score in scorer.scores(likeness, picture).items()}


def shuffled(scorer, likeness):
    """Score against every other picture, so that chance is met within a narrow margin."""
    every = [means(scorer, likeness, np.roll(np.arange(N), by)) for by in range(1, N)]
    return {name: np.mean([one[name] for one in every]) for name in CHANCE}


def swapped(scenes):
    """Show each object where it was, on the next scene's background."""
    names = ("above", "below", "horizon", "softness", "light", "tints")
    others = [*scenes[1:], scenes[0]]
    return np.stack([
        render(replace(scene, **{name: getattr(other, name) for name in names}))
        for scene, other in zip(scenes, others, strict=True)
    ])  # fmt: skip


def without_object(scenes):
    return np.stack([render(replace(scene, extent=1 / PICTURE_PX)) for scene in scenes])


def test_seen_pictures_are_judged_right(scorer, of_seen):
    found = means(scorer, of_seen, np.arange(N))
    assert found.pop("background_pixcorr") == pytest.approx(1)
    assert set(found) == set(CHANCE)
    assert all(score > 0.9 for score in found.values()), found


def test_pictures_judged_against_other_scenes_are_right_by_chance(scorer, of_seen):
    found = shuffled(scorer, of_seen)
    assert found["kind_named"] == pytest.approx(CHANCE["kind_named"], abs=0.02)
    for name, chance in CHANCE.items():
        assert found[name] == pytest.approx(chance, abs=0.06), name


def test_backgrounds_correlate_with_other_backgrounds_by_chance(scorer, seen):
    found = [scorer.compare(seen, np.roll(np.arange(N), by)).pixels["background_pixcorr"].mean() for by in (1, 9, 20)]
    assert np.mean(found) == pytest.approx(0, abs=0.1)


def test_a_background_alone_has_the_layout_but_tells_no_kind(scorer, scenes):
    found = means(scorer, scorer.compare(without_object(scenes), np.arange(N)), np.arange(N))
    assert found["colours_named"] > 0.95
    assert found["background_pixcorr"] > 0.95
    assert found["kind_named"] < 0.05
    assert found["category_named"] < 0.2


def test_an_object_is_named_the_same_on_any_background(scorer, scenes, of_seen):
    likeness = scorer.compare(swapped(scenes), np.arange(N))
    found = means(scorer, likeness, np.arange(N))
    assert found["kind_named"] > 0.9
    assert found["place_named"] > 0.9
    assert found["size_named"] > 0.9
    assert found["colours_named"] < 0.25
    assert found["background_pixcorr"] < 0.4
    assert np.mean(likeness.named["kind_named"] == of_seen.named["kind_named"]) > 0.9


def test_an_object_in_the_wrong_place_is_named_and_its_place_is_not(scorer, scenes):
    moved = [replace(scene, x=1 - scene.x if scene.place != "middle" else 0.0) for scene in scenes]
    found = means(scorer, scorer.compare(np.stack([render(scene) for scene in moved]), np.arange(N)), np.arange(N))
    assert found["kind_named"] > 0.9
    assert found["place_named"] < 0.1


def test_a_picture_is_judged_alike_alone_and_among_others(scorer, seen, of_seen):
    alone = scorer.compare(seen[5:6], np.array([5])).named
    for name, names in of_seen.named.items():
        assert alone[name].tolist() == names[5:6].tolist()


def test_a_grey_picture_shows_no_object(scorer):
    grey = scorer.compare(np.full((1, PICTURE_PX, PICTURE_PX, 3), 160, np.uint8), np.array([0])).named
    assert grey["colours_named"].tolist() == [["gray", "gray"]]
    for name in ("kind_named", "category_named", "place_named", "size_named"):
        assert grey[name].tolist() == [""]


def test_pictures_of_another_size_are_judged_too(scorer, seen):
    large = np.kron(seen[:8], np.ones((1, 2, 2, 1), np.uint8))
    found = means(scorer, scorer.compare(large, np.arange(8)), np.arange(8))
    assert found["kind_named"] > 0.8
    assert found["background_pixcorr"] > 0.99


def test_the_pixels_of_an_object_are_the_pixels_that_differ_from_its_background(scenes):
    for scene in scenes[:8]:
        gray, red = (render(replace(scene, above=colour, below=colour)) for colour in ("gray", "red"))
        # an opaque object hides the background's colour; elsewhere the picture is the picture without the object
        assert object_pixels(scene)[(gray == red).all(axis=-1)].all()
        differs = (render(scene) != render(replace(scene, extent=1 / PICTURE_PX))).any(axis=-1)
        assert (differs & ~object_pixels(scene)).sum() <= 1  # the object of one pixel
