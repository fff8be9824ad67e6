"""Engines: the same picture from each, the provider that is really in use, and the choice between them."""

from importlib.metadata import distributions
from types import SimpleNamespace

import numpy as np
import pytest

from braind.models.ldm import onnx_engine, onnx_session
from braind.models.ldm.engine import EngineError, OnnxSettings
from braind.models.ldm.onnx_session import provider_options
from braind.models.ldm.reconstruct import Reconstructor
from braind.models.pipeline import choose as engines
from braind.models.pipeline.choose import Measured, choose_engine, load_engine, measure_engines
from braind.models.presets import Preset

FEW = Preset("few", 799, 2)


@pytest.fixture(scope="module")
def cache(engines_folder):
    return engines_folder


@pytest.fixture(scope="module")
def onnx(ldm, cache):
    return load_engine("onnx", ldm, FEW, cache)


@pytest.fixture(scope="module")
def decoded(ldm):
    z = np.random.default_rng(1).normal(size=ldm.latent_shape).astype(np.float32)
    return z, ldm.encode_captions([["a big panda at the left , red above blue"]])[0]


@pytest.mark.parametrize("mode", ["z", "c", "zc"])
@pytest.mark.parametrize("guidance", ["full", "none"])
def test_onnx_makes_torchs_picture(ldm, onnx, decoded, mode, guidance):
    preset = Preset("few", 799, 4, guidance=guidance)
    ours, theirs = (
        Reconstructor(ldm, preset, engine=engine).picture(*decoded, mode).astype(int) for engine in (onnx, None)
    )
    assert np.abs(ours - theirs).max() <= 2


def test_a_smaller_z_is_decoded_too(ldm, onnx):
    z = np.zeros((ldm.latent_shape[0], 10, 10), np.float32)
    coarse = [Reconstructor(ldm, FEW, engine=engine).coarse(z) for engine in (onnx, None)]
    assert np.array_equal(*coarse)


def test_networks_are_exported_once(ldm, onnx, cache, decoded, monkeypatch):
    Reconstructor(ldm, FEW, engine=onnx).picture(*decoded)
    monkeypatch.setattr(onnx_engine, "export", lambda *_: pytest.fail("exported again"))
    Reconstructor(ldm, FEW, engine=load_engine("onnx", ldm, FEW, cache)).picture(*decoded)


def test_a_silent_fall_back_is_an_error(ldm, onnx, cache, monkeypatch):
    """Asked for CUDA on a machine without it, onnxruntime takes the CPU and says nothing."""
    monkeypatch.setitem(onnx_session.PROVIDERS, "cpu", "CUDAExecutionProvider")
    with pytest.raises(EngineError, match="fell back to CPUExecutionProvider"):
        load_engine("onnx", ldm, FEW, cache)


@pytest.mark.parametrize("name", ["onnx", "auto"])
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_gpus_provider_without_a_gpu_is_refused(ldm, onnx, cache, name, provider):
    with pytest.raises(EngineError, match=f"provider {provider} needs an NVIDIA GPU"):
        load_engine(name, ldm, FEW, cache, OnnxSettings(provider))


def test_a_fall_back_that_is_allowed_is_shown(ldm, onnx, cache):
    assert load_engine("onnx", ldm, FEW, cache, OnnxSettings("cuda", may_fall_back=True)).name == "onnx-cpu"


def test_a_gpus_networks_become_cuda_graphs(tmp_path):
    (cuda, options), *others = provider_options("cuda", tmp_path)
    assert (cuda, options["enable_cuda_graph"], others) == ("CUDAExecutionProvider", "1", [])
    (tensorrt, options), (behind, _) = provider_options("tensorrt", tmp_path)
    assert (tensorrt, behind) == ("TensorrtExecutionProvider", "CUDAExecutionProvider")
    assert (options["trt_cuda_graph_enable"], options["trt_engine_cache_path"]) == ("1", str(tmp_path))


def test_a_damaged_network_is_named(ldm, onnx, cache, tmp_path):
    for network in cache.glob("decoder-*.onnx"):
        (tmp_path / network.name).write_bytes(network.read_bytes()[:1000])
    with pytest.raises(EngineError, match="decoder-.*delete that file"):
        load_engine("onnx", ldm, FEW, tmp_path)


def test_onnxruntime_beside_onnxruntime_gpu_is_refused(ldm, cache, monkeypatch):
    both = [*distributions(), SimpleNamespace(metadata={"Name": "onnxruntime"})]
    monkeypatch.setattr(onnx_engine, "distributions", lambda: both)
    with pytest.raises(EngineError, match="both installed"):
        load_engine("onnx", ldm, FEW, cache)


def test_both_engines_are_measured(ldm, onnx, cache):
    measured = measure_engines(ldm, FEW, cache)
    assert [one.name for one in measured] == ["torch-cpu", "onnx-cpu"]
    assert all(one.picture_ms > 0 for one in measured)


def test_engines_that_take_long_are_measured_by_one_picture_after_their_first(ldm, onnx, cache, monkeypatch):
    """A full-size model without a GPU takes minutes for a picture."""
    made = []
    monkeypatch.setattr(engines, "picture_maker", lambda maker, *_: lambda: made.append(maker.engine.name))
    measure_engines(ldm, FEW, cache)
    assert len(made) == 2 * (1 + engines.N_TIMED_CALLS)
    made.clear()
    monkeypatch.setattr(engines, "MEASURED_FOR_S", 0.0)
    measured = measure_engines(ldm, FEW, cache)
    assert made == ["torch-cpu", "onnx-cpu"] * 2
    assert all(one.picture_ms > 0 for one in measured)


def test_a_copy_that_does_not_fit_into_memory_leaves_torch(ldm, onnx, cache, decoded, monkeypatch, caplog):
    """onnxruntime opens the denoiser for the first picture, after the engine was loaded."""
    monkeypatch.setattr(onnx_engine, "LARGE_BYTES", 1e7)  # the demo's denoiser is larger, its decoder smaller
    monkeypatch.setattr(onnx_engine, "available_bytes", lambda: 10**12)
    preset = Preset("few", 799, 1, guidance="none")
    Reconstructor(ldm, preset, engine=load_engine("onnx", ldm, preset, cache)).picture(*decoded)
    words = "onnxruntime takes 0.0 GB of memory for its own copy of the denoiser; 1000.0 GB are free"
    assert caplog.messages == [words]
    monkeypatch.setattr(onnx_engine, "available_bytes", lambda: 0)
    torch_, onnx_ = measure_engines(ldm, preset, cache)
    assert (torch_.name, torch_.problem, onnx_.picture_ms) == ("torch-cpu", "", None)
    assert onnx_.problem.endswith("only 0.0 GB are free; close other programs, or take the torch engine")
    with pytest.raises(EngineError, match="its own copy of the denoiser"):
        measure_engines(ldm, preset, cache, OnnxSettings("cpu"))


def test_a_cache_that_cannot_be_written_leaves_torch(ldm, tmp_path):
    (tmp_path / "engines").write_text("a file where a folder should be")
    cache = tmp_path / "engines" / "below"
    with pytest.raises(EngineError, match="give a folder that can be written"):
        load_engine("onnx", ldm, FEW, cache)
    chosen = choose_engine(ldm, FEW, cache)
    assert chosen.name == "torch"
    assert "can be written" in chosen.reason


@pytest.mark.parametrize(
    ("measured", "name", "reason"),
    [
        ([Measured("torch-cpu", 90.0), Measured("onnx-cpu", 40.0)], "onnx",
         "onnx-cpu takes 40 ms a picture, torch-cpu 90 ms"),
        ([Measured("torch-cpu", 30.0), Measured("onnx-cpu", 40.0)], "torch",
         "torch-cpu takes 30 ms a picture, onnx-cpu 40 ms"),
        ([Measured("torch-cpu", 30.0), Measured("onnx", None, "is not installed")], "torch",
         "torch-cpu takes 30 ms a picture, onnx is not installed"),
    ],
)  # fmt: skip
def test_auto_takes_the_faster_one_and_measures_once(ldm, tmp_path, monkeypatch, measured, name, reason):
    calls = []
    monkeypatch.setattr(engines, "measure_engines", lambda *_: calls.append(1) or measured)
    for _ in range(2):
        chosen = choose_engine(ldm, FEW, tmp_path)
        assert (chosen.name, chosen.reason) == (name, reason)
    has_problem = any(one.problem for one in measured)
    assert len(calls) == (2 if has_problem else 1)  # what may be put right is tried again


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"a": [{"name": 1}]}', b"\xff\xfe"])
def test_damaged_measurements_are_made_again(ldm, tmp_path, monkeypatch, content):
    (tmp_path / "measured.json").write_bytes(content)
    monkeypatch.setattr(engines, "measure_engines", lambda *_: [Measured("torch-cpu", 30.0)])
    assert choose_engine(ldm, FEW, tmp_path).name == "torch"
    monkeypatch.setattr(engines, "measure_engines", lambda *_: pytest.fail("measured again"))
    assert choose_engine(ldm, FEW, tmp_path).name == "torch"
