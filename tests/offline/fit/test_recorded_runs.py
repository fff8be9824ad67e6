"""Runs of recorded sessions that a fit would take together."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from running_daemon import AFFINE, hello

from braind.client.datasets.data_set import DataSetError
from braind.daemon.journal.recording import Recording
from braind.daemon.journal.records import RunRecord
from braind.offline.fit.recorded_runs import RunWithTrials, check_alike


def run_at(affine) -> RunWithTrials:
    rows = tuple(tuple(row) for row in np.asarray(affine).tolist())
    record = RunRecord(hello(affine=rows), "0123456789ab", n_volumes=None)
    recording = cast(Recording, SimpleNamespace(path=Path("ses.sqlite3")))
    return RunWithTrials(recording, record, session=1, run=1, volumes=[], shown=[], blank=[])


def test_runs_of_one_place_are_fitted_together_and_others_are_not():
    near, far, placeless = (np.array(AFFINE) for _ in range(3))
    near[0, 3] += 0.05
    far[0, 3] += 0.2
    placeless[0, 3] = np.nan
    check_alike([run_at(AFFINE), run_at(near)])
    for affine, words in ((far, "0.2 mm away"), (placeless, "nan mm away")):
        with pytest.raises(DataSetError, match=words):
            check_alike([run_at(AFFINE), run_at(affine)])
