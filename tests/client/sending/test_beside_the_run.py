"""What comes into a folder beside the run: references, echoes, other formats, files that are still being filled."""

import os
import shutil
import struct
import subprocess
import sys

import dicom_files
import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner
from dicom_files import AFFINE, save, volume

from braind.cli import main
from braind.client.scanner import ScannerClient
from braind.client.sending.folder_watch import FolderWatch
from braind.client.sending.incoming import IncomingError
from braind.client.sending.run_feed import RunPlan
from braind.client.sending.send import FolderSender
from braind.client.sending.series_choice import Wanted, parse_echo

PLAN = RunPlan(session="s", run="r", tr_s=1.333)
LARGE = (32, 32, 30)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "export"
    path.mkdir()
    return path


@pytest.fixture
def client(daemon):
    with ScannerClient(port=daemon.ingest_port, timeout_s=1, give_up_s=10) as client:
        yield client


def nifti(path, voxels, affine=AFFINE):
    path.parent.mkdir(exist_ok=True)
    image = nib.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm", "sec")
    if voxels.ndim == 4:
        image.header["pixdim"][4] = 1.333
    nib.save(image, path)
    return path


def send_all(folder, client, wanted=None, **options):
    """Send what lies in the folder; return what was said and how much was not sent."""
    said = []
    wanted = wanted or Wanted()
    watch = FolderWatch(folder, existing=True, by_acquisition=wanted.echo is not None)
    sender = FolderSender(watch, client, PLAN, said.append, [], wanted=wanted, **options)
    sender.run(quiet_s=0.15)
    return said, sender.n_refused


def arrived(daemon, run="r"):
    return {index: voxels for (_, name, index), voxels in daemon.volumes.items() if name == run}


def assert_arrived(daemon, volumes, run="r"):
    came = arrived(daemon, run)
    assert sorted(came) == list(range(len(volumes)))
    for index, voxels in enumerate(volumes):
        np.testing.assert_array_equal(came[index], voxels)


# ── references and other scans before the run ─────────────────────────────────────────────────────────────────────────


def described(dataset, description="", comments=""):
    dataset.SeriesDescription, dataset.ImageComments = description or dataset.SeriesDescription, comments
    return dataset


@pytest.mark.parametrize(
    "words", [{"description": "bold_run1_SBRef"}, {"comments": "Single-band reference SENSE1"}], ids=str
)
def test_a_single_band_reference_before_the_run_is_left_and_the_run_is_sent(folder, daemon, client, words):
    reference = described(dicom_files.mosaic(volume(9), 0, series="1.1"), **words)
    save(reference, folder / "0.dcm")
    for n in range(3):
        save(dicom_files.mosaic(volume(n), n, series="1.2"), folder / f"{n + 1}.dcm")
    said, n_refused = send_all(folder, client)
    assert_arrived(daemon, [volume(n) for n in range(3)])
    assert any("is a single-band reference: left" in sentence for sentence in said)
    assert n_refused == 0


def test_a_reference_that_bids_names_is_left(folder, daemon, client):
    nifti(folder / "sub-01_task-x_sbref.nii.gz", volume(9))
    nifti(folder / "sub-01_task-x_bold.nii.gz", np.stack([volume(n) for n in range(3)], axis=3))
    _, n_refused = send_all(folder, client)
    assert_arrived(daemon, [volume(n) for n in range(3)])
    assert n_refused == 0


def test_a_file_of_one_volume_is_no_run(folder, daemon, client):
    nifti(folder / "a_reference.nii", volume(9)[..., None])
    nifti(folder / "bold.nii", np.stack([volume(n) for n in range(3)], axis=3))
    said, _ = send_all(folder, client)
    assert_arrived(daemon, [volume(n) for n in range(3)])
    assert any("has one volume, and a run has more: left" in sentence for sentence in said)


def test_a_localiser_on_another_grid_is_named_and_the_run_is_sent(folder, daemon, client):
    for n in range(2):
        save(dicom_files.mosaic(volume(n, (6, 6, 3)), n, series="1.1"), folder / f"a{n}.dcm")
        save(dicom_files.mosaic(volume(n), n, series="1.3", shift_mm=5), folder / f"b{n}.dcm")
        save(dicom_files.mosaic(volume(n), n, series="1.4"), folder / f"c{n}.dcm")
    said, n_refused = send_all(folder, client)
    assert_arrived(daemon, [volume(0), volume(1)])
    assert n_refused == 2
    assert any("0.dcm has shape (6, 6, 3), the weights (4, 5, 6); series 1.1 is not sent" in one for one in said)
    assert any("lies 5.0 mm away from the weights' grid" in one for one in said)


def test_a_series_that_stays_at_one_volume_gives_way_to_the_series_that_goes_on(folder, daemon, client):
    save(dicom_files.mosaic(volume(9), 0, series="1.1"), folder / "0.dcm")
    for n in range(5):
        save(dicom_files.mosaic(volume(n), n, series="1.2"), folder / f"{n + 1}.dcm")
    said, n_refused = send_all(folder, client)
    assert_arrived(daemon, [volume(9)])
    assert_arrived(daemon, [volume(n) for n in range(5)], run="r-2")
    assert "series 1.1 stayed at one volume; series 1.2 is sent from its beginning" in said
    assert n_refused == 1


def test_two_series_that_come_side_by_side_do_not_take_each_others_place(folder, daemon, client):
    watch = FolderWatch(folder)
    said = []
    sender = FolderSender(watch, client, PLAN, said.append, [])
    for n in range(5):
        save(dicom_files.mosaic(volume(n), n, series="1.1"), folder / f"{n}.dcm")
        save(dicom_files.mosaic(volume(n + 10), n, series="1.2"), folder / f"{n}_moco.dcm")
        for _ in range(2):
            for found in watch.poll():
                sender._take(found)
    assert_arrived(daemon, [volume(n) for n in range(5)])
    assert not arrived(daemon, "r-2")


def test_the_series_is_chosen_by_its_description(folder, daemon, client):
    for n in range(2):
        save(described(dicom_files.mosaic(volume(n), n, series="1.1"), "rest"), folder / f"a{n}.dcm")
        save(described(dicom_files.mosaic(volume(n + 5), n, series="1.2"), "BOLD pictures"), folder / f"b{n}.dcm")
    said, n_refused = send_all(folder, client, Wanted(description="bold"))
    assert_arrived(daemon, [volume(5), volume(6)])
    assert sum("is described as 'rest', not 'bold'" in sentence for sentence in said) == 1
    assert n_refused == 0


def test_a_wrong_choice_is_put_right_by_starting_again_with_the_files_that_lie_there(folder, daemon, client):
    for n in range(3):
        save(dicom_files.mosaic(volume(n), n, series="1.1"), folder / f"a{n}.dcm")
        save(dicom_files.mosaic(volume(n + 5), n, series="1.2"), folder / f"b{n}.dcm")
    said, _ = send_all(folder, client)
    assert any("start again with --existing --series 1.2 --run NAME" in sentence for sentence in said)
    daemon.volumes.clear()
    said, n_refused = send_all(folder, client, Wanted(series="1.2"))
    assert [v.tolist() for v in arrived(daemon).values()] == [volume(n + 5).tolist() for n in range(3)]
    assert n_refused == 0


# ── echoes and parts ──────────────────────────────────────────────────────────────────────────────────────────────────


def with_echo(dataset, echo, acquisition, numbered=True):
    dataset.EchoTime, dataset.AcquisitionNumber = 12.5 * echo, acquisition
    if numbered:
        dataset.EchoNumbers = echo
    return dataset


def echoes(folder, numbered=True):
    """Three volumes of two echoes each in one series, numbered as Siemens numbers them."""
    for n in range(3):
        for echo in (1, 2):
            dataset = dicom_files.mosaic(volume(10 * echo + n), 2 * n + echo - 1)
            save(with_echo(dataset, echo, n + 1, numbered), folder / f"{n}_{echo}.dcm")


def test_a_series_of_two_echoes_is_refused_by_name(folder, daemon, client):
    echoes(folder)
    said, n_refused = send_all(folder, client)
    assert sorted(arrived(daemon)) == [0]
    assert any("mixes magnitude images, echo 1 of 12.5 ms and magnitude images, echo 2 of 25 ms" in one for one in said)
    assert any("--echo 2, or --echo 28.5ms" in sentence for sentence in said)
    assert n_refused == 1


@pytest.mark.parametrize("text", ["2", "25ms"])
def test_one_echo_is_sent_when_it_is_named(folder, daemon, client, text):
    echoes(folder)
    _, n_refused = send_all(folder, client, Wanted(echo=parse_echo(text)))
    assert_arrived(daemon, [volume(20 + n) for n in range(3)])
    assert n_refused == 0


def test_an_echo_number_that_no_header_says_asks_for_the_echo_time(folder, daemon, client):
    echoes(folder, numbered=False)
    said, n_refused = send_all(folder, client, Wanted(echo=parse_echo("2")))
    assert not arrived(daemon)
    assert any("no echo number; choose by time, as --echo 12.5ms" in sentence for sentence in said)
    assert n_refused == 1


@pytest.mark.parametrize("text", ["", "two", "ms", "1.5"])
def test_an_echo_is_a_number_or_a_time(text):
    with pytest.raises(ValueError, match="could not convert|invalid literal"):
        parse_echo(text)


def test_phase_beside_magnitude_in_a_series_that_files_number_is_refused(folder, daemon, client):
    for n in range(4):
        dataset = dicom_files.mosaic(volume(n), n)
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "MP"[n % 2], "ND", "MOSAIC"]
        save(dataset, folder / f"{n}.dcm")
    said, n_refused = send_all(folder, client)
    assert sorted(arrived(daemon)) == [0]
    assert any("mixes magnitude images, echo of 30 ms and phase images" in sentence for sentence in said)
    assert n_refused == 1


def test_a_series_of_phase_images_is_left(folder, daemon, client):
    for n in range(2):
        phase = dicom_files.mosaic(volume(n + 5), n, series="1.1")
        phase.ImageType = ["ORIGINAL", "PRIMARY", "P", "ND", "MOSAIC"]
        save(phase, folder / f"a{n}.dcm")
        save(dicom_files.mosaic(volume(n), n, series="1.2"), folder / f"b{n}.dcm")
    said, n_refused = send_all(folder, client)
    assert_arrived(daemon, [volume(0), volume(1)])
    assert any("holds phase images: left" in sentence for sentence in said)
    assert n_refused == 0


@pytest.mark.parametrize("part", [("M_FFE", "P_FFE"), ("M", "R"), ("M", "I")])
def test_phase_slices_beside_magnitude_slices_do_not_enter_the_volume(folder, daemon, client, part):
    for n in range(2):
        for word, shift in zip(part, (0, 5), strict=True):
            for k, dataset in enumerate(dicom_files.slices(volume(n + shift), n, vendor="Philips")):
                dataset.ImageType = ["ORIGINAL", "PRIMARY", word]
                save(dataset, folder / f"{n}_{k}_{word}.dcm")
    _, n_refused = send_all(folder, client)
    assert_arrived(daemon, [volume(0), volume(1)])
    assert n_refused == 0


@pytest.mark.parametrize(("text", "wanted"), [("12.5ms", 10), ("25ms", 20)])
def test_the_echoes_of_siemens_xa_are_told_apart_by_time(folder, daemon, client, text, wanted):
    for n in range(3):
        for echo in (1, 2):
            one = dicom_files.enhanced([volume(10 * echo + n)], 2 * n + echo - 1)
            for group in one.PerFrameFunctionalGroupsSequence:
                group.FrameContentSequence[0].FrameAcquisitionNumber = n + 1
                group.MREchoSequence = [dicom_files._item(EffectiveEchoTime=12.5 * echo)]
            save(one, folder / f"{n}_{echo}.dcm")
    said, n_refused = send_all(folder, client)
    assert any("mixes" in sentence for sentence in said)
    assert n_refused == 1
    daemon.volumes.clear()
    daemon.runs.clear()
    _, n_refused = send_all(folder, client, Wanted(echo=parse_echo(text)))
    assert_arrived(daemon, [volume(wanted + n) for n in range(3)])
    assert n_refused == 0


def enhanced_echoes():
    both = dicom_files.enhanced([volume(10), volume(11), volume(20), volume(21)], 0, vendor="Philips")
    for number, group in enumerate(both.PerFrameFunctionalGroupsSequence):
        time, echo = number // 6 % 2, number // 12
        group.FrameContentSequence[0].TemporalPositionIndex = time + 1
        group.MREchoSequence = [dicom_files._item(EffectiveEchoTime=12.5 * (echo + 1))]
    return both


def test_the_echoes_of_one_enhanced_file_are_told_apart(folder, daemon, client):
    save(enhanced_echoes(), folder / "a.dcm")
    said, n_refused = send_all(folder, client)
    assert n_refused == 1
    assert any("mixes" in sentence for sentence in said)
    daemon.volumes.clear()
    daemon.runs.clear()
    _, n_refused = send_all(folder, client, Wanted(echo=parse_echo("2")))
    assert_arrived(daemon, [volume(20), volume(21)])
    assert n_refused == 0


def test_the_command_sends_the_echo_and_the_series_that_it_is_told(folder, daemon):
    echoes(folder)
    save(described(dicom_files.mosaic(volume(9), 0, series="1.1"), "localiser"), folder / "0.dcm")
    command = [
        sys.executable, "-m", "braind", "send", "--watch", folder, "--session", "s", "--run", "r", "--existing",
        "--to", f"tcp://127.0.0.1:{daemon.ingest_port}", "--series-description", "bold", "--echo", "25ms",
        "--volumes", "3",
    ]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout) == (0, "session s, run r: 3 volumes acked, 0 not sent\n"), ran.stderr
    assert_arrived(daemon, [volume(20 + n) for n in range(3)])


def test_the_command_asks_for_an_echo_that_is_a_number_or_a_time(folder):
    ran = CliRunner().invoke(main, ["send", "--watch", str(folder), "--echo", "second"])
    assert ran.exit_code == 2
    assert "'second' is neither an echo's number, as 2, nor its time, as 28.5ms" in " ".join(ran.output.split())


# ── names ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "name",
    [
        "f{n}-01.nii".replace("{n}", "sub1-0007-{n:05d}-{n:06d}"),
        "fsub1-0007-{n:05d}-{n:06d}.nii",
        "f-{n:06d}-01.nii",
        "vol_{n:04d}_e1.nii.gz",
        "vol_{n:04d}.NII",
        "vol_{n:04d}.NII.GZ",
        "Vol_{n:04d}.nii",
    ],
)
def test_names_of_spm_and_dcm2niix_are_one_series(folder, daemon, client, name):
    for n in range(3):
        nifti(folder / name.format(n=n + 1), volume(n))
    _, n_refused = send_all(folder, client)
    assert_arrived(daemon, [volume(n) for n in range(3)])
    assert n_refused == 0


def test_two_echoes_in_names_are_refused_and_one_can_be_named(folder, daemon, client):
    for n in range(2):
        for echo in (1, 2):
            nifti(folder / f"vol_{n + 1:04d}_e{echo}.nii", volume(10 * echo + n))
    said, n_refused = send_all(folder, client)
    assert n_refused == 1
    assert any("mixes magnitude images, echo 1 and magnitude images, echo 2" in sentence for sentence in said)
    daemon.volumes.clear()
    _, n_refused = send_all(folder, client, Wanted(echo=parse_echo("2")))
    assert_arrived(daemon, [volume(20), volume(21)])
    assert n_refused == 0


def test_files_of_one_volume_with_four_axes_are_one_series(folder, daemon, client):
    for n in range(3):
        nifti(folder / f"vol_{n + 1:04d}.nii", volume(n)[..., None])
    send_all(folder, client)
    assert_arrived(daemon, [volume(n) for n in range(3)])


def test_a_pair_of_header_and_image_is_one_file(folder, daemon, client):
    for n in range(3):
        nib.save(nib.Nifti1Pair(volume(n), AFFINE), folder / f"vol_{n + 1:04d}.img")
    _, n_refused = send_all(folder, client)
    assert_arrived(daemon, [volume(n) for n in range(3)])
    assert n_refused == 0


def test_a_subfolder_a_run_is_a_series_of_its_own(folder, daemon, client):
    for n in range(3):
        nifti(folder / "run1" / f"vol_{n + 1:04d}.nii", volume(n))
        nifti(folder / "run2" / f"vol_{n + 1:04d}.nii", volume(n + 5))
    send_all(folder, client, each_series=True)
    assert_arrived(daemon, [volume(n) for n in range(3)])
    assert_arrived(daemon, [volume(n + 5) for n in range(3)], run="r-2")


def test_a_subfolder_that_may_not_be_read_is_named_and_the_run_is_sent(folder, daemon, client, monkeypatch):
    nifti(folder / "vol_1.nii", volume(0))
    (folder / "System Volume Information").mkdir()
    scandir = os.scandir

    def guarded(path):
        if "System" in str(path):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    said, n_refused = send_all(folder, client)
    assert_arrived(daemon, [volume(0)])
    assert sum("System Volume Information cannot be read" in sentence for sentence in said) == 1
    assert n_refused == 1


@pytest.mark.parametrize("name", ["Thumbs.db", "desktop.ini", "DICOMDIR", "~$notes.docx"])
def test_what_systems_leave_in_folders_is_passed_over_in_silence(folder, daemon, client, name, monkeypatch):
    monkeypatch.setattr("braind.client.sending.folder_watch.PARSE_PATIENCE_S", 0)
    (folder / name).write_bytes(b"whatever")
    nifti(folder / "vol_1.nii", volume(0))
    said, n_refused = send_all(folder, client)
    assert_arrived(daemon, [volume(0)])
    assert n_refused == 0
    assert not any(name in sentence for sentence in said)


# ── other formats ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("names", "format_name"),
    [
        (("a_1.mgz", "a_2.mgz"), "FreeSurfer's format"),
        (("a.mnc",), "MINC"),
        (("a+orig.HEAD", "a+orig.BRIK"), "AFNI's format"),
        (("a.dtseries.nii",), "CIFTI (surfaces)"),
        (("a.surf.gii",), "GIFTI (surfaces)"),
    ],
)
def test_files_of_another_format_are_named_once_and_the_run_is_sent(folder, daemon, client, names, format_name):
    for name in names:
        (folder / name).write_bytes(b"whatever")
    for n in range(2):
        nifti(folder / f"vol_{n + 1}.nii", volume(n))
    said, n_refused = send_all(folder, client)
    assert_arrived(daemon, [volume(0), volume(1)])
    named = [sentence for sentence in said if f"is {format_name}; it and all like it are left" in sentence]
    assert len(named) == 1
    assert n_refused == 1


def test_complex_voxels_are_refused_by_name_and_the_run_is_sent(folder, daemon, client, monkeypatch):
    monkeypatch.setattr("braind.client.sending.folder_watch.PARSE_PATIENCE_S", 0)
    nifti(folder / "a_0001.nii", volume(0).astype(np.complex64))
    for n in range(2):
        nifti(folder / f"vol_{n + 1}.nii", volume(n))
    said, n_refused = send_all(folder, client)
    assert_arrived(daemon, [volume(0), volume(1)])
    assert any("a_0001.nii holds complex numbers, no magnitudes" in sentence for sentence in said)
    assert n_refused == 1


def without_length(path):
    image = nib.Nifti1Image(volume(0), np.eye(4))
    image.set_qform(None, 0)
    image.set_sform(np.diag([1.8, 0, 1.8, 1]), 1)
    nib.save(image, path)


def with_bytes(at, content):
    def write(path):
        whole = bytearray(nifti(path, volume(0)).read_bytes())
        whole[at : at + len(content)] = content
        path.write_bytes(whole)

    return write


def with_damaged_csa(path):
    dataset = dicom_files.mosaic(volume(0), 0)
    header = bytearray(dataset[0x0029, 0x1010].value)
    header[16 + 84 :] = b"\xff" * len(header[16 + 84 :])
    dataset[0x0029, 0x1010].value = bytes(header)
    save(dataset, path)


def with_odd_length(path):
    whole = save(dicom_files.mosaic(volume(0), 0), path).read_bytes()
    rows = whole.index(b"\x28\x00\x10\x00US\x02\x00")
    path.write_bytes(whole[: rows + 6] + b"\x03\x00" + whole[rows + 8 : rows + 10] + b"\0" + whole[rows + 10 :])


@pytest.mark.parametrize(
    ("name", "write", "sentence"),
    [
        ("a_1.nii", without_length, "its affine gives an axis no length"),
        ("a_1.nii", with_bytes(108, struct.pack("<f", np.inf)), "cannot be read as NIfTI"),  # where the voxels begin
        ("a_1.nii", with_bytes(42, b"\0\0"), "has shape (0, 5, 6)"),
        ("a_1.nii", with_bytes(40, b"\4\0\4\0\5\0\6\0\0\0"), "holds no volume"),
        ("a_20261129120000123456.nii", lambda path: nifti(path, volume(0)), "is no volume's number"),
        ("a.dcm", with_damaged_csa, "a.dcm"),
        ("a.dcm", with_odd_length, "cannot be read as DICOM"),
    ],
)
def test_a_damaged_file_is_named_and_the_run_is_sent(folder, daemon, client, monkeypatch, name, write, sentence):
    monkeypatch.setattr("braind.client.sending.folder_watch.PARSE_PATIENCE_S", 0)
    write(folder / name)
    for n in range(2):
        nifti(folder / f"vol_{n + 1}.nii", volume(n))
    said, n_refused = send_all(folder, client)
    assert_arrived(daemon, [volume(0), volume(1)])
    assert any(name in one and sentence in one for one in said)
    assert n_refused == 1


# ── files that are still being filled ─────────────────────────────────────────────────────────────────────────────────


class Filling:
    """A folder whose files are written into space that was reserved for them."""

    def __init__(self, folder, tmp_path):
        self.folder, self.tmp_path = folder, tmp_path
        self.watch = FolderWatch(folder)

    def put(self, name, number, n_bytes=None, hole=None):
        """Write a file up to n_bytes, or all but a hole; the rest is zeros. Its time stays the same throughout."""
        path = self.tmp_path / name
        if name.endswith(".dcm"):
            save(dicom_files.mosaic(np.clip(volume(number, LARGE), 1, None), number), path)
        else:
            nifti(path, np.clip(volume(number, LARGE), 1, None))
        content = bytearray(path.read_bytes())
        if n_bytes is not None:
            content[n_bytes:] = bytes(len(content) - n_bytes)
        if hole is not None:
            content[hole] = bytes(len(content[hole]))
        (self.folder / name).write_bytes(content)
        os.utime(self.folder / name, ns=(1, 1))

    def look(self):
        return [one for _ in range(3) for one in self.watch.poll()]


@pytest.fixture
def filling(folder, tmp_path):
    return Filling(folder, tmp_path)


@pytest.mark.parametrize("ending", [".nii", ".dcm"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.98])
def test_a_file_of_its_final_size_is_not_taken_before_it_is_filled(filling, monkeypatch, ending, share):
    monkeypatch.setattr("braind.client.sending.folder_watch.FILL_PATIENCE_S", 60)
    filling.put(f"vol_1{ending}", 0, n_bytes=int(2 * np.prod(LARGE) * share))
    assert filling.look() == []
    if ending == ".dcm":
        monkeypatch.setattr("braind.client.sending.folder_watch.FILL_PATIENCE_S", 0)  # blank tiles of a mosaic
    filling.put(f"vol_1{ending}", 0)
    (one,) = filling.look()
    assert one.voxels.min() > 0


def test_a_part_that_is_missing_in_the_middle_is_waited_for(filling, monkeypatch):
    monkeypatch.setattr("braind.client.sending.folder_watch.FILL_PATIENCE_S", 60)
    filling.put("vol_1.nii", 0, hole=slice(20_000, 30_000))
    assert filling.look() == []
    filling.put("vol_1.nii", 0)
    (one,) = filling.look()
    assert one.voxels.min() > 0


def test_a_later_volume_that_stays_half_blank_is_named_and_taken_once_it_is_filled(filling, monkeypatch):
    monkeypatch.setattr("braind.client.sending.folder_watch.PARSE_PATIENCE_S", 0)
    filling.put("vol_1.nii", 0)
    assert [one.index for one in filling.look()] == [0]
    filling.put("vol_2.nii", 1, n_bytes=30_000)
    (error,) = filling.look()
    assert isinstance(error, IncomingError)
    assert error.code == "partial"
    assert "hold only zeros, of earlier volumes 0; it is still being written" in str(error)
    filling.put("vol_2.nii", 1)
    (filling.folder / "vol_2.nii").touch()
    (one,) = filling.look()
    assert one.voxels.min() > 0


def test_volumes_with_blank_slices_are_taken_after_a_moment(filling, tmp_path):
    voxels = volume(0, LARGE)
    voxels[..., 20:] = 0
    for n in (1, 2):
        shutil.copy(nifti(tmp_path / f"vol_{n}.nii", voxels), filling.folder)
    assert [one.index for one in filling.look()] == [0, 1]


def test_a_compressed_file_of_its_final_size_is_not_taken_before_it_is_filled(filling, monkeypatch):
    filling.put("vol_1.nii.gz", 0, n_bytes=20_000)
    assert [one for one in filling.look() if not isinstance(one, IncomingError)] == []
    filling.put("vol_1.nii.gz", 0)
    (one,) = filling.look()
    assert one.voxels.min() > 0


def test_a_sender_does_not_end_while_a_file_may_still_be_filled(folder, daemon, client, monkeypatch):
    monkeypatch.setattr("braind.client.sending.folder_watch.FILL_PATIENCE_S", 0.4)
    save(dicom_files.mosaic(volume(0), 0), folder / "a.dcm")  # its last tiles are blank
    _, n_refused = send_all(folder, client)  # ends when it is quiet for 0.15 s
    assert_arrived(daemon, [volume(0)])
    assert n_refused == 0
