"""The choice by policy `latest`: which pending volume is decoded next, and which volumes are passed over."""

import pytest

from braind.daemon.decoder.pending import choose_latest
from braind.daemon.journal.records import Pending

# Pending volumes in the order of arrival: f has a final estimate (or is a beta), p only provisional estimates.
CHOICES = {
    "f": (0, [], []),
    "p": (0, [], []),
    "fff": (2, [], [0, 1]),
    "ppp": (2, [0, 1], []),
    "fp": (0, [], []),
    "pf": (1, [0], []),
    "fpp": (0, [1], []),
    "pfpfp": (3, [0, 2], [1]),
}


@pytest.mark.parametrize("waiting", CHOICES)
def test_the_newest_final_estimate_is_decoded_and_no_provisional_one_replaces_it(waiting):
    pending = [Pending(arrival, "ses", "run-01", arrival) for arrival in range(len(waiting))]
    chosen, replaced, skipped = choose_latest(pending, lambda volume: waiting[volume.index] == "p")
    found = chosen.index, [volume.index for volume in replaced], [volume.index for volume in skipped]
    assert found == CHOICES[waiting]
