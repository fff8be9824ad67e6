"""The trials of a BIDS subject's runs, with the numbers and the split of their pictures."""

from collections.abc import Callable

import numpy as np

from ..data_set import Trials, times_seen_before
from .events import BidsRun
from .stimuli import Stimuli


def trials_of(runs: list[BidsRun], stimuli: Callable[[], Stimuli]) -> Trials:
    """Return the trials of runs, in their order. `stimuli` is called only for a trial with a picture."""
    n_trials = [len(run.rows) for run in runs]
    shown = [(name, run) for run in runs for name in run.stim_files]
    number = np.array([stimuli().number(name, run.path) if name else -1 for name, run in shown], np.int64)
    return Trials(
        session=np.repeat([run.session for run in runs], n_trials),
        run=np.repeat([run.run for run in runs], n_trials),
        trial_in_run=np.concatenate([np.arange(1, n + 1) for n in n_trials]),
        nsd_id=number,
        is_shared=np.array([n >= 0 and stimuli().pictures[n].split == "test" for n in number]),
        repeat=times_seen_before(number),
        onset_s=np.concatenate([run.onsets_s for run in runs]),
        label=np.array([label for run in runs for label in run.labels], np.str_),
    )
