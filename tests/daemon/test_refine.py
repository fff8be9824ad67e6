"""Refined pictures: made of the newest volume while nothing else waits, and put off as soon as something does."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from running_daemon import RunningDaemon, hello, values, volume_frames

from braind.client import wire
from braind.daemon import link
from braind.daemon.decoder import Decoder
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


def test_an_engine_that_fails_at_a_refined_picture_leaves_the_decoder_running(tmp_path, caplog):
    """What fails is an extra; it is not tried again, and nothing is said to the viewers."""

    def fail(_):
        raise RuntimeError("out of memory")

    setup = link.Setup(
        weights_path="", candidates_path="", ldm_path=None, lora_path=None, tiny_decoder_path=None,
        journals_path=str(tmp_path), sessions=(), next_seq=1, policy="all", preset=PRESETS["live-4"],
        refine=PRESETS["live-8"], engine="torch", provider="", may_fall_back=False, gpu_dtype="bfloat16",
        keep_warm_ms=0, engines_path="", mode="zc", seed=1, threads=1, paused=False,
    )  # fmt: skip
    said, weights = [], SimpleNamespace(fingerprint="w")
    decoder = Decoder(setup, SimpleNamespace(refine=fail, weights=weights), said.append)
    decoder._unrefined = SimpleNamespace(run="one", index=3), 0, 0.0
    decoder.refine(lambda: False)
    assert "run one, volume 3: no refined picture" in caplog.text
    assert not decoder.step()
    caplog.clear()
    decoder.refine(lambda: False)
    assert (caplog.text, said) == ("", [])
    decoder.close()


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
