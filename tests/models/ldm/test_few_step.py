"""The demo's few-step denoiser against the guided one that it was distilled from."""

from dataclasses import replace

import numpy as np
import torch

from braind.models.demo.captions import captions
from braind.models.demo.scenes import draw_held_out_scene, render
from braind.models.demo.training.train_few_step import first_noise
from braind.models.ldm.reconstruct import Reconstructor
from braind.models.presets import PRESETS, Preset


def test_it_has_the_teachers_shape(ldm):
    differing = {name for name in ldm.unet.config if ldm.unet.config[name] != ldm.few_step_unet.config.get(name)}
    assert differing <= {"_name_or_path", "_diffusers_version"}


def test_it_was_trained_from_the_noise_that_pictures_start_from(ldm):
    torch.testing.assert_close(Reconstructor(ldm, PRESETS["live-4"]).sampler.noise, first_noise())


def test_one_call_of_it_is_nearer_to_forty_guided_calls_than_one_guided_call(ldm):
    rng = np.random.default_rng(8)
    scenes = [draw_held_out_scene(rng) for _ in range(8)]
    c = ldm.encode_captions([captions(scene) for scene in scenes])
    z = torch.from_numpy(ldm.encode_pictures(np.stack([render(scene) for scene in scenes])))
    blurred = torch.nn.functional.avg_pool2d(z, 5, 1, 2, count_include_pad=False).numpy()

    def pictures(preset):
        reconstructor = Reconstructor(ldm, preset)
        return np.stack([reconstructor.picture(*pair) for pair in zip(blurred, c, strict=True)]).astype(float)

    forty = pictures(Preset("forty", 799, 40, decoder="auto"))
    error = {few: np.square(pictures(replace(PRESETS["live-1"], few_step=few)) - forty).mean() for few in (True, False)}
    assert error[True] < 0.8 * error[False]
