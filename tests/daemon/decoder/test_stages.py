"""Stages: a volume's scores and pictures in the order of its mode, as the offline pipeline makes them."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from pipelines import decoder_settings, setup_line
from running_daemon import Files
from small_models import write_model

from braind.client.wire import STAGES_OF_MODE
from braind.daemon import link
from braind.daemon.decoder.stages import Stages, StagesError
from braind.daemon.journal.records import Shown
from braind.models.pipeline.decoding_pipeline import DecodingPipeline
from braind.models.presets import Preset
from braind.models.weights.candidates import Candidates


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stages")
    return Files(folder, write_model(folder / "ldm"))


@pytest.mark.parametrize("mode", ["z", "c", "zc"])
def test_a_volume_gets_the_stages_of_its_mode_with_the_offline_pictures(small, mode):
    settings = decoder_settings(small, ldm_path=str(small.ldm_path), mode=mode)
    voxels = np.random.default_rng(1).normal(size=len(small.weights.voxel_index)).astype(np.float32)
    results = list(Stages(settings, small.weights).run(voxels))
    assert [result.stage for result in results] == list(STAGES_OF_MODE[mode])
    assert [result.is_last for result in results] == [False] * (len(results) - 1) + [True]
    (z,), (c,) = small.weights.predict(voxels[None])
    expected = DecodingPipeline.load(settings.pipeline).reconstructor.picture(z, c, mode)
    assert np.array_equal(np.asarray(Image.open(BytesIO(results[-1].png))), expected)


def test_the_seen_picture_is_ranked_among_all_candidates_and_changes_nothing_else(small):
    stages = Stages(decoder_settings(small, ldm_path=str(small.ldm_path), mode="z"), small.weights)
    voxels = np.random.default_rng(1).normal(size=len(small.weights.voxel_index)).astype(np.float32)
    (z,), (c,) = small.weights.predict(voxels[None])
    scores = Candidates.load(small.candidates_path).scores(z, c)
    without, *ranked = [
        next(stages.run(voxels, shown=shown))
        for shown in (None, *(Shown(int(nsd_id), None) for nsd_id in small.candidates.nsd_id))
    ]
    assert without.seen_candidate is None
    assert sorted(one.seen_candidate.rank for one in ranked) == list(range(1, len(scores) + 1))
    assert [one.seen_candidate.score for one in ranked] == pytest.approx(scores.tolist())
    assert {one.n_candidates for one in ranked} == {len(scores)}
    assert {(one.latents, one.retrieved) for one in ranked} == {(without.latents, without.retrieved)}
    assert next(stages.run(voxels, shown=Shown(1, "no candidate.png"))).seen_candidate is None


@pytest.mark.parametrize("number", [np.inf, np.nan])
def test_voxels_that_give_no_finite_latent_get_no_stage(small, number):
    stages = Stages(decoder_settings(small, ldm_path=str(small.ldm_path), mode="z"), small.weights)
    voxels = np.full(len(small.weights.voxel_index), number, np.float32)
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(StagesError, match="check the units and the scale of the volumes"),
    ):
        next(stages.run(voxels))


def test_the_settings_reach_the_decoder_whole(tmp_path):
    own = Preset("mine", 700, 3, rule="tcd", guidance="none", latent_path="reencode")
    settings = decoder_settings(refine="quality-20", preset=own, mode="c", lora_path="lora", provider="cuda", threads=3)
    setup = setup_line(tmp_path, settings, paused=True, keep_warm_ms=50, sessions=("one", "two"))
    assert link.decode_for_decoder(link.encode(setup)) == setup
