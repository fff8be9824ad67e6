"""Weights that decode classes and no pictures: served without a latent diffusion model, bit for bit as offline."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from label_weights import CLASSES, expected_labels, label_files, label_map, label_weights, labels_of
from running_daemon import AFFINE, SHAPE, RunningDaemon, hello, serve_command, values, volume_frames
from scans import Scan, Watch, all_of, decodes_of, free_ports, restart, sent, undisturbed
from scans import Sender as ScanSender

from braind.client import wire
from braind.daemon.decoder.label_stages import LabelStages, StagesError, ranked_classes
from braind.models.weights import roi
from braind.models.weights.blank import blank_weights

HOSTILE = (
    "[bold red]face[/]", "\x1b[31mhouse\x07", "two\nlines\r\n", "\ttab", "\u202egnihtemos", "ö" * 200, "\x00", " ",
    "=cmd|' /C calc'!A0", "<script>alert(1)</script>",
)  # fmt: skip


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    return label_files(label_weights(), tmp_path_factory.mktemp("labels"))


@pytest.fixture(scope="module")
def daemon(labels, tmp_path_factory):
    daemon = RunningDaemon(labels, tmp_path_factory.mktemp("served"), decode={"refine": "quality-20", "seed": 7})
    yield daemon.start()
    daemon.close()


@pytest.fixture
def scanner(daemon):
    with daemon.connect("ingest") as scanner:
        yield scanner


def voxels_of(weights, number):
    return roi.gather(values(number), weights.voxel_index, 1 / 300)


def command(daemon, *words):
    command = [sys.executable, "-m", "braind", *map(str, words), "--data", str(daemon.data_path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


# ── betas ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_beta_gets_the_classes_of_the_offline_map_bit_for_bit(daemon, scanner, labels):
    scanner.ask(hello(run="betas"))
    with daemon.watch() as viewer:
        for index in range(3):
            scanner.ask_frames(volume_frames(index, run="betas", label="house" if index else None))
        heard = viewer.until(lambda message: message.index == 2)
    scanner.ask(wire.EndRun(session="ses", run="betas", n_volumes=3))
    assert [(decode.index, decode.stage, decode.label) for decode, _ in heard] == [
        (0, "scores", None),
        (1, "scores", "house"),
        (2, "scores", "house"),
    ]
    for decode, payload in heard:
        assert labels_of(decode) == expected_labels(labels.weights, voxels_of(labels.weights, decode.index))
        assert (payload, decode.latents, decode.retrieved, decode.is_last) == ([], "", (), True)
        made = decode.provenance
        assert (made.mode, made.preset, made.engine, made.ldm, made.seed) == ("labels", "none", "none", "", 7)
        assert made.weights == labels.weights.fingerprint
    status = daemon.wait_until(lambda status: status.n_waiting == 0)
    assert status.n_decoded == 3


def test_the_decoder_loads_no_torch_and_everybody_is_told_that_no_picture_is_made(daemon):
    maps = Path(f"/proc/{daemon.decoder.pid}/maps").read_text(encoding="utf-8")
    assert "numpy" in maps
    assert "libtorch" not in maps
    why = "the weights decode 8 classes and no pictures"
    with daemon.watch() as viewer:
        beat = viewer.receive()
    assert (beat.no_pictures, daemon.status().no_pictures) == (why, why)
    assert f"ready: subject 1, {why}" in daemon.words()
    assert f"no latent diffusion model is loaded: {why}; --refine has no picture to refine" in daemon.words()
    assert why in command(daemon, "status").stdout
    assert why in command(daemon, "doctor").stdout


def test_candidates_are_refused_by_name_because_there_are_none(daemon, scanner):
    refused = scanner.ask(hello(run="pair", right=100, foil="picture 1"))
    assert refused.code == "candidate"
    assert "right 100, foil 'picture 1'; this daemon has no candidate pictures" in refused.sentence


@pytest.mark.parametrize(
    ("label", "code", "words"),
    [
        ("x" * 257, "name", "volume 9: label 'xxx"),
        ("", "name", "label '' of 0 characters"),
        (7, "malformed", "$.label"),
        (["face"], "malformed", "$.label"),
    ],
    ids=["long", "empty", "number", "list"],
)
def test_a_label_that_is_no_name_is_refused_by_name(daemon, scanner, label, code, words):
    run = f"refused-{type(label).__name__}-{len(str(label))}"
    scanner.ask(hello(run=run))
    magic, header, *payload = volume_frames(9, run=run)
    header = msgspec.json.encode(msgspec.json.decode(header) | {"label": label})
    refused = scanner.ask_frames([magic, header, *payload])
    scanner.ask(wire.EndRun(session="ses", run=run, n_volumes=0))
    assert (refused.code, words in refused.sentence) == (code, True), refused.sentence


def test_an_onset_with_a_label_that_is_too_long_is_refused_and_256_characters_are_taken(daemon, scanner):
    scanner.ask(hello(run="onsets", kind="bold", tr_s=2.0))
    event = wire.Event(session="ses", run="onsets", event=0, onset_s=1.0, label="é" * 256)
    refused = scanner.ask(msgspec.structs.replace(event, label="é" * 257))
    assert (refused.code, "event 0" in refused.sentence) == ("name", True)
    assert isinstance(scanner.ask(event), wire.Ack)
    scanner.ask(wire.EndRun(session="ses", run="onsets", n_volumes=0))


def test_the_session_is_shown_verified_and_exported(daemon, labels, tmp_path):
    shown = command(daemon, "sessions", "show", "ses")
    assert "3 scores" in shown.stdout, shown.stderr
    verified = command(daemon, "sessions", "verify", "ses", "--weights", labels.weights_path)
    assert "run betas: 3 equal, 0 different, 0 cannot be checked" in verified.stdout, verified.stderr
    assert verified.returncode == 0
    exported = command(daemon, "sessions", "export", "ses", "--out", tmp_path / "bids")
    assert exported.returncode == 0, exported.stderr
    (events,) = (tmp_path / "bids").rglob("*run-01_events.tsv")
    assert [line.split("\t")[2] for line in events.read_text().splitlines()] == [
        "trial_type", "picture", "house", "house",
    ]  # fmt: skip
    (decodes,) = (tmp_path / "bids").rglob("*run-01_decodes.json")
    first = msgspec.json.decode(decodes.read_bytes())[0]
    assert [(one["label"], one["probability"]) for one in first["labels"]] == expected_labels(
        labels.weights, voxels_of(labels.weights, 0)
    )


# ── BOLD ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def without_signals(decode):
    fields, png = decode
    return {name: value for name, value in fields.items() if name != "signals"}, png


@pytest.mark.parametrize("policy", ["all", "latest"])
def test_bold_trials_get_classes_at_each_volume_and_after_a_kill_the_same(tmp_path, policy):
    files = label_files(label_weights("bold"), tmp_path)
    scan = Scan("bold", 30)
    settings = {"serve": {"policy": policy, **free_ports()}}
    daemon = RunningDaemon(files, tmp_path / "killed", **settings).start()
    try:
        ports = [settings["serve"][f"{name}_port"] for name in ("ingest", "decodes", "control")]
        with Watch(*ports[1:]) as watch:
            sender = ScanSender(ports[0], scan)
            sender.release(14)
            assert watch.until(lambda heard: any(message.is_final for message in heard)), daemon.words()
            daemon.kill()
            restart(daemon)
            sender.finish()
            assert watch.until(all_of(scan)), daemon.words()
        found = decodes_of(watch.heard, scan)
    finally:
        daemon.close()
    made = {key: one for key, one in found.items() if key[-1] != "skipped"}
    decodes = [fields for fields, _ in made.values()]
    assert {fields["stage"] for fields in decodes} == {"scores"}
    assert all(len(fields["labels"]) == len(CLASSES) for fields in decodes)
    assert {fields["is_final"] for fields in decodes} == {True, False}
    expected = undisturbed(files, tmp_path / "undisturbed", scan, serve={"policy": "all"})
    if policy == "all":
        assert found == expected
    # Policy `latest` may pass volumes over while the decoder starts again; the next decode carries their signals.
    assert all(without_signals(expected[key]) == without_signals(one) for key, one in made.items())


def test_a_bold_run_without_any_onset_ends_and_nothing_waits(daemon, scanner):
    scanner.ask(hello(run="rest", kind="bold", tr_s=2.0))
    for index in range(4):
        stored = np.full(SHAPE, 900 + index, np.int16)
        assert isinstance(scanner.ask_frames(volume_frames(index, run="rest", stored=stored, scale=1.0)), wire.Ack)
    scanner.ask(wire.EndRun(session="ses", run="rest", n_volumes=4))
    daemon.wait_until(lambda status: status.n_waiting == 0)
    assert not [message for message, _ in daemon.decodes() if message.run == "rest"]


# ── other weights ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_use_goes_from_pictures_to_classes_and_back(files, labels, tmp_path):
    daemon = RunningDaemon(files, tmp_path, decode={"mode": "z"}).start()
    try:
        for number, (path, mode) in enumerate([(labels.weights_path, "labels"), (files.weights_path, "z")]):
            beside = [] if mode == "labels" else ["--candidates", files.candidates_path]
            used = command(daemon, "use", path, *beside)
            assert used.returncode == 0, used.stderr
            assert (daemon.status().no_pictures == "") == (mode == "z")
            run = f"run-{number}"
            with daemon.connect("ingest") as scanner, daemon.watch() as viewer:
                scanner.ask(hello(run=run))
                scanner.ask_frames(volume_frames(0, run=run))
                heard = viewer.until(lambda message: message.is_last)
                scanner.ask(wire.EndRun(session="ses", run=run, n_volumes=1))
            assert [decode.stage for decode, _ in heard] == list(wire.STAGES_OF_MODE[mode])
            assert heard[-1][0].provenance.mode == mode
            assert bool(heard[0][0].labels) == (mode == "labels")
            daemon.wait_until(lambda status: status.n_waiting == 0)
        # The next start finds the weights of the last `use` again.
        assert command(daemon, "use", labels.weights_path).returncode == 0
        assert daemon.stop() == 0
        daemon.close()
        daemon.__init__(files, tmp_path)
        daemon.paths = {"weights": None, "candidates": None}
        daemon.start()
        assert daemon.status().weights == labels.weights.fingerprint
    finally:
        daemon.close()


def damaged(labels, path, **change):
    """Write weights with changed tensors or a changed card, past the checks of `Weights`."""
    from safetensors import safe_open
    from safetensors.numpy import save_file

    with safe_open(labels.weights_path, framework="np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    card = msgspec.json.decode(metadata["card"]) | change.pop("card", {})
    save_file(tensors | change, path, metadata | {"card": msgspec.json.encode(card).decode()})
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels.intercept": np.full(8, np.nan, np.float32)}, "labels.intercept holds numbers that are not finite"),
        ({"labels.slope": np.array([np.nan])}, "labels.slope must be one number above 0"),
        ({"labels.slope": np.zeros(1)}, "labels.slope must be one number above 0"),
        ({"card": {"labels": [*CLASSES[:7], "face"]}}, "the card's classes are not those of the label map"),
        ({"card": {"labels": CLASSES[:7]}}, "labels"),
        ({"card": {"labels": [*CLASSES[:7], "x" * 257]}}, "of 257 characters"),
        ({"card": {"labels": [*CLASSES[:7], ""]}}, "the card's classes are not those of the label map"),
    ],
    ids=["NaN", "slope NaN", "slope 0", "repeated", "missing", "long", "empty"],
)
def test_damaged_classes_are_refused_at_the_start_and_by_use(daemon, labels, tmp_path, change, words):
    path = damaged(labels, tmp_path / "damaged.safetensors", **change)
    refused = daemon.ask(wire.Use(weights=str(path), candidates=""))[0]
    assert isinstance(refused, wire.Refused)
    assert words in refused.sentence
    if words.startswith("labels.intercept"):
        files = SimpleNamespace(**{**vars(labels), "weights_path": path})
        done = subprocess.run(
            serve_command(files, tmp_path / "data", {}), capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 2
        assert words in done.stderr


def test_weights_that_decode_nothing_are_refused(daemon, tmp_path):
    blank_weights(1, np.ones(SHAPE, bool), np.array(AFFINE), "beta").save(tmp_path / "blank.safetensors")
    refused = daemon.ask(wire.Use(weights=str(tmp_path / "blank.safetensors"), candidates=""))[0]
    assert (refused.code, "decode neither pictures nor classes" in refused.sentence) == ("weights", True)


def test_a_thousand_hostile_classes_arrive_whole(tmp_path):
    names = [*HOSTILE, *(f"{number:04} {'n' * 195}" for number in range(990))]
    files = label_files(label_weights(classes=names), tmp_path)
    daemon = RunningDaemon(files, tmp_path / "data").start()
    try:
        (published, _) = sent(daemon, Scan("beta", 2))[0]
        assert labels_of(published) == expected_labels(files.weights, voxels_of(files.weights, 0))
        assert {one.label for one in published.labels} == set(names)
        verified = command(daemon, "sessions", "verify", "ses", "--weights", files.weights_path)
        assert verified.returncode == 0, verified.stdout
        assert "\x1b" not in daemon.words()
    finally:
        daemon.close()


def test_classes_that_no_message_can_carry_are_refused_before_a_scan(daemon, tmp_path):
    names = [f"{number:04} {'n' * 240}" for number in range(3000)]
    label_weights(classes=names).save(tmp_path / "many.safetensors")
    refused = daemon.ask(wire.Use(weights=str(tmp_path / "many.safetensors"), candidates=""))[0]
    assert refused.code == "weights"
    assert "3000 classes take" in refused.sentence


# ── beside pictures ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_weights_with_pictures_and_classes_give_classes_with_the_scores(files, tmp_path):
    both = replace(
        files.weights,
        labels=label_map(60, 3),
        card=msgspec.structs.replace(files.weights.card, labels=("a", "b", "c")),
        fingerprint="",
    )
    both.save(tmp_path / "both.safetensors")
    changed = SimpleNamespace(**{**vars(files), "weights_path": tmp_path / "both.safetensors"})
    daemon = RunningDaemon(changed, tmp_path / "data", decode={"mode": "z"}).start()
    try:
        heard = sent(daemon, Scan("beta", 2))
        scores = [message for message, _ in heard if message.stage == "scores" and message.run == "scan"]
        assert [labels_of(one) for one in scores] == [
            expected_labels(both, voxels_of(both, index)) for index in range(2)
        ]
        assert not any(message.labels for message, _ in heard if message.stage != "scores")
        assert daemon.status().no_pictures == ""
        verified = command(daemon, "sessions", "verify", "ses", "--weights", changed.weights_path)
        assert verified.returncode == 0, verified.stdout
    finally:
        daemon.close()


# ── one trial ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_equally_probable_classes_keep_the_order_of_the_weights():
    weights = label_weights()
    found = ranked_classes(weights, np.zeros(len(weights.voxel_index), np.float32))
    assert [one.label for one in found] == list(CLASSES)


@pytest.mark.parametrize("number", [np.inf, np.nan, 3e38])
def test_voxels_that_give_no_finite_probability_get_no_stage(number):
    weights = label_weights()
    stages = LabelStages(weights, 1)
    with pytest.raises(StagesError, match="probabilities that are not finite"):
        next(stages.run(np.full(len(weights.voxel_index), number, np.float32)))
