"""Pictures in files, and the table with each picture's captions and split; in BIDS both lie in `stimuli/`.

`stimuli/captions.tsv` has a row for each caption. Columns: `stim_file` (a path below stimuli/, as in events.tsv),
`caption`, `split` (train or test) and, optionally, `novel` (1: no training picture shows this kind of object).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self
from unicodedata import normalize

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
        self._listed: dict[Path, list[Path]] = {}
        self._spelled: dict[str, list[int]] = {}
        for number, picture in enumerate(pictures):
            self._spelled.setdefault(spelled(picture.stim_file), []).append(number)

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
        """Return the number of a picture, which the table may spell in another way.

        Raises BidsError, naming the events table, if the table lacks the picture, or spells two pictures alike.
        """
        if stim_file in self._number:
            return self._number[stim_file]
        alike = self._spelled.get(spelled(stim_file), [])
        if len(alike) > 1:
            names = " and ".join(repr(self.pictures[number].stim_file) for number in alike)
            raise BidsError(f"{self.table} has {names}, {events.name} shows {stim_file!r}: spell one of them")
        if not alike:
            raise BidsError(f"{self.table} has no row for {stim_file}, which {events.name} shows: add its captions")
        return alike[0]

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
        path = next((path for folder in self._folders if (path := picture_path(folder, stim_file, self._listed))), None)
        if path is None:
            raise BidsError(f"{self._folders[0] / stim_file} is missing: put the picture there, or correct stim_file")
        try:
            return Image.open(path).convert("RGB")
        except (UnidentifiedImageError, OSError) as error:
            raise BidsError(f"{path} cannot be read as a picture ({error}): save it as PNG or JPEG") from error


def spelled(stim_file: str) -> str:
    """Return one spelling of a file's name for all systems: `/` between folders, composed letters, no capitals.

    macOS decomposes letters with accents, Windows writes `\\`, and both ignore case.
    """
    return normalize("NFC", stim_file.replace("\\", "/")).casefold().removeprefix("./").removeprefix("stimuli/")


def picture_path(folder: Path, stim_file: str, listed: dict[Path, list[Path]] | None = None) -> Path | None:
    """Return the file below a folder that `stim_file` names, in whatever spelling; None without such a file.

    Parameters
    ----------
    listed : folders that were listed for earlier pictures; a folder is listed only for a name in another spelling

    Raises
    ------
    BidsError
        The name leads out of the folder, or fits two files.
    """
    if ".." in stim_file.replace("\\", "/").split("/") or Path(stim_file).anchor:
        raise BidsError(f"{stim_file!r} leads out of {folder}: name a file below it in stim_file")
    if (folder / stim_file).is_file():
        return folder / stim_file
    listed, found = {} if listed is None else listed, [folder]
    for part in spelled(stim_file).split("/"):
        for one in found:
            if one not in listed:
                listed[one] = sorted(one.iterdir()) if one.is_dir() else []
        found = [path for one in found for path in listed[one] if spelled(path.name) == part]
    files = [path for path in found if path.is_file()]
    if len(files) > 1:
        names = " or ".join(str(path.relative_to(folder)) for path in files)
        raise BidsError(f"{stim_file!r} may be {names} in {folder}: spell one of them in stim_file")
    return files[0] if files else None


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
