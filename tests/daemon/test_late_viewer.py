"""A viewer that comes late: the history that it wants, as it was published, and then what comes, each message once."""

import nibabel as nib
import numpy as np
import pytest
from running_daemon import AFFINE, SHAPE, LdmFacts, RunningDaemon, hello, random_weights

from braind.client import wire
from braind.client.subscriber import DecodeSubscriber
from braind.daemon.control import Control
from braind.daemon.journal.journal import Journal
from braind.daemon.sessions import Sessions
from braind.daemon.state import DaemonState

N_VOLUMES = 100
PROVENANCE = wire.Provenance(
    subject=1, preset="live-4", mode="zc", seed=1, engine="e", weights="w", ldm="l", simulated=True, version="0"
)


def add_volume_decodes(journal, first_seq, index):
    """Journal the stages of a volume as the decoder does, the pictures told apart by their number."""
    for seq, stage in enumerate(("scores", "xz", "xzc"), start=first_seq):
        named = {"session": "ses", "run": "run-01", "index": index}
        decode = wire.Decode(seq=seq, stage=stage, provenance=PROVENANCE, timings_s={}, **named)
        journal.add_decode(decode, None if stage == "scores" else b"picture %d" % seq)


@pytest.fixture(scope="module")
def journal(tmp_path_factory):
    """A session that was decoded before the daemon started."""
    path = tmp_path_factory.mktemp("late") / "journals" / "ses.sqlite3"
    path.parent.mkdir()
    journal = Journal(path, wait_for_disk=False)
    journal.open_run(hello(), "weights")
    for index in range(N_VOLUMES):
        add_volume_decodes(journal, 3 * index + 1, index)
    yield journal
    journal.close()


@pytest.fixture(scope="module")
def daemon(files, journal):
    """A daemon that only records: nobody but the test journals decodes."""
    folder = journal.path.parent.parent
    mask = np.zeros(SHAPE, np.uint8)
    mask.flat[files.weights.voxel_index] = 1
    nib.save(nib.Nifti1Image(mask, np.array(AFFINE)), folder / "mask.nii.gz")
    daemon = RunningDaemon(files, folder, mask=folder / "mask.nii.gz")
    yield daemon.start()
    daemon.close()


@pytest.fixture
def subscribe(daemon):
    subscribers = []

    def subscribe(**wanted):
        decodes, control = (int(daemon.addresses[name].rsplit(":", 1)[1]) for name in ("decodes", "control"))
        subscribers.append(DecodeSubscriber("127.0.0.1", decodes, control, **wanted))
        return subscribers[-1]

    yield subscribe
    for subscriber in subscribers:
        subscriber.close()


def next_decodes(subscriber, n_messages):
    """Return number and picture of the next messages that are no heartbeats."""
    found = []
    while len(found) < n_messages:
        received = subscriber.receive(30)
        assert received is not None, f"only {found}"
        if not isinstance(received.message, wire.Heartbeat):
            found.append((received.message.seq, received.png))
    return found


def published(*seqs):
    return [(seq, None if seq % 3 == 1 else b"picture %d" % seq) for seq in seqs]


def test_everything_comes_with_its_pictures_though_it_takes_several_requests(subscribe):
    last_seq = 3 * N_VOLUMES
    assert last_seq > 256  # more than the daemon sends at once
    subscriber = subscribe(from_seq=1)
    assert next_decodes(subscriber, last_seq) == published(*range(1, last_seq + 1))
    assert subscriber.n_lost == 0


def test_the_history_comes_first_and_each_later_message_once(subscribe, journal):
    last_seq = journal.last_seq()
    subscriber = subscribe(history=5)
    assert next_decodes(subscriber, 5) == published(*range(last_seq - 4, last_seq + 1))
    add_volume_decodes(journal, last_seq + 1, N_VOLUMES)
    assert next_decodes(subscriber, 3) == published(*range(last_seq + 1, last_seq + 4))
    beats = [subscriber.receive(30).message for _ in range(2)]
    assert [type(beat) for beat in beats] == [wire.Heartbeat] * 2


def test_what_is_journaled_and_not_published_yet_is_not_fetched(tmp_path):
    sessions = Sessions(tmp_path, wait_for_disk=False)
    add_volume_decodes(sessions.open("ses"), 1, 0)
    weights = random_weights(LdmFacts("ldm", (4, 16, 16), (16, 96)))
    state = DaemonState(sessions, weights, preset="live-4", policy="all")
    state.last_seq = 2
    control = Control(None, sessions, state, pause=print, use=print, shut_down=print)
    *found, done = [wire.decode(frames)[0] for frames in control._answers(wire.encode(wire.FetchRequest(from_seq=1)))]
    assert [message.seq for message in found] == [1, 2]
    assert isinstance(done, wire.Done)
    sessions.close()


def test_a_damaged_message_is_passed_over_when_published_and_when_fetched(daemon, subscribe, journal):
    last_seq = journal.last_seq()
    live = subscribe()
    assert isinstance(live.receive(30).message, wire.Heartbeat)
    with journal._database.commit() as database:  # both messages at once: the publisher sees them together
        database.execute(
            "INSERT INTO decodes SELECT ?, run, ?, event, stage, '{\"type\":', payload, 0 FROM decodes WHERE seq = 1",
            (last_seq + 1, N_VOLUMES + 1),
        )
    add_volume_decodes(journal, last_seq + 2, N_VOLUMES + 2)
    expected = [last_seq + 2, last_seq + 3, last_seq + 4]
    assert [seq for seq, _ in next_decodes(live, 3)] == expected
    late = subscribe(from_seq=last_seq + 1)
    assert [seq for seq, _ in next_decodes(late, 3)] == expected
    assert daemon.status().state == "recording"
    assert f"message {last_seq + 1} of the journals is damaged" in daemon.words()
