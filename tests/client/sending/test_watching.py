"""A watched folder as scanners, shares and people leave it."""

import os

import dicom_files
import nibabel as nib
import numpy as np
import pytest
from dicom_files import AFFINE, save, volume
from pydicom.uid import generate_uid

from braind.client import wire
from braind.client.connection import RefusedByDaemon
from braind.client.scanner import ScannerClient
from braind.client.sending.folder_watch import FolderWatch
from braind.client.sending.incoming import Incoming, IncomingError
from braind.client.sending.run_feed import RunPlan
from braind.client.sending.send import FolderSender, candidate, stale
from braind.client.sending.series_choice import Wanted

PLAN = RunPlan(session="s", run="r", tr_s=1.333)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "export"
    path.mkdir()
    return path


@pytest.fixture
def client(daemon):
    with ScannerClient(port=daemon.ingest_port, timeout_s=1, give_up_s=10) as client:
        yield client


def nifti(path, voxels):
    image = nib.Nifti1Image(voxels, AFFINE)
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, path)
    return path


def look(watch, n=2):
    """The indices that came in `n` looks; errors are raised."""
    found = [one for _ in range(n) for one in watch.poll()]
    for one in found:
        if isinstance(one, IncomingError):
            raise one
    return [one.index for one in found if isinstance(one, Incoming)]


def test_a_file_is_taken_once_it_stayed_the_same_for_two_looks(folder):
    watch = FolderWatch(folder)
    nifti(folder / "vol_0001.nii", volume(0))
    assert look(watch, 1) == []
    assert look(watch, 1) == [0]
    assert look(watch, 3) == []


def test_a_file_that_grows_between_looks_is_waited_for(folder, tmp_path):
    watch = FolderWatch(folder)
    whole = nifti(tmp_path / "vol_0001.nii", volume(0)).read_bytes()
    for n_bytes in range(100, len(whole), 120):
        (folder / "vol_0001.nii").write_bytes(whole[:n_bytes])
        assert look(watch, 1) == []
    (folder / "vol_0001.nii").write_bytes(whole)
    assert look(watch) == [0]
    assert watch.unfinished() == []


def test_a_file_that_is_overwritten_at_the_same_size_is_waited_for(folder):
    watch = FolderWatch(folder)
    path = nifti(folder / "vol_0001.nii", volume(0))
    assert look(watch, 1) == []
    status = path.stat()
    nifti(path, volume(1))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))
    assert look(watch, 1) == []
    assert look(watch, 1) == [0]


def test_a_copy_that_pauses_is_read_when_it_is_whole_even_after_it_was_named(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("braind.client.sending.folder_watch.PARSE_PATIENCE_S", 0)
    watch = FolderWatch(folder)
    whole = nifti(tmp_path / "vol_0001.nii.gz", volume(0)).read_bytes()
    (folder / "vol_0001.nii.gz").write_bytes(whole[:-20])
    with pytest.raises(IncomingError, match=r"vol_0001\.nii\.gz cannot be read"):
        look(watch)
    assert look(watch, 3) == []
    (folder / "vol_0001.nii.gz").write_bytes(whole)
    assert look(watch) == [0]


def test_a_file_written_anew_under_its_name_is_another_file(folder):
    watch = FolderWatch(folder)
    path = nifti(folder / "vol_0001.nii", volume(0))
    assert look(watch) == [0]
    nifti(path, volume(1, (4, 5, 7)))
    assert look(watch) == [0]


def test_a_temporary_file_that_becomes_the_volume_by_its_name_is_one_volume(folder):
    watch = FolderWatch(folder)
    temporary = folder / "vol_0001.nii.part"
    nifti(folder / "made.nii", volume(0)).rename(temporary)
    assert look(watch, 3) == []
    temporary.rename(folder / "vol_0001.nii")
    assert look(watch) == [0]


@pytest.mark.parametrize("name", ["a.json", "LOG.TXT", "x.bval", "x.bvec", "y.tmp", ".DS_Store", "z.partial"])
def test_files_that_are_no_volumes_are_passed_over_in_silence(folder, name, monkeypatch):
    monkeypatch.setattr("braind.client.sending.folder_watch.PARSE_PATIENCE_S", 0)
    watch = FolderWatch(folder)
    (folder / name).write_bytes(b"whatever")
    (folder / "a folder.dcm").mkdir()
    assert look(watch, 3) == []
    assert watch.unfinished() == []


def test_a_file_that_vanishes_between_looks_is_forgotten(folder):
    watch = FolderWatch(folder)
    path = nifti(folder / "vol_0001.nii", volume(0))
    assert look(watch, 1) == []
    path.unlink()
    assert look(watch, 2) == []


def test_a_share_that_is_unmounted_in_the_run_is_an_error_with_the_likely_cause(folder):
    watch = FolderWatch(folder)
    folder.rmdir()
    with pytest.raises(IncomingError, match="cannot be listed .*is the share still mounted"):
        look(watch)


def test_a_folder_that_is_not_there_is_refused_at_the_start(tmp_path):
    with pytest.raises(IncomingError, match="is no folder; give the one that the scanner's export writes to"):
        FolderWatch(tmp_path / "nowhere")


def test_many_files_at_once_come_in_the_order_of_their_numbers(folder):
    watch = FolderWatch(folder)
    for number in (10, 2, 1, 9):
        nifti(folder / f"vol_{number}.nii", volume(number))
    assert look(watch) == [0, 1, 8, 9]


def test_what_lay_there_before_is_counted_and_said_or_sent_where_that_is_asked_for(folder):
    nifti(folder / "vol_0001.nii", volume(0))
    watch = FolderWatch(folder)
    assert list(stale(watch)) == [f"1 files that lie in {folder} already are passed over; --existing sends them too"]
    assert look(watch) == []
    everything = FolderWatch(folder, existing=True)
    assert list(stale(everything)) == []
    assert look(everything) == [0]


# ── the sender ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_sender_stops_after_the_volumes_that_were_asked_for_and_ends_the_run(folder, daemon, client):
    for number in (1, 2, 3):
        nifti(folder / f"vol_{number}.nii", volume(number))
    sender = FolderSender(FolderWatch(folder, existing=True), client, PLAN, print, [])
    sender.run(max_volumes=3)
    assert (sender.n_acked, sender.n_refused) == (3, 0)
    assert daemon.ended == {"r": 3}


def test_a_sender_stops_when_nothing_came_for_long_enough_and_names_the_half_written(folder, daemon, client):
    said = []
    nifti(folder / "vol_1.nii", volume(1))
    (folder / "vol_2.nii").write_bytes(b"\0" * 100)
    sender = FolderSender(FolderWatch(folder, existing=True), client, PLAN, said.append, [])
    sender.run(quiet_s=0.15)
    assert (sender.n_acked, sender.n_refused) == (1, 1)
    assert any(sentence == "vol_2.nii is half-written, 100 bytes; not sent" for sentence in said)
    assert daemon.ended == {"r": 1}


def test_a_volume_that_the_daemon_refuses_is_named_with_its_file_and_the_next_is_sent(folder, daemon, client):
    said = []
    daemon.refuse[1] = wire.Refused(code="not_finite", sentence="3 voxels are NaN", session="s", run="r", index=1)
    for number in (1, 2, 3):
        nifti(folder / f"vol_{number}.nii", volume(number))
    sender = FolderSender(FolderWatch(folder, existing=True), client, PLAN, said.append, [])
    sender.run(max_volumes=2)
    assert "vol_2.nii: 3 voxels are NaN" in said
    assert sorted(index for *_, index in daemon.volumes) == [0, 2]
    assert sender.n_refused == 1


def test_a_run_that_the_daemon_refuses_ends_the_sender(folder, daemon, client):
    daemon.refuse_hello = wire.Refused(code="affine", sentence="another place")
    nifti(folder / "vol_1.nii", volume(1))
    sender = FolderSender(FolderWatch(folder, existing=True), client, PLAN, print, [])
    with pytest.raises(RefusedByDaemon, match="another place"):
        sender.run(max_volumes=1)


def test_the_series_that_is_named_is_the_only_one_sent(folder, daemon, client):
    said, wanted = [], generate_uid()
    save(dicom_files.mosaic(volume(7), 0), folder / "0.dcm")
    save(dicom_files.mosaic(volume(8), 0, series=wanted), folder / "1.dcm")
    sender = FolderSender(
        FolderWatch(folder, existing=True), client, PLAN, said.append, [], wanted=Wanted(series=wanted)
    )
    sender.run(quiet_s=0.15)
    np.testing.assert_array_equal(daemon.volumes["s", "r", 0], volume(8))
    assert len(daemon.volumes) == 1
    assert "is of another series" in " ".join(said)


@pytest.mark.parametrize(("name", "meant"), [("17", 17), ("0", 0), ("a crab", "a crab"), ("-3", "-3"), ("1.5", "1.5")])
def test_a_candidate_is_a_number_or_a_label(name, meant):
    assert candidate(name) == meant
