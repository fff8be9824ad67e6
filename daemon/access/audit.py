"""Refused connections and messages: counted by reason, and logged at most once a second for each reason."""

import logging
from collections import Counter

from ..logs import Throttle

LOG_EVERY_S = 1.0

logger = logging.getLogger(__name__)


class Audit:
    """Counts refusals in `counts`, by reason: no_key, unknown_key, server_key, handshake or role."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._throttles: dict[str, Throttle] = {}

    def note(self, reason: str, sentence: str) -> None:
        """Count a refusal, and log it."""
        self._counts[reason] += 1
        if reason not in self._throttles:
            self._throttles[reason] = Throttle(logger, every_s=LOG_EVERY_S)
        self._throttles[reason].warn(sentence, code=reason)
