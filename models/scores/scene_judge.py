"""Judges decoded demo pictures by attribute: kind, category, background colours, place and size.

The simulation knows the scene of each seen picture. Layout and meaning are therefore scored apart.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy import ndimage

from ...arrays import Array
from ..demo.kinds import CATEGORY_OF, KINDS
from ..demo.scenes import COLOURS, PICTURE_PX, PLACES, SIZES, Scene, draw_scene, render
from ..ldm.model import resize
from .decoded_scene import DecodedScene, separate
from .metrics import row_correlation

N_EXAMPLES = 24  # renderings of each kind
N_BACKGROUNDS = 4  # random backgrounds behind each decoded object
NOTHING = ""  # the name where no object is found


class SceneJudge:
    """Names what decoded pictures show, and compares backgrounds.

    A linear discriminant analysis names the kind. Its examples are renderings of every kind at random places and sizes
    on random backgrounds. The decoded object is cut out and pasted on random backgrounds before it is named, so the
    decoded background cannot tell the kind.

    Parameters
    ----------
    seen : array of shape (n_pictures, px, px, 3), uint8
    scenes : the scene of each seen picture
    embed : pictures (n, px, px, 3) uint8 → (n, d) float
    seed : seed of the examples and of the backgrounds
    """

    def __init__(self, seen: Array, scenes: Sequence[Scene], embed: Callable[[Array], Array], seed: int = 2017) -> None:
        self.truth: dict[str, Array] = {
            "kind_named": np.array([scene.kind for scene in scenes]),
            "category_named": np.array([scene.category for scene in scenes]),
            "colours_named": np.array([[scene.above, scene.below] for scene in scenes]),
            "place_named": np.array([scene.place for scene in scenes]),
            "size_named": np.array([scene.size for scene in scenes]),
        }
        self._seen = resize(seen, PICTURE_PX)
        self._is_background = np.stack([~object_pixels(scene) for scene in scenes])
        self._embed, self._seed = embed, seed

    def names(self, decoded: Array) -> dict[str, Array]:
        """Name the attributes of decoded pictures.

        Parameters
        ----------
        decoded : array of shape (n, px, px, 3), uint8

        Returns
        -------
        names : attribute → array of shape (n,), or (n, 2) for the colours above and below, of str
            "" where no object is found.
        """
        decoded = resize(decoded, PICTURE_PX)
        found = [separate(picture) for picture in decoded]
        kinds = np.where([scene.is_object.any() for scene in found], self._name_kinds(decoded, found), NOTHING)
        category = CATEGORY_OF | {NOTHING: NOTHING}
        layouts = np.array([_place_and_size(scene.is_object) for scene in found])
        return {
            "kind_named": kinds,
            "category_named": np.array([category[kind] for kind in kinds.tolist()]),
            "colours_named": np.array([[_nearest_colour(colour) for colour in scene.colours] for scene in found]),
            "place_named": layouts[:, 0],
            "size_named": layouts[:, 1],
        }

    def background_pixcorr(self, decoded: Array, picture_of_decoded: Array) -> Array:
        """Return PixCorr over the pixels that the seen picture's object does not cover: (n,) float64."""
        scores = []
        for picture, seen in zip(resize(decoded, PICTURE_PX), picture_of_decoded.tolist(), strict=True):
            pixels = self._is_background[seen]
            scores.append(row_correlation(self._seen[seen][pixels][None], picture[pixels][None])[0])
        return np.array(scores)

    def _name_kinds(self, pictures: Array, found: list[DecodedScene]) -> Array:
        rng = np.random.default_rng(self._seed)
        soft = [ndimage.gaussian_filter(scene.is_object.astype(np.float64), 0.8)[..., None] for scene in found]
        embeddings = []
        for _ in range(N_BACKGROUNDS):
            # one background a pass, whatever is decoded beside a picture: a picture's name never depends on the batch
            background = _random_background(rng)
            pasted = [
                background + (picture - background) * alpha for picture, alpha in zip(pictures, soft, strict=True)
            ]
            embeddings.append(self._embed(np.rint(pasted).astype(np.uint8)))
        return self._discriminant.predict(np.mean(embeddings, axis=0))

    @cached_property
    def _discriminant(self) -> Any:
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        rng = np.random.default_rng(self._seed)
        kinds = np.repeat(KINDS, N_EXAMPLES)
        examples = self._embed(np.stack([render(draw_scene(rng, (str(kind),))) for kind in kinds]))
        return LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.01).fit(examples, kinds)


def object_pixels(scene: Scene) -> Array:
    """Return the pixels that the object of a scene covers at least in part: (128, 128) bool."""
    # a pixel is free of the object if a white background stays white there
    white = replace(scene, tints=((1000.0, 1000.0, 1000.0), (1000.0, 1000.0, 1000.0)))
    black = replace(scene, tints=((-1000.0, -1000.0, -1000.0), (-1000.0, -1000.0, -1000.0)))
    return np.any(render(white).astype(np.int64) - render(black) < 255, axis=-1)


def _random_background(rng: np.random.Generator) -> Array:
    """Draw a background, with an object of one pixel: (128, 128, 3) float64."""
    return render(replace(draw_scene(rng), extent=1 / PICTURE_PX)).astype(np.float64)


def _place_and_size(is_object: Array) -> tuple[str, str]:
    rows, columns = np.flatnonzero(is_object.any(axis=1)), np.flatnonzero(is_object.any(axis=0))
    if not len(rows):
        return NOTHING, NOTHING
    height, width = rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0]
    extent = max(height, width) / len(is_object)
    x = columns[0] / max(1, len(is_object) - width)
    size = min(SIZES, key=lambda name: abs(np.mean(SIZES[name]) - extent))
    return min(PLACES, key=lambda name: abs(PLACES[name] - x)), size


def _nearest_colour(colour: Array) -> str:
    return min(COLOURS, key=lambda name: float(np.linalg.norm(colour - COLOURS[name])))
