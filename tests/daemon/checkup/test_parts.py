"""The parts of `braind check` that need no process: files, ports, keys, disk, speed and clock."""

import socket
import time
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from msgspec import structs
from nifti_files import nifti
from running_daemon import AFFINE, SHAPE, random_weights

from braind.client.key import Key
from braind.config import load_config
from braind.daemon.access.keyring import make_keys
from braind.daemon.checkup import disk
from braind.daemon.checkup.clock import ClockCheck
from braind.daemon.checkup.disk import check_disk
from braind.daemon.checkup.files import check_files
from braind.daemon.checkup.network import check_keys, check_network
from braind.daemon.checkup.plan import CheckPlan
from braind.daemon.checkup.report import Report
from braind.daemon.checkup.trial_run import compare_speed
from braind.daemon.journal.journal import Journal
from braind.daemon.link import DecoderSettings
from braind.offline.from_settings import pipeline_settings


@pytest.fixture
def plan(files, tmp_path):
    """A plan whose parts can be replaced."""

    def plan_with(weights=files.weights_path, candidates=files.candidates_path, serve=None, **fields):
        free = {"ingest_port": 0, "decodes_port": 0, "control_port": 0}
        config = load_config(None, {"paths": {"data": str(tmp_path / "data")}, "serve": {**free, **(serve or {})}})
        decoder = DecoderSettings(
            weights_path=str(weights), candidates_path=str(candidates), pipeline=pipeline_settings(config)
        )
        fields = {
            "subject": 1, "kind": "beta", "mask_paths": (), "tr_s": None, "n_volumes": 100, "volume_path": None,
            **fields,
        }  # fmt: skip
        return CheckPlan(config=config, decoder=decoder, **fields)

    return plan_with


@pytest.fixture
def report():
    return Report(lambda line: None)


def failed(report):
    return [(line.check, line.exit_status) for line in report.lines if line.level == "fail"]


def of(report, name):
    (line,) = [line for line in report.lines if line.check == name]
    return line


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_files_that_fit_are_ok(plan, report, files):
    weights = check_files(plan(), report)
    assert weights is not None
    assert weights.fingerprint == files.weights.fingerprint
    assert [(line.check, line.level) for line in report.lines] == [
        (name, "ok") for name in ("weights", "candidates", "ldm")
    ]


@pytest.mark.parametrize("case", ["subject", "z_score", "damaged", "unreadable", "tr"])
def test_weights_that_cannot_be_used_live_are_2(plan, report, files, tmp_path, case):
    path, fields = tmp_path / "w.safetensors", {}
    card = files.weights.card
    if case == "subject":
        files.weights.save(path)
        fields = {"subject": 2}
    elif case == "z_score":
        replace(files.weights, card=structs.replace(card, z_score="full"), fingerprint="").save(path)
    elif case == "damaged":
        path.write_bytes(files.weights_path.read_bytes()[:-100])
    elif case == "unreadable":
        path = tmp_path / ("w" * 5000)
    else:
        replace(files.weights, card=structs.replace(card, kind="bold", tr_s=1.3), fingerprint="").save(path)
        fields = {"tr_s": 1.6}
    assert check_files(plan(weights=path, **fields), report) is None
    assert failed(report) == [("weights", 2)]


def test_weights_of_another_ldm_are_2(plan, report, files, tmp_path):
    random_weights(files.ldm._replace(fingerprint="another-ldm")).save(tmp_path / "w.safetensors")
    check_files(plan(weights=tmp_path / "w.safetensors"), report)
    assert failed(report) == [("ldm", 2)]
    assert "another-ldm" in of(report, "ldm").sentence


def test_candidates_of_another_model_are_2(plan, report, files, tmp_path):
    replace(files.candidates, c=files.candidates.c[:, :3]).save(tmp_path / "c.safetensors")
    check_files(plan(candidates=tmp_path / "c.safetensors"), report)
    assert failed(report) == [("candidates", 2)]


def test_bold_with_weights_fitted_on_betas_is_a_warning(plan, report):
    check_files(plan(kind="bold"), report)
    assert of(report, "weights").level == "warn"
    assert "--kind bold" in of(report, "weights").sentence


def test_a_mask_without_voxels_and_masks_of_two_grids_are_2(plan, report, tmp_path):
    empty = nifti(tmp_path / "empty.nii", np.zeros(SHAPE, np.uint8))
    full = nifti(tmp_path / "full.nii", np.ones(SHAPE, np.uint8))
    other = nifti(tmp_path / "other.nii", np.ones((3, 3, 3), np.uint8))
    for masks in ((empty,), (full, other)):
        assert check_files(plan(mask_paths=masks), report) is None
    assert failed(report) == [("mask", 2)] * 2
    assert check_files(plan(mask_paths=(full, empty)), report) is not None


def test_a_volume_of_another_place_shape_or_tr_is_2(plan, report, tmp_path):
    values = np.zeros((*SHAPE, 2), np.int16)
    shifted, placeless = np.array(AFFINE), np.array(AFFINE)
    shifted[0, 3] += 0.2
    placeless[0, 0] = np.nan
    image = nib.Nifti1Image(values, None)
    image.header.set_sform(placeless, 1)
    nib.save(image, tmp_path / "placeless.nii")
    (tmp_path / "text.nii").write_text("no image")
    for path, words in (
        (nifti(tmp_path / "moved.nii", values, shifted), "0.2 mm away"),
        (nifti(tmp_path / "small.nii", values[1:]), "shape (6, 8, 9)"),
        (nifti(tmp_path / "slice.nii", values[0, :, :, 0]), "shape (8, 9)"),
        (nifti(tmp_path / "fast.nii", values, tr_s=0.8), "a TR of 0.8 s"),
        (tmp_path / "placeless.nii", "finite"),
        (tmp_path / "text.nii", "cannot be read as NIfTI"),
    ):
        report.lines.clear()
        assert check_files(plan(volume_path=path, tr_s=2.0), report) is not None
        assert failed(report) == [("volume", 2)]
        assert words in of(report, "volume").sentence


def test_a_volume_whose_axes_are_turned_as_send_does_fits(plan, report, tmp_path):
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = SHAPE[0] - 1
    turned = nifti(tmp_path / "turned.nii", np.zeros(SHAPE, np.int16), np.array(AFFINE) @ flip)
    check_files(plan(volume_path=turned), report)
    assert of(report, "volume").level == "ok"
    assert "from LAS to RAS" in of(report, "volume").sentence


# ── ports and keys ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_port_that_is_taken_or_given_twice_is_4(plan, report):
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = {"ingest_port": one.getsockname()[1], "control_port": other.getsockname()[1]}
        check_network(plan(serve=ports), None, report)
    assert failed(report) == [("ports", 4)] * 2
    report.lines.clear()
    check_network(
        plan(serve={"decodes_port": ports["ingest_port"], "control_port": ports["ingest_port"]}), None, report
    )
    assert failed(report) == [("ports", 4)] * 2
    report.lines.clear()
    check_network(plan(serve=ports), None, report)
    assert not failed(report)


def test_an_address_that_the_daemon_refuses_is_4(plan, report):
    check_network(plan(serve={"host": "0.0.0.0"}), None, report)
    assert failed(report) == [("address", 4)]


def test_keys_that_others_can_open_are_4(plan, report, tmp_path):
    folder = tmp_path / "data" / "keys"
    make_keys(folder)
    secret = Key.load(folder / "owner.key").secret
    check_keys(plan(), report)
    assert of(report, "keys").level == "ok"
    for path, right, modes in ((folder, 0o700, (0o755, 0o710)), (folder / "owner.key", 0o600, (0o640, 0o604, 0o620))):
        for mode in modes:
            report.lines.clear()
            path.chmod(mode)
            check_keys(plan(), report)
            assert failed(report) == [("keys", 4)]
            assert f"chmod {right:o} {path}" in of(report, "keys").sentence
            assert secret not in of(report, "keys").sentence
        path.chmod(right)


@pytest.mark.parametrize("lost", ["server.json", "clients.json"])
def test_keys_that_the_daemon_would_refuse_are_4(plan, report, tmp_path, lost):
    folder = tmp_path / "data" / "keys"
    make_keys(folder)
    (folder / lost).write_text("{")
    check_keys(plan(serve={"keys": "required"}), report)
    assert failed(report) == [("keys", 4)]
    assert f"{lost} is no key file" in of(report, "keys").sentence


def test_what_keys_do_is_said_as_the_daemon_will_use_them(plan, report, tmp_path):
    check_keys(plan(serve={"keys": "required"}), report)
    assert "only programs of this machine" not in of(report, "keys").sentence
    report.lines.clear()
    make_keys(tmp_path / "data" / "keys")
    check_keys(plan(), report)
    assert "no key is required" in of(report, "keys").sentence
    report.lines.clear()
    (tmp_path / "data" / "keys" / "owner.key").unlink()
    check_keys(plan(serve={"keys": "required"}), report)
    assert of(report, "keys").level == "warn"


# ── disk, speed and clock ───────────────────────────────────────────────────────────────────────────────────────────


def test_more_volumes_than_the_disk_has_room_for_are_5(plan, report, files):
    assert check_disk(plan(n_volumes=10**13), files.weights, None, report)
    assert failed(report) == [("disk", 5)]


def test_room_for_the_voxels_but_perhaps_not_for_the_pictures_is_a_warning(plan, report, files, tmp_path):
    assert check_disk(plan(), files.weights, None, report)
    figures = of(report, "disk").figures
    n_volumes = int(figures["free_bytes"] / (figures["most_bytes"] / 100) * 1.5)
    report.lines.clear()
    check_disk(plan(n_volumes=n_volumes), files.weights, None, report)
    assert of(report, "disk").level == "warn"


def test_whole_volumes_take_more_room(plan, report, files):
    check_disk(plan(), files.weights, None, report)
    check_disk(plan(serve={"store_volumes": True}), files.weights, None, report)
    masked, whole = (line.figures["least_bytes"] for line in report.lines if line.check == "disk")
    assert whole - masked == 100 * 4 * np.prod(SHAPE)


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_writing_is_measured_as_the_journal_commits(plan, report, files, monkeypatch, durability):
    pragmas = []

    class Watched(Journal):
        def close(self):
            pragmas.append(self._database.row("PRAGMA synchronous")[0])
            super().close()

    monkeypatch.setattr(disk, "Journal", Watched)
    check_disk(plan(serve={"durability": durability}), files.weights, None, report)
    assert pragmas == [{"full": 2, "normal": 1}[durability]]
    assert of(report, "writing").level == "ok"


def test_a_data_folder_that_cannot_be_made_is_5(plan, report, files, tmp_path):
    (tmp_path / "data").write_text("no folder")
    assert not check_disk(plan(), files.weights, None, report)
    assert failed(report) == [("disk", 5), ("writing", 5)]


@pytest.mark.parametrize(
    ("tr_s", "level", "status"), [(None, "ok", 0), (2.0, "ok", 0), (1.1, "warn", 0), (0.9, "fail", 6)]
)
def test_the_slow_volumes_are_compared_with_the_tr(report, tr_s, level, status):
    compare_speed([0.1] * 7 + [1.0], {"xzc": [0.1, 0.1, 1.0]}, tr_s, report)
    (line,) = report.lines
    assert (line.level, line.exit_status) == (level, status)
    assert line.figures == {"p50_s": 0.1, "p95_s": 1.0, "xzc_s": 0.1}


def test_a_clock_that_is_set_during_the_check_or_lies_in_the_past_is_a_warning(report, tmp_path):
    shift_s = [0.0]
    clock = ClockCheck(lambda: time.time() + shift_s[0])
    clock.finish(tmp_path, report)
    shift_s[0] = -1.0
    clock.finish(tmp_path, report)
    ClockCheck(lambda: 1000.0 + time.monotonic()).finish(tmp_path, report)
    assert [line.level for line in report.lines] == ["ok", "warn", "warn"]
    assert "was set by -1.000 s" in report.lines[1].sentence
    assert "set the clock" in report.lines[2].sentence
