"""`braind sessions export`: a session as a BIDS derivative, and as one file, whole or not at all."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from journal_files import Writer, snapshot
from recorded_session import BETAS, N_BOLD, TR_S, TRIALS, bold, change
from running_daemon import AFFINE, PNG, SHAPE, hello, values

from braind.client import wire
from braind.daemon.journal.journal import Journal
from braind.daemon.journal.recording import Recording
from braind.errors import ExitCode
from braind.offline.bids_tables import LONGEST_LABEL

STEM = "sub-01/ses-ses/func/sub-01_ses-ses_task-decoding"
SPACE = "space-func1pt8mm"


@pytest.fixture(scope="module")
def exported(recorded, tmp_path_factory):
    from braind.offline.sessions.export import export_session

    out = tmp_path_factory.mktemp("exports") / "new/out"
    export_session(recorded / "journals/ses.sqlite3", out)
    return out


def rows(path):
    names, *lines = (line.split("\t") for line in path.read_text().splitlines())
    return [dict(zip(names, line, strict=True)) for line in lines]


def messages(journal_path):
    with Recording(journal_path) as recording:
        return list(recording.messages())


def test_the_bids_validator_finds_no_error(exported):
    validator = Path(sys.executable).with_name("bids-validator-deno")
    ran = subprocess.run([validator, "--format", "json", exported], capture_output=True, text=True, check=False)
    report = json.loads(ran.stdout)
    assert [issue for issue in report["issues"]["issues"] if issue["severity"] == "error"] == []
    assert report["summary"]["totalFiles"] >= 12
    description = json.loads((exported / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"


def test_what_operators_noted_goes_with_its_run(data, braind, tmp_path):
    journal = Journal(data / "journals/ses.sqlite3", wait_for_disk=False)
    journal.add_mark(wire.Mark(note="moved her head", session="ses", run="bold", event=2, made_s=1.7e9, by="desk"))
    journal.close()
    assert braind("export", "ses", "-o", tmp_path / "out", "--data", data).exit_code == ExitCode.OK
    (mark,) = json.loads((tmp_path / "out" / f"{STEM}_run-02_marks.json").read_text())
    assert (mark["note"], mark["event"], mark["made_s"], mark["by"]) == ("moved her head", 2, 1.7e9, "desk")
    assert not (tmp_path / "out" / f"{STEM}_run-01_marks.json").exists()
    assert "*_marks.json" in (tmp_path / "out/.bidsignore").read_text()


def test_betas_lie_on_the_grid_of_the_run_in_the_order_of_their_table(exported, files):
    image = nib.load(exported / f"{STEM}_run-01_{SPACE}_desc-singletrial_statmap.nii.gz")
    volumes, inside = image.get_fdata(dtype=np.float32), files.weights.voxel_index
    assert image.shape == (*SHAPE, len(BETAS))
    assert (image.get_data_dtype(), image.header.get_zooms()[3]) == (np.float32, 4.0)
    assert np.allclose(image.affine, AFFINE, atol=1e-6)
    for at, index in enumerate(BETAS):
        expected = np.zeros(np.prod(SHAPE), np.float32)
        expected[inside] = values(index).reshape(-1)[inside].astype(np.float32) * np.float32(1 / 300)
        assert (volumes[..., at].reshape(-1) == expected).all()
    table = rows(exported / f"{STEM}_run-01_events.tsv")
    assert [row["index"] for row in table] == ["0", "1", "3"]
    assert [row["onset"] for row in table] == ["0.0", "4.0", "12.0"]
    # A tab in a sender's text makes no further cell.
    assert [row["stimulus"] for row in table] == ["n/a", "a picture", "n/a"]
    assert [row["trial_type"] for row in table] == ["picture", "a class", "picture"]
    mask = nib.load(exported / f"{STEM}_run-01_{SPACE}_desc-decoder_mask.nii.gz")
    assert np.flatnonzero(mask.get_fdata()).tolist() == inside.tolist()


def test_bold_keeps_its_time_axis_and_a_missing_volume_is_not_zero(data, files, braind, tmp_path):
    change(data, "DELETE FROM voxels WHERE arrival = 9")
    change(data, "DELETE FROM volumes WHERE arrival = 9")
    assert braind("export", "ses", "-o", tmp_path / "out", "--data", data).exit_code == ExitCode.OK
    stem = f"{tmp_path / 'out'}/{STEM}_run-02_{SPACE}_desc-masked_bold"
    image, inside = nib.load(f"{stem}.nii.gz"), files.weights.voxel_index
    volumes = image.get_fdata(dtype=np.float32)
    assert (image.shape, image.header.get_zooms()[3]) == ((*SHAPE, N_BOLD), TR_S)
    assert image.header.get_xyzt_units() == ("mm", "sec")
    for index in range(N_BOLD):
        expected = np.zeros(np.prod(SHAPE), np.float32)
        expected[inside] = np.nan if index == 5 else bold(index).reshape(-1)[inside]
        assert np.array_equal(volumes[..., index].reshape(-1), expected, equal_nan=True), index
    sidecar = json.loads(Path(f"{stem}.json").read_text(encoding="utf-8"))
    assert (sidecar["RepetitionTime"], sidecar["MissingVolumes"], sidecar["Run"]) == (TR_S, [5], "bold")
    table = rows(tmp_path / "out" / f"{STEM}_run-02_events.tsv")
    assert [(int(row["event"]), float(row["onset"])) for row in table] == list(TRIALS)
    assert [row["trial_type"] for row in table] == ["picture", "house", "picture"]


def test_each_message_is_written_with_its_provenance_and_each_picture_byte_by_byte(exported, recorded):
    n_pictures = 0
    for number, run in ((1, "betas"), (2, "bold")):
        written = json.loads((exported / f"{STEM}_run-{number:02d}_decodes.json").read_text())
        expected = [each for each in messages(recorded / "journals/ses.sqlite3") if each[0].run == run]
        assert len(written) == len(expected)
        for fields, (message, payload) in zip(written, expected, strict=True):
            picture = fields.pop("picture", None)
            assert wire.decode([wire.MAGIC, json.dumps(fields).encode()])[0] == message
            if isinstance(message, wire.Decode):
                assert fields["provenance"]["weights"] == message.provenance.weights
            assert (picture and (exported / picture).read_bytes()) == payload
            n_pictures += picture is not None
    assert n_pictures == len(list(exported.rglob("*.png"))) == 15
    (seen,) = (exported / "sub-01/ses-ses/decodes/run-01").glob("seq-*_index-00001_seen.png")
    assert seen.read_bytes() == PNG


def test_what_only_the_write_ahead_log_holds_is_exported_while_a_daemon_writes(braind, tmp_path):
    (tmp_path / "data/journals").mkdir(parents=True)
    path = tmp_path / "data/journals/ses.sqlite3"
    with Writer(path):
        alone = shutil.copy(path, tmp_path / "alone.sqlite3")
        answer = braind("export", "ses", "--journal", "-o", tmp_path / "copy.sqlite3", "--data", tmp_path / "data")
        assert (answer.exit_code, answer.stdout) == (ExitCode.OK, f"{tmp_path / 'copy.sqlite3'}\n")
        with Recording(path) as live, Recording(tmp_path / "copy.sqlite3") as copy:
            (run,) = live.runs()
            assert copy.runs() == live.runs()
            assert copy.arrivals(run) == live.arrivals(run)
            assert len(live.arrivals(run)) == 4
            assert [copy.volume(each.arrival).voxels.tolist() for each in copy.arrivals(run)] == [
                live.volume(each.arrival).voxels.tolist() for each in live.arrivals(run)
            ]
    assert sorted(file.name for file in tmp_path.glob("copy*")) == ["copy.sqlite3"]
    # The trap that the copy avoids: the file alone lacks what its -wal file holds.
    assert "4 waiting" in braind("show", tmp_path / "copy.sqlite3").stdout
    assert "4 waiting" not in braind("show", alone).stdout


def test_a_copied_journal_verifies_as_the_session_does(braind, recorded, tmp_path):
    braind("export", "ses", "--journal", "-o", tmp_path / "copy.sqlite3", "--data", recorded)
    shown = [braind("show", session, "--data", recorded).stdout for session in ("ses", tmp_path / "copy.sqlite3")]
    assert shown[0] == shown[1]
    assert messages(tmp_path / "copy.sqlite3") == messages(recorded / "journals/ses.sqlite3")


def test_an_output_that_is_there_is_refused_and_overwrite_replaces_only_an_earlier_export(braind, recorded, tmp_path):
    mine, out = tmp_path / "mine", tmp_path / "out"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    for options in ([], ["--overwrite"]):
        answer = braind("export", "ses", "-o", mine, "--data", recorded, *options)
        assert (answer.exit_code, answer.stdout) == (ExitCode.USAGE, "")
        assert [path.name for path in mine.iterdir()] == ["thesis.txt"]
    out.mkdir()
    assert braind("export", "ses", "-o", out, "--data", recorded).exit_code == ExitCode.OK
    (out / "left over").write_text("")
    refused = braind("export", "ses", "-o", out, "--data", recorded)
    assert refused.exit_code == ExitCode.USAGE
    assert "--overwrite" in refused.stderr
    assert (out / "left over").exists()
    assert braind("export", "ses", "-o", out, "--data", recorded, "--overwrite").exit_code == ExitCode.OK
    assert not (out / "left over").exists()
    assert (out / f"{STEM}_run-01_decodes.json").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "out"]


def test_a_journal_is_not_overwritten_with_itself_or_unasked(braind, data, tmp_path):
    path = data / "journals/ses.sqlite3"
    before = path.read_bytes()
    for options in ([], ["--overwrite"]):
        assert braind("export", "ses", "--journal", "-o", path, "--data", data, *options).exit_code == ExitCode.USAGE
    assert path.read_bytes() == before
    (tmp_path / "mine").write_text("mine")
    assert braind("export", "ses", "--journal", "-o", tmp_path / "mine", "--data", data).exit_code == ExitCode.USAGE
    assert (tmp_path / "mine").read_text() == "mine"


def test_an_export_that_fails_half_way_leaves_nothing_and_keeps_an_earlier_export(braind, data, tmp_path):
    (tmp_path / "exports").mkdir()
    out = tmp_path / "exports/out"
    assert braind("export", "ses", "-o", out, "--data", data).exit_code == ExitCode.OK
    before = snapshot(out)
    change(data, "UPDATE voxels SET masked = x'0000' WHERE arrival = 9")
    for options in ([out, "--overwrite"], [tmp_path / "exports/second"]):
        answer = braind("export", "ses", "--data", data, "-o", *options)
        assert (answer.exit_code, answer.stdout) == (ExitCode.FAILED, "")
        assert "Traceback" not in answer.stderr
    assert snapshot(out) == before
    assert [path.name for path in (tmp_path / "exports").iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["../../../../evil", "/evil", "..", "a\0b", "x" * 300, "ä/\n<script>"])
def test_no_name_in_a_journal_leads_out_of_the_folder(braind, tmp_path, name):
    journal = Journal(tmp_path / "hostile.sqlite3", wait_for_disk=False)
    journal.keep_mask("w", np.arange(5))
    journal.open_run(hello(session=name, run=name, space=name, producer=name), "w")
    header = wire.Volume(session=name, run=name, index=0, shape=(1, 1, 5), dtype="float32", crc32=0, stimulus=name)
    journal.add_volume(header, np.arange(5, dtype=np.float32), seen=None, whole=None)
    journal.add_decode(wire.Skipped(seq=1, session=name, run=name, index=0, reason=name))
    journal.close()
    (tmp_path / "here").mkdir()
    answer = braind("export", tmp_path / "hostile.sqlite3", "-o", tmp_path / "here/out")
    assert answer.exit_code == ExitCode.OK, answer.output
    written = {path.relative_to(tmp_path / "here/out") for path in (tmp_path / "here/out").rglob("*") if path.is_file()}
    assert len(written) == 10
    assert all(len(part) < 4 * LONGEST_LABEL and part.isascii() for path in written for part in path.parts)
    assert {path.parts[0] for path in written if len(path.parts) > 1} == {"sub-01"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "hostile.sqlite3"]
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == ["out"]


@pytest.mark.parametrize(
    ("fields", "index", "words"),
    [
        ({"shape": (10**6, 10**6, 10**6)}, 0, "cannot hold shape"),
        ({"affine": ((0.0,) * 4,) * 4}, 0, "cannot hold shape"),
        ({"affine": ((1.0, 0.0, 0.0, 0.0),) * 3}, 0, "cannot hold shape"),
        ({"tr_s": -1.0}, 0, "and TR -1.0"),
        ({"shape": (1, 1, 3)}, 0, "its voxels do not lie in a volume of shape (1, 1, 3)"),
        ({"kind": "bold"}, 2**31 - 2, "volume 2147483646, but a NIfTI file holds at most 32767"),
    ],
)
def test_a_run_that_fits_no_nifti_file_is_refused_at_once(braind, tmp_path, fields, index, words):
    journal = Journal(tmp_path / "hostile.sqlite3", wait_for_disk=False)
    journal.keep_mask("w", np.arange(5))
    journal.open_run(hello(session="hostile", **fields), "w")
    header = wire.Volume(session="ses", run="run-01", index=index, shape=(1, 1, 5), dtype="float32", crc32=0)
    journal.add_volume(header, np.arange(5, dtype=np.float32), seen=None, whole=None)
    journal.close()
    answer = braind("export", tmp_path / "hostile.sqlite3", "-o", tmp_path / "out")
    assert answer.exit_code == ExitCode.FAILED
    assert words in answer.stderr
    assert not (tmp_path / "out").exists()
