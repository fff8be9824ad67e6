"""Pictures in files, and the table with each picture's captions and split; in BIDS both lie in `stimuli/`.

`stimuli/captions.tsv` has a row for each caption. Columns: `stim_file` (a path below stimuli/, as in events.tsv),
`caption`, `split` (train or test) and, optionally, `novel` (1: no training picture shows this kind of object).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from ....arrays import Array
from .files import NOT_AVAILABLE, BidsError, read_tsv

TABLE = "stimuli/captions.tsv"
LARGEST_SIDE_PX = 512
SPLITS = ("train", "test")


@dataclass
class Picture:
    """One stimulus of the table."""

    stim_file: str
    captions: list[str]
    split: str
    novel: bool


class Stimuli:
    """The pictures of a data set, numbered from 0 in the given order.

    Parameters
    ----------
    pictures : list of Picture
    folders : folders that are searched for the pictures' files
    table : the table that described them, for errors
    """

    def __init__(self, pictures: list[Picture], folders: list[Path], table: Path) -> None:
        self.pictures, self.table, self._folders = pictures, table, folders
        self._number = {picture.stim_file: number for number, picture in enumerate(pictures)}

    @classmethod
    def of_bids(cls, roots: list[Path], split_unless_said: str | None = None) -> Self:
        """Return the pictures of a BIDS data set, in the order of their first rows in the table.

        `split_unless_said` is as in `read_pictures`.
        """
        tables = [path for root in roots if (path := root / TABLE).is_file()]
        if not tables:
            raise BidsError(
                f"{roots[0] / TABLE} is missing; it says what each picture shows and which are held out: make a table "
                "with the columns stim_file, caption and split (train or test)"
            )
        return cls(read_pictures(tables[0], split_unless_said), [root / "stimuli" for root in roots], tables[0])

    def number(self, stim_file: str, events: Path) -> int:
        """Return the number of a picture. Raises BidsError, naming the events table, if the table lacks the picture."""
        if stim_file not in self._number:
            raise BidsError(f"{self.table} has no row for {stim_file}, which {events.name} shows: add its captions")
        return self._number[stim_file]

    def picture(self, number: int) -> Picture:
        """Return a picture by its number. Raises BidsError if there is none."""
        if not 0 <= number < len(self.pictures):
            raise BidsError(f"picture {number}: {self.table} has the pictures 0 to {len(self.pictures) - 1}")
        return self.pictures[number]

    def read(self, numbers: Iterable[int]) -> Array:
        """Return pictures, cropped to squares of `side_px`: (n_pictures, px, px, 3) uint8, RGB."""
        pictures = [self._square(int(number)) for number in numbers]
        return np.stack(pictures) if pictures else np.zeros((0, self.side_px, self.side_px, 3), np.uint8)

    @cached_property
    def side_px(self) -> int:
        """The side of all pictures in px: the shorter side of the first picture, at most 512."""
        return min(*self._open(0).size, LARGEST_SIDE_PX)

    def _square(self, number: int) -> Array:
        from PIL import ImageOps

        picture, side = self._open(number), (self.side_px, self.side_px)
        return np.asarray(picture if picture.size == side else ImageOps.fit(picture, side))

    def _open(self, number: int) -> Any:
        from PIL import Image, UnidentifiedImageError

        stim_file = self.picture(number).stim_file
        path = next((path for folder in self._folders if (path := folder / stim_file).is_file()), None)
        if path is None:
            raise BidsError(f"{self._folders[0] / stim_file} is missing: put the picture there, or correct stim_file")
        try:
            return Image.open(path).convert("RGB")
        except (UnidentifiedImageError, OSError) as error:
            raise BidsError(f"{path} cannot be read as a picture ({error}): save it as PNG or JPEG") from error


def read_pictures(table: Path, split_unless_said: str | None = None) -> list[Picture]:
    """Read a table of captions.

    Parameters
    ----------
    split_unless_said : the split of all pictures if the table has no column `split`; None requires the column

    Raises
    ------
    BidsError
        The table lacks a column, a caption or rows, or has an unknown or contradictory split.
    """
    advice = "say for each picture whether it is for training (train) or held out (test)"
    columns = ("stim_file", "caption", *(("split",) if split_unless_said is None else ()))
    pictures: dict[str, Picture] = {}
    for row in read_tsv(table, columns, advice):
        stim_file, caption, split = row["stim_file"], row["caption"], row.get("split", split_unless_said)
        if split not in SPLITS:
            raise BidsError(f"{table}: split of {stim_file} is {split!r}: {advice}")
        picture = pictures.setdefault(stim_file, Picture(stim_file, [], split, row.get("novel") == "1"))
        if picture.split != split:
            raise BidsError(f"{table}: {stim_file} is in both splits: give all its rows the same one")
        if caption != NOT_AVAILABLE:
            picture.captions.append(caption)
    empty = [picture.stim_file for picture in pictures.values() if not picture.captions]
    if empty:
        raise BidsError(f"{table} has no caption for {empty[0]} ({len(empty)} such pictures): write what it shows")
    if not pictures:
        raise BidsError(f"{table} has no rows: give each picture at least one")
    return list(pictures.values())
