"""What an operator asks of a running daemon: other settings, marks, its setup, and what was recorded so far."""

import nibabel as nib
import numpy as np
import pytest
from running_daemon import AFFINE, PNG, SHAPE, RunningDaemon, hello, volume_frames

from braind.client import wire
from braind.daemon.journal.database import JournalError
from braind.daemon.journal.journal import Journal
from braind.daemon.journal.recording import Recording


@pytest.fixture(scope="module")
def daemon(files, tmp_path_factory):
    daemon = RunningDaemon(files, tmp_path_factory.mktemp("operating"), decode={"preset": "live-2"})
    yield daemon.start()
    daemon.close()


def send(daemon, run, *indices, **fields):
    with daemon.connect("ingest") as scanner:
        assert isinstance(scanner.ask(hello(run=run)), wire.Welcome)
        for index in indices:
            assert isinstance(scanner.ask_frames(volume_frames(index, run=run, **fields)), wire.Ack)


def last_stages(daemon, run):
    found = [one for one, _ in daemon.decodes() if isinstance(one, wire.Decode) and one.run == run and one.is_last]
    return {one.index: one for one in found}


def test_another_preset_and_mode_in_the_middle_of_a_run_lose_no_volume_and_count_as_no_crash(daemon):
    send(daemon, "change", *range(6))
    (done,) = daemon.ask(wire.Change(preset="live-1", mode="z", refine="live-4"))
    assert "acked and wait" in done.note
    assert daemon.status().state == "starting"
    send(daemon, "change", *range(6, 10))
    status = daemon.wait_until(lambda status: status.n_waiting == 0 and status.state == "ready")
    assert (status.preset, status.decoder_restarts, status.n_skipped) == ("live-1", 0, 0)
    decodes = last_stages(daemon, "change")
    assert sorted(decodes) == list(range(10))
    assert {(decodes[index].provenance.mode, decodes[index].stage) for index in range(6, 10)} == {("z", "xz")}
    (setup,) = daemon.ask(wire.SetupRequest())
    assert (setup.mode, setup.refine) == ("z", "live-4")
    assert {"live-1", "live-4", "takagi"} <= set(setup.presets)


def test_settings_under_which_a_decoder_dies_while_it_loads_are_left_again(daemon):
    before, former = daemon.status(), daemon.decoder.pid
    daemon.ask(wire.Change(preset="quality-20"))
    while (decoder := daemon.decoder).pid == former:
        pass
    decoder.kill()
    send(daemon, "left", 0)
    status = daemon.wait_until(lambda status: status.state == "ready" and status.n_waiting == 0)
    assert status.preset == before.preset
    assert last_stages(daemon, "left")[0].provenance.preset == before.preset
    assert "the decoder died while it loaded preset quality-20" in daemon.words()


def test_a_daemon_that_records_changes_nothing_and_keeps_marks(files, tmp_path):
    mask = np.zeros(SHAPE, np.uint8)
    mask.flat[files.weights.voxel_index] = 1
    nib.save(nib.Nifti1Image(mask, np.array(AFFINE)), tmp_path / "mask.nii.gz")
    recording = RunningDaemon(files, tmp_path / "data", mask=tmp_path / "mask.nii.gz")
    try:
        recording.start()
        assert recording.ask(wire.Mark(note="too early"))[0].code == "run"
        refused = recording.ask(wire.Change(policy="latest"))[0]
        assert (refused.code, recording.status().policy) == ("settings", "all")
        send(recording, "r", 0)
        assert "volume 0" in recording.ask(wire.Mark(note="moved"))[0].note
        assert recording.ask(wire.SetupRequest())[0].mode == ""
    finally:
        recording.close()


def test_another_policy_takes_effect_at_once_and_loads_no_decoder(daemon):
    engine_pid = daemon.decoder.pid
    daemon.ask(wire.Pause(paused=True))
    send(daemon, "policy", 0, 1, 2)
    (done,) = daemon.ask(wire.Change(policy="latest"))
    assert "goes on" in done.note
    daemon.ask(wire.Pause(paused=False))
    status = daemon.wait_until(lambda status: status.n_waiting == 0)
    assert status.policy == "latest"
    assert sorted(last_stages(daemon, "policy")) == [2]
    skipped = [one.index for one, _ in daemon.decodes() if isinstance(one, wire.Skipped) and one.run == "policy"]
    assert skipped == [0, 1]
    assert daemon.decoder.pid == engine_pid
    daemon.ask(wire.Change(policy="all"))


@pytest.mark.parametrize(
    ("change", "code"), [({"preset": "fastest"}, "preset"), ({"refine": "x"}, "preset"), ({"mode": "xyz"}, "malformed")]
)
def test_a_change_that_cannot_be_is_refused_and_nothing_changes(daemon, change, code):
    before = daemon.status(), daemon.ask(wire.SetupRequest())[0].mode
    request = {"type": "change", "policy": "latest", **change}
    with daemon.connect("control") as control:
        refused = control.ask_frames([wire.MAGIC, wire._encoder.encode(request)])
    assert refused.code == code
    after = daemon.status(), daemon.ask(wire.SetupRequest())[0].mode
    assert [(one.preset, one.policy, one.state, mode) for one, mode in (before, after)].count(
        (before[0].preset, before[0].policy, before[0].state, before[1])
    ) == 2


def test_a_mark_is_in_the_journal_and_in_the_heartbeats(daemon):
    send(daemon, "marked", 0, 1)
    (done,) = daemon.ask(wire.Mark(note="  the subject coughed "))
    assert "run marked, volume 1" in done.note
    daemon.ask(wire.Mark(note="blurred", event=3))
    (early,) = daemon.ask(wire.Mark(note="before all volumes", age_s=3000.0))
    assert "before its first volume" in early.note
    with daemon.watch() as viewer:
        while not isinstance(beat := viewer.receive(), wire.Heartbeat):
            pass
    assert [(mark.note, mark.run, mark.index, mark.event) for mark in beat.marks] == [
        ("the subject coughed", "marked", 1, None),
        ("blurred", "marked", None, 3),
        ("before all volumes", "marked", None, None),
    ]
    assert beat.sent_s - beat.marks[-1].made_s == pytest.approx(3000, abs=60)
    with Recording(daemon.data_path / "journals" / "ses.sqlite3") as recording:
        assert tuple(recording.marks()) == beat.marks
        recording.check_sound()


def test_a_damaged_mark_is_named_and_the_session_goes_on(tmp_path):
    journal = Journal(tmp_path / "ses.sqlite3")
    assert journal.marks() == []
    for note in ("first", "second"):
        journal.add_mark(wire.Mark(note=note, session="ses", run="r"))
    with journal._database.commit() as database:
        database.execute("UPDATE marks SET header = replace(header, 'second', 'third') WHERE mark = 2")
    with pytest.raises(JournalError, match="mark 2"):
        journal.marks()
    journal.check_sound()
    journal.close()


@pytest.mark.parametrize(
    ("mark", "code"),
    [
        ({"note": "  "}, "note"),
        ({"note": "x" * 501}, "note"),
        ({"note": "x", "age_s": -1.0}, "note"),
        ({"note": "x", "age_s": 1e9}, "note"),
        ({"note": "x", "run": "never-opened"}, "run"),
        ({"note": "x", "session": "../../etc", "run": "r"}, "run"),
    ],
)
def test_a_mark_that_cannot_be_kept_is_refused(daemon, mark, code):
    send(daemon, "refused", 0)
    assert daemon.ask(wire.Mark(**mark))[0].code == code


def test_the_setup_names_the_connected_clients_and_forgets_those_that_left(daemon):
    with daemon.connect("ingest") as scanner, daemon.watch():
        scanner.ask(hello(run="setup"))
        scanner.ask_frames(volume_frames(0, run="setup"))
        scanner.ask(wire.ClockRequest(sent_s=1.0, offset_s=0.25, uncertainty_s=0.01))
        (setup,) = daemon.ask(wire.SetupRequest())
        assert {one.socket for one in setup.connections} == {"ingest", "decodes", "control"}
        assert {one.address for one in setup.connections} == {"127.0.0.1"}
        assert [one.clock_offset_s for one in setup.connections if one.clock_offset_s is not None] == [0.25]
        n_connected = sum(one.socket == "ingest" for one in setup.connections)
    assert setup.tr_s == hello().tr_s
    assert setup.free_bytes > 0
    assert setup.journal_bytes > 0
    assert 0 < setup.ack_p50_s <= setup.ack_p99_s
    while True:
        now = [one.socket for one in daemon.ask(wire.SetupRequest())[0].connections]
        if now.count("ingest") < n_connected and "decodes" not in now:
            break


def test_what_was_recorded_counts_trials_pictures_and_minutes_and_hands_out_the_newest_seen_picture(daemon):
    with daemon.connect("ingest") as scanner:
        scanner.ask(hello(session="calibration", run="betas"))
        for index, stimulus in enumerate(["a.png", "b.png", "a.png", "n/a", None]):
            seen = {"seen_png": PNG} if index == 4 else {}
            scanner.ask_frames(
                volume_frames(index, session="calibration", run="betas", stimulus=stimulus, label="cat", **seen)
            )
        calibration = wire.Calibration(
            session="calibration", n_trials=3, n_pictures=2, minutes=0.2, two_way=0.6, low=0.5, high=0.7
        )
        daemon.ask(calibration)
        with daemon.connect("control") as control:
            control.send(wire.RecordedRequest(picture=True))
            recorded, payload = control.receive_all()
            assert (recorded.n_trials, recorded.n_pictures, recorded.n_unnamed) == (3, 2, 1)
            assert recorded.minutes == pytest.approx(4 * 4.0 / 60, abs=1e-3)
            assert (recorded.index, recorded.stimulus, recorded.label, recorded.seen) == (4, None, "cat", True)
            assert recorded.calibrations == (calibration,)
            assert payload == [PNG]
            scanner.ask(hello(session="calibration", run="bold", kind="bold", tr_s=2.0))
            onsets = {"session": "calibration", "run": "bold"}
            for event, onset_s in ((0, 1.0), (1, 9.0)):
                scanner.ask(wire.Event(**onsets, event=event, onset_s=onset_s, stimulus=f"{event}.png"))
            scanner.ask_frames(volume_frames(0, session="calibration", run="bold", scale=1.0))
            recorded = control.ask(wire.RecordedRequest(picture=True))
            # The second onset was announced and has not come yet.
            assert (recorded.n_trials, recorded.event, recorded.stimulus, recorded.index) == (5, 0, "0.png", None)
