"""Refined pictures: made of the newest volume while nothing else waits, and put off as soon as something does."""

import io
import queue
import sqlite3
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from pipelines import decoder_settings, setup_line
from running_daemon import Files, RunningDaemon, hello, values, volume_frames
from small_models import write_model

from braind.client import wire
from braind.daemon import link
from braind.daemon.decoder.decoder import Decoder
from braind.daemon.decoder.process import _work
from braind.daemon.decoder.stages import Stages
from braind.daemon.journal.journal import Journal
from braind.models.ldm.reconstruct import Reconstructor
from braind.models.presets import EMBEDDED_PRESETS, PRESETS

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
    expected = Reconstructor(ldm, EMBEDDED_PRESETS["live-8"], refined.provenance.seed).picture(z[0], c[0])
    assert np.abs(np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int) - expected).max() <= 1


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small-refine")
    return Files(folder, write_model(folder / "ldm"))


@pytest.fixture
def journal(small, tmp_path):
    journal = Journal(tmp_path / "ses.sqlite3")
    journal.open_run(hello(run="one"), small.weights.fingerprint)
    yield journal
    journal.close()


@pytest.fixture
def stages(small):
    return Stages(decoder_settings(small, refine="live-8", ldm_path=str(small.ldm_path)), small.weights)


def add_volume(journal, small, index):
    voxels = np.random.default_rng(index).normal(size=len(small.weights.voxel_index)).astype(np.float32)
    volume = wire.Volume(session="ses", run="one", index=index, shape=(1, 1, 60), dtype="float32", crc32=index)
    journal.add_volume(volume, voxels, seen=None, whole=None)


def stages_in(journal):
    messages = [wire.decode([wire.MAGIC, published.header])[0] for published in journal.published(1, 100)]
    return [(message.index, message.stage) for message in messages]


@pytest.mark.timeout(60)
def test_an_engine_that_fails_at_a_refined_picture_leaves_the_decoder_running(small, journal, stages, tmp_path, caplog):
    lines = queue.SimpleQueue()
    add_volume(journal, small, 0)

    def fail(*_):
        """Fail once a volume; the first failure is followed by a second volume, the second one by the end."""
        if journal.counts() == {"decoded": 1}:
            add_volume(journal, small, 1)
            lines.put(link.Wake(session="ses", run="one", index=1, arrived_s=0.0, ack_s=0.0))
        else:
            lines.put(link.Stop())
        raise RuntimeError("out of memory")

    sampler = stages._refiner.sampler
    engine = sampler.engine
    sampler.engine = SimpleNamespace(
        name=engine.name, networks=engine.networks, conditioned=engine.conditioned, predicted_noise=fail
    )
    decoder = Decoder(setup_line(tmp_path, decoder_settings(small), sessions=("ses",)), stages, lambda _: None)
    _work(decoder, lines)
    decoder.close()
    assert journal.counts() == {"decoded": 2}
    assert stages_in(journal) == [(index, stage) for index in (0, 1) for stage in wire.STAGES_OF_MODE["zc"]]
    assert [f"run one, volume {n}: no refined picture" in caplog.text for n in (0, 1)] == [True, True]


def test_a_journal_that_is_damaged_before_a_refined_picture_leaves_the_decoder_running(
    small, journal, stages, tmp_path, caplog
):
    add_volume(journal, small, 0)
    decoder = Decoder(setup_line(tmp_path, decoder_settings(small), sessions=("ses",)), stages, lambda _: None)
    assert decoder.step()
    with closing(sqlite3.connect(journal.path)) as damaging, damaging:
        damaging.execute("PRAGMA writable_schema = ON")
        damaging.execute("UPDATE sqlite_master SET sql = 'damaged' WHERE name = 'volumes'")
        damaging.execute("PRAGMA schema_version = 1000")
    assert not decoder.step()
    assert "damaged" in caplog.text
    decoder.refine(lambda: False)
    assert not decoder.step()
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
