"""A running daemon, from the outside: what it answers, publishes and refuses (policy `all`)."""

import io
import itertools
import sqlite3
import time

import numpy as np
import pytest
from PIL import Image
from running_daemon import AFFINE, N_VOXELS, PNG, SHAPE, RunningDaemon, hello, values, volume_frames

from braind.client import wire
from braind.client.control import ControlClient
from braind.models.ldm.reconstruct import Reconstructor
from braind.models.presets import EMBEDDED_PRESETS

STAGES = ["scores", "xz", "xzc"]
run_numbers = itertools.count()


@pytest.fixture(scope="module")
def daemon(files, tmp_path_factory):
    daemon = RunningDaemon(files, tmp_path_factory.mktemp("daemon"))
    yield daemon.start()
    daemon.close()


@pytest.fixture
def scanner(daemon):
    with daemon.connect("ingest") as scanner:
        yield scanner


@pytest.fixture
def run(scanner):
    """A run of its own for each test, open for beta volumes."""
    name = f"run-{next(run_numbers):03d}"
    assert isinstance(scanner.ask(hello(run=name)), wire.Welcome)
    return name


def decode(daemon, scanner, run, number, index=0, **fields):
    """Send a volume; return its stages."""
    with daemon.watch() as viewer:
        assert isinstance(scanner.ask_frames(volume_frames(index, number=number, run=run, **fields)), wire.Ack)
        heard = viewer.until(lambda message: (message.run, message.index, message.stage) == (run, index, "xzc"))
    return [(message, payload) for message, payload in heard if (message.run, message.index) == (run, index)]


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


# ── decodes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_ready_means_warmed_up(daemon):
    status = daemon.status()
    assert status.state == "ready"
    assert (status.subject, status.policy, status.preset, status.simulated) == (1, "all", "live-4", True)
    assert status.engine.startswith("torch")
    assert status.weights == daemon.files.weights.fingerprint
    assert status.ldm == daemon.files.ldm.fingerprint


def test_a_volume_becomes_scores_then_xz_then_xzc(daemon, scanner, run):
    stages = decode(daemon, scanner, run, 1, seen_png=PNG, trial=7, nsd_id=11, n_averaged=2)
    assert [message.stage for message, _ in stages] == STAGES
    (scores, seen), *pictures = stages
    assert seen == [PNG]
    assert scores.seen
    assert len(scores.retrieved) == 5
    assert scores.retrieved[0].score >= scores.retrieved[-1].score
    for message, (png,) in pictures:
        width, height = Image.open(io.BytesIO(png)).size
        assert width == height > 0
        assert (message.trial, message.nsd_id, message.n_averaged) == (7, 11, 2)
    assert list(pictures[-1][0].timings_s) == ["ack", "decoder", "ridge", "scores", "xz", "xzc"]
    assert [message.seq for message, _ in stages] == list(range(scores.seq, scores.seq + 3))


@pytest.mark.parametrize("of_volume", [True, False])
def test_two_candidates_named_by_the_volume_or_the_run_are_compared_in_the_first_message(daemon, scanner, of_volume):
    name, pair = f"pair-{of_volume}", {"right": 103, "foil": "picture 5"}
    # A volume's own pair comes before its run's.
    of_run = {"right": 100, "foil": 101} if of_volume else pair
    assert isinstance(scanner.ask(hello(run=name, **of_run)), wire.Welcome)
    (scores, _), *pictures = decode(daemon, scanner, name, 1, **(pair if of_volume else {}))
    files = daemon.files
    voxels = values(1).reshape(-1)[files.weights.voxel_index].astype(np.float32) * np.float32(1 / 300)
    _, c = files.weights.predict(voxels[None])
    assert (scores.stage, scores.right, scores.foil) == ("scores", 103, "picture 5")
    assert scores.feedback == pytest.approx(files.candidates.preference(c[0], 3, 5), abs=1e-3)
    assert scores.feedback != 0
    assert [message.feedback for message, _ in pictures] == [None, None]
    refused = scanner.ask(hello(run=name, right=101, foil=100))
    assert (refused.code, "opened with right" in refused.sentence) == ("conflict", True)


def test_the_pictures_are_those_of_the_models(daemon, scanner, run, ldm):
    (_, _), (_, (xz,)), (xzc_message, (xzc,)) = decode(daemon, scanner, run, 2)
    files = daemon.files
    voxels = values(2).reshape(-1)[files.weights.voxel_index].astype(np.float32) * np.float32(1 / 300)
    z, c = files.weights.predict(voxels[None])
    reconstructor = Reconstructor(ldm, EMBEDDED_PRESETS["live-4"], xzc_message.provenance.seed)
    # The daemon may sum in another order: it has another number of threads.
    assert np.abs(pixels(xz) - reconstructor.coarse(z[0])).max() <= 1
    assert np.abs(pixels(xzc) - reconstructor.picture(z[0], c[0])).max() <= 1


def test_the_same_volume_gives_the_same_picture_whatever_was_decoded_before(daemon, scanner, run):
    first = decode(daemon, scanner, run, 3, index=0)
    decode(daemon, scanner, run, 4, index=1)
    again = decode(daemon, scanner, run, 3, index=2)
    assert [payload for _, payload in first] == [payload for _, payload in again]


def test_a_decode_names_what_made_it(daemon, scanner, run):
    provenance = decode(daemon, scanner, run, 5)[-1][0].provenance
    assert (provenance.subject, provenance.preset, provenance.mode, provenance.seed) == (1, "live-4", "zc", 42)
    assert provenance.weights == daemon.files.weights.fingerprint
    assert provenance.simulated


def test_a_bold_trial_is_scored_as_it_unfolds_and_pictured_when_final(daemon, scanner):
    tr_s, n_volumes = 4 / 3, 20
    assert isinstance(scanner.ask(hello(run="bold", kind="bold", tr_s=tr_s)), wire.Welcome)
    onset = wire.Event(session="ses", run="bold", event=0, onset_s=2.0, trial=5, seen=True, right="picture 1", foil=107)
    assert scanner.ask(onset, PNG) == wire.Ack(session="ses", run="bold", index=0, of="event")
    assert scanner.ask(onset, PNG).duplicate
    with daemon.watch() as viewer:
        for index in range(n_volumes):
            signal = (1000 + values(index) / 100).astype(np.float32)
            scanner.ask_frames(volume_frames(index, stored=signal, run="bold", scale=1.0))
        heard = viewer.until(lambda message: message.run == "bold" and message.stage == "xzc")
    decodes = [(message, payload) for message, payload in heard if message.run == "bold"]
    assert {(message.trial, message.event) for message, _ in decodes} == {(5, 0)}
    provisional = [message for message, _ in decodes if not message.is_final]
    assert [message.stage for message in provisional] == ["scores"] * 5
    assert [message.index for message in provisional] == [5, 6, 7, 8, 9]  # from 4 s after the onset: volume 5 of 4/3 s
    assert provisional[0].since_onset_s == pytest.approx(5 * tr_s - 2, abs=1e-3)
    assert provisional[0].uncertainty > provisional[-1].uncertainty
    assert {(message.right, message.foil) for message in provisional} == {("picture 1", 107)}
    assert len({message.feedback for message in provisional} - {None}) == 5  # each volume says more
    final = [(message, payload) for message, payload in decodes if message.is_final]
    assert [message.stage for message, _ in final] == STAGES
    assert {message.index for message, _ in final} == {10}  # 11 s after the onset
    assert final[0][1] == [PNG]
    status = daemon.wait_until(lambda status: status.n_waiting == 0)
    assert status.n_acked >= n_volumes
    ended = scanner.ask(wire.EndRun(session="ses", run="bold", n_volumes=n_volumes))
    assert (ended.of, ended.index, ended.duplicate) == ("end_run", n_volumes, False)


def test_what_is_final_is_scored_before_trials_that_unfold_and_pictured_after_them(daemon, scanner):
    scanner.ask(hello(run="overlapping", kind="bold", tr_s=4 / 3))
    for event, onset_s in enumerate((2.0, 6.0)):
        scanner.ask(wire.Event(session="ses", run="overlapping", event=event, onset_s=onset_s))
    with daemon.watch() as viewer:
        for index in range(11):
            signal = (1000 + values(index) / 100).astype(np.float32)
            scanner.ask_frames(volume_frames(index, stored=signal, run="overlapping", scale=1.0))
        heard = viewer.until(lambda message: message.run == "overlapping" and message.stage == "xzc")
    last = [message for message, _ in heard if (message.run, message.index) == ("overlapping", 10)]
    order = [(message.event, message.stage) for message in last]
    assert order == [(0, "scores"), (1, "scores"), (0, "xz"), (0, "xzc")]
    assert [message.is_final for message in last] == [True, False, True, True]
    steps = ("ack", "decoder", "ridge", "scores")
    assert [last[-1].timings_s[step] for step in steps] == [last[0].timings_s[step] for step in steps]
    assert list(last[-1].timings_s) == [*steps, "xz", "xzc"]


# ── runs, duplicates, gaps ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_duplicate_is_acked_again_and_decoded_once(daemon, scanner, run):
    decode(daemon, scanner, run, 6)
    again = scanner.ask_frames(volume_frames(0, number=6, run=run, sent_s=1.0))
    assert again == wire.Ack(session="ses", run=run, index=0, duplicate=True)
    decode(daemon, scanner, run, 7, index=1)
    stages = [message.stage for message, _ in daemon.decodes() if (message.run, message.index) == (run, 0)]
    assert stages == STAGES


def test_other_bytes_under_an_acked_index_are_refused_and_the_first_kept(daemon, scanner, run):
    decode(daemon, scanner, run, 8)
    refused = scanner.ask_frames(volume_frames(0, number=9, run=run))
    assert (refused.code, refused.run, refused.index) == ("conflict", run, 0)
    assert scanner.ask_frames(volume_frames(0, number=8, run=run)).duplicate


def test_a_gap_is_taken_and_can_be_filled(daemon, scanner, run):
    for index in (0, 3, 1):
        assert scanner.ask_frames(volume_frames(index, run=run)).index == index
    assert scanner.ask(hello(run=run)).next_index == 2


def test_a_run_that_ended_takes_what_was_missing_and_nothing_after(scanner, run):
    scanner.ask_frames(volume_frames(0, run=run))
    scanner.ask_frames(volume_frames(2, run=run))
    end = wire.EndRun(session="ses", run=run, n_volumes=3)
    assert scanner.ask(end).duplicate is False
    assert scanner.ask(end).duplicate is True
    assert isinstance(scanner.ask_frames(volume_frames(1, run=run)), wire.Ack)
    assert scanner.ask_frames(volume_frames(3, run=run)).code == "run_ended"
    assert scanner.ask(wire.EndRun(session="ses", run=run, n_volumes=5)).code == "conflict"


def test_two_sessions_are_served_side_by_side_and_numbers_go_on(daemon, scanner):
    for session in ("one", "two"):
        assert isinstance(scanner.ask(hello(session=session)), wire.Welcome)
    with daemon.watch() as viewer:
        for session in ("one", "two"):
            assert isinstance(scanner.ask_frames(volume_frames(0, session=session)), wire.Ack)
        heard = viewer.until(lambda message: message.session == "two" and message.stage == "xzc")
    seqs = [message.seq for message, _ in heard]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


# ── refusals ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"subject": 2}, "subject", "braind serve --subject 2"),
        ({"shape": SHAPE[::-1]}, "shape", "the axes are reversed"),
        ({"shape": (7, 8, 10)}, "shape", "the weights want"),
        ({"affine": tuple(tuple(2 * x for x in row) for row in AFFINE)}, "affine", "mm away"),
        ({"affine": AFFINE[:3]}, "affine", "4 × 4"),
        ({"protocol": 2}, "protocol", "speaks 1"),
        ({"session": "../../etc/passwd"}, "name", "letters"),
        ({"run": ""}, "name", "letters"),
        ({"dtype": "object"}, "dtype", "int16"),
        ({"tr_s": 0.0}, "tr", "seconds"),
        ({"n_volumes": 0}, "index", "number of volumes"),
    ],
)
def test_a_run_that_cannot_be_decoded_is_refused_with_a_code_and_what_to_do(scanner, fields, code, words):
    refused = scanner.ask(hello(**fields))
    assert isinstance(refused, wire.Refused)
    assert refused.code == code
    assert words in refused.sentence


def test_an_affine_that_was_rounded_to_float32_is_the_same_grid(scanner):
    affine = tuple(tuple(float(np.float32(x)) for x in row) for row in AFFINE)
    assert isinstance(scanner.ask(hello(run="float32", affine=affine)), wire.Welcome)


def test_a_run_opened_again_as_another_is_refused(scanner, run):
    refused = scanner.ask(hello(run=run, kind="bold"))
    assert (refused.code, "kind beta" in refused.sentence) == ("conflict", True)


def _changed(index=0, run="", payload=None, **fields):
    header, *rest = wire.decode(volume_frames(index, run=run))
    fields = {name: getattr(header, name) for name in header.__struct_fields__} | fields
    return wire.encode(wire.Volume(**fields), *(rest[0] if payload is None else payload))


def _with_nan(run):
    stored = values(0).astype(np.float32)
    stored.reshape(-1)[:] = 0
    stored[:] = np.nan
    return volume_frames(0, stored=stored, run=run)


@pytest.mark.parametrize(
    ("frames", "code", "words"),
    [
        (lambda run: volume_frames(0, stored=np.zeros((9, 8, 7), np.int16), run=run), "shape", "reversed"),
        (lambda run: volume_frames(0, stored=np.zeros((2, 2, 2), np.int16), run=run), "shape", "(7, 8, 9)"),
        (lambda run: _changed(run=run, shape=(2**40, 2**40, 2**40)), "shape", "the weights want"),
        (lambda run: _changed(run=run, dtype="complex64"), "dtype", "int16"),
        (lambda run: _changed(run=run, dtype="float64"), "length", "needs"),
        (lambda run: _changed(run=run, payload=[b"12"]), "length", "bytes"),
        (lambda run: _changed(run=run, payload=[]), "length", "payload frames"),
        (lambda run: _changed(run=run, crc32=1), "crc", "again"),
        (lambda run: _changed(run=run, scale=0.0), "scale", "% signal change"),
        (lambda run: _changed(run=run, index=-1), "index", "from 0"),
        (lambda run: _changed(run=run, index=2**40), "index", "from 0"),
        (lambda run: volume_frames(0, run=run, seen_png=b"GIF89a"), "seen", "PNG"),
        (_with_nan, "not_finite", f"{N_VOXELS} of the decoder's {N_VOXELS} voxels"),
        (lambda run: _changed(run="never-opened"), "run", "send Hello"),
        (lambda run: _changed(run=run, session="never-opened"), "run", "send Hello"),
        (lambda run: wire.encode(wire.Event(session="ses", run=run, event=0, onset_s=1.0)), "kind", "betas"),
        (lambda run: wire.encode(wire.StatusRequest()), "unexpected", "ingest"),
        (lambda run: [b"BRD1", b'{"type":"volumes"}'], "malformed", "volumes"),
    ],
)
def test_what_is_wrong_is_refused_and_the_daemon_goes_on(daemon, scanner, run, frames, code, words):
    n_refused = daemon.status().n_refused
    refused = scanner.ask_frames(frames(run))
    assert isinstance(refused, wire.Refused)
    assert refused.code == code
    assert words in refused.sentence
    assert daemon.status().n_refused == n_refused + 1
    assert isinstance(scanner.ask_frames(volume_frames(0, run=run)), wire.Ack)


def test_nan_outside_the_decoders_voxels_does_no_harm(daemon, scanner, run):
    stored = values(0).astype(np.float32)
    outside = np.setdiff1d(np.arange(stored.size), daemon.files.weights.voxel_index)
    stored.reshape(-1)[outside] = np.nan
    assert isinstance(scanner.ask_frames(volume_frames(0, stored=stored, run=run)), wire.Ack)


# ── control ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_late_viewer_fetches_what_it_missed(daemon, scanner, run):
    decode(daemon, scanner, run, 10)
    everything = daemon.decodes()
    seqs = [message.seq for message, _ in everything]
    assert seqs == list(range(1, daemon.status().last_seq + 1))
    *two, done = daemon.ask(wire.FetchRequest(from_seq=2, limit=2))
    assert [message.seq for message in two] == [2, 3]
    assert isinstance(done, wire.Done)
    assert daemon.ask(wire.FetchRequest(from_seq=-5, limit=1))[0].seq == 1
    with ControlClient(daemon.addresses["control"]) as control:
        assert [message.seq for message, _ in control.fetch(1, 3, pictures=False)] == [1, 2, 3]
        assert not any(payload for _, payload in control.fetch(1, 3, pictures=False))
        assert any(payload for _, payload in control.fetch(1, 3))
    assert isinstance(daemon.ask(wire.FetchRequest(from_seq=10**18, limit=10**18))[0], wire.Done)


def test_the_heartbeat_says_how_far_publishing_is(daemon, scanner, run):
    decode(daemon, scanner, run, 11)
    with daemon.watch() as viewer:
        beat = viewer.receive()
    assert isinstance(beat, wire.Heartbeat)
    assert beat.last_seq == daemon.status().last_seq
    assert (beat.state, beat.run, beat.simulated) == ("ready", run, True)


def test_a_decode_says_when_it_was_made_and_a_heartbeat_when_it_was_sent(daemon, scanner, run):
    before_s = time.time()
    decode(daemon, scanner, run, 12)
    with daemon.watch() as viewer:
        beat = viewer.receive()
    made_s = [message.made_s for message, _ in daemon.decodes() if message.run == run]
    assert before_s - 0.001 <= made_s[0] <= made_s[1] <= made_s[2] <= beat.sent_s + 0.001


def test_a_paused_daemon_acks_and_decodes_everything_when_it_goes_on(daemon, scanner, run):
    daemon.wait_until(lambda status: status.n_waiting == 0)
    daemon.ask(wire.Pause(paused=True))
    for index in range(3):
        assert isinstance(scanner.ask_frames(volume_frames(index, run=run)), wire.Ack)
    status = daemon.status()
    assert (status.state, status.n_waiting) == ("paused", 3)
    with daemon.watch() as viewer:
        daemon.ask(wire.Pause(paused=False))
        heard = viewer.until(lambda message: (message.run, message.index, message.stage) == (run, 2, "xzc"))
    assert [(message.index, message.stage) for message, _ in heard] == [(i, s) for i in range(3) for s in STAGES]
    assert daemon.status().state == "ready"


def test_what_is_no_control_request_is_refused(daemon):
    assert daemon.ask(hello())[0].code == "unexpected"


def test_latencies_are_reported(daemon, scanner, run):
    decode(daemon, scanner, run, 12)
    status = daemon.status()
    assert 0 < status.latency_p50_s <= status.latency_p99_s


def test_the_journal_holds_the_decoders_voxels_and_not_the_whole_volume(daemon, scanner, run):
    decode(daemon, scanner, run, 13)
    database = sqlite3.connect(f"file:{daemon.status().journal}?mode=ro", uri=True)
    masked, whole = database.execute(
        "SELECT masked, whole FROM voxels JOIN volumes USING (arrival) WHERE run = ?", (run,)
    ).fetchone()
    database.close()
    assert len(masked) == 4 * N_VOXELS
    assert whole is None
