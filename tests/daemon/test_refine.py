"""Refined pictures: made of the newest volume while nothing else waits, and put off as soon as something does."""

import io

import numpy as np
import pytest
from PIL import Image
from running_daemon import RunningDaemon, hello, values, volume_frames

from braind.client import wire
from braind.models.presets import PRESETS
from braind.models.reconstruct import Reconstructor

N_VOLUMES = 4


@pytest.fixture(scope="module")
def daemon(files, tmp_path_factory):
    daemon = RunningDaemon(files, tmp_path_factory.mktemp("refine"), decode={"refine": "live-8"})
    yield daemon.start()
    daemon.close()


def test_volumes_that_wait_go_first_and_the_newest_is_refined(daemon, ldm):
    with daemon.connect("ingest") as scanner, daemon.watch() as viewer:
        assert isinstance(scanner.ask(hello(run="one")), wire.Welcome)
        for index in range(N_VOLUMES):
            assert isinstance(scanner.ask_frames(volume_frames(index, run="one")), wire.Ack)
        heard = viewer.until(lambda message: (message.index, message.stage) == (N_VOLUMES - 1, "refined"))
    stages = [(message.index, message.stage) for message, _ in heard]
    assert [index for index, stage in stages if stage == "xzc"] == list(range(N_VOLUMES))
    refined, (png,) = heard[-1]
    assert refined.provenance.preset == "live-8"
    assert heard[0][0].provenance.preset == "live-4"
    assert refined.timings_s["refined"] > refined.timings_s["xzc"]
    voxels = values(N_VOLUMES - 1).reshape(-1)[daemon.files.weights.voxel_index].astype(np.float32) * np.float32(
        1 / 300
    )
    z, c = daemon.files.weights.predict(voxels[None])
    expected = Reconstructor(ldm, PRESETS["live-8"], refined.provenance.seed).picture(z[0], c[0])
    assert np.abs(np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int) - expected).max() <= 1


def test_an_interruption_ends_a_picture_before_the_next_denoiser_call(ldm):
    calls = []

    def stop_after_three():
        if len(calls) == 3:
            raise InterruptedError
        calls.append(1)

    z, c = np.zeros(ldm.latent_shape, np.float32), np.zeros(ldm.text_shape, np.float32)
    with pytest.raises(InterruptedError):
        Reconstructor(ldm, PRESETS["quality-20"]).picture(z, c, before_call=stop_after_three)
    assert len(calls) == 3
