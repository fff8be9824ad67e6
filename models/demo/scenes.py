"""The demo's captioned scenes: one object on a two-coloured background.

Everything simulated starts here: the pictures the demo's latent diffusion model learns from, and the pictures the
simulated subjects see. A scene is drawn from attributes alone, so it is the same wherever it is drawn.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from ...arrays import Array
from .kinds import CATEGORY_OF, KINDS

PICTURE_PX = 128
SPRITE_PX = 112
SPRITES_PER_ROW = 8
SPRITES_PATH = Path(__file__).parent / "sprites.webp"

# Kinds that no simulated subject sees outside the shared test pictures; they are scored apart.
NOVEL_KINDS = (
    "koala", "fox", "crab", "ladybug", "pineapple", "cookie", "bus", "helicopter", "chair", "tulip", "trumpet",
    "trophy",
)  # fmt: skip

SIZES = {"small": (0.46, 0.54), "big": (0.74, 0.84)}  # longer side, share of the picture's
PLACES = {"left": 0.0, "middle": 0.5, "right": 1.0}  # share of the free width
COLOURS = {
    "red": (206, 84, 78), "orange": (232, 158, 92), "yellow": (240, 220, 120), "green": (120, 178, 108),
    "teal": (92, 176, 170), "blue": (96, 138, 212), "purple": (150, 112, 190), "pink": (240, 172, 200),
    "brown": (146, 112, 86), "gray": (158, 160, 166),
}  # fmt: skip
# One combination of kind, place and upper colour in this many is never drawn for training.
HELD_OUT_ONE_IN = 24


@dataclass(frozen=True)
class Scene:
    """One scene's attributes: words, and where exactly they put things.

    `extent`, `x`, `y` and `horizon` are shares of the picture's side (`x`, `y`: of the room left free by the object);
    `tints` shifts the two background colours, RGB on 0–255; `light` is the strength of the side light.
    """

    kind: str
    size: str
    place: str
    above: str
    below: str
    extent: float
    x: float
    y: float
    horizon: float
    softness: float
    light: float
    tints: tuple[tuple[float, float, float], tuple[float, float, float]]

    @property
    def category(self) -> str:
        """Return the category of the object."""
        return CATEGORY_OF[self.kind]

    @property
    def is_held_out(self) -> bool:
        """Say whether the combination of kind, place and upper colour is kept for testing only."""
        combination = f"{self.kind} {self.place} {self.above}".encode()
        return int.from_bytes(hashlib.sha256(combination).digest()[:4]) % HELD_OUT_ONE_IN == 0


def draw_scene(rng: np.random.Generator, kinds: tuple[str, ...] = KINDS) -> Scene:
    """Draw one scene's attributes at random, held out or not."""
    size = str(rng.choice(list(SIZES)))
    place = str(rng.choice(list(PLACES)))
    above, below = (str(colour) for colour in rng.choice(list(COLOURS), 2, replace=False))
    tints = rng.normal(0, 7, (2, 3))
    return Scene(
        kind=str(rng.choice(kinds)),
        size=size,
        place=place,
        above=above,
        below=below,
        extent=rng.uniform(*SIZES[size]),
        x=float(np.clip(PLACES[place] + rng.uniform(-0.12, 0.12), 0, 1)),
        y=rng.uniform(0.3, 0.9),
        horizon=rng.uniform(0.4, 0.7),
        softness=rng.uniform(0.04, 0.1),
        light=rng.uniform(-0.08, 0.08),
        tints=(tuple(tints[0].tolist()), tuple(tints[1].tolist())),
    )


def draw_training_scene(rng: np.random.Generator, kinds: tuple[str, ...] = KINDS) -> Scene:
    """Draw one scene whose combination is not held out."""
    while (scene := draw_scene(rng, kinds)).is_held_out:
        pass
    return scene


def draw_held_out_scene(rng: np.random.Generator, kinds: tuple[str, ...] = KINDS) -> Scene:
    """Draw one scene whose combination is held out."""
    while not (scene := draw_scene(rng, kinds)).is_held_out:
        pass
    return scene


def render(scene: Scene, px: int = PICTURE_PX) -> Array:
    """Paint a scene: (px, px, 3) uint8, RGB."""
    row = (np.arange(px, dtype=np.float32) + 0.5) / px
    share_below = 1 / (1 + np.exp(-(row - scene.horizon) / scene.softness * 4))
    above = np.array(COLOURS[scene.above], np.float32) + np.array(scene.tints[0], np.float32)
    below = np.array(COLOURS[scene.below], np.float32) + np.array(scene.tints[1], np.float32)
    background = above + (below - above) * share_below[:, None]
    lit = 1 + scene.light * (row - 0.5) * 2
    picture = np.clip(background[:, None, :] * lit[None, :, None], 0, 255)

    extent_px = round(scene.extent * px)
    sprite, alpha = _scaled_sprite(scene.kind, extent_px)
    height, width = alpha.shape[:2]
    left = round(scene.x * (px - width))
    top = round(scene.y * (px - height))
    under = picture[top : top + height, left : left + width]
    under += (sprite - under) * alpha
    return np.rint(picture).astype(np.uint8)


@cache
def _sprites() -> dict[str, Image.Image]:
    sheet = Image.open(SPRITES_PATH).convert("RGBA")
    sprites = {}
    for position, kind in enumerate(KINDS):
        left = position % SPRITES_PER_ROW * SPRITE_PX
        top = position // SPRITES_PER_ROW * SPRITE_PX
        cell = sheet.crop((left, top, left + SPRITE_PX, top + SPRITE_PX))
        sprites[kind] = cell.crop(cell.getbbox())
    return sprites


@cache
def _scaled_sprite(kind: str, extent_px: int) -> tuple[Array, Array]:
    sprite = _sprites()[kind]
    scale = extent_px / max(sprite.size)
    size = (max(1, round(sprite.width * scale)), max(1, round(sprite.height * scale)))
    pixels = np.asarray(sprite.convert("RGBa").resize(size, Image.Resampling.LANCZOS).convert("RGBA"), np.float32)
    return pixels[..., :3], pixels[..., 3:] / 255
