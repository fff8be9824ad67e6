"""The weights in use: `braind use` changes them, and a later `braind serve` finds them again.

A file of the data folder names them, one for each subject and kind of volumes.
"""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ..choices import Kind
from ..config import Config, data_path, weights_path
from ..errors import BraindError
from ..models.weights.candidate_names import CandidateNames
from ..models.weights.weights import Weights
from ..whole_file import write_whole
from .checks import check_same_grid
from .link import DecoderSettings
from .preflight import load_weights, record_only

logger = logging.getLogger(__name__)


class InUse(msgspec.Struct, frozen=True, kw_only=True):
    """The files of the weights in use, and the weights' fingerprint: the file may hold others since."""

    weights_path: str
    candidates_path: str
    fingerprint: str


@dataclass(frozen=True)
class Start:
    """What a command line asks the daemon to serve.

    `mask_paths` name the voxels to record while there are no weights. `is_named`: the command line names the weights or
    the candidates, so that nothing else is used.
    """

    subject: int
    kind: Kind
    decoder: DecoderSettings
    mask_paths: Sequence[Path] = ()
    is_named: bool = False


def in_use_path(config: Config, subject: int, kind: Kind) -> Path:
    """Return the file that names the weights in use."""
    return data_path(config) / "in-use" / f"{weights_path(config, subject, kind).stem}.json"


def remember(path: Path, in_use: InUse) -> None:
    """Write the file; it is on the disk when this returns.

    Raises
    ------
    BraindError
        `code` storage if the file cannot be written.
    """
    try:
        with write_whole(path) as unfinished_path, unfinished_path.open("wb") as file:
            file.write(msgspec.json.encode(in_use) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise BraindError(
            f"{path}: {error.strerror}; the weights stay as they were, because a restart would not find the new ones",
            code="storage",
        ) from error


def choose_weights(start: Start, path: Path) -> tuple[Weights, DecoderSettings]:
    """Return the weights to serve and the decoder's files: those in use before, or those of the command line.

    Weights that were in use and cannot be used any more are logged. The daemon starts without them, so that it takes
    volumes; the volumes recorded under them wait in the journals.

    Raises
    ------
    BraindError
        If files of the command line are missing or do not fit each other.
    """
    if not start.is_named:
        try:
            found = _found(start, path)
        except BraindError as error:
            logger.error(
                "the weights that were in use cannot be used, and volumes recorded under them wait: %s. Put that right "
                "and start again, or delete %s",
                error, path,
            )  # fmt: skip
        else:
            if found:
                return found
    if start.mask_paths:
        return record_only(start.subject, start.mask_paths, start.kind), start.decoder
    return load_for(start.subject, start.decoder), start.decoder


def load_for(subject: int, decoder: DecoderSettings) -> Weights:
    """Load a decoder's weights and check that they fit the subject and the LDM; raise BraindError if they do not."""
    ldm_path = Path(decoder.pipeline.ldm_path) if decoder.pipeline.ldm_path else None
    return load_weights(subject, Path(decoder.weights_path), Path(decoder.candidates_path), ldm_path)


def _found(start: Start, path: Path) -> tuple[Weights, DecoderSettings] | None:
    """Return the weights that were in use, None if there were none."""
    try:
        in_use = msgspec.json.decode(path.read_bytes(), type=InUse)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BraindError(f"{path}: {error.strerror}", code="weights") from error
    except ValueError as error:  # msgspec's errors are ValueErrors
        raise BraindError(f"{path} is damaged ({error})", code="weights") from error
    decoder = msgspec.structs.replace(
        start.decoder, weights_path=in_use.weights_path, candidates_path=in_use.candidates_path
    )
    weights = load_for(start.subject, decoder)
    CandidateNames.load(Path(decoder.candidates_path))
    if start.mask_paths:
        check_same_grid(weights, record_only(start.subject, start.mask_paths, start.kind))
    logger.info("weights %s, as `braind use` set them: %s", weights.fingerprint, decoder.weights_path)
    if weights.fingerprint != in_use.fingerprint:
        logger.warning(
            "%s held the weights %s when it was set, and holds others now; volumes recorded under the former wait",
            decoder.weights_path, in_use.fingerprint,
        )  # fmt: skip
    return weights, decoder
