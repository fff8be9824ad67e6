"""Names of NSD's regions: the label tables of its atlases, and which atlas a name belongs to."""

import difflib
from pathlib import Path

from .nsd_files import NsdError, existing

LABEL_TABLES = "nsddata/freesurfer/fsaverage/label"
# Where a label that several atlases have is looked for first.
FIRST_ATLASES = ("streams", "prf-visualrois", "nsdgeneral")


def atlases_in(roi_folder: Path) -> list[str]:
    """List the atlases of a subject's folder of ROI volumes, those to look in first at the front."""
    names = [path.name.removesuffix(".nii.gz") for path in roi_folder.glob("*.nii.gz")]
    both = sorted(name for name in names if not name.startswith(("lh.", "rh.")))
    return sorted(both, key=lambda name: FIRST_ATLASES.index(name) if name in FIRST_ATLASES else len(both))


def read_labels(root: Path, atlas: str) -> dict[str, int]:
    """Read an atlas' labels, name → value, without the one of value 0."""
    path = existing(
        root / LABEL_TABLES / f"{atlas}.mgz.ctab",
        f"the label names of atlas {atlas}",
        f"download {LABEL_TABLES}",
    )
    rows = [line.split() for line in path.read_text().splitlines()]
    return {row[1]: int(row[0]) for row in rows if len(row) >= 2 and row[0].isdigit() and int(row[0]) > 0}


def find_label(root: Path, atlases: list[str], label: str) -> tuple[str, int]:
    """Return the atlas and the value of a label, "early" or, of a named atlas, "streams:early"."""
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
    raise NsdError(f"no region '{name}' in {', '.join(chosen) or f'the atlases of {root}'}; {hint}")
