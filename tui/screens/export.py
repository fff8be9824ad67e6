"""Trials as files: one PNG with a row of pictures a trial, and one JSON with their numbers and provenance."""

from collections.abc import Sequence
from dataclasses import fields
from io import BytesIO
from pathlib import Path

import msgspec
from PIL import Image, ImageDraw

from ...arrays import Array
from ...printable import printable
from ..feed import Stage
from ..fitted import run_within
from ..pictures import KEPT_PX
from ..recent import DecodedVolume, RecentDecodes
from ..saving import save_files
from ..state.trials import TrialRecord
from .loading import Fetch

LABEL_PX = 18
GAP_PX = 6
COLUMNS = ("seen", "xz", "xzc")
NOT_EXPORTED = ("key", "seqs", "version")
"""Fields of a record that mean nothing outside the monitor."""

Exported = tuple[TrialRecord, list[Stage]]
"""A trial and its decodes, with their pictures."""


def export_trials(records: Sequence[TrialRecord], fetch: Fetch) -> list[Path]:
    """Fetch trials and save them as a PNG and a JSON; return the paths.

    Raises
    ------
    BraindError
        The trials cannot be fetched, or no folder takes the files.
    """
    trials = [
        (record, [one for one in fetch(tuple(record.seqs.values())) if isinstance(one, Stage)] if record.seqs else [])
        for record in records
    ]
    return save_files({".png": as_png(trials), ".json": as_json(trials)})


def as_json(trials: list[Exported]) -> bytes:
    """Return the numbers of trials, and their decodes as the daemon published them, without pictures."""
    content = [
        {field.name: getattr(record, field.name) for field in fields(record) if field.name not in NOT_EXPORTED}
        | {"decodes": [stage.decode for stage in stages]}
        for record, stages in trials
    ]
    return msgspec.json.format(msgspec.json.encode({"trials": content}))


def as_png(trials: list[Exported]) -> bytes:
    """Return a sheet with one row a trial: its name, and the seen picture, Xz and Xzc. A picture that is not there is
    grey."""
    row_px = KEPT_PX + LABEL_PX + GAP_PX
    sheet = Image.new("RGB", (len(COLUMNS) * (KEPT_PX + GAP_PX) + GAP_PX, LABEL_PX + row_px * len(trials)), "white")
    draw = ImageDraw.Draw(sheet)
    for column, name in enumerate(COLUMNS):
        draw.text((GAP_PX + column * (KEPT_PX + GAP_PX), 2), name, "black")
    for row, (record, stages) in enumerate(trials):
        top, volume = LABEL_PX + row * row_px, _volume(stages)
        draw.text((GAP_PX, top + 2), _name(record), "black")
        for column, name in enumerate(COLUMNS):
            at = GAP_PX + column * (KEPT_PX + GAP_PX), top + LABEL_PX
            sheet.paste(_cell(getattr(volume, name) if volume else None), at)
    content = BytesIO()
    sheet.save(content, "PNG")
    return content.getvalue()


def _volume(stages: list[Stage]) -> DecodedVolume | None:
    decodes = RecentDecodes()
    volumes = [decodes.take_decode(stage.decode, stage.picture, 0.0) for stage in stages]
    return volumes[-1] if volumes else None


def _name(record: TrialRecord) -> str:
    kind = "volume" if record.event is None else "event"
    words = f"{record.session}, {run_within(record.session, record.run)}, {kind} {record.number}: {record.outcome}"
    # Pillow's own font has only Latin letters.
    return printable(words).encode("latin-1", "replace").decode("latin-1")


def _cell(picture: Array | None) -> Image.Image:
    cell = Image.new("RGB", (KEPT_PX, KEPT_PX), "lightgrey")
    if picture is not None:
        image = Image.fromarray(picture)
        scale = KEPT_PX / max(image.size)
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        cell.paste(image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX))
    return cell
