"""The brain maps of an encoding figure, as drawn: their numbers have true minus signs."""

import io
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text

from braind.offline.encode.brain_maps import Atlas, FigureRow, draw_slices
from braind.offline.encode.maps import MapFolder

SHAPE = (10, 12, 9)


def test_slice_heights_and_colour_bars_have_true_minus_signs():
    n_voxels = int(np.prod(SHAPE))
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = -20
    maps = MapFolder(Path("unused"), "01", "", "", np.arange(n_voxels), SHAPE, affine)
    values = np.linspace(-2e-5, 2e-5, n_voxels)
    figure = Figure(figsize=(12, 2))
    row = FigureRow("r of z − r of c", values, "about 0", 2e-5)
    draw_slices(figure.add_subplot(), row, Atlas(maps, np.ones(n_voxels, bool), None))
    figure.savefig(io.BytesIO())
    drawn = [text.get_text() for text in figure.findobj(Text) if text.get_text()]
    assert any(words.startswith("z=−") for words in drawn)
    assert any(words.startswith("−2e") for words in drawn)
    assert not any("-" in words for words in drawn), drawn
