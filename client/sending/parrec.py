"""Read Philips PAR/REC: one pair for a run, or numbered pairs of one volume each, through nibabel."""

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .incoming import Incoming, IncomingError, sendable

ENDINGS = (".par", ".rec")
NUMBERED = re.compile(r"(.*?)(\d+)\.(?:par|rec)$", re.IGNORECASE)
OF_ONE_RUN = "dynamic scan number"


def is_parrec(path: Path) -> bool:
    """Return whether a file's name is that of a PAR or a REC file."""
    return path.name.lower().endswith(ENDINGS)


def lacks_par(rec: Path) -> bool:
    """Return whether a REC file's PAR file is not there yet."""
    return not _half(rec, ".par").exists()


def read_parrec(path: Path, start: int = 0, *, first_number: int = 1) -> Iterator[Incoming]:
    """Yield the whole volumes of a pair from volume `start` on, in the order of the dynamics.

    Parameters
    ----------
    path : the PAR or the REC file; the other one lies beside it
    first_number : the number in the name of a series' first pair of one volume

    Raises
    ------
    IncomingError
        A file is missing, cut short or not PAR/REC; or the pair holds echoes, image types or directions beside
        dynamics.
    """
    header = _header(path)
    shape = header.get_data_shape()
    series, first_index = (path.name, 0) if len(shape) > 3 else _number(path, first_number)
    stored = _stored(header, path)
    slope, intercept = header.get_data_scaling()
    for position in range(start, n_volumes(path)):
        of_volume = (..., position) if len(shape) > 3 else ...
        voxels, scale = _scaled(stored[of_volume], slope[of_volume], intercept[of_volume])
        source = f"{path.name}[{position}]" if len(shape) > 3 else path.name
        affine = np.array(header.get_affine(), np.float64)
        yield Incoming(voxels, affine, first_index + position, series, source, tr_s=_tr_s(header), scale=scale)


def n_volumes(path: Path) -> int:
    """Return the number of whole volumes of a pair. Raises IncomingError if it is not PAR/REC."""
    shape = _header(path).get_data_shape()
    return shape[3] if len(shape) > 3 else 1


def _half(path: Path, ending: str) -> Path:
    """Return the PAR or the REC file of a pair, whose ending may be written in capitals."""
    capital = path.with_suffix(ending.upper())
    return capital if capital.exists() else path.with_suffix(ending)


def _header(path: Path) -> Any:
    from nibabel.parrec import PARRECError, PARRECHeader

    try:
        with warnings.catch_warnings(), _half(path, ".par").open(encoding="latin-1") as lines:
            warnings.simplefilter("ignore")  # nibabel warns about a scan that was stopped: its last volume is left out
            header: Any = PARRECHeader.from_fileobj(lines, permit_truncated=True, strict_sort=True)
            found = len(set(header.image_defs["slice number"]))
            expected = int(header.general_info["max_slices"])
            varying = [key for key in header.get_volume_labels() if key != OF_ONE_RUN]
            if header.general_info["diffusion"] and not varying:  # PAR 4.0 numbers no directions
                varying = ["diffusion direction"]
    except (PARRECError, OSError, EOFError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise _unreadable(path, error) from error
    if found < expected:
        raise IncomingError(f"{path}: {found} of {expected} slices; it is cut short, or not whole yet", code="partial")
    if varying:
        raise IncomingError(
            f"{path}: its volumes differ in {', '.join(varying)}, not only in time; export the magnitude images of one "
            "echo",
            code="series",
        )
    return header


def _stored(header: Any, path: Path) -> Any:
    """Return the stored numbers of all whole volumes."""
    from nibabel.parrec import PARRECArrayProxy

    try:
        return PARRECArrayProxy(str(_half(path, ".rec")), header, mmap=False).get_unscaled()
    except (OSError, EOFError, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> IncomingError:
    return IncomingError(
        f"{path} cannot be read as PAR/REC ({error}): one of the pair is missing or cut short, or it is something else"
    )


def _scaled(stored: Any, slope: Any, intercept: Any) -> tuple[Any, float]:
    """Return a volume's numbers for the wire and their scale; slices may differ in slope."""
    if np.ptp(slope) == 0 and np.ptp(intercept) == 0:
        return sendable(stored, float(slope.flat[0]), float(intercept.flat[0]))
    return (stored * slope + intercept).astype(np.float32), 1.0


def _tr_s(header: Any) -> float | None:
    """Return the TR in seconds; None if there are several or none."""
    trs_ms = np.atleast_1d(header.general_info["repetition_time"])
    return float(trs_ms[0]) / 1000 if len(trs_ms) == 1 and trs_ms[0] > 0 else None


def _number(path: Path, first_number: int) -> tuple[str, int]:
    named = NUMBERED.match(path.name)
    if named is None:
        raise IncomingError(
            f"{path}: a pair of one volume has its number before .par and .rec, as Dump-0001.par", code="index"
        )
    index = int(named[2]) - first_number
    if index < 0:
        raise IncomingError(
            f"{path.name}: number {named[2]}, but counting begins at {first_number}; give --first-number 0",
            code="index",
        )
    return named[1] or "numbered files", index
