"""Whether the daemon can do its work: the answer of /healthz."""

from typing import NamedTuple

import msgspec

LONGEST_SILENCE_S = 5.0
"""The event loop beats once a second. After so long without a beat it hangs."""


class Health(NamedTuple):
    """The daemon's state, and what is wrong with it: "" if it takes volumes and decodes them, or is about to."""

    state: str
    problem: str = ""

    def body(self) -> bytes:
        """Return a JSON object: `healthy`, `state` and `problem`."""
        return msgspec.json.encode({"healthy": not self.problem, "state": self.state, "problem": self.problem}) + b"\n"


def health(state: str, *, decoder_is_down: bool, storage_problem: str, silence_s: float) -> Health:
    """Judge the daemon.

    Parameters
    ----------
    state : the daemon's state
    decoder_is_down : whether the decoder died and no new one is ready
    storage_problem : why the newest volume could not be committed; "" if it was
    silence_s : the time since the event loop's last beat
    """
    if silence_s > LONGEST_SILENCE_S:
        return Health(state, f"the front has not answered for {silence_s:.0f} s")
    if state == "stopping":
        return Health(state, "the daemon is stopping")
    if storage_problem:
        return Health(state, f"volumes cannot be committed: {storage_problem}")
    if decoder_is_down:
        return Health(state, "the decoder process died and is not back; volumes are acked and wait")
    return Health(state)
