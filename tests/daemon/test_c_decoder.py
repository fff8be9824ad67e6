"""A daemon that decodes c by the decoder `expected`: what it says, what it refuses, and how its session verifies."""

import subprocess

import pytest
from picture_priors import with_random_prior
from recorded_session import change_message
from running_daemon import RunningDaemon, hello, serve_command, volume_frames

from braind.client import wire
from braind.config import load_config
from braind.daemon.decoder.remake import Remakers
from braind.daemon.decoder.stages import latents_sha256
from braind.daemon.decoder.verify import verify_session
from braind.daemon.journal.recording import Recording
from braind.offline.from_settings import pipeline_settings, presets_of

EXPECTED = {"decode": {"c_decoder": "expected", "preset": "live-1"}}


@pytest.fixture(scope="module")
def weights(files):
    return with_random_prior(files.weights)


@pytest.fixture(scope="module")
def daemon(files, weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("expected")
    weights.save(folder / "with-prior.safetensors")
    daemon = RunningDaemon(files, folder, **EXPECTED)
    daemon.paths = {"weights": folder / "with-prior.safetensors"}
    yield daemon.start()
    daemon.close()


@pytest.fixture(scope="module")
def scores(daemon):
    """The message `scores` of one volume."""
    with daemon.connect("ingest") as scanner, daemon.watch() as viewer:
        scanner.ask(hello())
        scanner.ask_frames(volume_frames(0))
        found = viewer.until(lambda message: getattr(message, "stage", "") == "xzc")
        scanner.ask(wire.EndRun(session="ses", run="run-01", n_volumes=1))
    return next(message for message, _ in found if getattr(message, "stage", "") == "scores")


def test_its_decodes_say_which_c_decoder_made_them(daemon, scores, weights):
    assert scores.provenance.c_decoder == "expected"
    assert scores.provenance.weights == weights.fingerprint
    with Recording(daemon.data_path / "journals/ses.sqlite3") as recording:
        voxels = recording.voxels(1)[None]
    made_by = {
        c_decoder: latents_sha256(*(latent[0] for latent in weights.with_c_decoder(c_decoder).predict(voxels)))
        for c_decoder in ("expected", "linear")
    }
    assert scores.latents == made_by["expected"] != made_by["linear"]


def test_it_refuses_to_use_weights_without_a_prior(daemon, scores, files):
    daemon.wait_until(lambda status: status.n_waiting == 0)
    (answer,) = daemon.ask(wire.Use(weights=str(files.weights_path), candidates=str(files.candidates_path)))
    assert isinstance(answer, wire.Refused)
    assert answer.code == "c_decoder"
    assert "decode with --c-decoder linear" in answer.sentence


@pytest.mark.parametrize(
    ("said", "n_different"), [("expected", 0), ("", 0), ("linear", 1)], ids=["expected", "earlier braind", "linear"]
)
def test_its_session_verifies_by_the_c_decoder_of_the_provenance(daemon, scores, said, n_different):
    """Journals of an earlier braind do not say: weights with a prior decoded c by it."""
    change_message(daemon.data_path, scores.seq, lambda fields: fields["provenance"].update(c_decoder=said))
    config = load_config(None, {})
    remakers = Remakers(pipeline_settings(config), presets_of(config), [daemon.paths["weights"]])
    with Recording(daemon.data_path / "journals/ses.sqlite3") as recording:
        (verification,) = verify_session(recording, remakers)
    assert len(verification.different) == n_different


def test_a_daemon_does_not_start_with_weights_without_a_prior(files, tmp_path):
    done = subprocess.run(serve_command(files, tmp_path, EXPECTED), capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "the weights have no prior over the training captions" in done.stderr
