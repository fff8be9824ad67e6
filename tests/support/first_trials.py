"""A few trials of a data set, so that few pictures are to be encoded."""


class FirstTrials:
    """The first trials of a data set, as a data set."""

    def __init__(self, data, n_trials):
        self._data, self._n_trials = data, n_trials

    def __getattr__(self, name):
        return getattr(self._data, name)

    def trials(self, subject):
        return self._data.trials(subject).of(slice(self._n_trials))

    def masked_betas(self, subject, sessions, voxel_index):
        return self._data.masked_betas(subject, sessions, voxel_index)[: self._n_trials]
