"""A volume's graph gives what `Weights.predict` and `Reconstructor` give, called or replayed; what a GPU needs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from picture_priors import with_random_prior
from PIL import Image
from recorded_graphs import pretend_cuda_graphs
from running_daemon import LdmFacts, random_weights
from small_models import write_model

from braind.models.ldm import torch_engine
from braind.models.ldm.engine import EngineError
from braind.models.ldm.model import LatentDiffusionModel
from braind.models.ldm.networks import networks_of
from braind.models.ldm.onnx_engine import OnnxEngine
from braind.models.ldm.reconstruct import Reconstructor
from braind.models.ldm.resize import bicubic_weights, resized
from braind.models.ldm.torch_engine import TorchEngine, check_compiler, compiled
from braind.models.pipeline.device_ridge import DeviceRidge
from braind.models.pipeline.volume_graph import VolumeGraph, picture_maker
from braind.models.presets import Preset

SMALL = {
    "layers_per_block": 1, "block_out_channels": (16, 32), "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
}  # fmt: skip
PRESETS = [
    Preset("ddim", 799, 2),
    Preset("dpm++", 799, 3, rule="dpm++", guidance="first"),
    Preset("lcm", 799, 2, rule="lcm", guidance="none"),
    Preset("tcd", 799, 2, rule="tcd", guidance="none"),
    Preset("reencode", 799, 1, guidance="none", latent_path="reencode"),
]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("small") / "ldm", SMALL)


@pytest.fixture(scope="module")
def small(path):
    return LatentDiffusionModel.load(path)


@pytest.fixture(scope="module")
def weights(path):
    return random_weights(LdmFacts.read(path))


@pytest.fixture(scope="module")
def weights_with_prior(weights):
    """The same, with c read against training pictures."""
    return with_random_prior(weights).with_c_decoder("expected")


def trial(weights, seed):
    return np.random.default_rng(seed).normal(size=len(weights.voxel_index)).astype(np.float32)


def expected(weights, reconstructor, voxels):
    z, c = (prediction[0] for prediction in weights.predict(voxels[None]))
    return z, c, reconstructor.coarse(z), reconstructor.picture(z, c)


def assert_same(arrays, wanted):
    for ours, theirs in zip(arrays, wanted, strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        if ours.dtype == np.uint8:
            assert np.abs(ours.astype(int) - theirs).max() <= 1
            assert theirs.std() > 5
        else:
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("is_recorded", [False, True])
@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_a_graph_gives_what_predict_and_picture_give(small, weights, monkeypatch, preset, is_recorded):
    if is_recorded:
        pretend_cuda_graphs(monkeypatch)
    reconstructor = Reconstructor(small, preset)
    graph = VolumeGraph(weights, reconstructor, "zc", is_recorded=is_recorded)
    for seed in (1, 2):  # what a recording froze would show at the second
        voxels = trial(weights, seed)
        arrays = [array for arrays in graph.run(voxels) for array in arrays]
        assert_same(arrays, expected(weights, reconstructor, voxels))


@pytest.mark.parametrize(("mode", "n_decoded"), [("z", 1), ("c", 1), ("zc", 2)])
@pytest.mark.parametrize(("preset", "z_side"), [(PRESETS[-1], 16), (PRESETS[0], 10)], ids=["reencode", "smaller z"])
def test_a_volume_decodes_z_once(path, small, monkeypatch, preset, z_side, mode, n_decoded):
    """Also where z is decoded and encoded again before it is noised: because the preset says so, or by its size."""
    weights = random_weights(LdmFacts.read(path)._replace(latent_shape=(4, z_side, z_side)))
    reconstructor, voxels = Reconstructor(small, preset), trial(weights, 1)
    z, c = (prediction[0] for prediction in weights.predict(voxels[None]))
    picture = reconstructor.picture(z, c, mode)
    calls, decoded = [], reconstructor.engine.decoded
    monkeypatch.setattr(reconstructor.engine, "decoded", lambda latents: (calls.append(1), decoded(latents))[1])
    *_, (ours,) = VolumeGraph(weights, reconstructor, mode).run(voxels)
    assert len(calls) == n_decoded
    assert np.array_equal(ours, picture)


@pytest.mark.parametrize("is_recorded", [False, True])
def test_c_is_read_against_the_training_pictures_too(small, weights_with_prior, monkeypatch, is_recorded):
    if is_recorded:
        pretend_cuda_graphs(monkeypatch)
    weights, reconstructor = weights_with_prior, Reconstructor(small, PRESETS[0])
    graph = VolumeGraph(weights, reconstructor, "c", is_recorded=is_recorded)
    for seed in (1, 2):
        voxels = trial(weights, seed)
        z, c = (prediction[0] for prediction in weights.predict(voxels[None]))
        (ours_z, ours_c), (picture,) = graph.run(voxels)
        assert_same([ours_z, ours_c, picture], [z, c, reconstructor.picture(z, c, "c")])


def test_all_stages_are_launched_before_the_first_is_waited_for(small, weights, monkeypatch):
    said = pretend_cuda_graphs(monkeypatch)
    graph = VolumeGraph(weights, Reconstructor(small, PRESETS[0]), "zc", is_recorded=True)
    next(graph.run(trial(weights, 1)))
    assert said == ["launched"] * 3 + ["waited"]


def test_a_pulse_launches_everything_and_changes_nothing(small, weights, monkeypatch):
    said = pretend_cuda_graphs(monkeypatch)
    graph = VolumeGraph(weights, Reconstructor(small, PRESETS[0]), "zc", is_recorded=True)
    first = list(graph.run(trial(weights, 1)))
    said.clear()
    graph.pulse()
    assert said == ["launched"] * 3
    for before, after in zip(first, graph.run(trial(weights, 1)), strict=True):
        for ours, theirs in zip(after, before, strict=True):
            assert np.array_equal(ours, theirs)


def test_engines_are_measured_as_a_daemon_runs_them(small, monkeypatch):
    pretend_cuda_graphs(monkeypatch)
    reconstructor = Reconstructor(small, PRESETS[0])
    rng = np.random.default_rng(0)
    z, c = (rng.normal(size=shape).astype(np.float32) for shape in (small.latent_shape, small.text_shape))
    wanted = reconstructor.picture(z, c)
    monkeypatch.setattr("braind.models.pipeline.volume_graph.is_recordable", lambda _: True)
    assert np.array_equal(picture_maker(reconstructor, z, c)()[0], wanted)


def test_pictures_are_resized_as_pillow_does():
    picture = np.random.default_rng(0).integers(0, 256, (1, 20, 20, 3), np.uint8)
    wanted = np.asarray(Image.fromarray(picture[0]).resize((32, 32), Image.Resampling.BICUBIC))
    ours = resized(torch.from_numpy(picture), torch.from_numpy(bicubic_weights(20, 32)))[0].numpy()
    assert np.abs(ours.astype(int) - wanted).max() <= 1
    assert (ours == wanted).mean() > 0.999


# ── half precision, the device, compiling ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("dtype", "db"), [(torch.bfloat16, 25), (torch.float16, 40)])
def test_half_precision_gives_nearly_the_same_picture(path, small, weights, dtype, db):
    half = LatentDiffusionModel.load(path)
    for part in (half.unet, half.autoencoder, half.text_encoder):
        part.to(dtype)
    half = replace(half, dtype=dtype)
    voxels = trial(weights, 1)
    (*_, ours), (*_, theirs) = (expected(weights, Reconstructor(model, PRESETS[0]), voxels) for model in (half, small))
    mean_square = np.square(ours.astype(float) - theirs).mean()
    assert 10 * np.log10(255**2 / mean_square) > db


@torch.inference_mode()
def test_nothing_is_left_on_the_host(path, weights):
    """On torch's device without content: it refuses to mix its tensors with the host's, as a GPU does."""
    ldm, device = LatentDiffusionModel.load(path), torch.device("meta")
    ours = Reconstructor(ldm, replace(PRESETS[0], latent_path="reencode"))
    expected(weights, ours, trial(weights, 1))  # makes what is made once for ever
    for part in (ldm.autoencoder, ours.networks.denoiser):
        part.to(device)
    sampler = ours.sampler
    sampler.noise, sampler.fresh_noises = sampler.noise.to(device), sampler.fresh_noises.to(device)
    sampler.empty, sampler._unconditional = sampler.empty.to(device), None
    sampler._time_embeddings = {key: tensor.to(device) for key, tensor in sampler._time_embeddings.items()}
    z, c = DeviceRidge(weights, device)(torch.zeros(len(weights.voxel_index), device=device))
    for result in (z, c, ours.coarse_of(z), ours.picture_of(z, c)):
        assert result.device == device


@torch.inference_mode()
def test_networks_compile_as_one_graph_each(small):
    engine = TorchEngine(networks_of(small, PRESETS[0]))
    latents = torch.randn(1, *small.latent_shape, generator=torch.Generator().manual_seed(0))
    context = engine.conditioned(torch.ones(1, *small.text_shape))
    inputs = (latents, engine.networks.denoiser.time_embedding(700), context.pooled, *context.keys_values)
    for function, given in ((engine.networks.denoiser, inputs), (engine.networks.decoded, (latents,))):
        ours = compiled(function, mode=None, backend="eager")(*given)
        torch.testing.assert_close(ours, function(*given), rtol=1e-4, atol=1e-5 if ours.is_floating_point() else 1)


@torch.inference_mode()
def test_all_attention_is_fused(small, monkeypatch):
    n_fused, fused = [0], torch.nn.functional.scaled_dot_product_attention

    def counted(*args, **kwargs):
        n_fused[0] += 1
        return fused(*args, **kwargs)

    monkeypatch.setattr("torch.nn.functional.scaled_dot_product_attention", counted)
    monkeypatch.setattr("braind.models.ldm.denoiser.scaled_dot_product_attention", counted)
    engine = TorchEngine(networks_of(small, PRESETS[0]))
    context = engine.conditioned(torch.ones(1, *small.text_shape))
    time_embedding = engine.networks.denoiser.time_embedding(700)
    engine.predicted_noise(torch.ones(1, *small.latent_shape), time_embedding, context)
    attentions = [name for name, _ in small.unet.named_modules() if name.endswith(("attn1", "attn2"))]
    assert n_fused[0] == len(attentions) > 4


def test_a_gpu_without_a_compiler_is_refused(monkeypatch):
    monkeypatch.setattr(torch_engine.shutil, "which", lambda _: None)
    monkeypatch.delenv("TORCH_COMPILE_DISABLE", raising=False)
    with pytest.raises(EngineError, match="install gcc, or set TORCH_COMPILE_DISABLE=1"):
        check_compiler()
    monkeypatch.setenv("TORCH_COMPILE_DISABLE", "1")
    check_compiler()


def test_bfloat16_is_not_for_onnxruntime(small, tmp_path):
    networks = networks_of(replace(small, dtype=torch.bfloat16), PRESETS[0])
    with pytest.raises(EngineError, match="set .decode. gpu_dtype to float16"):
        OnnxEngine(networks, tmp_path)
