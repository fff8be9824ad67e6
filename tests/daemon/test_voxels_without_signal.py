"""Voxels without signal in a BOLD run: they count as their training mean, and people are told once a run."""

import numpy as np
import pytest
from label_weights import label_files, label_weights
from running_daemon import N_VOXELS, SHAPE, RunningDaemon, hello, volume_frames
from scans import restart

from braind.client import wire
from braind.daemon.journal.journal import Journal
from braind.daemon.journal.recording import Recording
from braind.models.bold.estimator import CausalEstimator

TR_S = 2.0
N_VOLUMES = 9


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    return label_files(label_weights("bold"), tmp_path_factory.mktemp("labels"))


@pytest.fixture
def daemon(labels, tmp_path):
    daemon = RunningDaemon(labels, tmp_path)
    yield daemon.start()
    daemon.close()


def bold(weights, index, n_dead):
    """Return a volume, (X, Y, Z) int16, in which the first voxels of the weights have no signal."""
    volume = (1000 + np.random.default_rng(index).normal(scale=10, size=SHAPE)).astype(np.int16)
    volume.reshape(-1)[weights.voxel_index[:n_dead]] = index % 2
    return volume


def send(scanner, weights, run, indices, n_dead):
    for index in indices:
        frames = volume_frames(index, run=run, stored=bold(weights, index, n_dead), scale=1.0)
        assert isinstance(scanner.ask_frames(frames), wire.Ack)


def lines_about(daemon, run):
    return [line for line in daemon.words().splitlines() if "have no signal" in line and run in line]


def test_a_trial_has_the_training_mean_where_no_signal_is_and_says_how_many(daemon, labels):
    weights = labels.weights
    with daemon.connect("ingest") as scanner, daemon.watch() as viewer:
        scanner.ask(hello(run="dead", kind="bold", tr_s=TR_S))
        scanner.ask(wire.Event(session="ses", run="dead", event=0, onset_s=2.0, label="cat"))
        send(scanner, weights, "dead", range(N_VOLUMES), 5)
        scanner.ask(wire.EndRun(session="ses", run="dead", n_volumes=N_VOLUMES))
        heard = [message for message, _ in viewer.until(lambda message: message.is_final)]
    assert {(message.n_without_signal, message.label) for message in heard} == {(5, "cat")}
    estimator = CausalEstimator(TR_S, weights.bold_prior)
    estimator.add_event(0, 2.0)
    with Recording(daemon.data_path / "journals/ses.sqlite3") as recording:
        for arrival in recording.arrivals(recording.runs()[0])[: heard[0].index + 1]:
            estimator.add_volume(arrival.volume_index, recording.voxels(arrival.arrival))
    (estimate,) = estimator.current_estimates()
    betas = estimate.betas.copy()
    betas[:5] = weights.voxel_mean[:5]
    found = {one.label: one.probability for one in heard[0].labels}
    assert [found[label] for label in weights.card.labels] == weights.labels.probabilities(betas).tolist()


def test_viewers_are_told_while_the_run_is_open_also_after_a_kill_and_the_log_says_it_once_a_run(daemon, labels):
    with daemon.connect("ingest") as scanner:
        scanner.ask(hello(run="few", kind="bold", tr_s=TR_S))
        assert daemon.status().n_without_signal is None
        send(scanner, labels.weights, "few", range(3), 5)
        scanner.ask(hello(run="few", kind="bold", tr_s=TR_S))
        assert daemon.status().n_without_signal == 5
    (line,) = lines_about(daemon, "few")
    assert f"5 of {N_VOXELS} voxels have no signal in run few: they count as their training mean" in line
    assert '"level":"warning"' in line.replace(" ", "").lower()
    daemon.kill()
    restart(daemon)
    with daemon.watch() as viewer:
        assert viewer.receive().n_without_signal == 5
    with daemon.connect("ingest") as scanner:
        send(scanner, labels.weights, "few", range(3, 5), 5)
        assert daemon.status().n_without_signal == 5
        scanner.ask(wire.EndRun(session="ses", run="few", n_volumes=5))
        assert daemon.status().n_without_signal is None
        # A run that has ended stays ended, however often it is opened again.
        scanner.ask(hello(run="few", kind="bold", tr_s=TR_S))
        assert daemon.status().n_without_signal is None
        scanner.ask(hello(run="many", kind="bold", tr_s=TR_S))
        send(scanner, labels.weights, "many", [0], 6)
        scanner.ask(hello(run="all", kind="bold", tr_s=TR_S))
        assert isinstance(
            scanner.ask_frames(volume_frames(0, run="all", stored=np.zeros(SHAPE, np.int16), scale=1.0)), wire.Ack
        )
        scanner.ask(hello(run="none", kind="bold", tr_s=TR_S))
        send(scanner, labels.weights, "none", [0], 0)
        assert daemon.status().n_without_signal == 0
        scanner.ask(hello(run="betas"))
        scanner.ask_frames(volume_frames(0, run="betas"))
        assert daemon.status().n_without_signal is None
    assert len(lines_about(daemon, "few")) == 1
    for run, share in (("many", "10 %"), ("all", "100 %")):
        (line,) = lines_about(daemon, run)
        assert '"level":"error"' in line.replace(" ", "").lower()
        assert f"that is {share}: check the mask, the registration to the weights' grid, and the coil" in line
    assert not lines_about(daemon, "none")


def test_a_first_volume_that_is_damaged_on_the_disk_leaves_the_number_unknown(daemon, labels):
    with daemon.connect("ingest") as scanner:
        scanner.ask(hello(run="few", kind="bold", tr_s=TR_S))
        send(scanner, labels.weights, "few", range(3), 5)
    daemon.kill()
    journal = Journal(daemon.data_path / "journals/ses.sqlite3")
    with journal._database.commit() as database:
        database.execute("UPDATE voxels SET masked = x'00' WHERE arrival = 1")
    journal.close()
    restart(daemon)
    assert daemon.status().n_without_signal is None
    assert "voxels without signal cannot be counted" in daemon.words()
    assert daemon.status().n_acked == 3


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("bold", "send 0 for a voxel without signal: it counts as its training mean"),
        ("beta", "send the voxel's mean over trials instead: a beta of 0 means that the voxel did not respond"),
    ],
)
def test_the_refusal_of_nan_says_what_to_send_in_this_kind_of_run(daemon, labels, kind, words):
    stored = np.full(SHAPE, 1000, np.float32)
    stored.reshape(-1)[labels.weights.voxel_index[3]] = np.nan
    with daemon.connect("ingest") as scanner:
        scanner.ask(hello(run=kind, kind=kind, tr_s=TR_S, dtype="float32"))
        refused = scanner.ask_frames(volume_frames(0, run=kind, stored=stored, scale=1.0))
    assert (refused.code, words in refused.sentence) == ("not_finite", True), refused.sentence


def test_a_recording_without_weights_counts_too_and_promises_nothing(labels, tmp_path):
    import nibabel as nib
    from running_daemon import AFFINE

    mask = np.zeros(SHAPE, np.uint8)
    mask.reshape(-1)[labels.weights.voxel_index] = 1
    nib.save(nib.Nifti1Image(mask, np.array(AFFINE)), tmp_path / "mask.nii.gz")
    daemon = RunningDaemon(labels, tmp_path, mask=tmp_path / "mask.nii.gz")
    daemon.paths["weights"] = None
    try:
        daemon.start()
        with daemon.connect("ingest") as scanner:
            scanner.ask(hello(run="few", kind="bold", tr_s=TR_S))
            send(scanner, labels.weights, "few", [0], 5)
        assert daemon.status().n_without_signal == 5
        (line,) = lines_about(daemon, "few")
        assert "training mean" not in line
        assert daemon.status().no_pictures == "without weights, volumes are only recorded"
    finally:
        daemon.close()
