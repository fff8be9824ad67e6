"""A pipeline is made once from its settings: the model, the engine and the reconstructor that the settings name."""

import numpy as np
import pytest
import torch
from pipelines import pipeline_settings
from running_daemon import LdmFacts, random_weights
from small_models import write_model

from braind.models.ldm.model import LatentDiffusionModel
from braind.models.ldm.reconstruct import Reconstructor
from braind.models.pipeline.decoding_pipeline import DecodingPipeline
from braind.models.presets import PRESETS
from braind.models.weights.weights import WeightsError


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("pipeline") / "ldm")


@pytest.fixture(scope="module")
def pipeline(path):
    return DecodingPipeline.load(pipeline_settings("live-2", ldm_path=str(path)))


@pytest.fixture(scope="module")
def z_and_c(pipeline):
    rng = np.random.default_rng(1)
    return [rng.normal(size=shape).astype(np.float32) for shape in (pipeline.ldm.latent_shape, pipeline.ldm.text_shape)]


@pytest.mark.parametrize("seed", [42, 7])
def test_a_pipeline_makes_the_picture_of_its_preset_and_seed(pipeline, path, z_and_c, seed):
    expected = Reconstructor(LatentDiffusionModel.load(path), PRESETS["live-2"], seed).picture(*z_and_c)
    assert np.array_equal(pipeline.with_seed(seed).picture(*z_and_c), expected)


def test_another_preset_makes_its_own_picture_with_the_same_model(pipeline, z_and_c):
    other = pipeline.with_preset(PRESETS["live-4"])
    assert other.ldm is pipeline.ldm
    assert np.array_equal(other.picture(*z_and_c), Reconstructor(pipeline.ldm, PRESETS["live-4"]).picture(*z_and_c))


def test_weights_of_another_model_are_refused_before_the_engine_is_loaded(path, ldm_path, tmp_path):
    no_folder = tmp_path / "engines"
    no_folder.write_text("the onnx engine cannot be loaded from here")
    settings = pipeline_settings(ldm_path=str(path), engine="onnx", engines_path=str(no_folder / "below"))
    with pytest.raises(WeightsError, match="fitted for"):
        DecodingPipeline.load(settings, random_weights(LdmFacts.read(ldm_path)))


def test_torch_takes_the_threads_of_the_settings_and_keeps_its_own_without_any(path):
    before = torch.get_num_threads()
    try:
        for threads, expected in ((before + 1, before + 1), (0, before + 1)):
            DecodingPipeline.load(pipeline_settings(ldm_path=str(path), threads=threads))
            assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(before)
