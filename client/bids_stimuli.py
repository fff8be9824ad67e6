"""Pictures in files, and the table of what each shows and what it is for; in BIDS both lie in `stimuli/`.

`stimuli/captions.tsv` has a row for each caption: `stim_file` (below stimuli/, as in events.tsv), `caption`, `split`
(train or test) and, if wanted, `novel` (1: a test picture of a kind of object that no training picture shows).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .bids_files import NOT_AVAILABLE, BidsError, read_tsv

Array = NDArray[Any]

TABLE = "stimuli/captions.tsv"
LARGEST_SIDE_PX = 512
SPLITS = ("train", "test")


@dataclass
class Picture:
    """One stimulus, as the table describes it."""

    stim_file: str
    captions: list[str]
    split: str
    novel: bool


class Stimuli:
    """Pictures numbered from 0, as they are given.

    Parameters
    ----------
    folders : where their files may be
    table : what described them
    """

    def __init__(self, pictures: list[Picture], folders: list[Path], table: Path) -> None:
        self.pictures, self.table, self._folders = pictures, table, folders
        self._number = {picture.stim_file: number for number, picture in enumerate(pictures)}

    @classmethod
    def of_bids(cls, roots: list[Path]) -> Self:
        """Return the pictures of a data set, in the order in which its table first names them."""
        tables = [path for root in roots if (path := root / TABLE).is_file()]
        if not tables:
            raise BidsError(
                f"{roots[0] / TABLE} is missing; it says what each picture shows and which are held out: make a table "
                "with the columns stim_file, caption and split (train or test)"
            )
        return cls(read_pictures(tables[0]), [root / "stimuli" for root in roots], tables[0])

    def number(self, stim_file: str, events: Path) -> int:
        """Return the number of a picture that an events table names."""
        if stim_file not in self._number:
            raise BidsError(f"{self.table} has no row for {stim_file}, which {events.name} shows: add its captions")
        return self._number[stim_file]

    def read(self, numbers: Iterable[int]) -> Array:
        """Return pictures, cropped to squares of one size (the first one's, 512 at most): (n, px, px, 3) uint8."""
        pictures = [self._square(int(number)) for number in numbers]
        return np.stack(pictures) if pictures else np.zeros((0, self.side_px, self.side_px, 3), np.uint8)

    @cached_property
    def side_px(self) -> int:
        """The side of all pictures, in px."""
        return min(*self._open(0).size, LARGEST_SIDE_PX)

    def _square(self, number: int) -> Array:
        from PIL import ImageOps

        picture, side = self._open(number), (self.side_px, self.side_px)
        return np.asarray(picture if picture.size == side else ImageOps.fit(picture, side))

    def _open(self, number: int) -> Any:
        from PIL import Image, UnidentifiedImageError

        if not 0 <= number < len(self.pictures):
            raise BidsError(f"picture {number}: {self.table} has the pictures 0 to {len(self.pictures) - 1}")
        stim_file = self.pictures[number].stim_file
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
    split_unless_said : of all pictures of a table without that column; None if it must have one
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
