"""Captions of the demo's scenes: five people describe one picture, as COCO's annotators do."""

import re

import numpy as np
import pytest

from braind.models.demo.captions import captions
from braind.models.demo.kinds import CATEGORY_OF, KINDS
from braind.models.demo.scenes import draw_scene

N_SCENES = 4000
SIZE = re.compile(r"\b(small|little|large|big) (?!animal|cat|round|dark|claws)")
PLACE = re.compile(r"\b(on the left|on the right|in the middle)\b")
COLOUR = re.compile(r"(?<!night) \b(sky|wall|ground|floor)$")


@pytest.fixture(scope="module")
def described():
    rng = np.random.default_rng(11)
    scenes = [draw_scene(rng) for _ in range(N_SCENES)]
    return scenes, [captions(scene) for scene in scenes]


def test_five_captions_of_8_to_14_words_name_the_object_and_differ(described):
    scenes, of_scenes = described
    assert {len(of_scene) for of_scene in of_scenes} == {5}
    assert all(8 <= len(caption.split()) <= 14 for of_scene in of_scenes for caption in of_scene)
    assert all(scene.kind in caption.split() for scene, five in zip(scenes, of_scenes, strict=True) for caption in five)
    assert np.mean([len(set(of_scene)) for of_scene in of_scenes]) > 4.5


def test_layout_is_said_as_seldom_as_in_coco(described):
    """Counted on COCO's val2017: size 9.5 %, side 0.3 %, colour of the background 1.2 % of captions."""
    said = [caption for of_scene in described[1] for caption in of_scene]
    rates = [np.mean([bool(words.search(caption)) for caption in said]) for words in (SIZE, PLACE, COLOUR)]
    np.testing.assert_allclose(rates, [0.095, 0.003, 0.012], rtol=0.4)


def test_a_scene_is_always_described_alike(described):
    scenes, of_scenes = described
    assert [captions(scene) for scene in scenes[:50]] == of_scenes[:50]


def test_every_scene_can_be_described(monkeypatch):
    """Every caption names size and side: the longest caption of every kind must still fit."""
    monkeypatch.setattr("braind.models.demo.captions.SIZE_RATE", 1.0)
    monkeypatch.setattr("braind.models.demo.captions.PLACE_RATE", 1.0)
    rng = np.random.default_rng(12)
    for kind in KINDS:
        assert all(PLACE.search(caption) for caption in captions(draw_scene(rng, (kind,))))


def test_words_of_captions_and_of_coco_are_tokens(ldm):
    said = "a person on a skateboard holding seven purple toothbrush and a microwave"
    assert len(ldm.tokenizer.tokenize(said)) == len(said.split())


def test_embeddings_of_like_things_are_near(ldm):
    """A linear decoder can then say something of kinds that it never saw."""
    c = ldm.encode_captions([[f"a {kind}"] for kind in KINDS])[:, -1]
    likeness = np.corrcoef(c) - 2 * np.eye(len(KINDS))
    of = {kind: n for n, kind in enumerate(KINDS)}
    assert likeness[of["koala"], of["panda"]] > likeness[of["koala"], of["teapot"]] + 0.1
    nearest = likeness.argmax(1)
    same = np.mean(
        [CATEGORY_OF[KINDS[n]] == CATEGORY_OF[kind] for kind, n in zip(KINDS, nearest.tolist(), strict=True)]
    )
    assert same > 0.5  # chance 0.11
