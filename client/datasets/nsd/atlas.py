"""NSD's regions: the volumes of its atlases, their label tables, and the atlas that has a name."""

import difflib
from pathlib import Path

import numpy as np

from ....arrays import Array
from ..images import load_nifti, scaled
from .files import NsdError, existing

LABEL_TABLES = "nsddata/freesurfer/fsaverage/label"
FIRST_ATLASES = ("streams", "prf-visualrois", "nsdgeneral")
"""The order of the search for a label that several atlases have."""


def atlases_in(roi_folder: Path) -> list[str]:
    """List the atlases in a subject's folder of ROI volumes, in the order of the search."""
    names = [path.name.removesuffix(".nii.gz") for path in roi_folder.glob("*.nii.gz")]
    both = sorted(name for name in names if not name.startswith(("lh.", "rh.")))
    return sorted(both, key=lambda name: FIRST_ATLASES.index(name) if name in FIRST_ATLASES else len(both))


def read_roi(roi_folder: Path, atlas: str) -> Array:
    """Return an atlas' labels: (X, Y, Z) int64, 0 in unlabelled cortex, below 0 outside cortex.

    Raises
    ------
    NsdError
        The atlas is missing; the sentence lists the atlases in the folder.
    """
    path = roi_folder / f"{atlas}.nii.gz"
    if not path.exists():
        raise NsdError(
            f"{path} is missing; it holds the regions of atlas {atlas}: download it, or choose one of "
            f"{', '.join(atlases_in(path.parent)) or 'none: the folder is empty'}",
            code="option",
        )
    return np.rint(scaled(load_nifti(path))).astype(np.int64)


def read_labels(root: Path, atlas: str) -> dict[str, int]:
    """Read an atlas' labels, name → value, without the label of value 0. Raises NsdError if the table is missing."""
    path = existing(
        root / LABEL_TABLES / f"{atlas}.mgz.ctab",
        f"the label names of atlas {atlas}",
        f"download {LABEL_TABLES}",
    )
    rows = [line.split() for line in path.read_text().splitlines()]
    return {row[1]: int(row[0]) for row in rows if len(row) >= 2 and row[0].isdigit() and int(row[0]) > 0}


def find_label(root: Path, atlases: list[str], label: str) -> tuple[str, int]:
    """Return the atlas and the value of a label: "early", or "streams:early" for a given atlas.

    Raises
    ------
    NsdError
        No atlas has the label; the sentence has the nearest name.
    """
    atlas, _, name = label.rpartition(":")
    chosen = [atlas] if atlas else [each for each in atlases if (root / LABEL_TABLES / f"{each}.mgz.ctab").exists()]
    known: list[str] = []
    for each in chosen:
        labels = read_labels(root, each)
        if name in labels:
            return each, labels[name]
        known += labels
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(known[:12]) or 'none'}"
    raise NsdError(f"no region '{name}' in {', '.join(chosen) or f'the atlases of {root}'}; {hint}", code="option")
