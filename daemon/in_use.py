"""The weights in use: `braind use` changes them, and a later `braind serve` finds them again.

A file of the data folder names them, one for each subject and kind of volumes.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ..choices import Kind
from ..config import Config, data_path, weights_path
from ..errors import BraindError
from ..models.weights.weights import Weights
from ..whole_file import write_on_disk
from .checks import check_same_grid
from .link import DecoderSettings
from .preflight import candidate_names, load_weights, record_only

logger = logging.getLogger(__name__)


class InUse(msgspec.Struct, frozen=True, kw_only=True):
    """The files of the weights in use.

    Parameters
    ----------
    fingerprint : the weights' fingerprint; the file may hold other weights since
    recorded : the fingerprint of the masks with which the daemon began without weights; "" if it began with weights
    """

    weights_path: str
    candidates_path: str
    fingerprint: str
    recorded: str = ""


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


class WeightsInUse:
    """Chooses the weights at a start, and keeps the weights of `braind use` for the next start.

    Raises
    ------
    BraindError
        If a mask is missing or no NIfTI file, two masks have different grids, or all masks are empty.
    """

    def __init__(self, config: Config, start: Start) -> None:
        self._start = start
        self._blank = record_only(start.subject, start.mask_paths, start.kind) if start.mask_paths else None
        # Weights of a BIDS data set's subject 1 and of NSD's subject 1 have different names.
        self.path = data_path(config) / "in-use" / f"{weights_path(config, start.subject, start.kind).stem}.json"

    def choose(self) -> tuple[Weights, DecoderSettings]:
        """Return the weights to serve and the decoder's files: those in use before, or those of the command line.

        Weights that were in use and cannot be used any more are logged. The daemon starts without them, so that it
        takes volumes; the volumes recorded under them wait in the journals.

        Raises
        ------
        BraindError
            If files of the command line are missing or do not fit each other.
        """
        if not self._start.is_named:
            try:
                found = self._found()
            except BraindError as error:
                logger.error(
                    "the weights that were in use cannot be used, and volumes recorded under them wait: %s. Put that "
                    "right and start again, or delete %s",
                    error, self.path,
                )  # fmt: skip
            else:
                if found:
                    return found
        if self._blank:
            return self._blank, self._start.decoder
        return load_for(self._start.subject, self._start.decoder, self._start.kind), self._start.decoder

    def keep(self, weights: Weights, decoder: DecoderSettings) -> None:
        """Write which weights are in use; the file is on the disk when this returns.

        Raises
        ------
        BraindError
            `code` storage if the file cannot be written.
        """
        in_use = InUse(
            weights_path=decoder.weights_path,
            candidates_path=decoder.candidates_path,
            fingerprint=weights.fingerprint,
            recorded=self._recorded,
        )
        try:
            write_on_disk(self.path, msgspec.json.encode(in_use) + b"\n")
        except OSError as error:
            raise BraindError(
                f"{self.path}: {error.strerror}; the weights stay as they were, because a restart would not find "
                "others",
                code="storage",
            ) from error

    @property
    def _recorded(self) -> str:
        return self._blank.fingerprint if self._blank else ""

    def _found(self) -> tuple[Weights, DecoderSettings] | None:
        """Return the weights that were in use; None if there were none."""
        in_use = self._read()
        if in_use is None:
            return None
        if self._blank and in_use.recorded != self._recorded:
            logger.info("recording: the weights in use, %s, belong to other masks", in_use.weights_path)
            return None
        decoder = msgspec.structs.replace(
            self._start.decoder, weights_path=in_use.weights_path, candidates_path=in_use.candidates_path
        )
        weights = load_for(self._start.subject, decoder, self._start.kind)
        candidate_names(weights, Path(decoder.candidates_path))
        if self._blank:
            check_same_grid(weights, self._blank)
        logger.info(
            "weights %s, as `braind use` set them: %s; to start without them, delete %s",
            weights.fingerprint, decoder.weights_path, self.path,
        )  # fmt: skip
        if weights.fingerprint != in_use.fingerprint:
            logger.warning(
                "%s held the weights %s when it was set, and holds others now; volumes recorded under the former wait",
                decoder.weights_path, in_use.fingerprint,
            )  # fmt: skip
        return weights, decoder

    def _read(self) -> InUse | None:
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=InUse)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BraindError(f"{self.path}: {error.strerror}", code="weights") from error
        except ValueError as error:  # msgspec's errors are ValueErrors
            raise BraindError(f"{self.path} is damaged ({error})", code="weights") from error


def load_for(subject: int, decoder: DecoderSettings, kind: Kind) -> Weights:
    """Load a decoder's weights; raise BraindError if they do not fit the subject, the LDM or the c decoder."""
    ldm_path = Path(decoder.pipeline.ldm_path) if decoder.pipeline.ldm_path else None
    paths = Path(decoder.weights_path), Path(decoder.candidates_path)
    weights = load_weights(subject, *paths, ldm_path, kind)
    return weights.with_c_decoder(decoder.pipeline.c_decoder)
