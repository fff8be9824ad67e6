"""Makes the decodes of a recorded session again and compares them with the journal, bit for bit.

z and c are compared by the hash in `Decode.latents`, classes by their probabilities, and pictures by their decoded
pixels: another version of the PNG library may write other bytes of the same picture. Scores of candidates are not
compared: the journal does not name the candidates.
"""

from collections import Counter
from collections.abc import Iterable
from io import BytesIO
from itertools import chain
from typing import NamedTuple

import msgspec
import numpy as np
from PIL import Image

from ...arrays import Array
from ...client.wire import Decode
from ..journal.recording import Recording
from ..journal.records import NO_EVENT, RunRecord
from .label_stages import LABELS_MODE, StagesError
from .recorded_trials import TrialsAtVolume, recorded_trials
from .remake import MadeScores, RemakeError, Remakers
from .trials import Trial

NO_HASH = "an older braind made it and journaled no hash of z and c"


class RunVerification(msgspec.Struct, kw_only=True):
    """The decodes of a run: how many are equal, which are different, and how many cannot be checked, by reason."""

    run: str
    n_equal: int = 0
    different: list[str] = []
    unchecked: dict[str, int] = {}

    @property
    def is_equal(self) -> bool:
        """Return whether all decodes were checked and are equal."""
        return not self.different and not self.unchecked


def verify_session(recording: Recording, remakers: Remakers) -> list[RunVerification]:
    """Make the decodes of all runs again and compare them.

    Raises
    ------
    JournalError
        If the journal is damaged beyond single volumes.
    """
    decodes: dict[str, list[Decode]] = {}
    for message, _ in recording.messages():
        if isinstance(message, Decode):
            decodes.setdefault(message.run, []).append(message)
    return [
        _Verifying(recording, record, remakers).compared(decodes.get(record.name, [])) for record in recording.runs()
    ]


class _Verifying:
    """The verification of one run."""

    def __init__(self, recording: Recording, record: RunRecord, remakers: Remakers) -> None:
        self._recording, self._record, self._remakers = recording, record, remakers
        self._different: list[str] = []
        self._unchecked: Counter[str] = Counter()
        self._n_equal = 0

    def compared(self, decodes: list[Decode]) -> RunVerification:
        """Compare the decodes of the run."""
        if decodes:
            try:
                weights = self._remakers.weights(self._record.weights)
            except RemakeError as error:
                self._unchecked[str(error)] += len(decodes)
            else:
                self._compare(decodes, recorded_trials(self._recording, self._record, weights))
        return RunVerification(
            run=self._record.name,
            n_equal=self._n_equal,
            different=self._different,
            unchecked=dict(self._unchecked),
        )

    def _compare(self, decodes: list[Decode], volumes: Iterable[TrialsAtVolume]) -> None:
        by_trial: dict[_TrialKey, list[Decode]] = {}
        for decode in decodes:
            by_trial.setdefault(_TrialKey(decode.index, decode.event, decode.is_final), []).append(decode)
        for index, trials, problem in volumes:
            if problem:
                for key in [key for key in by_trial if key.volume_index == index]:
                    self._unchecked[problem] += len(by_trial.pop(key))
            for trial in trials:
                event = None if trial.event == NO_EVENT else trial.event
                self._compare_trial(trial, by_trial.pop(_TrialKey(index, event, trial.is_final), []))
        for decode in chain.from_iterable(by_trial.values()):
            self._different.append(f"{_where(decode)}: the journal's volumes and onsets give no such trial")

    def _compare_trial(self, trial: Trial, decodes: list[Decode]) -> None:
        """Compare the stages of a trial."""
        # A daemon that was started again with other settings went on with a trial's later stages.
        for provenance in dict.fromkeys(decode.provenance for decode in decodes):
            of_provenance = [decode for decode in decodes if decode.provenance == provenance]
            try:
                remaker = self._remakers.of(provenance)
            except RemakeError as error:
                self._unchecked[str(error)] += len(of_provenance)
                continue
            try:
                made = remaker.remake(trial.voxels, [decode.stage for decode in of_provenance])
            except StagesError as error:
                self._different += [f"{_where(decode)}: made again, {error}" for decode in of_provenance]
                continue
            for decode in of_provenance:
                self._count(decode, made.get(decode.stage), remaker.differs)

    def _count(self, decode: Decode, made: MadeScores | Array | None, doubt: str) -> None:
        if decode.stage == "scores" and not decode.latents and decode.provenance.mode != LABELS_MODE:
            self._unchecked[NO_HASH] += 1
            return
        if isinstance(made, MadeScores):
            is_equal = made == MadeScores(decode.latents, decode.labels)
            what = "z and c" if made.latents != decode.latents else "the probabilities of the classes"
        else:
            is_equal, what = made is not None and _shows(self._picture(decode), made), "the picture"
        if is_equal:
            self._n_equal += 1
        elif doubt:
            self._unchecked[doubt] += 1
        else:
            self._different.append(f"{_where(decode)}: {what} made again from the volumes differ from the journal's")

    def _picture(self, decode: Decode) -> bytes:
        (published,) = self._recording.published(decode.seq, 1)
        return published.payload or b""


class _TrialKey(NamedTuple):
    """A trial at a volume. An event may have a provisional and a final estimate at the last volume of a run."""

    volume_index: int
    event: int | None
    is_final: bool


def _where(decode: Decode) -> str:
    event = "" if decode.event is None else f", event {decode.event}"
    return f"volume {decode.index}{event}, {decode.stage}"


def _shows(png: bytes, pixels: Array) -> bool:
    """Return whether a PNG holds these pixels, (px, px, 3) uint8."""
    try:
        with Image.open(BytesIO(png), formats=["PNG"]) as image:
            # The size is compared first: a small file may claim a huge picture.
            is_same_form = image.mode == "RGB" and (image.height, image.width) == pixels.shape[:2]
            return is_same_form and np.array_equal(np.asarray(image), pixels)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False
