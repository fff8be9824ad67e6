"""Scores as a Lab Streaming Layer stream, which LabRecorder records with EEG, eye tracking and markers."""

import math
from types import ModuleType
from typing import Any

from ..endpoints import Endpoints
from .scores import OutletError, ScoreSample

CHANNELS = ("seq", "index", "trial", "event", "since_onset_s", "is_final", "feedback", "score", "nsd_id")
STREAM_TYPE = "Decode"


class LslOutlet:
    """A stream of `CHANNELS`, float64, NaN if a decode lacks the value. A sample's time is the scores' arrival here.

    Parameters
    ----------
    name : the stream's name
    where : the daemon's addresses, which identify the stream to its readers after a restart

    Raises
    ------
    OutletError
        pylsl or liblsl is missing.
    """

    def __init__(self, name: str, where: Endpoints) -> None:
        pylsl = load_pylsl()
        info = pylsl.StreamInfo(
            name, STREAM_TYPE, len(CHANNELS), pylsl.IRREGULAR_RATE, pylsl.cf_double64, f"braind {where.decodes}"
        )
        info.set_channel_labels(list(CHANNELS))
        self._outlet: Any = pylsl.StreamOutlet(info)

    def give(self, sample: ScoreSample) -> None:
        """Push one sample."""
        self._outlet.push_sample(values_of(sample))


def values_of(sample: ScoreSample) -> list[float]:
    """Return the sample's values of `CHANNELS`; NaN for None."""
    values = (getattr(sample, channel) for channel in CHANNELS)
    return [math.nan if value is None else float(value) for value in values]


def load_pylsl() -> ModuleType:
    """Import pylsl, which loads liblsl.

    Raises
    ------
    OutletError
        pylsl or liblsl is missing; the sentence has the remedy.
    """
    try:
        import pylsl
    except ImportError as error:
        raise OutletError(f"pylsl is not installed ({error}): pip install 'braind[lsl]'") from error
    except RuntimeError as error:
        # pylsl's own message is a paragraph of links.
        words = " ".join(str(error).split())
        raise OutletError(
            f"pylsl finds no liblsl that it can load ({words:.120}…): install liblsl, or name its file in the "
            "environment variable PYLSL_LIB"
        ) from error
    return pylsl
