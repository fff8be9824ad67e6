"""What comes into a folder becomes a run; what must not be sent is named."""

import shutil
import subprocess
import sys
import threading
from types import SimpleNamespace

import dicom_files
import nibabel as nib
import numpy as np
import pytest
from dicom_files import AFFINE, save, volume
from PIL import Image
from pydicom.uid import generate_uid

from braind.client import wire
from braind.client.pictures import read_picture
from braind.client.scanner import Onset, RefusedByDaemon, ScannerClient
from braind.client.sending import send
from braind.client.sending.folder_watch import FolderWatch
from braind.client.sending.incoming import IncomingError
from braind.client.sending.run_feed import RunPlan
from braind.client.sending.send import FolderSender, read_onsets, send_file

PLAN = RunPlan(session="s", run="r", tr_s=1.333)


@pytest.fixture
def client(daemon):
    with ScannerClient(port=daemon.ingest_port, timeout_s=1, give_up_s=10) as client:
        yield client


@pytest.fixture
def said():
    return []


@pytest.fixture
def watched(tmp_path, client, said):
    """A folder and its sender; `look` sends what is complete."""
    folder = tmp_path / "export"
    folder.mkdir()
    return Watched(folder, client, said)


class Watched:
    def __init__(self, folder, client, said, plan=PLAN, **options):
        self.folder, self.said = folder, said
        watch = FolderWatch(folder, **{key: options.pop(key) for key in ("existing",) if key in options})
        self.watch = watch
        self.sender = FolderSender(watch, client, plan, said.append, [], **options)

    def look(self, n=2):
        for _ in range(n):
            for found in self.watch.poll():
                self.sender._take(found)

    def put(self, dataset, name):
        save(dataset, self.folder / name)
        self.look()


def arrived(daemon, run="r"):
    return sorted(index for _, name, index in daemon.volumes if name == run)


def nifti(path, voxels, affine=AFFINE, tr_s=1.333, slope=None, unit="sec"):
    image = nib.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm", unit)
    if voxels.ndim == 4:
        image.header["pixdim"][4] = tr_s
    if slope:
        image.header.set_slope_inter(slope, 0)
    nib.save(image, path)
    return path


def four_d(path, numbers, **header):
    return nifti(path, np.stack([volume(number) for number in numbers], axis=3), **header)


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["run.nii", "run.nii.gz"])
def test_a_4d_file_arrives_volume_by_volume_and_is_not_sent_twice(tmp_path, daemon, client, said, name):
    volumes = [volume(n) for n in range(4)]
    # written with its axes the other way: left and back
    turned = np.stack([v[::-1, ::-1] for v in volumes], axis=3)
    affine = AFFINE @ np.array([[-1, 0, 0, 3], [0, -1, 0, 4], [0, 0, 1, 0], [0, 0, 0, 1]])
    path = nifti(tmp_path / name, turned, affine, slope=0.5)
    assert send_file(path, client, PLAN, said.append, []) == 4
    for number, voxels in enumerate(volumes):
        np.testing.assert_array_equal(daemon.volumes["s", "r", number], voxels)
    assert daemon.headers["s", "r", 0].scale == 0.5
    assert daemon.ended == {"r": 4}
    assert "its axes, LPS, are turned to the weights' RAS" in said[0]
    with pytest.raises(IncomingError, match="run r has all 4 volumes of this file already; nothing is sent") as refused:
        send_file(path, client, PLAN, said.append, [])
    assert refused.value.code == "nothing_sent"


@pytest.mark.parametrize("n_first", [3, 4, 6])
def test_another_scan_is_never_sent_into_a_run_that_was_begun(tmp_path, daemon, client, said, n_first):
    send_file(four_d(tmp_path / "run-1.nii", range(n_first)), client, PLAN, said.append, [Onset(0, 0.5)])
    before = dict(daemon.volumes), dict(daemon.ended), dict(daemon.events)
    repeated = four_d(tmp_path / "run-2.nii", range(20, 24))
    with pytest.raises(
        IncomingError, match="It is another scan, so this one is not sent into it.*--run NAME"
    ) as refused:
        send_file(repeated, client, PLAN, said.append, [Onset(0, 0.2)])
    assert refused.value.code == "conflict"
    assert "run-2.nii[" in str(refused.value)
    assert (daemon.volumes, daemon.ended, daemon.events) == before


def test_a_file_with_nan_outside_the_decoders_voxels_is_sent_as_it_is_and_that_is_said_once(
    tmp_path, daemon, client, said
):
    voxels = np.stack([volume(number) for number in range(3)], axis=3).astype(np.float32)
    voxels[0, :2] = np.nan
    send_file(nifti(tmp_path / "a.nii", voxels), client, PLAN, said.append, [])
    for number in range(3):
        np.testing.assert_array_equal(daemon.volumes["s", "r", number], voxels[..., number])
    (sentence,) = [sentence for sentence in said if "NaN" in sentence]
    assert "a.nii[0]: 12 of 120 voxels are NaN or infinite, none of them the decoder's" in sentence


def test_a_file_with_nan_among_the_decoders_voxels_is_refused_in_the_daemons_words(tmp_path, daemon, client, said):
    sentence = "3 of the decoder's 60 voxels are NaN or infinite; send 0"
    daemon.refuse[1] = wire.Refused(code="not_finite", sentence=sentence, session="s", run="r", index=1)
    with pytest.raises(RefusedByDaemon, match=sentence):
        send_file(four_d(tmp_path / "a.nii", range(2)), client, PLAN, said.append, [])


def test_a_file_that_was_cut_off_goes_on_after_its_last_volume_was_compared(tmp_path, daemon, client, said):
    onsets = [Onset(0, 0.5), Onset(1, 4.5)]
    send_file(four_d(tmp_path / "begun.nii", range(2)), client, PLAN, said.append, onsets)
    assert send_file(four_d(tmp_path / "whole.nii", range(5)), client, PLAN, said.append, onsets) == 3
    assert daemon.n_volume_messages == 2 + 1 + 3
    assert sorted(daemon.events) == [("s", "r", 0), ("s", "r", 1)]


def test_the_command_names_a_run_as_fmriprep_names_its_file(tmp_path, daemon):
    name = "sub-01_ses-02_task-objectviewing_acq-mb4_dir-AP_run-01_space-MNI152NLin2009cAsym_res-2_desc-preproc_bold"
    path = four_d(tmp_path / f"{name}.nii.gz", range(2))
    command = [sys.executable, "-m", "braind", "send", path, "--session", "s", "--flat-out"]
    command += ["--to", f"tcp://127.0.0.1:{daemon.ingest_port}"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, daemon.ended) == (0, {name: 2}), ran.stderr


def test_the_command_says_that_nothing_was_sent_and_fails(tmp_path, daemon):
    for name, number in (("run1", 0), ("run2", 10)):
        (tmp_path / name).mkdir()
        four_d(tmp_path / name / "func.nii", range(number, number + 3))
    (tmp_path / "empty").mkdir()

    def ran(*options):
        command = [sys.executable, "-m", "braind", "send", *options, "--session", "s", "--flat-out"]
        command += ["--to", f"tcp://127.0.0.1:{daemon.ingest_port}"]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    first = ran(tmp_path / "run1/func.nii")
    assert (first.returncode, first.stdout) == (0, "session s, run func: 3 volumes acked, 0 not sent\n"), first.stderr
    without_onsets, is_open, *_ = first.stderr.splitlines()
    assert "run func has no onsets: nothing of it will be decoded" in without_onsets
    assert "run func is open" in is_open
    again = ran(tmp_path / "run1/func.nii")
    assert (again.returncode, "has all 3 volumes of this file already" in again.stderr) == (1, True), again.stderr
    second = ran(tmp_path / "run2/func.nii")
    assert (second.returncode, "It is another scan" in second.stderr) == (1, True), second.stderr
    nothing = ran("--watch", tmp_path / "empty", "--quiet", "0")
    assert (nothing.returncode, "nothing was sent" in nothing.stderr) == (1, True), nothing.stderr


UNTIMED = {"session": "s", "run": "r"}


@pytest.mark.parametrize(("tr_s", "unit"), [(1.0, "sec"), (1.0, "unknown"), (2000.0, "unknown"), (2000.0, "sec")])
def test_a_tr_that_the_user_gives_goes_over_a_wrong_header_with_a_warning(tmp_path, daemon, client, said, tr_s, unit):
    path = four_d(tmp_path / "a.nii", range(2), tr_s=tr_s, unit=unit)
    assert send_file(path, client, RunPlan(**UNTIMED, tr_s=2.0), said.append, []) == 2
    assert daemon.hellos["s", "r"].tr_s == 2.0
    warned = [sentence for sentence in said if "the 2 s of --tr are taken" in sentence]
    assert len(warned) == ((tr_s, unit) != (1.0, "unknown"))


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"tr_s": 2000.0}, "a TR of 2000 s, which is not plausible; give the true one in seconds, --tr 2 if"),
        ({"tr_s": 2000.0, "unit": "unknown"}, "--tr 2 if the header has another unit than it says"),
        ({"tr_s": 2.0, "unit": "msec"}, "a TR of 0.002 s, which is not plausible.*--tr 2 if"),
        ({"tr_s": 1.0, "unit": "unknown"}, "nothing says the TR; give it with --tr SECONDS"),
        ({"tr_s": 2.0, "unit": "hz"}, "nothing says the TR"),
    ],
)
def test_a_tr_that_cannot_be_is_asked_about_and_never_taken(tmp_path, daemon, client, said, header, words):
    path = four_d(tmp_path / "a.nii", range(2), **header)
    with pytest.raises(IncomingError, match=words) as refused:
        send_file(path, client, RunPlan(**UNTIMED), said.append, [])
    assert refused.value.code == "tr"
    assert not daemon.runs


def test_a_tr_that_the_user_gives_in_milliseconds_is_asked_about(tmp_path, daemon, client, said):
    path = four_d(tmp_path / "a.nii", range(2))
    with pytest.raises(IncomingError, match="--tr 1333: no scan has a TR above 30 s; give seconds, 1.333 if"):
        send_file(path, client, RunPlan(**UNTIMED, tr_s=1333), said.append, [])
    assert not daemon.runs


@pytest.mark.parametrize(("header_s", "given_s", "pace_s"), [(1.333, None, 1.333), (1.333, 2.0, 2.0)])
def test_a_file_is_sent_at_the_pace_of_its_run(tmp_path, daemon, client, said, monkeypatch, header_s, given_s, pace_s):
    slept = []
    monkeypatch.setattr(send, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=slept.append))
    path = four_d(tmp_path / "a.nii", range(3), tr_s=header_s)
    send_file(path, client, RunPlan(**UNTIMED, tr_s=given_s), said.append, [], is_paced=True)
    assert slept == pytest.approx([0, pace_s, 2 * pace_s])


@pytest.mark.parametrize("name", ["run.nii", "run.nii.gz"])
def test_a_file_cut_short_is_named(tmp_path, daemon, client, said, name):
    whole = nifti(tmp_path / name, np.stack([volume(n) for n in range(4)], axis=3)).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(IncomingError, match="cut short"):
        send_file(tmp_path / name, client, PLAN, said.append, [])
    assert arrived(daemon) != [0, 1, 2, 3]


def test_a_bids_table_names_the_pictures_of_a_calibration(tmp_path):
    table = "onset\tduration\tstim_file\n1.5\t3\tdog.png\n6\t3\tcat.png\n"
    (tmp_path / "events.tsv").write_text(table)
    assert [onset.shown for onset in read_onsets(tmp_path / "events.tsv")] == [
        {"stimulus": "dog.png"},
        {"stimulus": "cat.png"},
    ]


def test_rows_without_a_picture_are_no_trials_as_in_a_fit(tmp_path):
    path = tmp_path / "events.tsv"
    rows = "1\t3\tdog.png\tanimal\n2\tn/a\tn/a\tkey press\n3\tn/a\t\tn/a\n4\t3\tcat.png\tanimal\n"
    path.write_text(f"onset\tduration\tstim_file\ttrial_type\n{rows}")
    assert [onset.event for onset in read_onsets(path)] == [0, 3]
    path.write_text(f"onset\tduration\tstim_file\tkind\n{rows}")
    assert [onset.event for onset in read_onsets(path, labels="kind")] == [0, 1, 3]
    # without any picture, every row is a trial
    path.write_text("onset\tduration\tstim_file\ttrial_type\n1\t3\tn/a\tface\n2\tn/a\tn/a\thouse\n")
    assert [onset.duration_s for onset in read_onsets(path)] == [3.0, 0.0]


def test_a_bids_table_names_each_trials_class_as_text(tmp_path, daemon, client, said):
    table = "onset\tduration\ttrial_type\tcategory\n0\t3\tface\tA\n1\t3\tn/a\tB\n2\t3\t7\tn/a\n3\t3\t\tC\n"
    (tmp_path / "events.tsv").write_text(table)
    onsets = read_onsets(tmp_path / "events.tsv")
    send_file(
        nifti(tmp_path / "a.nii", np.stack([volume(n) for n in range(4)], axis=3)), client, PLAN, said.append, onsets
    )
    assert [daemon.events["s", "r", event].label for event in range(4)] == ["face", None, "7", None]
    chosen = read_onsets(tmp_path / "events.tsv", labels="category")
    assert [(onset.shown or {}).get("label") for onset in chosen] == ["A", "B", None, "C"]


def test_a_class_that_the_daemon_would_refuse_and_a_column_that_is_not_there_are_said_before_the_scan(tmp_path):
    table = tmp_path / "events.tsv"
    table.write_text(f"onset\tduration\ttrial_type\n0\t3\t{'x' * 256}\n1\t3\t{'y' * 257}\n")
    with pytest.raises(IncomingError, match="row 2: trial_type 'yyy.* has 257 characters; give at most 256"):
        read_onsets(table)
    with pytest.raises(IncomingError, match="has no column category; it has onset, duration, trial_type"):
        read_onsets(table, labels="category")


def test_onsets_of_a_bids_table_come_before_their_volumes(tmp_path, daemon, client, said):
    (tmp_path / "events.tsv").write_text("onset\tduration\tnsd_id\ttrial_type\n1.5\t3\t17\tx\n0\t3\tn/a\ty\n")
    onsets = read_onsets(tmp_path / "events.tsv")
    path = nifti(tmp_path / "a.nii", np.stack([volume(n) for n in range(3)], axis=3))
    send_file(path, client, PLAN, said.append, onsets)
    assert daemon.order[:4] == [("event", 1), ("volume", 0), ("event", 0), ("volume", 1)]
    assert daemon.events["s", "r", 0].nsd_id == 17


def test_onsets_by_another_clock_are_counted_from_the_trigger(tmp_path):
    (tmp_path / "events.tsv").write_text("onset\tduration\tright\tfoil\n1712.5\t3\t17\ta crab\n1716.5\t3\tn/a\tn/a\n")
    first, second = read_onsets(tmp_path / "events.tsv", trigger_at_s=1710.0)
    assert (first.onset_s, second.onset_s) == (2.5, 6.5)
    assert (first.shown, second.shown) == ({"right": 17, "foil": "a crab"}, {})


def test_the_pictures_that_an_events_table_names_are_sent_for_viewers(tmp_path):
    table, stimuli = tmp_path / "events.tsv", tmp_path / "stimuli"
    stimuli.mkdir()
    Image.fromarray(np.full((8, 8, 3), (200, 30, 40), np.uint8)).save(stimuli / "red.bmp")
    table.write_text("onset\tduration\tstim_file\n1\t3\tred.bmp\n5\t3\t.\\RED.bmp\n")
    for red in read_onsets(table, stimuli=stimuli):
        assert read_picture(red.seen_png)[0, 0].tolist() == [200, 30, 40]
    (stimuli / "text.png").write_text("no picture")
    for name, words in (("blue.bmp", "row 1: .*blue.bmp"), ("text.png", "row 1: .*text.png")):
        table.write_text(f"onset\tduration\tstim_file\n1\t3\t{name}\n")
        with pytest.raises(IncomingError, match=words):
            read_onsets(table, stimuli=stimuli)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("onset\tduration\n1\t3\nsoon\t3\n", "row 2: onset is 'soon'; give seconds"),
        ("onset\tduration\n1\tinf\n", "row 1: duration is 'inf'; give seconds"),
        ("onset\tduration\n1\t-3\n", "row 1: a duration of -3 s"),
        ("onset\tduration\n1\tlong\n", "row 1: duration is 'long'; give seconds"),
        ("onset\tduration\ttrial\n1\t3\tfirst\n", "row 1: trial is 'first'; give a whole number, or n/a"),
        ("onset\tduration\tright\tfoil\n1\t3\t17\tn/a\n", "row 1: right 17, foil n/a; name both"),
        ("onset,duration\n1,3\n", "has no column onset, duration"),
    ],
)
def test_an_events_table_that_is_wrong_is_named_with_its_row(tmp_path, table, words):
    path = tmp_path / "events.tsv"
    path.write_text(table)
    with pytest.raises(IncomingError, match=words) as refused:
        read_onsets(path)
    assert str(path) in str(refused.value)
    assert refused.value.code == "events"


def test_an_onset_that_is_not_taken_is_named_and_costs_no_volume(tmp_path, daemon, client, said):
    take = daemon._take

    def refuse_event_1(message, payload):
        if isinstance(message, wire.Event) and message.event == 1:
            return wire.Refused(code="candidate", sentence="no such picture", session="s", run="r", index=1)
        return take(message, payload)

    daemon._take = refuse_event_1
    path = nifti(tmp_path / "a.nii", np.stack([volume(n) for n in range(3)], axis=3))
    onsets = [Onset(0, 0.1), Onset(1, 1.5), Onset(2, 2.0), Onset(3, 1.7e9)]
    with pytest.raises(IncomingError, match="1 onsets were not taken, as named; its volumes were"):
        send_file(path, client, PLAN, said.append, onsets)
    assert arrived(daemon) == [0, 1, 2]
    assert sorted(event for *_, event in daemon.events) == [0, 2]
    assert "the onset at 1.5 s: no such picture" in said
    assert "1 of 4 onsets, from 1.7e+09 s on, lie after its last volume" in said[-1]


def test_onsets_that_are_all_of_another_clock_are_named(tmp_path, daemon, client, said):
    path = nifti(tmp_path / "a.nii", np.stack([volume(n) for n in range(2)], axis=3))
    with pytest.raises(IncomingError, match="2 onsets were not taken"):
        send_file(path, client, PLAN, said.append, [Onset(0, 1.7e9), Onset(1, 1.7e9 + 4)])
    assert arrived(daemon) == [0, 1]
    assert "--trigger-at says when that was" in said[-1]
    (tmp_path / "events.tsv").write_text("onset\tduration\n12\t3\n16\t3\n")
    with pytest.raises(IncomingError, match="the last onset lies 84 s before the first volume; give in --trigger-at"):
        read_onsets(tmp_path / "events.tsv", trigger_at_s=100)


# ── folders ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_files_arrive_as_they_come_and_stale_ones_do_not(tmp_path, daemon, client, said):
    folder = tmp_path / "export"
    folder.mkdir()
    save(dicom_files.mosaic(volume(9), 9, series=generate_uid()), folder / "old.dcm")
    watched = Watched(folder, client, said)
    assert watched.watch.n_stale == 1
    for number in range(3):
        watched.put(dicom_files.mosaic(volume(number), number), f"{number}.dcm")
    watched.put(dicom_files.mosaic(volume(2), 2), "2 again.dcm")
    assert arrived(daemon) == [0, 1, 2]
    for number in range(3):
        np.testing.assert_array_equal(daemon.volumes["s", "r", number], volume(number))
    watched.sender.end()
    assert daemon.ended == {"r": 3}
    assert watched.sender.n_refused == 0


def test_a_sender_started_again_goes_on_with_the_files_that_lie_there(tmp_path, daemon, client, said, watched):
    for number in range(2):
        watched.put(dicom_files.mosaic(volume(number), number), f"{number}.dcm")
    save(dicom_files.mosaic(volume(2), 2), watched.folder / "2.dcm")
    Watched(watched.folder, client, said, existing=True).look()
    assert arrived(daemon) == [0, 1, 2]


def test_a_repeated_scan_is_not_sent_into_the_run_of_the_aborted_scan(tmp_path, daemon, client, said, watched):
    for number in range(2):
        watched.put(dicom_files.mosaic(volume(number), number), f"{number}.dcm")
    (tmp_path / "again").mkdir()
    series = generate_uid()
    again = Watched(tmp_path / "again", client, said)
    for number in range(4):
        again.put(dicom_files.mosaic(volume(10 + number), number, series=series), f"{number}.dcm")
    again.sender.end()
    assert arrived(daemon) == [0, 1]
    assert again.sender.n_refused == 4
    assert any("0.dcm: session s has a run r with other voxels as volume 0" in sentence for sentence in said)
    assert not daemon.ended


def test_files_that_are_overwritten_by_a_repeated_scan_do_not_go_on_after_the_aborted_scan(daemon, watched):
    for number in range(6):
        nifti(watched.folder / f"vol_{number % 4 + 1:04d}.nii", volume(number))
        watched.look()
    nifti(watched.folder / "vol_0005.nii", volume(11))
    watched.look()
    assert arrived(daemon) == [0, 1, 2, 3]
    assert "volume 4 is of another scan than run r; not sent" in watched.said[-1]


def test_a_first_volume_that_is_written_anew_does_not_stop_the_run(daemon, watched):
    for number, index in ((0, 0), (1, 1), (9, 0), (2, 2)):
        watched.put(dicom_files.mosaic(volume(number), index), f"{index}.dcm")
    assert arrived(daemon) == [0, 1, 2]
    assert watched.sender.n_refused == 1


def test_a_repeated_scan_is_not_sent_into_an_aborted_scan_of_one_volume(tmp_path, daemon, client, said, watched):
    watched.put(dicom_files.mosaic(volume(0), 0), "0.dcm")
    (tmp_path / "again").mkdir()
    again = Watched(tmp_path / "again", client, said)
    for number in range(3):
        again.put(dicom_files.mosaic(volume(10 + number), number), f"{number}.dcm")
    assert arrived(daemon) == [0]
    assert again.sender.n_refused == 3


def test_a_sender_started_again_without_the_earlier_files_says_that_the_scan_cannot_be_compared(
    tmp_path, daemon, client, said, watched
):
    watched.put(dicom_files.mosaic(volume(0), 0), "0.dcm")
    later = Watched(watched.folder, client, said)
    later.put(dicom_files.mosaic(volume(3), 3), "3.dcm")
    assert arrived(daemon) == [0, 3]
    assert "volume 3 comes first, and run r has only the volumes before 1: nothing shows" in said[-1]


def test_numbered_nifti_files(daemon, watched, monkeypatch):
    monkeypatch.setattr("braind.client.sending.folder_watch.PARSE_PATIENCE_S", 0)
    for number in (1, 2, 3):
        nifti(watched.folder / f"vol_{number:04d}.nii.gz", volume(number))
    (watched.folder / "notes.txt").write_text("not a volume")
    watched.look()
    assert arrived(daemon) == [0, 1, 2]
    nifti(watched.folder / "vol_0000.nii.gz", volume(0))
    watched.look()
    assert "--first-number 0" in watched.said[-1]


def test_a_new_series_number_in_nifti_files_names_is_another_series(daemon, watched):
    for number in (1, 2):
        nifti(watched.folder / f"001_000013_{number:06d}.nii", volume(number))
        watched.look()
    # the scan is started again: the series number grows, its volumes are numbered from 1
    for number in (1, 2):
        nifti(watched.folder / f"001_000014_{number:06d}.nii", volume(number + 5))
        watched.look()
    assert arrived(daemon) == [0, 1]
    np.testing.assert_array_equal(daemon.volumes["s", "r", 0], volume(1))
    (sentence,) = watched.said[1:]
    assert "is of another series, 001_000014_, than run r's, 001_000013_" in sentence
    assert "--existing --series 001_000014_ --run NAME" in sentence


def test_a_half_written_file_waits_and_is_sent_once_whole(daemon, watched):
    whole = save(dicom_files.enhanced([volume(0)], 0), watched.folder / ".hidden").read_bytes()
    path = watched.folder / "0.dcm"
    path.write_bytes(whole[: len(whole) // 2])
    watched.look(3)
    assert not daemon.volumes
    assert any("0.dcm is half-written" in sentence for sentence in watched.watch.unfinished())
    path.write_bytes(whole)
    watched.look()
    assert arrived(daemon) == [0]


def test_a_file_that_stays_half_written_is_named_once(daemon, watched, monkeypatch):
    monkeypatch.setattr("braind.client.sending.folder_watch.PARSE_PATIENCE_S", 0)
    (watched.folder / "0.dcm").write_bytes(b"\0" * 500)
    watched.look(5)
    assert [s for s in watched.said if "0.dcm" in s] == watched.said
    assert len(watched.said) == 1


def test_a_partial_last_volume_is_named_and_not_sent(daemon, watched):
    watched.put(dicom_files.enhanced([volume(0)], 0), "0.dcm")
    watched.put(dicom_files.enhanced([volume(1)[:, :, :2]], 1), "1.dcm")
    assert arrived(daemon) == [0]
    assert "volume 1 is partial, 2 of 6 slices; not sent" in watched.said[-1]


def test_another_series_in_the_folder_is_named_once_with_what_to_do(daemon, watched):
    watched.put(dicom_files.mosaic(volume(0), 0), "0.dcm")
    other = generate_uid()
    for number in range(2):
        watched.put(dicom_files.mosaic(volume(7), number, series=other), f"other{number}.dcm")
    watched.put(dicom_files.mosaic(volume(1), 1), "1.dcm")
    assert arrived(daemon) == [0, 1]
    (sentence,) = watched.said[1:]
    assert other in sentence
    assert "--each-series" in sentence


def test_a_scan_started_again_is_a_run_of_its_own_where_that_is_asked_for(tmp_path, daemon, client, said):
    watched = Watched(tmp_path, client, said, each_series=True)
    watched.put(dicom_files.mosaic(volume(0), 0), "0.dcm")
    again = generate_uid()
    for number in range(2):
        watched.put(dicom_files.mosaic(volume(5 + number), number, series=again), f"again{number}.dcm")
    watched.sender.end()
    assert (arrived(daemon, "r"), arrived(daemon, "r-2")) == ([0], [0, 1])
    assert daemon.ended == {"r": 1, "r-2": 2}


def test_an_index_that_goes_back_is_named(daemon, watched):
    for number in range(3):
        watched.put(dicom_files.mosaic(volume(number), number), f"{number}.dcm")
    watched.put(dicom_files.mosaic(volume(8), 1), "again.dcm")
    np.testing.assert_array_equal(daemon.volumes["s", "r", 1], volume(1))
    assert "the index goes back to 1" in watched.said[-1]


def test_a_late_volume_is_sent_and_named(daemon, watched):
    for number in (0, 2, 1):
        watched.put(dicom_files.mosaic(volume(number), number), f"{number}.dcm")
    assert arrived(daemon) == [0, 1, 2]
    assert "volume 1 comes after volume 2; late" in watched.said[-1]


def test_a_gap_is_named_at_the_end(daemon, watched):
    for number in (0, 3):
        watched.put(dicom_files.mosaic(volume(number), number), f"{number}.dcm")
    watched.sender.end()
    assert "2 volumes never came: 1, 2" in watched.said[-1]


def test_an_affine_that_changes_in_a_run_is_named(daemon, watched):
    watched.put(dicom_files.mosaic(volume(0), 0), "0.dcm")
    watched.put(dicom_files.mosaic(volume(1), 1, shift_mm=3.0), "1.dcm")
    assert arrived(daemon) == [0]
    assert "volume 1 lies 3.0 mm away from 0.dcm" in watched.said[-1]


def test_a_tr_that_changes_in_a_run_is_named(daemon, watched):
    watched.put(dicom_files.mosaic(volume(0), 0), "0.dcm")
    watched.put(dicom_files.mosaic(volume(1), 1, tr_ms=2000), "1.dcm")
    assert arrived(daemon) == [0]
    assert "1.dcm: it says a TR of 2 s, 0.dcm says 1.333 s; not sent" in watched.said[-1]


def test_the_command_sends_what_comes_and_says_how_it_ended(tmp_path, daemon):
    folder = tmp_path / "export"
    folder.mkdir()
    command = [
        sys.executable, "-m", "braind", "send", "--watch", folder, "--session", "s", "--run", "r", "--volumes", "2",
        "--to", f"tcp://127.0.0.1:{daemon.ingest_port}", "--existing",
    ]  # fmt: skip
    staging = tmp_path / "staging"
    staging.mkdir()

    def scan():
        for number in range(2):
            made = save(dicom_files.mosaic(volume(number), number), staging / f"{number}.dcm")
            shutil.move(made, folder / made.name)

    scanner = threading.Thread(target=scan)
    scanner.start()
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    scanner.join()
    assert (ran.returncode, ran.stdout) == (0, "session s, run r: 2 volumes acked, 0 not sent\n"), ran.stderr
    assert daemon.ended == {"r": 2}
