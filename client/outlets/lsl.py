"""Scores as a Lab Streaming Layer stream, which LabRecorder records with EEG, eye tracking and markers."""

import math
import zlib
from types import ModuleType
from typing import Any

from ...printable import printable
from ..endpoints import Endpoints
from .scores import OutletError, ScoreSample

CHANNELS = (
    "seq",
    "index",
    "trial",
    "event",
    "since_onset_s",
    "is_final",
    "feedback",
    "score",
    "nsd_id",
    "top_probability",
    "sent_probability",
)
STREAM_TYPE = "Decode"
CLASSES_TYPE = "Classes"
CLASSES_CHANNELS = ("seq", "event", "since_onset_s", "is_final")
"""The channels before the classes' own channels."""


class LslOutlet:
    """A stream of `CHANNELS`, float64, NaN if a decode lacks the value. A sample's time is the scores' arrival here.

    Classes have a second stream, NAME-classes: `CLASSES_CHANNELS`, then a channel for each class in the order of the
    names. The stream opens with the first decode that has classes. Weights with other classes close the stream and open
    another.

    Parameters
    ----------
    name : the stream's name
    where : the daemon's addresses, which identify the stream to its readers after a restart

    Raises
    ------
    OutletError, ModuleNotFoundError
        liblsl is missing; pylsl is missing.
    """

    def __init__(self, name: str, where: Endpoints) -> None:
        self._pylsl = load_pylsl()
        self._name, self._source = name, f"braind {where.decodes}"
        self._outlet = self._open(name, STREAM_TYPE, CHANNELS, self._source)
        self._classes: tuple[str, ...] = ()
        self._classes_outlet: Any = None

    def give(self, sample: ScoreSample) -> None:
        """Push one sample, and one sample of the classes if the decode has classes."""
        self._outlet.push_sample(values_of(sample, CHANNELS))
        if not sample.classes:
            return
        classes = tuple(one.label for one in sample.classes)
        if classes != self._classes:
            # liblsl ends a stream with its outlet.
            self._classes_outlet = None
            channels = (*CLASSES_CHANNELS, *map(printable, classes))
            # A reader that recovers a lost stream by its source must not get other channels.
            source = f"{self._source} classes {zlib.crc32(repr(classes).encode()):08x}"
            self._classes_outlet = self._open(f"{self._name}-classes", CLASSES_TYPE, channels, source)
            self._classes = classes
        probabilities = [one.probability for one in sample.classes]
        self._classes_outlet.push_sample([*values_of(sample, CLASSES_CHANNELS), *probabilities])

    def _open(self, name: str, kind: str, channels: tuple[str, ...], source: str) -> Any:
        pylsl = self._pylsl
        info = pylsl.StreamInfo(name, kind, len(channels), pylsl.IRREGULAR_RATE, pylsl.cf_double64, source)
        info.set_channel_labels(list(channels))
        return pylsl.StreamOutlet(info)


def values_of(sample: ScoreSample, channels: tuple[str, ...]) -> list[float]:
    """Return the sample's values of `channels`; NaN for None."""
    values = (getattr(sample, channel) for channel in channels)
    return [math.nan if value is None else float(value) for value in values]


def load_pylsl() -> ModuleType:
    """Import pylsl, which loads liblsl.

    Raises
    ------
    OutletError
        liblsl is missing; the sentence has the remedy.
    ModuleNotFoundError
        pylsl is missing.
    """
    try:
        import pylsl
    except RuntimeError as error:
        # pylsl's own message is a paragraph of links.
        words = " ".join(str(error).split())
        raise OutletError(
            f"pylsl finds no liblsl that it can load ({words:.120}…): install liblsl, or name its file in the "
            "environment variable PYLSL_LIB"
        ) from error
    return pylsl
