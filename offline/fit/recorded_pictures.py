"""The pictures that recorded trials name: their files, captions and split."""

from collections.abc import Sequence
from pathlib import Path

from ...client.datasets.bids.stimuli import Picture, Stimuli, picture_path, read_pictures
from ...client.datasets.data_set import DataSetError
from ...client.wire import Event, Volume
from .recorded_runs import RunWithTrials


def picture_file(folder: Path, name: str, run: RunWithTrials) -> str:
    """Return the picture file that a trial names, with or without its extension, relative to the folder.

    Raises
    ------
    DataSetError
        If no file, or more than one, has the name.
    """
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataSetError(f"{name!r}, which run {run.record.name} shows, lies outside {folder}: name a file below it")
    if path.is_file():
        return name
    if (other := picture_path(folder, name)) is not None:
        return str(other.relative_to(folder))
    found = sorted(other for other in path.parent.glob("*") if other.stem == path.name and other.is_file())
    if len(found) != 1:
        raise DataSetError(
            f"{path} is missing, which run {run.record.name} of {run.recording.path} shows: put the picture there, or "
            "give the folder that has it with --stimuli"
            if not found
            else f"{path} may be {' or '.join(other.name for other in found)}: name the file in the trials"
        )
    return str(found[0].relative_to(folder))


def pictures_of(
    stim_file: dict[str, str], trials: Sequence[Volume | Event], folder: Path, captions: Path | None
) -> Stimuli:
    """Return the trials' pictures, sorted by file name, with captions and split.

    Parameters
    ----------
    stim_file : dict
        Each trial's picture file, by the name that the trial gives.
    trials : sequence of Volume or Event
    folder : Path
        Folder of the picture files.
    captions : Path, optional
        Table of captions. Its captions replace the trials' captions.
    """
    pictures = {file: Picture(file, [], "train", novel=False) for file in sorted(set(stim_file.values()))}
    for trial in trials:
        picture = pictures[stim_file[trial.stimulus or ""]]
        picture.captions += [caption for caption in trial.captions if caption not in picture.captions]
    if captions is not None:
        for row in read_pictures(captions, split_unless_said="train"):
            file = row.stim_file if row.stim_file in pictures else stim_file.get(row.stim_file)
            if file is not None:
                pictures[file] = Picture(file, row.captions, row.split, row.novel)
    return Stimuli(list(pictures.values()), [folder], captions or folder)
