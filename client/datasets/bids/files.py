"""File names and tables of BIDS: entities, inherited sidecars, TSV, and the choice of a subject's image files."""

import csv
import math
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ....arrays import Array
from ..data_set import DataSetError
from ..images import is_nifti_name, load_nifti, voxels_of

NOT_AVAILABLE = "n/a"
SINGLE_TRIALS, BOLD = "singletrial", "bold"
"""Estimates: the `desc` label of single-trial responses, and BOLD from which responses are estimated."""
INDICES = {"run", "echo"}
DATATYPES_WITHOUT_FMRI = {"eeg", "ieeg", "meg", "nirs", "beh", "pet", "dwi", "fmap", "perf", "motion", "mrs", "micr"}
"""Folders of other modalities. Their events and images belong to no BOLD series."""
CHOOSABLE = ("acq", "res", "echo")
NONE = "none"
"""The choice of names without an entity."""
IMPLAUSIBLE_S = 30.0
"""A TR or a shift of the first volume above this is in milliseconds, or wrong."""
SECONDS_OF_UNIT = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}


class BidsError(DataSetError):
    """A BIDS folder lacks a file, or a file has an impossible value: names the file and the remedy."""

    code = "bids"


@dataclass(frozen=True)
class BidsFile:
    """A file and the entities of its name.

    `sub-01_task-x_bold.nii.gz` has the entities {"sub": "01", "task": "x"} and the suffix "bold".
    """

    path: Path
    entities: dict[str, str]
    suffix: str

    def has(self, **wanted: str) -> bool:
        """Say whether the entities have these values."""
        return all(self.entities.get(entity) == value for entity, value in wanted.items())

    def applies_to(self, entities: Mapping[str, str]) -> bool:
        """Say whether the name contradicts no entity: a name without an entity holds for each of its labels."""
        return all(entities.get(entity, label) == label for entity, label in self.entities.items())


@dataclass(frozen=True)
class Choice:
    """Labels of the images that are read, where a folder has several of a run.

    "" takes any, `NONE` takes names without the entity.
    """

    acq: str = ""
    res: str = ""
    echo: str = ""

    def takes(self, file: BidsFile, unnamed: str | None = NONE) -> bool:
        """Say whether a file is of the choice.

        `unnamed` None refuses a name without a chosen entity; otherwise such a name holds for every label.
        """
        for entity in CHOOSABLE:
            wanted, label = getattr(self, entity), file.entities.get(entity, NONE)
            if entity in INDICES:
                wanted = wanted.lstrip("0")
            if wanted and label != wanted and (unnamed is None or label != unnamed):
                return False
        return True

    def __str__(self) -> str:
        return "".join(f" {entity}-{label}" for entity in CHOOSABLE if (label := getattr(self, entity)))


def bids_file(path: Path) -> BidsFile:
    """Return a file with the entities of its name. An index is a number in BIDS, so `run-01` is `run-1`."""
    *parts, suffix = path.name.partition(".")[0].split("_")
    pairs = (part.partition("-") for part in parts)
    entities = {entity: label for entity, dash, label in pairs if dash}
    for entity in INDICES & entities.keys():
        entities[entity] = entities[entity].lstrip("0") or "0"
    return BidsFile(path, entities, suffix)


def data_roots(folder: Path, raw: Path | None = None) -> list[Path]:
    """Return the folders of a data set: the folder itself, its derivatives, and the raw data set.

    fMRIPrep writes only images; the events and the stimuli stay in the raw data set. Without `raw`, the raw data set is
    the folder above `derivatives/`.
    """
    derivatives = sorted(path for path in (folder / "derivatives").glob("*") if path.is_dir())
    if raw is not None:
        return list(dict.fromkeys([folder, *derivatives, raw]))
    above = [folder.parent.parent] if folder.resolve().parent.name == "derivatives" else []
    return [folder, *derivatives, *above]


def files_of_subject(roots: list[Path], label: str) -> Iterator[BidsFile]:
    """Yield a subject's files, root by root in the given order, without files of other modalities."""
    for root in roots:
        for path in sorted((root / f"sub-{label}").rglob(f"sub-{label}_*")):
            if path.parent.name not in DATATYPES_WITHOUT_FMRI:
                yield bids_file(path)


def sidecar(file: BidsFile, root: Path) -> dict[str, Any]:
    """Return a file's metadata: its own JSON file over the inherited JSON files of the folders above.

    A field that is null is absent, also if a folder above says a value for it.
    """
    metadata: dict[str, Any] = {}
    folders = [folder for folder in reversed(file.path.parents) if folder == root or root in folder.parents]
    for folder in folders:
        for path in sorted(folder.glob(f"*{file.suffix}.json"), key=lambda path: len(path.name)):
            other = bids_file(path)
            if other.suffix == file.suffix and other.entities.items() <= file.entities.items():
                metadata |= read_json(path)
    return {name: value for name, value in metadata.items() if value is not None}


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises BidsError if the file is missing or is not a JSON object."""
    try:
        return msgspec.json.decode(path.read_bytes().removeprefix(BOM_UTF8), type=dict[str, Any])
    except (msgspec.DecodeError, OSError) as error:
        raise BidsError(f"{path} cannot be read as a JSON object ({error}): correct it") from error


def read_tsv(path: Path, columns: tuple[str, ...], advice: str) -> list[dict[str, str]]:
    """Read a tab-separated table; empty cells become `NOT_AVAILABLE`.

    Parameters
    ----------
    columns : columns that the header must have
    advice : the remedy, for the error of a missing column

    Raises
    ------
    BidsError
        A column is missing, or the file cannot be read as UTF-8 text.
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
    """Return a cell as seconds. Raises ValueError, with the cell's text, unless it is a finite number."""
    try:
        seconds = float(row[column])
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise ValueError(f"{column} is {row[column]!r}; give seconds")
    return seconds


def subject_folders(roots: list[Path]) -> set[str]:
    """Return the labels of the subjects that have a folder with anything in it."""
    folders = (path for root in roots for path in root.glob("sub-*") if path.is_dir() and any(path.iterdir()))
    return {folder.name.removeprefix("sub-") for folder in folders}


def duration_in(row: dict[str, str]) -> float:
    """Return a row's duration, s; 0, an impulse, for n/a. Raises ValueError as `seconds_in`."""
    return 0.0 if row["duration"] == NOT_AVAILABLE else seconds_in(row, "duration")


def makers(root: Path) -> list[str]:
    """List the names of the programs that made a data set, by its dataset_description.json."""
    steps = read_json(root / "dataset_description.json").get("GeneratedBy", [])
    return [step["Name"] for step in steps if isinstance(step, dict) and "Name" in step]


def load_series(path: Path) -> Any:
    """Open a NIfTI image of shape (X, Y, Z, n_volumes). Raises BidsError if it has other axes."""
    image = load_nifti(path)
    if len(image.shape) != 4:
        raise BidsError(f"{path} is not a series: its shape is {image.shape}; X, Y, Z and time or trial are needed")
    return image


def images_of(files: list[BidsFile], task: str, space: str, estimates: str, chosen: Choice) -> list[BidsFile]:
    """Return a task's files of single-trial responses in a space, or of BOLD if `estimates` is `BOLD`.

    BOLD is preprocessed. Only if there is none, in any space, it is raw.
    """
    suffix, desc = ("bold", "preproc") if estimates == BOLD else ("statmap", estimates)
    images = [file for file in files if is_nifti_name(file.path.name) and file.suffix == suffix and file.has(task=task)]
    described = [file for file in images if file.has(desc=desc)]
    if estimates == BOLD and not described:
        described = [file for file in images if "desc" not in file.entities]
    in_space = [file for file in described if file.entities.get("space", "") == space]
    return [file for file in in_space if chosen.takes(file, None)]


def finite_voxels(path: Path, image: Any, voxel_index: Array) -> Array:
    """Return chosen voxels of a series, (n_volumes, n_voxels) float32. Raises BidsError if a voxel is not finite."""
    voxels = voxels_of(image, voxel_index)
    bad = np.argwhere(~np.isfinite(voxels))
    if len(bad):
        volume, column = bad[0].tolist()
        x, y, z = (int(position) for position in np.unravel_index(voxel_index[column], image.shape[:3]))
        raise BidsError(
            f"{path}: voxel ({x}, {y}, {z}) of volume {volume} is {voxels[volume, column]}, and "
            f"{len(set(bad[:, 1].tolist())) - 1} more of the chosen voxels are not finite: leave these voxels out of "
            "the regions, or write numbers"
        )
    return voxels


def header_tr_s(image: Any) -> float:
    """Return the TR that a series' header says, s; a header without a unit means seconds."""
    _, unit = image.header.get_xyzt_units()
    return float(image.header.get_zooms()[3]) * SECONDS_OF_UNIT.get(unit, 1.0)


def volume_times(file: BidsFile, roots: list[Path], header_tr_s: float) -> tuple[float, float]:
    """Return the TR and the first volume's time, s, by the metadata; else the header's TR, and 0.

    fMRIPrep's slice-timing correction moves the volumes' times and writes the first volume's new time as StartTime.

    Raises
    ------
    BidsError
        Neither the metadata nor the header has a TR, the metadata have a time that is no number, or a time is above
        30 s: it is in milliseconds.
    """
    metadata = sidecar(file, next(root for root in roots if root in file.path.parents))
    said_s = _json_seconds(file, metadata, "RepetitionTime")
    tr_s, start_s = said_s or header_tr_s, _json_seconds(file, metadata, "StartTime")
    if not 0 < tr_s < math.inf:
        raise BidsError(f"{file.path}: neither its JSON nor its header says the RepetitionTime: add it, in seconds")
    for source, name, seconds in (
        ("JSON" if said_s else "header", "RepetitionTime", tr_s),
        ("JSON", "StartTime", start_s),
    ):
        if abs(seconds) > IMPLAUSIBLE_S:
            raise BidsError(
                f"{file.path}: its {source} says a {name} of {seconds:g} s, which is more than {IMPLAUSIBLE_S:g} s: "
                f"write it in seconds into its JSON, {seconds / 1000:g} if these are milliseconds"
            )
    return tr_s, start_s


def _json_seconds(file: BidsFile, metadata: dict[str, Any], name: str) -> float:
    """Return a field of a file's metadata as seconds; 0 without the field. Raises BidsError for anything else."""
    seconds = metadata.get(name, 0)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not math.isfinite(seconds):
        raise BidsError(f"{file.path}: its JSON says a {name} of {seconds!r}: correct it, in seconds")
    if name == "RepetitionTime" and seconds < 0:
        raise BidsError(f"{file.path}: its JSON says a {name} of {seconds:g} s: correct it, in seconds")
    return float(seconds)
