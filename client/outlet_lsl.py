"""Scores as a Lab Streaming Layer stream, which LabRecorder writes beside EEG, eyes and markers."""

import math
from types import ModuleType
from typing import Any

from .endpoints import Endpoints
from .outlet import Given, OutletError

CHANNELS = ("seq", "index", "trial", "event", "since_onset_s", "is_final", "feedback", "score", "nsd_id")
STREAM_TYPE = "Decode"


class LslOutlet:
    """A stream of `CHANNELS`, doubles, NaN where there is nothing to say; its time is when the scores came here.

    Parameters
    ----------
    name : the stream's
    where : the daemon's addresses; programs that read the stream find it again by them after a restart
    """

    def __init__(self, name: str, where: Endpoints) -> None:
        pylsl = load_pylsl()
        info = pylsl.StreamInfo(
            name, STREAM_TYPE, len(CHANNELS), pylsl.IRREGULAR_RATE, pylsl.cf_double64, f"braind {where.decodes}"
        )
        info.set_channel_labels(list(CHANNELS))
        self._outlet: Any = pylsl.StreamOutlet(info)

    def give(self, given: Given) -> None:
        """Push one sample."""
        self._outlet.push_sample(sample(given))


def sample(given: Given) -> list[float]:
    """Return the values of `CHANNELS`."""
    values = (getattr(given, channel) for channel in CHANNELS)
    return [math.nan if value is None else float(value) for value in values]


def load_pylsl() -> ModuleType:
    """Import pylsl, which loads liblsl.

    Raises
    ------
    OutletError
        One of the two is not there; it says what to do.
    """
    try:
        import pylsl
    except ImportError as error:
        raise OutletError(f"pylsl is not installed ({error}): pip install 'braind[lsl]'") from error
    except RuntimeError as error:
        # its own words are a paragraph of links
        words = " ".join(str(error).split())
        raise OutletError(
            f"pylsl finds no liblsl that it can load ({words:.120}…): install liblsl, or name its file in the "
            "environment variable PYLSL_LIB"
        ) from error
    return pylsl
