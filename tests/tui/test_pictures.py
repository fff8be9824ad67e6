import io

import numpy as np
import pytest
from PIL import Image
from rich.color import EIGHT_BIT_PALETTE, ColorSystem

from braind.client.pictures import PictureError, read_picture
from braind.tui.pictures import HALF_BLOCK, KEPT_PX, fitting_cells, half_blocks

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
