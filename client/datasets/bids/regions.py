"""Regions of a BIDS subject: segmentations with their label tables, and masks."""

import difflib
from pathlib import Path

from .files import BidsError, BidsFile, bids_file, read_tsv


def find_region(files: list[BidsFile], roots: list[Path], label: str, where: str) -> tuple[Path, int | None]:
    """Return the image that has a region, and the region's value in the image; the value is None for a mask.

    Parameters
    ----------
    files : the subject's images in the space
    roots : folders where label tables may be
    label : "early", or "streams:early" for a given segmentation
    where : the subject and the space, for the error

    Raises
    ------
    BidsError
        There is no such region; the sentence has the nearest name.
    """
    segmentation, _, name = label.rpartition(":")
    known: list[str] = []
    for file in files:
        if file.suffix == "dseg" and segmentation in ("", _name(file)):
            regions = _read_table(file, roots)
            if name in regions:
                return file.path, regions[name]
            known += regions
        elif file.suffix == "mask" and not segmentation and "label" in file.entities:
            if file.entities["label"] == name:
                return file.path, None
            known.append(file.entities["label"])
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(known[:12]) or 'none'}"
    raise BidsError(
        f"{where} has no region '{label}' in a …_dseg.nii.gz or …_label-{name}_mask.nii.gz; {hint}. "
        "A NIfTI mask's path will do too",
        code="option",
    )


def region_names(files: list[BidsFile], roots: list[Path]) -> list[str]:
    """List the regions that `find_region` finds by their name alone, each once."""
    names: dict[str, None] = {}
    for file in files:
        if file.suffix == "dseg":
            names |= dict.fromkeys(_read_table(file, roots))
        elif file.suffix == "mask" and "label" in file.entities:
            names[file.entities["label"]] = None
    return list(names)


def _name(file: BidsFile) -> str:
    """Return a segmentation's name: "aparc" of `_seg-aparc_dseg`, `_atlas-aparc_dseg` or `_desc-aparc_dseg`."""
    return next((file.entities[key] for key in ("seg", "atlas", "desc") if key in file.entities), "")


def _read_table(file: BidsFile, roots: list[Path]) -> dict[str, int]:
    """Read a segmentation's labels, name → value, without values below 1.

    The table is the nearest: beside the image, then in the folders above, then in the roots. Its name must not
    contradict the image's.
    """
    folders = [file.path.parent, *(folder for folder in file.path.parents if folder in roots), *roots]
    for folder in folders:
        for path in sorted(folder.glob("*dseg.tsv"), key=lambda path: -len(path.name)):
            table = bids_file(path)
            if (
                table.suffix == "dseg"
                and table.entities.items() <= file.entities.items()
                and _name(table) == _name(file)
            ):
                rows = read_tsv(path, ("index", "name"), "give each region's value and name")
                try:
                    return {row["name"]: int(row["index"]) for row in rows if int(row["index"]) > 0}
                except ValueError as error:
                    raise BidsError(f"{path}: an index is no whole number ({error}): correct it") from error
    raise BidsError(f"{file.path} has no table of labels: add {file.path.name.partition('.')[0]}.tsv (index, name)")
