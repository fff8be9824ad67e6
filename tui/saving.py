"""Where a picture of the screen and exported trials are saved."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from platformdirs import user_downloads_path

from ..errors import BraindError


class SavingError(BraindError):
    """No folder takes the files."""

    code = "saving"


FOLDERS: tuple[Callable[[], Path], ...] = (user_downloads_path, Path.cwd, Path.home)


def save_svg(svg: str) -> Path:
    """Write a picture of the screen as `save_files` does; return its path."""
    return save_files({".svg": svg.encode()})[0]


def save_files(contents: Mapping[str, bytes]) -> list[Path]:
    """Write files into the first folder that takes them; return their absolute paths.

    The folders are the folder of downloads, the current folder and the home folder. No folder is made. The files have
    one name, and no earlier file is replaced.

    Parameters
    ----------
    contents : the files' contents, by the ending of the name

    Raises
    ------
    SavingError
        No folder takes the files.
    """
    name, reasons = time.strftime("braind-%Y-%m-%dT%H-%M-%S"), []
    for folder in FOLDERS:
        try:
            return _write_new(folder(), name, contents)
        except OSError as error:
            reasons.append(f"{error.filename}: {error.strerror}")
        except RuntimeError as error:  # there is no home folder
            reasons.append(str(error))
    raise SavingError("the file was not saved: " + "; ".join(reasons) + "; start the monitor in a folder of your own")


def _write_new(folder: Path, name: str, contents: Mapping[str, bytes]) -> list[Path]:
    for n_taken in range(1000):
        paths = [folder.absolute() / f"{name}{f'-{n_taken}' if n_taken else ''}{ending}" for ending in contents]
        if any(path.exists() for path in paths):
            continue
        written: list[Path] = []
        try:
            for path, content in zip(paths, contents.values(), strict=True):
                with path.open("xb") as file:
                    written.append(path)
                    file.write(content)
        except FileExistsError:
            # Another monitor took the name meanwhile.
            _remove(written)
            continue
        except OSError:
            _remove(written)
            raise
        return paths
    raise FileExistsError(17, "the names of this second are taken", str(folder))


def _remove(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
