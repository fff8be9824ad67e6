"""Writes a session as a BIDS derivative: masked volumes, masks, onsets, decodes and their provenance.

The files are written into a temporary folder beside the output. The folder is renamed when it is complete.
"""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from ... import __version__
from ...client.wire import Decode, Event, Volume
from ...daemon.journal.database import RecordError
from ...daemon.journal.recording import Arrival, Recording
from ...daemon.journal.records import RunRecord
from ..bids_tables import label, write_json, write_table
from .bids_files import TASK, RunFiles
from .listing import SessionsError
from .masked_images import LONGEST_AXIS, ExportError, RunGrid

MAKER = "braind sessions export"
DESCRIPTION = "dataset_description.json"
README = """# A session of braind

`braind sessions export` wrote this folder from a session's journal.

- `*_desc-masked_bold.nii.gz`: a BOLD run, in the units of its sender. Volume n of the image is volume n of the run. The
  image is 0 outside the mask. A volume that never arrived is NaN inside the mask.
- `*_desc-singletrial_statmap.nii.gz`: a run of betas, one volume a trial, % signal change. `*_events.tsv` has a row for
  each volume, in the same order; its onsets are the index times the TR that the sender announced.
- `*_desc-decoder_mask.nii.gz`: the voxels that the decoder reads.
- `*_decodes.json`: each decode as it was sent to the viewers, with its provenance, and the file of its picture.
- `*_marks.json`: what operators noted during the run, if they noted anything.
- `decodes/`: the pictures.
"""
IGNORED = "*_statmap.*\n*_decodes.json\n*_marks.json\ndecodes\n"
"""BIDS has no names for these files yet."""
EVENT_COLUMNS = ("onset", "duration", "trial_type", "event", "trial", "nsd_id", "stimulus")
COLUMNS = {
    "trial_type": {
        "Description": "the trial's class by its sender; if it named none, `picture`, or n/a without a picture"
    },
    "trial": {"Description": "the trial, as the sender numbered it"},
    "nsd_id": {"Description": "the picture, as the sender numbered it"},
    "stimulus": {"Description": "the picture, as the sender named it"},
}
VOLUME_COLUMNS = ("onset", "duration", "trial_type", "index", "trial", "nsd_id", "stimulus", "n_averaged")


def export_session(journal_path: Path, out: Path, *, overwrite: bool = False) -> None:
    """Write a session as a BIDS derivative at `out`, whole or not at all.

    Raises
    ------
    SessionsError
        If `out` exists. With `overwrite` an earlier export is replaced, and nothing else.
    ExportError
        If a file cannot be written, or a run does not fit NIfTI.
    JournalError
        If the journal cannot be read.
    """
    _check_free(out, overwrite)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise ExportError(f"{out}: cannot be made ({error.filename}: {error.strerror}); give another folder") from error
    try:
        with Recording(journal_path) as recording:
            _write_session(recording, draft)
        draft.chmod(0o755)
        _replace(out, draft)
    except OSError as error:
        raise ExportError(f"{out}: cannot be written ({error}); give another folder, or free space") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def export_journal(journal_path: Path, out: Path, *, overwrite: bool = False) -> None:
    """Write a session's journal as one SQLite file without a -wal file, whole or not at all.

    Raises
    ------
    SessionsError
        If `out` exists and `overwrite` is false.
    JournalError
        If the journal cannot be read.
    """
    if out.is_dir() or (out.exists() and not overwrite):
        raise SessionsError(f"{out} is there already: give another file, or --overwrite")
    if out.exists() and out.samefile(journal_path):
        raise SessionsError(f"{out} is the session's own journal: give another file")
    with Recording(journal_path) as recording:
        try:
            recording.copy_to(out)
        except OSError as error:
            raise ExportError(f"{out}: cannot be written ({error.strerror}); give another file") from error


def _replace(out: Path, draft: Path) -> None:
    """Rename a complete folder to `out`. An earlier export is deleted after that."""
    if not out.exists():
        draft.replace(out)
        return
    earlier = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    out.replace(earlier)
    try:
        draft.replace(out)
    except OSError:
        earlier.replace(out)
        raise
    shutil.rmtree(earlier)


def _check_free(out: Path, overwrite: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not overwrite:
        raise SessionsError(f"{out} is there already: give another folder, or --overwrite to replace an earlier export")
    try:
        makers = json.loads((out / DESCRIPTION).read_text(encoding="utf-8"))["GeneratedBy"]
        is_export = any(maker["Name"] == MAKER for maker in makers)
    except (OSError, ValueError, KeyError, TypeError):
        is_export = False
    if not is_export:
        raise SessionsError(f"{out} is no earlier export of a session, so it is not replaced: give another folder")


def _write_session(recording: Recording, root: Path) -> None:
    (root / "README.md").write_text(README)
    (root / ".bidsignore").write_text(IGNORED)
    runs = [RunFiles(root, record, number) for number, record in enumerate(recording.runs(), 1)]
    simulated = [files.record.name for files in runs if files.record.hello.simulated]
    description: dict[str, Any] = {
        "Name": f"Session {recording.session}, decoded by braind",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": MAKER, "Version": __version__}],
    }
    if simulated:
        description["Name"] = f"SIMULATED: nobody was scanned. {description['Name']}"
    write_json(root / DESCRIPTION, description)
    for files in runs:
        files.path("").parent.mkdir(parents=True, exist_ok=True)
        _write_run(recording, files)
    _write_decodes(recording, {files.record.name: files for files in runs})
    marks = recording.marks()
    for files in runs:
        of_run = [msgspec.to_builtins(mark) for mark in marks if mark.run == files.record.name]
        if of_run:
            files.path("marks.json").write_bytes(msgspec.json.format(msgspec.json.encode(of_run)) + b"\n")


def _write_run(recording: Recording, files: RunFiles) -> None:
    hello, arrivals = files.record.hello, recording.arrivals(files.record)
    grid = RunGrid(hello, recording.voxel_index(files.record))
    mask = files.path(f"space-{label(hello.space)}_desc-decoder_mask")
    grid.write_mask(Path(f"{mask}.nii.gz"))
    write_json(Path(f"{mask}.json"), {"Type": "ROI", "SpatialReference": "orig"})
    if hello.kind == "bold":
        _write_bold(recording, files, grid, arrivals)
    else:
        _write_betas(recording, files, grid, arrivals)


def _write_bold(recording: Recording, files: RunFiles, grid: RunGrid, arrivals: list[Arrival]) -> None:
    at = {arrival.volume_index: arrival.arrival for arrival in arrivals}
    n_volumes = max(at, default=-1) + 1
    if n_volumes > LONGEST_AXIS:
        raise ExportError(
            f"session {recording.session}, run {files.record.name}: volume {n_volumes - 1}, but a NIfTI file holds at "
            f"most {LONGEST_AXIS} volumes; export the journal alone with --journal"
        )
    write_json(files.path("events.json"), {"event": {"Description": "the number of the trial in the run"}} | COLUMNS)
    rows = [_event_row(event) for event in recording.events(files.record)]
    write_table(files.path("events.tsv"), EVENT_COLUMNS, rows)
    if not at:
        return
    stem = files.path(f"space-{label(files.record.hello.space)}_desc-masked_bold")
    volumes = (recording.voxels(at[index]) if index in at else None for index in range(n_volumes))
    grid.write_volumes(Path(f"{stem}.nii.gz"), volumes, n_volumes)
    facts = {"TaskName": TASK, "RepetitionTime": files.record.hello.tr_s, "SkullStripped": True}
    missing = [index for index in range(n_volumes) if index not in at]
    write_json(Path(f"{stem}.json"), _sidecar(files.record) | facts | {"MissingVolumes": missing})


def _write_betas(recording: Recording, files: RunFiles, grid: RunGrid, arrivals: list[Arrival]) -> None:
    in_order = sorted(arrivals, key=lambda arrival: arrival.volume_index)
    if len(in_order) > LONGEST_AXIS:
        raise ExportError(
            f"session {recording.session}, run {files.record.name}: {len(in_order)} betas, but a NIfTI file holds at "
            f"most {LONGEST_AXIS} volumes; export the journal alone with --journal"
        )
    headers = [header for _, header in recording.volumes(files.record)]
    write_json(
        files.path("events.json"),
        {
            "onset": {"Description": "index times the TR that the sender announced; not measured", "Units": "s"},
            "index": {"Description": "the number of the volume in the run"},
            "n_averaged": {"Description": "how many repeats a mean response contains"},
        }
        | COLUMNS,
    )
    rows = [_volume_row(header, files.record.hello.tr_s) for header in headers]
    write_table(files.path("events.tsv"), VOLUME_COLUMNS, rows)
    if not in_order:
        return
    stem = files.path(f"space-{label(files.record.hello.space)}_desc-singletrial_statmap")
    volumes = (recording.voxels(arrival.arrival) for arrival in in_order)
    grid.write_volumes(Path(f"{stem}.nii.gz"), volumes, len(in_order))
    write_json(Path(f"{stem}.json"), _sidecar(files.record) | {"TaskName": TASK, "Units": "percent signal change"})


def _write_decodes(recording: Recording, runs: dict[str, RunFiles]) -> None:
    """Write each message for the viewers into its run's file, and each picture into a file of its own."""
    written: dict[str, int] = {}
    for message, payload in recording.messages():
        files = runs.get(message.run)
        if files is None:
            raise RecordError(
                f"{recording.path}: damaged, message {message.seq} names run {message.run!r:.80}, which was never "
                "opened; export the journal alone with --journal"
            )
        content = msgspec.to_builtins(message)
        # A provisional estimate shows the same seen picture as the final estimate.
        if isinstance(message, Decode) and payload is not None and message.is_final:
            path = files.picture(message, "seen" if message.stage == "scores" else message.stage)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(payload)
            content["picture"] = path.relative_to(files.root).as_posix()
        with files.path("decodes.json").open("ab") as file:
            file.write((b",\n" if message.run in written else b"[\n") + msgspec.json.encode(content))
        written[message.run] = written.get(message.run, 0) + 1
    for run, files in runs.items():
        with files.path("decodes.json").open("ab") as file:
            file.write(b"\n]\n" if run in written else b"[]\n")


def _sidecar(record: RunRecord) -> dict[str, Any]:
    hello = record.hello
    return {
        "SpatialReference": "orig",
        "Run": hello.run,
        "Session": hello.session,
        "Space": hello.space,
        "Weights": record.weights,
        "Simulated": hello.simulated,
        "Producer": hello.producer,
    }


def _event_row(event: Event) -> tuple[Any, ...]:
    shown = event.label or (None if event.stimulus == "n/a" else "picture")
    return event.onset_s, event.duration_s, shown, event.event, event.trial, event.nsd_id, event.stimulus


def _volume_row(volume: Volume, tr_s: float) -> tuple[Any, ...]:
    onset_s = round(volume.index * tr_s, 6)
    return (
        onset_s,
        tr_s,
        volume.label or "picture",
        volume.index,
        volume.trial,
        volume.nsd_id,
        volume.stimulus,
        volume.n_averaged,
    )
