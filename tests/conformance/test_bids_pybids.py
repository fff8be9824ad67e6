"""BIDS folders: runs, times, metadata and events tables are those that pybids finds, and a scan's run has its own.

pybids is no dependency: pip install pybids.
"""

import json
from pathlib import Path

import bids_study
import numpy as np
import pytest

from braind.client.datasets.bids.files import BOLD, Choice, bids_file, sidecar
from braind.client.datasets.bids.folder import BidsFolder
from braind.client.datasets.nsd.tree import NsdTree
from braind.models.demo.subject.nsd_tree import TreeSize, simulate
from braind.offline.bids_writing import SPACE, TASK, write_bids

pybids = pytest.importorskip("bids", reason="pybids is not installed", exc_type=ImportError)
pytestmark = pytest.mark.filterwarnings("ignore")  # pybids's and sqlalchemy's, about their own future

NAMES = [f"p{n}.png" for n in range(6)]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """A folder as `braind simulate --bids` writes it."""
    folder = tmp_path_factory.mktemp("simulated")
    size = TreeSize(shapes=((8, 9, 8),), n_shared=6, n_bold_sessions=1)
    tree = NsdTree(simulate(folder / "nsd", [1], n_sessions=1, size=size).root)
    write_bids(tree, [1], folder / "own", lambda *_: None)
    return folder / "own"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Raw data with fMRIPrep's derivatives: the events lie in one folder, the images in the other."""
    return bids_study.study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Metadata and events at every level, runs with and without zeros, two acquisitions, two echoes, no JSON of a run.

    BIDS lets no two JSON files of one level hold for the same image, and neither does this folder.
    """
    root = tmp_path_factory.mktemp("odd")
    own = {"Name": "odd", "BIDSVersion": "1.10.0"}
    jsons = {
        "dataset_description": own,
        "task-look_bold": {"RepetitionTime": 1.5, "EchoTime": 0.03, "Manufacturer": "A", "StartTime": 0.1},
        "task-rest_bold": {"RepetitionTime": 3.0},
        "task-look_events": {"stim_file": {"Description": "the picture"}},
        "sub-01/sub-01_task-look_bold": {"Manufacturer": "B", "FlipAngle": 70},
        "sub-01/ses-a/sub-01_ses-a_task-look_bold": {"FlipAngle": 71},
        # no RepetitionTime here, and one above
        "sub-01/ses-a/func/sub-01_ses-a_task-look_run-2_bold": {"Manufacturer": "C"},
        # null takes back what a folder above says
        "sub-01/ses-b/func/sub-01_ses-b_task-look_run-01_bold": {"RepetitionTime": 1.5, "StartTime": None},
        "sub-02/sub-02_task-look_acq-fast_bold": {"RepetitionTime": 0.8},
        "sub-03/sub-03_task-look_run-1_echo-2_bold": {"EchoTime": 0.05},
        "sub-03/func/sub-03_task-look_run-1_echo-1_bold": {"EchoTime": 0.012},
    }
    for name, content in jsons.items():
        bids_study.text(root / f"{name}.json", json.dumps(content))
    sessions = [f"01/ses-{ses}/func/sub-01_ses-{ses}_task-look_run-{run}" for ses in "ab" for run in ("01", "2")]
    acquisitions = [f"02/func/sub-02_task-look_acq-{acq}_run-1" for acq in ("fast", "slow")]
    echoes = [f"03/func/sub-03_task-look_run-1_echo-{echo}" for echo in (1, 2)]
    resting = ["03/func/sub-03_task-rest"]
    bold = np.random.default_rng(0).normal(1000, 9, (*bids_study.SHAPE, 30)).astype(np.float32)
    for stem in sessions + acquisitions + echoes + resting:
        bids_study.nifti(root / f"sub-{stem}_bold.nii.gz", bold, tr_s=2.0)
    for n, stem in enumerate(sessions[:3]):
        bids_study.events(root / f"sub-{stem}_events.tsv", NAMES[n:])
    bids_study.events(root / "sub-01/ses-b/sub-01_ses-b_task-look_run-2_events.tsv", NAMES[3:])
    bids_study.events(root / "task-look_events.tsv", NAMES)
    return root


def layout_of(root):
    return pybids.BIDSLayout(root, validate=False, derivatives=(root / "derivatives").is_dir())


def images_in(layout, **wanted):
    return layout.get(suffix="bold", extension=[".nii.gz"], scope="all", **wanted)


@pytest.mark.parametrize("name", ["simulated", "study", "odd"])
def test_every_image_has_the_metadata_that_pybids_finds(name, request):
    root = request.getfixturevalue(name)
    images = images_in(layout_of(root))
    assert images
    for image in images:
        path = Path(image.path)
        dataset = next(folder for folder in path.parents if (folder / "dataset_description.json").is_file())
        assert sidecar(bids_file(path), dataset) == dict(image.get_metadata()), path.name


# A derivative's metadata and events are looked for in two folders; pybids takes a whole folder of both.
FOLDERS = [
    ("simulated", TASK, SPACE, Choice(), {"space": SPACE}),
    ("study", "look", "MNI", Choice(), {"space": "MNI"}),
    ("odd", "look", "", Choice(), {"subject": "01"}),
    ("odd", "look", "", Choice(acq="fast"), {"acquisition": "fast"}),
    ("odd", "look", "", Choice(acq="slow"), {"acquisition": "slow"}),
    ("odd", "look", "", Choice(echo="1"), {"echo": 1}),
    ("odd", "look", "", Choice(echo="2"), {"echo": 2}),
]


@pytest.mark.parametrize(("name", "task", "space", "choice", "wanted"), FOLDERS)
def test_runs_their_times_and_their_trials_are_those_that_pybids_finds(name, task, space, choice, wanted, request):
    root = request.getfixturevalue(name)
    layout = layout_of(root)
    folder = BidsFolder(root, task, space, estimates=BOLD, choice=choice)
    numbers = {folder.label(number): number for number in folder.subjects()}
    images = images_in(layout, task=task, **wanted)
    labels = sorted({image.entities["subject"] for image in images})
    for label in labels:
        subject = numbers[label]
        runs = {(run.session_label, int(run.run_label or 0)): run for run in folder.runs(subject)}
        theirs = {
            (image.entities.get("session", ""), int(image.entities.get("run", 0))): image
            for image in images
            if image.entities["subject"] == label
        }
        assert theirs.keys() <= runs.keys()
        for key, image in theirs.items():
            run = runs[key]
            signal = folder.bold_signal(subject, run.session, run.run, np.array([0]))
            metadata = image.get_metadata()
            assert signal.tr_s == metadata["RepetitionTime"]
            (table,) = tables_of(layout, image)
            assert run.path == Path(table.path)
            trials = table.get_df()
            trials = trials[trials["stim_file"].notna()]
            assert run.stim_files == trials["stim_file"].tolist()
            np.testing.assert_array_equal(run.onsets_s, trials["onset"])
            np.testing.assert_allclose(
                signal.onsets_s[: len(trials)], trials["onset"] - metadata.get("StartTime", 0.0), atol=1e-6
            )


def tables_of(layout, image):
    """Return the events table that pybids finds for an image: of the image's own run, else the nearest one above."""
    entities = {name: image.entities[name] for name in ("subject", "session", "task", "run") if name in image.entities}
    own = layout.get(suffix="events", extension=".tsv", scope="all", **entities)
    return own or [layout.files[layout.get_nearest(image.path, suffix="events", extension=".tsv", strict=False)]]
