"""Cut the demo's object kinds out of the Fluent Emoji 3D set into one sprite sheet.

Run once, by hand, when the kinds change; the sheet is committed, so nothing is fetched at run time:

    npm pack @lobehub/fluent-emoji-3d && tar xzf lobehub-fluent-emoji-3d-*.tgz
    python -m braind.models.demo.training.build_sprites package/assets
"""

import sys
from pathlib import Path

from PIL import Image

from ..kinds import KIND_WORDS
from ..scenes import SPRITE_PX, SPRITES_PATH, SPRITES_PER_ROW


def build_sprite_sheet(assets: Path) -> Image.Image:
    """Paste every kind's picture, cropped to its bounding box, into one RGBA sheet.

    Each cell is `SPRITE_PX` square; the longer side of an object fills the cell and the object is centred.
    """
    n_rows = -(-len(KIND_WORDS) // SPRITES_PER_ROW)
    sheet = Image.new("RGBA", (SPRITES_PER_ROW * SPRITE_PX, n_rows * SPRITE_PX))
    for position, words in enumerate(KIND_WORDS.values()):
        picture = Image.open(assets / f"{words.code_point}.webp").convert("RGBA")
        sprite = picture.crop(picture.getbbox())
        scale = SPRITE_PX / max(sprite.size)
        size = (round(sprite.width * scale), round(sprite.height * scale))
        sprite = sprite.resize(size, Image.Resampling.LANCZOS)
        left = position % SPRITES_PER_ROW * SPRITE_PX + (SPRITE_PX - sprite.width) // 2
        top = position // SPRITES_PER_ROW * SPRITE_PX + (SPRITE_PX - sprite.height) // 2
        sheet.paste(sprite, (left, top))
    return sheet


if __name__ == "__main__":
    build_sprite_sheet(Path(sys.argv[1])).save(SPRITES_PATH, lossless=False, quality=90, method=6)
