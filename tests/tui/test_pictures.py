import gc
import io
import weakref

import numpy as np
import pytest
from PIL import Image
from rich.color import EIGHT_BIT_PALETTE, ColorSystem
from rich.console import Console
from rich.style import Style

from braind.client.pictures import PictureError, read_picture
from braind.tui.drawing.late_segments import SideBySide
from braind.tui.drawing.terminal import Terminal
from braind.tui.pictures import (
    HALF_BLOCK,
    KEPT_PX,
    LARGE_PX,
    Thumbnails,
    fitting_cells,
    half_blocks,
    largest_px,
    palette_size,
    shrunk,
)

RESET = "\x1b[0m"
FOUR_COLOURS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [240, 230, 10]]], np.uint8)


def png_from(picture, file_format="PNG"):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, file_format)
    return file.getvalue()


def rgb(color):
    return tuple(color.get_truecolor())


def cells_of(strip):
    """The colours above and below in every cell of a strip."""
    assert strip.text == HALF_BLOCK * strip.cell_length
    return [(rgb(s.style.color), rgb(s.style.bgcolor)) for s in strip for _ in s.text]


def test_four_pixels_become_two_half_blocks():
    (strip,) = half_blocks(read_picture(png_from(FOUR_COLOURS)), 2, 1)
    assert cells_of(strip) == [((255, 0, 0), (0, 0, 255)), ((0, 255, 0), (240, 230, 10))]


@pytest.mark.parametrize("system", ["truecolor", "256", "standard"])
def test_the_codes_of_a_cell_are_those_that_rich_finds(system):
    picture = np.random.default_rng(5).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    console = Console(color_system=system, force_terminal=True, file=io.StringIO())
    for strip in half_blocks(picture, 12, 6, palette_size(console)):
        by_rich = [Style(color=one.style.color, bgcolor=one.style.bgcolor) for one in strip]
        codes = [
            style.render(one.text, color_system=console._color_system)
            for style, one in zip(by_rich, strip, strict=True)
        ]
        drawn = strip.render(console)
        assert drawn.replace(RESET, "") == "".join(codes).replace(RESET, "")
        assert drawn.endswith(RESET)


def test_what_lies_over_a_picture_leaves_the_rest_of_its_row():
    picture = np.random.default_rng(5).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    console = Console(color_system="truecolor", force_terminal=True, file=io.StringIO())
    for whole in half_blocks(picture, 12, 6):
        row = SideBySide(whole, whole)
        left, covered, right = row.divide([5, 9, 24])
        assert [*cells_of(left), *cells_of(covered), *cells_of(right)] == cells_of(row) == 2 * cells_of(whole)
        assert cells_of(right.crop(3, 15)) == cells_of(whole)
        assert row.render(console) == 2 * whole.render(console)


def test_equal_neighbours_are_one_segment():
    picture = np.zeros((4, 40, 3), np.uint8)
    picture[:, 30:] = 200
    strips = half_blocks(picture, 40, 2)
    assert [[len(segment.text) for segment in strip] for strip in strips] == [[30, 10], [30, 10]]


def test_a_picture_is_averaged_down_to_its_cells():
    picture = np.tile(np.array([0, 200], np.uint8)[:, None], (32, 64))[..., None].repeat(3, axis=-1)
    assert {cell for strip in half_blocks(picture, 8, 4) for cell in cells_of(strip)} == {((100,) * 3, (100,) * 3)}


def test_256_colours_are_those_of_the_terminal_and_the_nearest():
    picture = np.random.default_rng(7).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    palette = np.array([tuple(EIGHT_BIT_PALETTE[number]) for number in range(16, 256)])
    nearest = palette[((picture[:, :, None] - palette.astype(int)) ** 2).sum(-1).argmin(-1)]
    drawn = np.array([cells_of(strip) for strip in half_blocks(picture, 24, 12, colours=256)])
    above_below = np.stack([nearest[0::2], nearest[1::2]], axis=2)
    distances = [
        ((colours - np.stack([picture[0::2], picture[1::2]], axis=2).astype(int)) ** 2).sum(-1)
        for colours in (drawn, above_below)
    ]
    # the grey candidate is the one nearest in brightness, which is nearest of all greys
    np.testing.assert_array_equal(*distances)


def test_256_colours_survive_what_rich_makes_of_them():
    cube = np.array([tuple(EIGHT_BIT_PALETTE[number]) for number in range(16, 232)], np.uint8).reshape(12, 18, 3)
    for strip in half_blocks(cube, 18, 6, colours=256):
        for segment in strip:
            kept = segment.style.color.downgrade(ColorSystem.EIGHT_BIT)
            assert np.abs(np.subtract(rgb(kept), rgb(segment.style.color))).max() <= 20


@pytest.mark.parametrize(
    ("height", "width", "columns", "rows", "fitting"),
    [
        (128, 128, 26, 11, (22, 11)),
        (128, 128, 12, 40, (12, 6)),
        (100, 200, 40, 40, (40, 10)),
        (500, 5, 30, 10, (1, 10)),
    ],
)
def test_the_aspect_is_kept_in_cells_twice_as_tall_as_wide(height, width, columns, rows, fitting):
    assert fitting_cells(np.zeros((height, width, 3), np.uint8), columns, rows) == fitting


def test_a_large_picture_is_kept_small():
    assert read_picture(png_from(np.zeros((512, 256, 3), np.uint8)), KEPT_PX).shape == (KEPT_PX, KEPT_PX // 2, 3)


def test_pictures_are_kept_large_only_where_their_pixels_can_be_drawn():
    kept = {drawing: largest_px(Terminal(drawing)) for drawing in ("half", "off", "kitty", "sixel", "browser")}
    assert kept == {"half": KEPT_PX, "off": KEPT_PX, "kitty": LARGE_PX, "sixel": LARGE_PX, "browser": LARGE_PX}


def test_a_picture_is_shrunk_once_and_a_missing_one_stays_missing():
    small = shrunk(np.zeros((LARGE_PX, LARGE_PX // 2, 3), np.uint8))
    assert small is not None
    assert small.shape == (KEPT_PX, KEPT_PX // 2, 3)
    assert shrunk(small) is small
    assert shrunk(None) is None


class Volume:
    """What a thumbnail belongs to."""


def test_a_thumbnail_is_drawn_anew_for_another_picture_or_size_and_forgotten_with_its_volume():
    thumbnails, volume = Thumbnails(), Volume()
    first, second = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 9, np.uint8)
    drawn = thumbnails.of(volume, first, 4, 2, None)
    assert thumbnails.of(volume, first, 4, 2, None) is drawn
    assert cells_of(thumbnails.of(volume, second, 4, 2, None)[0]) == [((9, 9, 9), (9, 9, 9))] * 4
    assert len(thumbnails.of(volume, second, 8, 4, None)) == 4
    del volume
    gc.collect()
    assert not thumbnails._drawn


def test_a_grey_picture_becomes_rgb():
    assert read_picture(png_from(np.full((8, 8), 77, np.uint8))).tolist() == np.full((8, 8, 3), 77).tolist()


@pytest.mark.parametrize(
    "png",
    [
        b"",
        b"not a picture",
        png_from(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))[:2000],
        png_from(FOUR_COLOURS, "BMP"),
    ],
)
def test_bytes_that_are_no_whole_png_are_refused(png):
    with pytest.raises(PictureError, match="no whole PNG"):
        read_picture(png)


def test_a_header_that_announces_gigabytes_is_refused_unread():
    png = bytearray(png_from(FOUR_COLOURS))
    png[16:24] = (100_000).to_bytes(4) * 2
    with pytest.raises(PictureError, match="100000 × 100000"):
        read_picture(bytes(png))


def test_the_strip_keeps_no_large_picture_that_its_volume_has_replaced_by_a_small_one():
    thumbnails, volume = Thumbnails(), Volume()
    large = np.zeros((512, 512, 3), np.uint8)
    freed = weakref.ref(large)
    thumbnails.of(volume, large, 20, 10, None)
    del large
    assert freed() is None
