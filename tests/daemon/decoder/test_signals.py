"""Decodes carry the signal of every volume, once, also when the decoder restarts."""

import numpy as np
import pytest
from label_weights import label_weights
from running_daemon import hello

from braind.client import wire
from braind.daemon.decoder.outbox import Outbox
from braind.daemon.decoder.signals import MOST_SIGNALS, UnsentSignals, roi_means, roi_positions
from braind.daemon.decoder.trials import FrontLink, RunEstimates
from braind.daemon.journal.journal import Journal
from braind.models.weights.blank import blank_weights

TR_S = 2.0
HELLO = hello(kind="bold", tr_s=TR_S)
WEIGHTS = blank_weights(1, np.ones((1, 1, 20), bool), np.eye(4), "bold")
MOTION = (0.0, 0.0, 0.7, 0.0, 0.0, 0.0)


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "ses.sqlite3", wait_for_disk=False)
    journal.open_run(HELLO, "weights")
    yield journal
    journal.close()


def voxels(index):
    return np.full(20, 1000 + index, np.float32) + np.arange(20, dtype=np.float32)


def add_volume(journal, index, motion=None):
    header = wire.Volume(
        session="ses", run="run-01", index=index, shape=(1, 1, 20), dtype="float32", crc32=index, motion=motion
    )
    journal.add_volume(header, voxels(index), seen=None, whole=None)


def add_event(journal, number, onset_s):
    journal.add_event(wire.Event(session="ses", run="run-01", event=number, onset_s=onset_s, duration_s=2.0), None)


def estimates_of(journal):
    settle = lambda pending, state: None  # noqa: E731
    return RunEstimates(journal, HELLO, WEIGHTS, FrontLink({}, settle, Outbox(1, lambda line: None)))


def decode(journal, estimates):
    """Take what is ready as the decoder does; return the indices of the signals that each volume's decode carries."""
    estimates.advance()
    carried = []
    for pending in estimates.ready():
        carried.append((pending.index, [one.index for one in estimates.take_signals(pending)]))
        journal.set_state(pending.arrival, "used")
        estimates.forget(pending)
    return carried


def test_the_first_decode_carries_the_volumes_before_it_and_each_later_decode_its_own(journal):
    add_event(journal, 0, 10.0)
    for index in range(9):
        add_volume(journal, index)
    carried = decode(journal, estimates_of(journal))
    assert [index for _, indices in carried for index in indices] == list(range(carried[-1][0] + 1))
    first, *others = carried
    assert first == (first[0], list(range(first[0] + 1)))
    assert others
    assert all(indices == [index] for index, indices in others)


def test_a_restarted_decoder_sends_no_signal_twice_and_loses_none(journal):
    add_event(journal, 0, 4.0)
    add_event(journal, 1, 26.0)
    estimates, carried = estimates_of(journal), []
    for index in range(20):
        add_volume(journal, index)
        if index in (3, 8, 12):  # a crash before the first estimate, amid a trial, and between two trials
            estimates = estimates_of(journal)
        carried += decode(journal, estimates)
    sent = [index for _, indices in carried for index in indices]
    assert sent == list(range(sent[-1] + 1))
    assert sent[-1] >= 15


def test_a_signal_is_the_mean_over_the_voxels_with_the_displacement_and_no_motion_is_unknown(journal):
    add_event(journal, 0, 0.0)
    for index in range(4):
        add_volume(journal, index, motion=MOTION if index == 2 else None)
    estimates = estimates_of(journal)
    estimates.advance()
    signals = [one for pending in estimates.ready() for one in estimates.take_signals(pending)]
    assert [one.rois for one in signals] == [{"voxels": 1009.5 + index} for index in range(4)]
    assert [one.displacement_mm is None for one in signals] == [True, True, False, True]


def test_weights_of_pictures_have_a_roi_for_z_and_one_for_c_and_weights_of_classes_have_one(files):
    positions = roi_positions(files.weights)
    assert list(positions) == ["early", "ventral"]
    voxels = np.arange(60, dtype=np.float32)
    assert roi_means(voxels, positions) == {"early": 19.5, "ventral": 39.5}
    assert roi_means(voxels, roi_positions(label_weights())) == {"early+ventral": 29.5}
    assert roi_means(voxels, {"nothing": np.array([], np.int64)}) == {}


def test_only_the_newest_volumes_are_carried():
    unsent = UnsentSignals()
    for index in range(MOST_SIGNALS + 3):
        unsent.add(wire.VolumeSignal(index=index, rois={}))
    taken = unsent.take(10**6)
    assert (len(taken), taken[0].index, unsent.take(10**6)) == (MOST_SIGNALS, 3, ())
