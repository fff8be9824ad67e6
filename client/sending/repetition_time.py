"""The TR of a run: the operator's if it is given, else the header's of the run's first volume."""

from collections.abc import Callable

from .incoming import Incoming, IncomingError

LONGEST_TR_S = 30.0
"""No BOLD scan has a longer TR. A header with a larger number means milliseconds, or has another unit than it says."""
SHORTEST_TR_S = 0.02
"""No scanner gives whole volumes faster. A header with a smaller number means seconds where it says milliseconds."""
MAX_TR_DIFFERENCE_S = 0.0006
"""Headers round the TR to milliseconds."""


def run_tr_s(given_s: float | None, first: Incoming, say: Callable[[str], None]) -> float:
    """Return the TR of a run, s.

    Parameters
    ----------
    given_s : the operator's TR, or None; it overrules the header, with a warning
    first : the run's first volume
    say : called with a sentence for the operator

    Raises
    ------
    IncomingError
        Nothing says the TR, or the TR is not plausible; `code` is tr.
    """
    if given_s is None:
        if first.tr_s is None:
            raise IncomingError(f"{first.source}: nothing says the TR; give it with --tr SECONDS", code="tr")
        if not SHORTEST_TR_S <= first.tr_s <= LONGEST_TR_S:
            factor = 1e-3 if first.tr_s > LONGEST_TR_S else 1e3
            raise IncomingError(
                f"{first.source}: it says a TR of {first.tr_s:g} s, which is not plausible; give the true one in "
                f"seconds, --tr {first.tr_s * factor:g} if the header has another unit than it says",
                code="tr",
            )
        return first.tr_s
    if given_s > LONGEST_TR_S:
        raise IncomingError(
            f"--tr {given_s:g}: no scan has a TR above {LONGEST_TR_S:g} s; give seconds, {given_s / 1000:g} if these "
            "are milliseconds",
            code="tr",
        )
    if is_other_tr(first.tr_s, given_s):
        say(f"{first.source}: it says a TR of {first.tr_s:g} s; the {given_s:g} s of --tr are taken")
    return given_s


def is_other_tr(tr_s: float | None, than_s: float | None) -> bool:
    """Return whether two TRs differ; an unknown TR differs from none."""
    return tr_s is not None and than_s is not None and not abs(tr_s - than_s) <= MAX_TR_DIFFERENCE_S
