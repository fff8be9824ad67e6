"""The examples in Python do what they say, on small data and against a real daemon."""

import os
import re
import subprocess
import sys
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from running_daemon import AFFINE, SHAPE, RunningDaemon, values

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name, *arguments, cwd):
    command = [sys.executable, EXAMPLES / name, *map(str, arguments)]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=280, env={**os.environ})
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_one_volume_is_decoded_by_hand(files, tmp_path):
    with h5py.File(tmp_path / "betas.hdf5", "w") as file:
        file["betas"] = np.stack([values(number).T for number in range(2)])
    said = run("decode_one_volume.py", files.weights_path, "betas.hdf5", 1, cwd=tmp_path)
    assert "60 voxels of early, ventral" in said
    sheet = np.asarray(Image.open(tmp_path / "decoded.png"))
    assert sheet.shape == (128, 256, 3)
    layout, both = sheet[:, :128], sheet[:, 128:]
    assert layout.std() > 1
    assert not np.array_equal(layout, both)


def test_a_scanner_client_sends_volumes_and_hears_their_decodes(files, tmp_path):
    betas = np.stack([values(number) / np.float32(300) for number in range(2)], axis=-1)
    nib.save(nib.Nifti1Image(betas.astype(np.float32), np.array(AFFINE)), tmp_path / "run-07.nii.gz")
    daemon = RunningDaemon(files, tmp_path / "data", decode={"preset": "live-1"})
    try:
        daemon.start()
        ports = [word for name in ("ingest", "decodes", "control")
                 for word in (f"--{name}", daemon.addresses[name].rpartition(":")[2])]  # fmt: skip
        said = run("scanner_client.py", "run-07.nii.gz", *ports, cwd=tmp_path)
    finally:
        daemon.close()
    for index in range(2):
        assert f"volume {index} is safe" in said
        assert re.search(rf"volume {index} is most like: picture \d+", said)
        with Image.open(tmp_path / "pictures" / f"volume-{index:03d}.png") as picture:
            assert picture.size == (128, 128)
    assert nib.load(tmp_path / "run-07.nii.gz").shape[:3] == SHAPE


def test_regions_are_compared_on_a_slice(small_data, tmp_path):
    said = run("compare_rois.py", small_data / "nsd-simulated", 1, 60, cwd=tmp_path)
    assert said.startswith("60 training pictures, ")
    lines = re.findall(r"^(as published|exchanged) +z from (\w+): (-?\d\.\d+) +c from (\w+): (-?\d\.\d+)", said, re.M)
    assert [(words, z_roi, c_roi) for words, z_roi, _, c_roi, _ in lines] == [
        ("as published", "early", "ventral"),
        ("exchanged", "ventral", "early"),
    ]
    assert len({z for _, _, z, _, _ in lines}) == 2
    assert float(lines[0][2]) > 0


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_an_example_with_wrong_arguments_says_what_it_takes(name, tmp_path):
    arguments = ["--nothing"] if name == "feedback.py" else []
    answer = subprocess.run([sys.executable, EXAMPLES / name, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert answer.returncode == 2
    assert answer.stderr.startswith(f"usage: {name}")
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize("name", ["feedback.py", "scanner_client.py", "decode_one_volume.py", "compare_rois.py"])
def test_an_example_ends_quietly_when_the_reader_of_its_output_has_enough(name, files, small_data, tmp_path):
    """As `| head` does. The pipe has no reader from the first line on."""
    with h5py.File(tmp_path / "betas.hdf5", "w") as file:
        file["betas"] = np.stack([values(0).T])
    betas = np.stack([values(0) / np.float32(300)], axis=-1)
    nib.save(nib.Nifti1Image(betas.astype(np.float32), np.array(AFFINE)), tmp_path / "run-07.nii.gz")
    arguments = {
        "feedback.py": ["--terminal", "--decodes", "1", "--control", "1"],
        "scanner_client.py": ["--help"],
        "decode_one_volume.py": [files.weights_path, "betas.hdf5"],
        "compare_rois.py": [small_data / "nsd-simulated", "1", "20"],
    }[name]
    reading, writing = os.pipe()
    os.close(reading)
    ran = subprocess.run(
        [sys.executable, EXAMPLES / name, *map(str, arguments)],
        stdout=writing, stderr=subprocess.PIPE, cwd=tmp_path, timeout=120,
    )  # fmt: skip
    os.close(writing)
    assert b"Traceback" not in ran.stderr
    assert b"BrokenPipe" not in ran.stderr
