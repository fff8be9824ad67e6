"""File names and tables of BIDS: entities, sidecars that are inherited, TSV. Knows nothing of what they are for."""

import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from .data_set import DataSetError

NOT_AVAILABLE = "n/a"


class BidsError(DataSetError):
    """A BIDS folder that lacks something, or says something that cannot be: names the file and what to do."""

    code = "bids"


@dataclass(frozen=True)
class BidsFile:
    """A file with its entities: `sub-01_task-x_bold.nii.gz` has {"sub": "01", "task": "x"} and the suffix "bold"."""

    path: Path
    entities: dict[str, str]
    suffix: str

    def has(self, **wanted: str) -> bool:
        """Say whether the entities have these values."""
        return all(self.entities.get(entity) == value for entity, value in wanted.items())


def bids_file(path: Path) -> BidsFile:
    """Return a file with its entities, as its name says them."""
    *parts, suffix = path.name.partition(".")[0].split("_")
    pairs = (part.partition("-") for part in parts)
    return BidsFile(path, {entity: label for entity, dash, label in pairs if dash}, suffix)


def data_roots(folder: Path) -> list[Path]:
    """Return where the files of a data set may be: the folder, its derivatives, and the raw data set above it.

    fMRIPrep writes images only; the events and the stimuli stay in the raw data set.
    """
    derivatives = sorted(path for path in (folder / "derivatives").glob("*") if path.is_dir())
    above = [folder.parent.parent] if folder.resolve().parent.name == "derivatives" else []
    return [folder, *derivatives, *above]


def files_of_subject(roots: list[Path], label: str) -> Iterator[BidsFile]:
    """Yield a subject's files, those of the first root first."""
    for root in roots:
        for path in sorted((root / f"sub-{label}").rglob(f"sub-{label}_*")):
            yield bids_file(path)


def sidecar(file: BidsFile, root: Path) -> dict[str, Any]:
    """Return a file's metadata: its own JSON's, and what it inherits from those in the folders above."""
    metadata: dict[str, Any] = {}
    folders = [folder for folder in reversed(file.path.parents) if folder == root or root in folder.parents]
    for folder in folders:
        for path in sorted(folder.glob(f"*{file.suffix}.json"), key=lambda path: len(path.name)):
            other = bids_file(path)
            if other.suffix == file.suffix and other.entities.items() <= file.entities.items():
                metadata |= read_json(path)
    return metadata


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (msgspec.DecodeError, OSError) as error:
        raise BidsError(f"{path} cannot be read as a JSON object ({error}): correct it") from error


def read_tsv(path: Path, columns: tuple[str, ...], advice: str) -> list[dict[str, str]]:
    """Read a table with a header, which must have these columns.

    Raises
    ------
    BidsError
        Naming the missing column, and saying `advice`.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            names = reader.fieldnames or []
            missing = [column for column in columns if column not in names]
            if missing:
                raise BidsError(f"{path} has no column {', '.join(missing)}; it has {', '.join(names)}: {advice}")
            return [{name: value or NOT_AVAILABLE for name, value in row.items() if name} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BidsError(f"{path} cannot be read as a table ({error}): save it as tab-separated UTF-8 text") from error


def seconds_in(row: dict[str, str], column: str) -> float:
    """Return a table's number of seconds; `ValueError` says what stands there instead."""
    try:
        seconds = float(row[column])
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise ValueError(f"{column} is {row[column]!r}; give seconds")
    return seconds


def numbered(labels: set[str]) -> dict[int, str]:
    """Number labels as they number themselves ("01", "S3", "day2"), or else from 1 in their order."""
    digits = {label: re.search(r"(\d+)$", label) for label in sorted(labels)}
    own = {int(match[1]): label for label, match in digits.items() if match}
    return own if len(own) == len(labels) else dict(enumerate(sorted(labels), 1))
