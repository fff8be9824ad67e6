"""Outlets, `use` and `replay` as their commands run them, on a daemon that the test plays."""

import os
import socket
import sys
import threading
import types
import weakref

import numpy as np
import pytest

from braind.client import use, wire
from braind.client.address import Address
from braind.client.connection import NoDaemonError, RefusedByDaemon
from braind.client.control import ControlClient
from braind.client.endpoints import Endpoints, endpoints, endpoints_path, write_endpoints
from braind.client.outlets import scores as outlet
from braind.client.outlets.lsl import CHANNELS, LslOutlet
from braind.client.outlets.scores import ScoreSample, follow_scores
from braind.client.outlets.udp import UdpOutlet, line
from braind.client.replays.command import replay_subject
from braind.client.replays.plan import ReplayPlan
from braind.config import load_config


def addresses(daemon):
    ports = {"ingest": daemon.ingest_port, "decodes": daemon.decodes_port, "control": daemon.control_port}
    return Endpoints(**{name: f"tcp://127.0.0.1:{port}" for name, port in ports.items()}, pid=os.getpid())


def decode(daemon, seq=1, **fields):
    fields = {"session": "s", "run": "r", "index": 0, "stage": "scores", "timings_s": {}, **fields}
    return wire.Decode(seq=seq, provenance=daemon.provenance, **fields)


class Enough(Exception):
    """What a test's callback ends an endless loop with."""


# ── outlets ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_scores_alone_are_handed_on_and_the_daemons_coming_is_said_once(daemon):
    said, given = [], []

    def send(sample):
        given.append(sample.seq)
        if len(given) == 2:
            raise Enough

    def say(sentence):
        said.append(sentence)
        for seq, stage in enumerate(("scores", "xz", "xzc", "scores"), 1):
            is_gap = seq == 3
            gap = wire.Gap(seq=seq, session="s", run="r", index=5, n_missing=2)
            daemon.published.append(wire.encode(gap if is_gap else decode(daemon, seq, stage=stage)))

    with pytest.raises(Enough):
        follow_scores(addresses(daemon), send, say)
    assert given == [1, 4]
    assert said == [f"the daemon at tcp://127.0.0.1:{daemon.decodes_port} is heard"]


def test_a_daemon_that_is_away_is_said_once_and_waited_for(monkeypatch):
    monkeypatch.setattr(outlet, "SILENCE_S", 0.02)
    said = []
    where = Endpoints(ingest="tcp://127.0.0.1:1", decodes="tcp://127.0.0.1:1", control="tcp://127.0.0.1:1")
    silences = iter(range(5))
    receive = outlet.DecodeSubscriber.receive

    def few(subscriber, timeout_s):
        if next(silences, None) is None:
            raise Enough
        return receive(subscriber, timeout_s)

    monkeypatch.setattr(outlet.DecodeSubscriber, "receive", few)
    with pytest.raises(Enough):
        follow_scores(where, print, said.append)
    assert said == ["no daemon at tcp://127.0.0.1:1; waiting"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_datagram_is_one_line_of_utf8_whatever_the_label(daemon, host):
    best = (wire.Retrieved(label="un crabe « rouge »\n\x1b[2Jü", score=1 / 3, nsd_id=None),)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(10)
        udp = UdpOutlet(f"{host}:{listener.getsockname()[1]}", pytest.fail)
        if udp._socket.family == socket.AF_INET:
            udp.give(ScoreSample.of(decode(daemon, retrieved=best, feedback=0.0)))
            datagram = listener.recv(65536)
            assert "\t0.0000\t0.3333\tn/a\tun crabe « rouge » [2Jü\t".encode() in datagram
            assert datagram.count(b"\n") == 1
            assert len(datagram.split(b"\t")) == len(ScoreSample.__dataclass_fields__) - len(["classes"])
        udp.close()


def test_a_network_that_is_away_costs_a_line_and_not_the_outlet(daemon):
    said = []
    udp = UdpOutlet("127.0.0.1:5005", said.append)
    udp.give(ScoreSample.of(decode(daemon, retrieved=(wire.Retrieved(label="x" * 70_000, score=0.0),))))
    assert said == ["decode 1 was not sent to 127.0.0.1:5005: Message too long"]
    udp.give(ScoreSample.of(decode(daemon, 2)))
    assert len(said) == 1
    udp.close()


def test_a_label_of_spaces_is_a_label_that_is_not_there(daemon):
    best = (wire.Retrieved(label=" \t\n ", score=0.5),)
    assert line(ScoreSample.of(decode(daemon, retrieved=best))).split(b"\t")[9:12] == [b"0.5000", b"n/a", b"n/a"]


class PlayedOutlet:
    """An outlet of pylsl. Its stream ends when nobody holds it."""


class PlayedLsl:
    """The part of pylsl that the outlet uses; keeps what is opened, closed and pushed."""

    IRREGULAR_RATE, cf_double64 = 0.0, "double64"

    def __init__(self):
        self.opened, self.closed, self.pushed = [], [], []

    def StreamInfo(self, name, kind, n_channels, rate, dtype, source):  # noqa: N802
        info = types.SimpleNamespace(name=name, kind=kind, n_channels=n_channels, source=source, labels=[])
        info.set_channel_labels = info.labels.extend
        return info

    def StreamOutlet(self, info):  # noqa: N802
        assert len(info.labels) == info.n_channels
        self.opened.append(info)
        outlet = PlayedOutlet()
        outlet.push_sample = lambda values: self.pushed.append((info.name, dict(zip(info.labels, values, strict=True))))
        weakref.finalize(outlet, self.closed.append, info)
        return outlet


@pytest.fixture
def played_lsl(monkeypatch):
    library = PlayedLsl()
    monkeypatch.setitem(sys.modules, "pylsl", library)
    return library


def classified(daemon, probabilities, sent, **fields):
    labels = tuple(wire.LabelProbability(label=name, probability=p) for name, p in probabilities.items())
    return ScoreSample.of(decode(daemon, labels=labels, label=sent, **fields))


def test_an_lsl_sample_has_a_number_for_each_channel_and_nan_for_none(daemon, played_lsl):
    LslOutlet("braind", addresses(daemon)).give(
        ScoreSample.of(decode(daemon, 5, event=3, since_onset_s=4.5, is_final=False))
    )
    ((name, values),) = played_lsl.pushed
    assert (name, tuple(values)) == ("braind", CHANNELS)
    assert (values["seq"], values["event"], values["since_onset_s"], values["is_final"]) == (5.0, 3.0, 4.5, 0.0)
    missing = ("trial", "feedback", "score", "nsd_id", "top_probability", "sent_probability")
    assert np.isnan([values[name] for name in missing]).all()


def test_lsl_has_a_channel_for_each_class_by_name_that_stays_while_the_weights_stay(daemon, played_lsl):
    lsl = LslOutlet("braind", addresses(daemon))
    lsl.give(classified(daemon, {"house": 0.7, "face\x1b[2J": 0.3}, "house", event=1, since_onset_s=5.0))
    lsl.give(classified(daemon, {"face\x1b[2J": 0.6, "house": 0.4}, "dog", event=1, since_onset_s=7.5))
    (first, second) = [values for name, values in played_lsl.pushed if name == "braind-classes"]
    assert list(first) == list(second) == ["seq", "event", "since_onset_s", "is_final", "face [2J", "house"]
    assert (first["face [2J"], first["house"], second["face [2J"], second["house"]) == (0.3, 0.7, 0.6, 0.4)
    of_sender = [values["sent_probability"] for name, values in played_lsl.pushed if name == "braind"]
    assert of_sender == pytest.approx([0.7, np.nan], nan_ok=True)
    assert [(info.name, info.kind) for info in played_lsl.opened] == [
        ("braind", "Decode"),
        ("braind-classes", "Classes"),
    ]


def test_weights_with_other_classes_have_another_lsl_stream_of_another_source(daemon, played_lsl):
    lsl = LslOutlet("braind", addresses(daemon))
    lsl.give(classified(daemon, {"house": 0.7, "face": 0.3}, None))
    assert played_lsl.closed == []
    lsl.give(classified(daemon, {"cat": 0.5, "house": 0.3, "face": 0.2}, None))
    _, first, second = played_lsl.opened
    assert [info.source for info in played_lsl.closed] == [first.source] != [second.source]
    assert played_lsl.pushed[-1][1]["cat"] == 0.5


# ── other weights ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def using(daemon):
    """Answers to `Use`, in turn; the requests that came."""
    answers, requests, control = [], [], daemon._control

    def take(message):
        if isinstance(message, wire.Use):
            requests.append(message)
            yield wire.encode(answers.pop(0))
        else:
            yield from control(message)

    daemon._control = take
    return answers, requests


def test_other_weights_are_in_use_when_the_daemon_is_warm(daemon, using, tmp_path):
    answers, requests = using
    answers.append(wire.Done())
    status = use.use_weights(addresses(daemon), tmp_path / "w", tmp_path / "c", 5)
    assert status.state == "ready"
    assert [(request.weights, request.candidates) for request in requests] == [
        (str(tmp_path / "w"), str(tmp_path / "c"))
    ]


def test_a_daemon_that_still_decodes_is_asked_again(daemon, using, tmp_path):
    answers, requests = using
    busy = wire.Refused(code="busy", sentence="decodes an earlier run", retryable=True)
    answers += [busy, busy, wire.Done()]
    use.use_weights(addresses(daemon), tmp_path / "w", tmp_path / "c", 20)
    assert len(requests) == 3


@pytest.mark.parametrize(("retryable", "wait_s"), [(False, 20), (True, 0)])
def test_weights_that_do_not_fit_or_a_daemon_busy_for_too_long_are_said(daemon, using, tmp_path, retryable, wait_s):
    answers, requests = using
    answers.append(wire.Refused(code="grid", sentence="another grid", retryable=retryable))
    with pytest.raises(RefusedByDaemon, match="another grid"):
        use.use_weights(addresses(daemon), tmp_path / "w", tmp_path / "c", wait_s)
    assert len(requests) == 1


def test_a_daemon_that_warms_up_longer_than_the_wait_is_reported_as_it_is(daemon, using, tmp_path):
    answers, _ = using
    answers.append(wire.Done())
    daemon.state = "starting"
    assert use.use_weights(addresses(daemon), tmp_path / "w", tmp_path / "c", 0.01).state == "starting"


def test_a_control_socket_that_answers_no_more_is_given_up_and_can_be_asked_again(daemon):
    control, silent = daemon._control, [True]
    daemon._control = lambda message: iter(()) if silent else control(message)
    with ControlClient(port=daemon.control_port, timeout_s=0.1) as client:
        with pytest.raises(NoDaemonError, match="its status"):
            client.status()
        silent.clear()
        client.timeout_s = 10
        assert client.status().state == "ready"


def test_a_late_answer_is_not_taken_for_the_next_request(daemon):
    control, gate = daemon._control, threading.Event()

    def late(message):
        if isinstance(message, wire.Pause):
            gate.wait(10)
        return control(message)

    daemon._control = late
    with ControlClient(port=daemon.control_port, timeout_s=0.1) as client:
        with pytest.raises(NoDaemonError, match="to pause"):
            client.pause()
        gate.set()
        client.timeout_s = 10
        assert isinstance(client.status(), wire.Status)


# ── where the daemon is ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def config(tmp_path):
    return load_config(overrides={"paths": {"data": str(tmp_path)}})


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b'{"ingest": 5}', b'{"ingest": "tcp://127.0.0.1:1"}'])
def test_a_damaged_word_of_a_daemon_is_passed_over(config, content):
    path = endpoints_path(config)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    assert endpoints(config).address("control") == Address("127.0.0.1", 5562)


def test_another_users_daemon_is_believed_to_run(config, monkeypatch):
    def not_ours(pid, signal):
        raise PermissionError

    write_endpoints(config, Endpoints(ingest="tcp://127.0.0.1:1", decodes="tcp://127.0.0.1:2",
                                      control="tcp://127.0.0.1:3", pid=1))  # fmt: skip
    monkeypatch.setattr(os, "kill", not_ours)
    assert endpoints(config).address("decodes") == Address("127.0.0.1", 2)


def test_a_word_without_a_process_is_nobodys(config):
    write_endpoints(config, Endpoints(ingest="tcp://127.0.0.1:1", decodes="tcp://127.0.0.1:2",
                                      control="tcp://127.0.0.1:3"))  # fmt: skip
    assert endpoints(config).address("ingest") == Address("127.0.0.1", 5560)


def test_the_word_of_a_newer_braind_with_more_in_it_is_understood(config, daemon):
    path = write_endpoints(config, addresses(daemon))
    path.write_bytes(path.read_bytes().replace(b'{"', b'{"colour":"blue","', 1))
    assert endpoints(config).address("ingest")[1] == daemon.ingest_port


# ── replay ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def tree(small_data):
    from braind.client.datasets.nsd.tree import NsdTree

    return NsdTree(small_data / "nsd-simulated")


def test_a_replay_finds_its_daemon_and_forgets_itself_when_it_is_done(daemon, config, tree, capsys):
    write_endpoints(config, addresses(daemon))
    summary = replay_subject(config, tree, ReplayPlan(1, max_volumes=4), speed=None)
    assert (summary.n_sent, summary.n_acked, summary.n_decoded) == (4, 4, 4)
    assert list((endpoints_path(config).parent / "replays").iterdir()) == []
    assert capsys.readouterr().err == ""


def test_an_interrupted_replay_is_gone_on_with_and_says_so(daemon, config, tree, capsys):
    write_endpoints(config, addresses(daemon))
    daemon.refuse_hello = wire.Refused(code="shape", sentence="another grid")
    with pytest.raises(RefusedByDaemon):
        replay_subject(config, tree, ReplayPlan(1, max_volumes=3), speed=None)
    daemon.refuse_hello = None
    first = replay_subject(config, tree, ReplayPlan(1, max_volumes=3), speed=None)
    assert "going on with the interrupted replay" in capsys.readouterr().err
    assert first.n_acked == 3


def test_a_daemon_that_only_records_is_not_waited_for(daemon, config, tree):
    write_endpoints(config, addresses(daemon))
    daemon.state, daemon.publishes_decodes = "recording", False
    summary = replay_subject(config, tree, ReplayPlan(1, max_volumes=3), speed=None, session_id="x")
    assert (summary.n_acked, summary.n_decoded, summary.n_outstanding, summary.latency_p50_s) == (3, 0, 0, None)
    assert summary.session.endswith("-x")
    assert "latency" not in summary.text()


@pytest.mark.parametrize(
    ("plan", "name"),
    [
        (ReplayPlan(1), "replay-subj01-beta-single"),
        (ReplayPlan(12, repeats="mean", session=3), "replay-subj12-beta-mean-ses03"),
        (ReplayPlan(1, kind="bold", repeats="running"), "replay-subj01-bold"),
        (ReplayPlan(2, kind="bold", repeats="calibration", session=40), "replay-subj02-bold-calibration-ses40"),
        (ReplayPlan(1, with_foils=True, max_volumes=3, pace_s=1.0), "replay-subj01-beta-single"),
    ],
)
def test_replays_of_the_same_trials_have_the_same_name(plan, name):
    assert plan.name == name
