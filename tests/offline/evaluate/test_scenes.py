"""The table of a simulated data set's scenes: what is written is what the judge reads."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from braind.models.demo.scenes import draw_scene
from braind.models.demo.subject.nsd_files import write_scenes
from braind.models.scores.scene_judge import object_pixels
from braind.offline.evaluate.scenes import SCENES_NAME, ScenesError, read_scenes


@pytest.fixture
def scenes():
    rng = np.random.default_rng(0)
    return [draw_scene(rng) for _ in range(12)]


@pytest.fixture
def path(tmp_path, scenes):
    experiment: Any = SimpleNamespace(scenes=scenes)
    write_scenes(tmp_path / SCENES_NAME, experiment)
    return tmp_path / SCENES_NAME


def test_scenes_are_read_by_picture_with_their_objects_where_they_were_drawn(path, scenes):
    ids = np.array([7, 2, 11])
    found = read_scenes(path, ids)
    for scene, id_ in zip(found, ids.tolist(), strict=True):
        for name in ("kind", "category", "size", "place", "above", "below"):
            assert getattr(scene, name) == getattr(scenes[id_], name)
        # four decimals can move an object by one pixel
        assert np.mean(object_pixels(scene) != object_pixels(scenes[id_])) < 0.02


@pytest.mark.parametrize("fault", ["missing", "picture", "column", "number"])
def test_a_table_without_the_held_out_scenes_says_what_to_do(path, fault):
    ids = np.array([3, 12 if fault == "picture" else 4])
    if fault == "missing":
        path.unlink()
    if fault == "column":
        path.write_text(path.read_text().replace("extent", "extend"))
    if fault == "number":
        path.write_text(path.read_text().replace("0.", "zero."))
    with pytest.raises(ScenesError, match=r"simulated_scenes\.tsv: .* with braind simulate"):
        read_scenes(path, ids)
