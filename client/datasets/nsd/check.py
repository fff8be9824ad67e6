"""Check a Natural Scenes Dataset folder: what it holds, what each command lacks, and how to obtain that.

braind neither ships nor fetches NSD: NSD is given to people who sign its data agreement.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..data_set import DataSetError, span
from .atlas import LABEL_TABLES, atlases_in
from .design import CAPTION_FOLDERS, DESIGN_PATH, PICTURES_PATH, STIM_INFO_PATH, TRIALS_PER_SESSION
from .tree import SPACE, NsdTree

COMMANDS = ("fit", "decode", "evaluate", "encode", "replay --kind beta", "replay --kind bold")
OFFLINE = COMMANDS[:4]
SESSIONS = (40, 40, 32, 30, 40, 32, 40, 30)
"""Scanned sessions of subjects 1 to 8."""
PICTURES_BYTES = 73_000 * 425 * 425 * 3
RUNS, RUN_VOLUMES = 12, 226
STORED_BYTES = 2
"""Bytes of a stored beta, and of a stored BOLD value."""

AGREEMENT = "sign NSD's data agreement (naturalscenesdataset.org)"
BUCKET = "s3://natural-scenes-dataset"
CAPTIONS = "take annotations_trainval2017.zip from cocodataset.org and put its captions_*.json there"


@dataclass(frozen=True)
class Part:
    """A part of NSD, the commands that need it, and where to get it.

    Parameters
    ----------
    name : the part's name, for people
    path : where it belongs, below the NSD folder
    commands : the commands that need it
    there : what the folder has of it; "" if nothing
    n_bytes : its size on disk
    missing_bytes : about how many bytes are missing; 0 if that is unknown
    how : how to obtain it
    """

    name: str
    path: str
    commands: tuple[str, ...]
    there: str
    n_bytes: int
    missing_bytes: int
    how: str


@dataclass(frozen=True)
class SubjectCheck:
    """One subject's parts, and the names of the missing parts of each command."""

    subject: int
    parts: list[Part]
    lacking: dict[str, list[str]]


def check_tree(tree: NsdTree, subjects: list[int]) -> list[SubjectCheck]:
    """Check the parts of some subjects. Reads only names, sizes and one header per subject."""
    checks = []
    for subject in subjects:
        parts = [*_common_parts(tree.root), *_subject_parts(tree, subject)]
        lacking = {
            command: [part.name for part in parts if command in part.commands and not part.there]
            for command in COMMANDS
        }
        checks.append(SubjectCheck(subject, parts, lacking))
    return checks


def _common_parts(root: Path) -> list[Part]:
    captions = [path for folder in CAPTION_FOLDERS for path in sorted((root / folder).glob("captions_*2017.json"))]
    return [
        _file(root, "order of trials", DESIGN_PATH, COMMANDS),
        _file(root, "table of pictures", STIM_INFO_PATH, OFFLINE),
        _file(root, "pictures", PICTURES_PATH, COMMANDS, PICTURES_BYTES),
        Part("captions", CAPTION_FOLDERS[0], OFFLINE, _names(captions), _bytes(captions), 0, CAPTIONS),
    ]


def _subject_parts(tree: NsdTree, subject: int) -> list[Part]:
    root = tree.root
    anatomy = f"nsddata/ppdata/subj{subject:02d}/{SPACE}"
    betas = f"nsddata_betas/ppdata/subj{subject:02d}/{SPACE}"
    series = f"nsddata_timeseries/ppdata/subj{subject:02d}/{SPACE}"
    n_voxels = _n_voxels(tree, subject)
    n_sessions = max([*tree.sessions_on_disk(subject), 0 if tree.is_simulated() else SESSIONS[subject - 1]])

    atlases = atlases_in(root / anatomy / "roi")
    tables = [root / LABEL_TABLES / f"{atlas}.mgz.ctab" for atlas in atlases]
    named = [path for path in tables if path.exists()]
    regions = [*(root / anatomy / "roi" / f"{atlas}.nii.gz" for atlas in atlases), *named]
    labelled = ", ".join(path.name.removesuffix(".mgz.ctab") for path in named)

    session_bytes = n_voxels * TRIALS_PER_SESSION * STORED_BYTES
    files = {number: _beta_files(root / betas / tree.estimates, number) for number in tree.sessions_on_disk(subject)}
    on_disk = [path for paths in files.values() for path in paths]
    bold = sorted((root / series / "timeseries").glob("timeseries_session*_run*.nii.gz"))
    onsets = sorted((root / series / "design").glob("design_session*_run*.tsv"))
    with_onsets = {path.name[7:].removesuffix(".tsv") for path in onsets}
    usable = [path for path in bold if path.name[11:].removesuffix(".nii.gz") in with_onsets]
    bold_sessions = sorted({int(path.name.split("_session")[1][:2]) for path in usable})
    run_bytes = n_voxels * RUN_VOLUMES * STORED_BYTES
    return [
        _file(root, "brain mask", f"{anatomy}/brainmask.nii.gz", COMMANDS),
        Part("regions and their labels", f"{anatomy}/roi and {LABEL_TABLES}", OFFLINE, labelled, _bytes(regions), 0,
             f"{_aws(f'{anatomy}/roi')}; {_aws(LABEL_TABLES)}"),
        Part(f"betas ({tree.estimates})", f"{betas}/{tree.estimates}", COMMANDS, _sessions(files, n_sessions),
             _bytes(on_disk), (n_sessions - len(files)) * session_bytes, _aws(f"{betas}/{tree.estimates}")),
        Part("BOLD series and their onsets", series, ("replay --kind bold",), _sessions(bold_sessions, n_sessions),
             _bytes([*bold, *onsets]), (n_sessions - len(bold_sessions)) * RUNS * run_bytes, _aws(series)),
    ]  # fmt: skip


def _n_voxels(tree: NsdTree, subject: int) -> int:
    """Count the voxels of a subject's volumes; 0 if the brain mask is missing or damaged."""
    try:
        x, y, z = tree.shape(subject)
    except DataSetError:
        return 0
    return x * y * z


def _beta_files(folder: Path, session: int) -> list[Path]:
    paths = (folder / f"betas_session{session:02d}.{suffix}" for suffix in ("hdf5", "nii.gz"))
    return [path for path in paths if path.exists()]


def _file(root: Path, name: str, path: str, commands: tuple[str, ...], expected_bytes: int = 0) -> Part:
    there = root / path
    found = there.name if there.is_file() else ""
    return Part(name, path, commands, found, _bytes([there]), 0 if found else expected_bytes, _aws(path))


def _aws(path: str) -> str:
    kind = "" if "." in path.rpartition("/")[2] else " --recursive"
    return f"{AGREEMENT}, then aws s3 cp{kind} {BUCKET}/{path} {path}"


def _bytes(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())


def _names(paths: list[Path]) -> str:
    return ", ".join(path.name for path in paths)


def _sessions(there: Iterable[int], n_sessions: int) -> str:
    numbers = list(there)
    return f"sessions {span(numbers)} of {n_sessions}" if numbers else ""
