"""`braind sessions verify`: z, c and pictures of a real daemon's session are made again, bit for bit."""

import json
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from recorded_session import change, change_message

from braind.config import load_config
from braind.daemon.decoder.remake import Remakers
from braind.daemon.decoder.verify import NO_HASH, verify_session
from braind.daemon.journal.recording import Recording
from braind.errors import ExitCode
from braind.offline.from_settings import pipeline_settings, presets_of

N_BETAS, N_BOLD = 10, 17
"""Decodes of the two runs."""


@pytest.fixture(autouse=True)
def own_threads():
    """Verification takes the threads of the journal, for the whole process."""
    n_threads = torch.get_num_threads()
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module")
def remakers(files):
    config = load_config(None, {})
    return Remakers(pipeline_settings(config), presets_of(config), [files.weights_path])


def verified(data, remakers):
    with Recording(data / "journals/ses.sqlite3") as recording:
        return verify_session(recording, remakers)


def seq_of(data, **fields):
    """Return the number of the first message with these fields."""
    with Recording(data / "journals/ses.sqlite3") as recording:
        return next(
            message.seq
            for message, _ in recording.messages()
            if all(getattr(message, name) == value for name, value in fields.items())
        )


def set_voxel(data, arrival, number):
    with Recording(data / "journals/ses.sqlite3") as recording:
        voxels = recording.voxels(arrival).copy()
    voxels[7] += np.float32(number)
    change(data, "UPDATE voxels SET masked = ? WHERE arrival = ?", voxels.tobytes(), arrival)


def test_a_session_verifies_with_other_threads_and_settings_than_its_daemon_had(braind, recorded):
    torch.set_num_threads(2)
    answer = braind("verify", "ses", "--data", recorded, "--preset", "quality-20", "--seed", "7")
    assert answer.stdout.splitlines() == [
        f"run betas: {N_BETAS} equal, 0 different, 0 cannot be checked",
        f"run bold: {N_BOLD} equal, 0 different, 0 cannot be checked",
    ]
    assert answer.exit_code == ExitCode.OK


def test_one_changed_voxel_of_a_beta_is_found_and_the_command_fails(braind, data):
    set_voxel(data, 2, 0.001)
    answer = braind("verify", "ses", "--data", data)
    assert answer.exit_code == ExitCode.FAILED
    assert "different: volume 1, scores: z and c made again" in answer.stdout
    assert f"run bold: {N_BOLD} equal, 0 different" in answer.stdout


def test_one_changed_voxel_of_bold_changes_each_later_estimate(data, remakers):
    set_voxel(data, 3 + 1 + 5, 0.5)  # volume 5, after three betas
    betas, bold = verified(data, remakers)
    assert betas.is_equal
    assert len(bold.different) >= 5
    assert "volume 4, event 0, scores" not in str(bold.different)
    assert "volume 7, event 1, scores" in str(bold.different)
    assert bold.n_equal + len(bold.different) == N_BOLD
    assert bold.unchecked == {}


def test_a_changed_onset_is_found(data, remakers):
    with Recording(data / "journals/ses.sqlite3") as recording:
        header, *_ = recording.events(recording.runs()[1])
    content = json.dumps(
        {"type": "event", "session": "ses", "run": "bold", "event": 0, "onset_s": header.onset_s + 0.5}
    )
    change(data, "UPDATE events SET header = ? WHERE event = 0", content.encode())
    assert verified(data, remakers)[1].different


def test_a_changed_hash_of_z_and_c_is_found(data, remakers):
    seq = seq_of(data, run="bold", stage="scores", is_final=True)
    change_message(data, seq, lambda fields: fields.update(latents="0" * 64))
    betas, bold = verified(data, remakers)
    assert betas.is_equal
    assert (bold.n_equal, len(bold.different)) == (N_BOLD - 1, 1)
    assert "z and c" in bold.different[0]


def one_pixel_darker(png):
    pixels = np.array(Image.open(BytesIO(png)))
    pixels[3, 4, 1] ^= 1
    content = BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


@pytest.mark.parametrize(
    ("stage", "edit"),
    [
        ("xz", one_pixel_darker),
        ("xzc", one_pixel_darker),
        ("refined", one_pixel_darker),
        ("xz", lambda png: png[:-30]),
        ("xzc", lambda png: b""),
        ("refined", lambda png: png[:60] + b"\0" + png[61:]),
    ],
    ids=["xz", "xzc", "refined", "cut", "gone", "byte"],
)
def test_a_changed_picture_is_found(data, remakers, stage, edit):
    seq = seq_of(data, run="betas", index=3, stage=stage)
    with Recording(data / "journals/ses.sqlite3") as recording:
        ((_, _, png, _),) = recording.published(seq, 1)
    change(data, "UPDATE decodes SET payload = ? WHERE seq = ?", edit(png), seq)
    betas, bold = verified(data, remakers)
    assert bold.is_equal
    assert betas.different == [f"volume 3, {stage}: the picture made again from the volumes differ from the journal's"]


def test_the_same_pixels_in_another_png_are_the_same_picture(data, remakers):
    seq = seq_of(data, run="betas", index=3, stage="xzc")
    with Recording(data / "journals/ses.sqlite3") as recording:
        ((_, _, png, _),) = recording.published(seq, 1)
    content = BytesIO()
    Image.open(BytesIO(png)).save(content, "PNG", compress_level=9)
    assert content.getvalue() != png
    change(data, "UPDATE decodes SET payload = ? WHERE seq = ?", content.getvalue(), seq)
    assert verified(data, remakers)[0].is_equal


def test_a_decode_of_a_volume_that_is_gone_is_found(data, remakers):
    change(data, "DELETE FROM volumes WHERE arrival = 2")
    betas, _ = verified(data, remakers)
    assert betas.n_equal == N_BETAS - 3
    assert all("the journal's volumes and onsets give no such trial" in words for words in betas.different)


def test_without_the_weights_nothing_is_called_equal(braind, data, files):
    (data / "weights/subj01.safetensors").unlink()
    (data / "weights/other.safetensors").write_bytes(b"others")
    answer = braind("verify", "ses", "--data", data, "--json")
    assert answer.exit_code == ExitCode.FAILED
    for run, n_decodes in zip(json.loads(answer.stdout), (N_BETAS, N_BOLD), strict=True):
        ((reason, n_unchecked),) = run["unchecked"].items()
        assert (run["n_equal"], n_unchecked, run["different"]) == (0, n_decodes, [])
        assert f"weights {files.weights.fingerprint} are gone" in reason
    given = braind("verify", "ses", "--data", data, "--weights", files.weights_path)
    assert given.exit_code == ExitCode.OK, given.output


def test_what_another_torch_made_is_not_called_wrong_if_it_differs_and_equal_if_it_does_not(data, remakers):
    made_elsewhere = lambda fields: fields["provenance"].update(torch="2.0.0")  # noqa: E731
    equal, changed = seq_of(data, run="betas", index=0, stage="xz"), seq_of(data, run="betas", index=3, stage="xz")
    change_message(data, equal, made_elsewhere)
    change_message(data, changed, made_elsewhere)
    change(data, "UPDATE decodes SET payload = x'00' WHERE seq = ?", changed)
    betas, _ = verified(data, remakers)
    assert (betas.n_equal, betas.different) == (N_BETAS - 1, [])
    ((reason, n_unchecked),) = betas.unchecked.items()
    assert (reason, n_unchecked) == (f"torch 2.0.0 made it, here is {torch.__version__}", 1)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("preset", "my own", "no preset named 'my own'"),
        ("engine", "fpga-0, tiny decoder", "engine 'fpga-0, tiny decoder' is unknown"),
        ("mode", "q", "mode 'q'"),
        ("c_decoder", "nearest", "c decoder 'nearest'"),
        ("weights", "0123456789ab", "weights 0123456789ab are gone"),
    ],
)
def test_a_decode_whose_makers_are_not_here_cannot_be_checked_and_says_why(data, remakers, field, value, words):
    seq = seq_of(data, run="betas", index=3, stage="xzc")
    change_message(data, seq, lambda fields: fields["provenance"].update({field: value}))
    betas, _ = verified(data, remakers)
    ((reason, n_unchecked),) = betas.unchecked.items()
    assert (betas.n_equal, n_unchecked) == (N_BETAS - 1, 1)
    assert words in reason


def test_z_and_c_of_an_older_braind_cannot_be_checked_but_its_pictures_can(data, remakers):
    seq = seq_of(data, run="betas", index=3, stage="scores")
    change_message(data, seq, lambda fields: fields.pop("latents"))
    betas, _ = verified(data, remakers)
    assert (betas.n_equal, betas.unchecked, betas.different) == (N_BETAS - 1, {NO_HASH: 1}, [])


def test_a_bold_volume_that_failed_is_part_of_the_later_estimates(data, remakers):
    change(data, "UPDATE volumes SET state = 'failed' WHERE arrival = 9")
    assert all(run.is_equal for run in verified(data, remakers))
