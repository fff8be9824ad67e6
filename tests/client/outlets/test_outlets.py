"""What outlets say of a decode, and of what is missing."""

import os
import socket
import subprocess
import sys
from contextlib import closing

import pytest

from braind.client import wire
from braind.client.endpoints import Endpoints
from braind.client.outlets.lsl import LslOutlet, load_pylsl
from braind.client.outlets.scores import OutletError, ScoreSample
from braind.client.outlets.udp import UdpOutlet, line

NO_CLASSES = b"\tn/a\tn/a\tn/a\tn/a\n"


def given(daemon, **fields):
    fields = {"seq": 3, "session": "s", "run": "r", "index": 7, "stage": "scores", "timings_s": {}, **fields}
    return ScoreSample.of(wire.Decode(provenance=daemon.provenance, **fields))


def test_a_bold_trial_that_unfolds_is_a_line(daemon):
    best = (wire.Retrieved(label="a red\tcrab\n on sand ", score=0.5, nsd_id=17), wire.Retrieved(label="x", score=0.1))
    unfolding = given(
        daemon, trial=4, event=2, since_onset_s=5.3333, is_final=False, feedback=-0.123456, retrieved=best
    )
    assert line(unfolding) == b"3\ts\tr\t7\t4\t2\t5.333\t0\t-0.1235\t0.5000\t17\ta red crab on sand" + NO_CLASSES


def test_what_is_not_known_is_said_so(daemon):
    assert line(given(daemon)) == b"3\ts\tr\t7\tn/a\tn/a\tn/a\t1\tn/a\tn/a\tn/a\tn/a" + NO_CLASSES


def classified(daemon, probabilities, sent=None, **fields):
    labels = tuple(wire.LabelProbability(label=name, probability=p) for name, p in probabilities.items())
    return given(daemon, labels=labels, label=sent, **fields)


def test_a_class_keeps_its_place_whichever_is_the_most_probable(daemon):
    first = line(classified(daemon, {"house": 0.7, "Zebra": 0.2, "face": 0.1}, "face", event=0, is_final=False))
    assert first.endswith(b"\thouse\t0.7000\tface\t0.1000\tZebra\t0.2000\tface\t0.1000\thouse\t0.7000\n")
    second = line(classified(daemon, {"face": 0.5, "house": 0.3, "Zebra": 0.2}, "dog", event=0))
    assert second.endswith(b"\tface\t0.5000\tdog\tn/a\tZebra\t0.2000\tface\t0.5000\thouse\t0.3000\n")


@pytest.mark.parametrize("name", ["a\tb\nc", "\x1b[2J", "", " \t ", "\u202e", "n" * 200, "脳" * 200, "n/a"])
def test_a_name_of_a_class_takes_one_field_of_the_line(daemon, name):
    fields = line(classified(daemon, {name: 0.6, "cat": 0.4}, name)).decode().rstrip("\n").split("\t")
    assert len(fields) == 12 + 4 + 2 * 2
    assert all(field.isprintable() and field for field in fields)
    assert sorted(fields[17::2]) == ["0.4000", "0.6000"]


def test_classes_that_no_datagram_holds_are_left_out_and_the_line_is_sent(daemon):
    names = {f"{n} {'n' * 250}": 1 / 400 for n in range(400)}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(10)
        with closing(UdpOutlet(f"127.0.0.1:{listener.getsockname()[1]}", pytest.fail)) as udp:
            udp.give(classified(daemon, names, "cat"))
            assert listener.recv(65536).decode().split("\t")[13:] == ["0.0025", "cat", "n/a\n"]
            udp.give(classified(daemon, dict(list(names.items())[:200]), "cat"))
            assert len(listener.recv(65536).split(b"\t")) == 16 + 2 * 200


@pytest.mark.parametrize("address", ["5005", "localhost:", "localhost:0", "localhost:x", "localhost:70000", ""])
def test_an_address_that_is_none_is_refused_with_what_to_give(address):
    with pytest.raises(OutletError, match="give HOST:PORT, such as 127.0.0.1:5005"):
        UdpOutlet(address, print)


def test_a_refused_outlet_is_a_sentence_and_status_2(tmp_path):
    command = [sys.executable, "-m", "braind", "outlet", "udp", "nowhere.invalid:5005", "--data", tmp_path]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("braind: nowhere.invalid:5005: ")
    assert len(ran.stderr.splitlines()) == 1


def test_without_liblsl_it_is_said_where_to_put_it(monkeypatch, tmp_path):
    (tmp_path / "pylsl.py").write_text('raise RuntimeError("LSL binary library file was not found.\\n Please …")')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pylsl", raising=False)
    with pytest.raises(OutletError, match="no liblsl that it can load.*PYLSL_LIB"):
        load_pylsl()


def test_classes_come_through_lab_streaming_layer_with_their_names(daemon):
    try:
        pylsl = load_pylsl()
    except OutletError as error:
        pytest.skip(str(error))
    name = f"braind test {os.getpid()}"
    lsl = LslOutlet(name, Endpoints(ingest="tcp://a:1", decodes="tcp://a:2", control="tcp://a:3"))
    lsl.give(classified(daemon, {"house": 0.7, "<face> & [b]脳": 0.3}, event=2, since_onset_s=5.0, is_final=False))
    (info,) = pylsl.resolve_byprop("name", f"{name}-classes", timeout=20)
    inlet = pylsl.StreamInlet(info, recover=False)
    inlet.open_stream(20)
    assert inlet.info().get_channel_labels() == ["seq", "event", "since_onset_s", "is_final", "<face> & [b]脳", "house"]
    lsl.give(classified(daemon, {"<face> & [b]脳": 0.9, "house": 0.1}, event=2, since_onset_s=7.5, is_final=False))
    sample, _ = inlet.pull_sample(20)
    inlet.close_stream()
    assert sample == [3.0, 2.0, 7.5, 0.0, 0.9, 0.1]
