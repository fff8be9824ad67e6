"""Opens the data set that the settings name, and refuses data that do not fit the weights."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ..choices import Kind
from ..client.datasets.bids.files import BOLD
from ..client.datasets.data_set import BrainDataSet, DataSet, DataSetError, parse_numbers, span
from ..client.datasets.nsd.tree import BETAS_VERSION, NsdTree
from ..config import Config, betas_path, expanded, nsd_path
from .progress import progress_bar

if TYPE_CHECKING:
    from ..client.datasets.bids.folder import BidsFolder
    from ..models.weights.weights import WeightsCard


def data_set_of(config: Config) -> BrainDataSet:
    """Return the data set of the settings: the BIDS folder if one is set, else the NSD tree."""
    return bids_folder(config) if config.paths.bids else ensure_tree(config)


def settings_for(config: Config, kind: Kind) -> Config:
    """Return the settings with which data are read for weights of a kind.

    Of a BIDS folder, `--kind bold` and `--betas bold` mean the same. NSD has betas beside its BOLD.

    Raises
    ------
    DataSetError
        The settings name other responses than BOLD for weights of kind bold.
    """
    if kind != "bold" or not config.paths.bids or config.dataset.betas == BOLD:
        return config
    if config.dataset.betas:
        raise DataSetError(
            f"--kind bold estimates responses from BOLD, --betas {config.dataset.betas} reads responses of "
            f"{config.paths.bids}: give one of the two",
            code="option",
        )
    return msgspec.structs.replace(config, dataset=msgspec.structs.replace(config.dataset, betas=BOLD))


def kind_of(data: DataSet, kind: Kind = "beta") -> Kind:
    """Return the kind of weights for a data set: bold if all of its responses are estimated from BOLD."""
    return "bold" if data.estimates == BOLD else kind


def ensure_tree(config: Config) -> NsdTree:
    """Return the NSD tree of the settings. Without an NSD folder, the tree is simulated first.

    Raises
    ------
    DataSetError
        If the settings name a column of classes: NSD has no events tables. If another version of the simulation made
        the tree.
    """
    root = nsd_path(config)
    if config.dataset.labels:
        raise DataSetError(
            f"--labels {config.dataset.labels} names a column of a BIDS folder's events, and NSD has none: give --bids "
            "too, or leave --labels out",
            code="option",
        )
    if not config.paths.nsd and not (root / "simulated.json").is_file():
        simulate_tree([1, 2], root)
    _check_simulation(root / "simulated.json")
    return NsdTree(
        root,
        betas_version=config.dataset.betas or BETAS_VERSION,
        sessions=parse_numbers(config.dataset.sessions, "sessions"),
        cache=betas_path(config),
        test_runs=parse_numbers(config.dataset.test_runs, "test runs"),
    )


def _check_simulation(marker: Path) -> None:
    """Refuse simulated subjects whose scenes, captions and noise are not of this version; the model learned others."""
    from ..models.demo.subject.seeds import VERSION

    if not marker.is_file():
        return
    try:
        version = json.loads(marker.read_text(encoding="utf-8"))["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        version = f"unknown ({type(error).__name__}: {error})"
    if version != VERSION:
        raise DataSetError(
            f"{marker.parent}: another braind simulated these subjects (version {version} of the simulation, this is "
            f"{VERSION}); delete the folder, then write it again with braind simulate",
        )


def bids_folder(config: Config) -> "BidsFolder":
    """Return the BIDS folder of the settings.

    Raises
    ------
    DataSetError
        If the settings name no task.
    """
    from ..client.datasets.bids.files import Choice
    from ..client.datasets.bids.folder import BidsFolder
    from ..client.datasets.bids.labels import parse_choice

    settings = config.dataset
    if not settings.task:
        raise DataSetError(
            f"{config.paths.bids}: say which task is meant, with --task (and the space with --space)", code="option"
        )
    return BidsFolder(
        expanded(config.paths.bids),
        settings.task,
        settings.space,
        estimates=settings.betas,
        sessions=parse_choice(settings.sessions, "sessions"),
        cache=betas_path(config),
        labels=settings.labels,
        test_runs=parse_numbers(settings.test_runs, "test runs"),
        raw=expanded(config.paths.raw) if config.paths.raw else None,
        choice=Choice(settings.acq, settings.res, settings.echo),
    )


def subject_of(config: Config, subject: str) -> int:
    """Return the number of the subject that a user named: a number, or a label of the settings' BIDS folder.

    Raises
    ------
    DataSetError
        The BIDS folder has no such subject, or the label is no number and there is no BIDS folder.
    """
    folder = expanded(config.paths.bids) if config.paths.bids else None
    # The daemon's machine may lack the folder; its weights name the subject by number.
    if folder is not None and (folder.is_dir() or not subject.isdecimal()):
        from ..client.datasets.bids.files import data_roots
        from ..client.datasets.bids.labels import number_of, subjects_of

        return number_of(subject, subjects_of(data_roots(folder)), "sub", str(folder))
    if not (subject.isascii() and subject.isdecimal() and int(subject) > 0):
        raise DataSetError(f"subject {subject!r}: give a number from 1, or a label together with --bids", code="option")
    return int(subject)


def simulate_tree(subjects: list[int], root: Path, n_bold_sessions: int | None = None) -> None:
    """Write the simulated subjects' NSD tree. The last `n_bold_sessions` sessions have BOLD series (default: 2)."""
    from ..models.demo.subject.nsd_tree import TreeSize, simulate

    size = TreeSize() if n_bold_sessions is None else TreeSize(n_bold_sessions=n_bold_sessions)
    with progress_bar("simulating") as report:
        simulate(root, subjects, progress=report, size=size)


def simulate_bids(config: Config, subjects: list[int], root: Path) -> None:
    """Write the simulated subjects of the NSD tree as a BIDS derivative."""
    from .bids_writing import write_bids

    with progress_bar("writing") as report:
        write_bids(ensure_tree(config), subjects, root, report)


def check_estimates(card: "WeightsCard", data: DataSet) -> None:
    """Refuse a data set whose responses differ in kind from the weights' training responses.

    Raises
    ------
    DataSetError
    """
    if card.estimates and card.estimates != data.estimates:
        raise DataSetError(
            f"the weights were fitted on {card.estimates}, {data.root} is read for its {data.estimates}: "
            f"give --betas {card.estimates}, or fit again"
        )


def check_test_runs(card: "WeightsCard", config: Config) -> None:
    """Refuse weights that were fitted with another split: they may have been trained on trials that are held out now.

    Raises
    ------
    DataSetError
    """
    wanted = held_out_runs(config)
    if card.test_runs != wanted:
        fitted, asked = (f"test runs {runs}" if runs else "no test runs" for runs in (card.test_runs, wanted))
        remedy = f"give --test-runs {card.test_runs}" if card.test_runs else "leave --test-runs out"
        raise DataSetError(f"the weights were fitted with {fitted}, the settings name {asked}: {remedy}, or fit again")


def held_out_runs(config: Config) -> str:
    """Return the settings' test runs as weights name them: "3, 11-12"; "" for the split by pictures."""
    return span(parse_numbers(config.dataset.test_runs, "test runs") or [])
