"""A large model's memory is said before it is taken, and half precision is computed in float32 without a GPU."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_models import write_model

from braind.models.ldm import memory
from braind.models.ldm.folder import LdmError
from braind.models.ldm.memory import numbers_in
from braind.models.ldm.model import LatentDiffusionModel

PARTS = {"unet": "unet", "vae": "autoencoder", "text_encoder": "text_encoder"}


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """A model whose files hold float16."""
    folder = write_model(tmp_path_factory.mktemp("half") / "model")
    for part in PARTS:
        (file,) = (folder / part).glob("*.safetensors")
        save_file({name: tensor.half() for name, tensor in load_file(file).items()}, file, metadata={"format": "pt"})
        file.rename(file.with_name(file.name.replace(".safetensors", ".fp16.safetensors")))
    return folder


@pytest.fixture
def is_large(monkeypatch, tmp_path):
    """Every model counts as large, on a machine with this much free memory."""

    def with_free(kb):
        monkeypatch.setattr(memory, "LARGE_BYTES", 0)
        monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
        (tmp_path / "meminfo").write_text(f"MemTotal: 99 kB\nMemAvailable:   {kb} kB\n")

    return with_free


def test_half_precision_on_a_cpu_becomes_float32_and_is_said_with_its_memory(half, is_large, caplog):
    is_large(8_000_000)
    model = LatentDiffusionModel.load(half)
    parameters = [one for part in PARTS.values() for one in getattr(model, part).parameters()]
    assert {one.dtype for one in parameters} == {torch.float32}
    n_numbers = sum(one.numel() for one in parameters)
    (said,) = caplog.messages
    assert "there is no GPU, so the float16 numbers of the files become float32" in said
    assert f"the networks have {n_numbers / 1e9:.2f} billion numbers" in said
    assert said.endswith("8.2 GB are free")
    counted = sum((numbers_in(half / part, part) for part in PARTS), start=memory.Counter())
    assert counted["F16"] == counted.total() == n_numbers


def test_too_little_memory_is_said_before_the_model_is_loaded(half, is_large, caplog, monkeypatch):
    is_large(1)
    monkeypatch.setattr("braind.models.ldm.model.load_part", lambda *_: pytest.fail("loading"))
    with pytest.raises(pytest.fail.Exception):
        LatentDiffusionModel.load(half)
    assert "but only 0.0 GB are free: the system may end this process" in caplog.text


def test_a_system_that_does_not_say_its_free_memory_loses_only_that(half, is_large, caplog):
    is_large(1)
    memory.MEMINFO.unlink()
    LatentDiffusionModel.load(half)
    assert caplog.messages[0].endswith("GB of memory")


def test_a_small_model_is_loaded_without_a_word(half, caplog):
    LatentDiffusionModel.load(half)
    assert not caplog.messages


def test_a_damaged_file_is_named_by_its_loading(half, is_large, tmp_path):
    is_large(8_000_000)
    model = shutil.copytree(half, tmp_path / "model")
    (file,) = (model / "unet").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:999])
    with pytest.raises(LdmError, match="unet: does not load"):
        LatentDiffusionModel.load(model)
