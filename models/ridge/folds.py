"""Cross-validation's folds: which trials are held out together."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
Folds = list[tuple[Array, Array]]
"""(training trials, held-out trials) of each fold, both int; every trial is held out in exactly one fold."""


def picture_folds(picture_of_trial: Array, n_folds: int, grouped: bool) -> Folds:
    """Split trials into folds.

    Parameters
    ----------
    picture_of_trial : array of shape (n_trials,), int
    n_folds : int
    grouped : bool
        Keep all trials of a picture in one fold. Otherwise folds are blocks of consecutive trials, and a held-out
        picture's repeat may be among the training trials, as in the published code.
    """
    # scikit-learn takes 1 s to import, and only a fit needs it.
    from sklearn.model_selection import GroupKFold, KFold

    splitter = GroupKFold(n_folds) if grouped else KFold(n_folds)
    return list(splitter.split(picture_of_trial, groups=picture_of_trial if grouped else None))
