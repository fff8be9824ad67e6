"""Philips PAR/REC is sent as nibabel reads it; what is no run in time is named."""

import shutil
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.parrec import PARRECArrayProxy, PARRECHeader, parse_PAR_header

from braind.client.scanner import ScannerClient
from braind.client.sending.folder_watch import FolderWatch
from braind.client.sending.incoming import IncomingError, onto_grid
from braind.client.sending.parrec import n_volumes, read_parrec
from braind.client.sending.run_feed import RunPlan
from braind.client.sending.send import FolderSender, send_file
from braind.client.sending.series_choice import Wanted

NIBABELS = Path(nib.__file__).parent / "tests/data"
PLAN = RunPlan(session="s", run="r")
PHANTOM = "phantom_EPI_asc_CLEAR_2_1"


@pytest.fixture
def client(daemon):
    with ScannerClient(port=daemon.ingest_port, timeout_s=1, give_up_s=10) as client:
        yield client


def theirs(name):
    with warnings.catch_warnings(), (NIBABELS / f"{name}.PAR").open() as lines:
        warnings.simplefilter("ignore")
        header = PARRECHeader.from_fileobj(lines, permit_truncated=True, strict_sort=True)
    return np.asarray(PARRECArrayProxy(str(NIBABELS / f"{name}.REC"), header)), header.get_affine()


def pair(folder, name):
    """A PAR of nibabel's with a REC of zeros of the size that it announces."""
    folder.mkdir(exist_ok=True)
    shutil.copy(NIBABELS / f"{name}.PAR", folder)
    with (NIBABELS / f"{name}.PAR").open() as text:
        _, images = parse_PAR_header(text)
    x, y = images["recon resolution"][0]
    (folder / f"{name}.REC").write_bytes(bytes(int(x) * int(y) * 2 * len(images)))
    return folder / f"{name}.PAR"


@pytest.mark.parametrize("ending", [".PAR", ".REC"])
@pytest.mark.parametrize("name", [PHANTOM, "phantom_varscale", "phantom_truncated"])
def test_a_pair_is_read_as_nibabel_reads_it(name, ending):
    path = NIBABELS / f"{name}{ending}"
    values, affine = theirs(name)
    found = list(read_parrec(path))
    assert len(found) == n_volumes(path) == values.shape[3]
    for index, one in enumerate(found):
        np.testing.assert_allclose(one.voxels * one.scale, values[..., index], rtol=1e-6)
        np.testing.assert_array_equal(one.affine, affine)
        assert (one.index, one.tr_s) == (index, 2.0)
    assert [one.index for one in read_parrec(path, 2)] == [2]


def test_a_pair_is_sent_as_a_run_of_whole_volumes(daemon, client):
    said = []
    assert send_file(NIBABELS / f"{PHANTOM}.PAR", client, PLAN, said.append, []) == 3
    grid = client.grid()
    for one in read_parrec(NIBABELS / f"{PHANTOM}.PAR"):
        expected, _ = onto_grid(one, grid)
        np.testing.assert_array_equal(daemon.volumes["s", "r", one.index], expected)
        assert daemon.headers["s", "r", one.index].scale == one.scale
    assert daemon.hellos["s", "r"].tr_s == 2.0
    assert daemon.ended == {"r": 3}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("T1_dual_echo", "differ in echo number, not only in time"),
        ("T1_3echo_mag_real_imag_phase", "differ in echo number, image_type_mr"),
        ("DTI", "gradient orientation number"),
        ("DTIv40", "diffusion direction"),
        ("ASL_3D_Multiecho", "echo number, label type"),
    ],
)
def test_a_pair_that_is_no_run_in_time_is_named(tmp_path, name, words):
    with pytest.raises(IncomingError, match=words) as refused:
        next(read_parrec(pair(tmp_path, name)))
    assert name in str(refused.value)


def test_a_pair_without_its_other_half_or_cut_short_is_named(tmp_path):
    shutil.copy(NIBABELS / f"{PHANTOM}.PAR", tmp_path)
    with pytest.raises(IncomingError, match="one of the pair is missing or cut short"):
        next(read_parrec(tmp_path / f"{PHANTOM}.PAR"))
    (tmp_path / f"{PHANTOM}.REC").write_bytes((NIBABELS / f"{PHANTOM}.REC").read_bytes()[:-100])
    with pytest.raises(IncomingError, match="one of the pair is missing or cut short"):
        next(read_parrec(tmp_path / f"{PHANTOM}.PAR"))
    (tmp_path / f"{PHANTOM}.PAR").write_text("no header")
    with pytest.raises(IncomingError, match="cannot be read as PAR/REC"):
        next(read_parrec(tmp_path / f"{PHANTOM}.PAR"))


def of_one_volume(folder, number, *, n_slices=9):
    """Write one dynamic of the phantom as a pair of its own, as real-time export does."""
    lines = (NIBABELS / f"{PHANTOM}.PAR").read_text().splitlines(keepends=True)
    is_image = [bool(line.strip()) and line[0] not in "#." for line in lines]
    images = [line for line, image in zip(lines, is_image, strict=True) if image]
    with (NIBABELS / f"{PHANTOM}.PAR").open() as text:
        _, fields = parse_PAR_header(text)
    chosen = np.flatnonzero(fields["dynamic scan number"] == number)[:n_slices]
    last = len(lines) - 1 - is_image[::-1].index(True)
    kept = [line for line, image in zip(lines[: last + 1], is_image, strict=False) if not image]
    stem = folder / f"Dump-{number:04d}"
    stem.with_suffix(".par").write_text("".join([*kept, *(images[position] for position in chosen)]))
    planes = np.frombuffer((NIBABELS / f"{PHANTOM}.REC").read_bytes(), "<u2").reshape(len(images), -1)
    stem.with_suffix(".rec").write_bytes(planes[chosen].tobytes())


def test_pairs_of_one_volume_arrive_as_they_come_into_a_folder(tmp_path, daemon, client):
    said = []
    watch = FolderWatch(tmp_path)
    sender = FolderSender(watch, client, PLAN, said.append, [], wanted=Wanted(series="Dump-"))

    def look():
        for _ in range(2):
            for found in watch.poll():
                sender._take(found)

    for number in (1, 2, 3):
        of_one_volume(tmp_path, number)
        par = (tmp_path / f"Dump-{number:04d}.par").read_bytes()
        (tmp_path / f"Dump-{number:04d}.par").unlink()
        look()  # the REC came first
        (tmp_path / f"Dump-{number:04d}.par").write_bytes(par)
        look()
    sender.end()
    assert sorted(index for *_, index in daemon.volumes) == [0, 1, 2], said
    whole = list(read_parrec(NIBABELS / f"{PHANTOM}.PAR"))
    for one in whole:
        np.testing.assert_array_equal(daemon.volumes["s", "r", one.index], onto_grid(one, client.grid())[0])
    assert sender.n_refused == 0


def test_a_pair_that_lacks_slices_is_partial(tmp_path):
    of_one_volume(tmp_path, 1, n_slices=7)
    with pytest.raises(IncomingError, match="7 of 9 slices; it is cut short") as refused:
        next(read_parrec(tmp_path / "Dump-0001.par"))
    assert refused.value.code == "partial"
