"""What outlets say of a decode, and of what is missing."""

import subprocess
import sys

import pytest

from braind.client import wire
from braind.client.outlets.lsl import load_pylsl
from braind.client.outlets.scores import OutletError, ScoreSample
from braind.client.outlets.udp import UdpOutlet, line


def given(daemon, **fields):
    fields = {"seq": 3, "session": "s", "run": "r", "index": 7, "stage": "scores", "timings_s": {}, **fields}
    return ScoreSample.of(wire.Decode(provenance=daemon.provenance, **fields))


def test_a_bold_trial_that_unfolds_is_a_line(daemon):
    best = (wire.Retrieved(label="a red\tcrab\n on sand ", score=0.5, nsd_id=17), wire.Retrieved(label="x", score=0.1))
    unfolding = given(
        daemon, trial=4, event=2, since_onset_s=5.3333, is_final=False, feedback=-0.123456, retrieved=best
    )
    assert line(unfolding) == b"3\ts\tr\t7\t4\t2\t5.333\t0\t-0.1235\t0.5000\t17\ta red crab on sand\n"


def test_what_is_not_known_is_said_so(daemon):
    assert line(given(daemon)) == b"3\ts\tr\t7\tn/a\tn/a\tn/a\t1\tn/a\tn/a\tn/a\tn/a\n"


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


def test_without_pylsl_it_is_said_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pylsl", None)
    with pytest.raises(OutletError, match=r"pip install 'braind\[lsl\]'"):
        load_pylsl()


def test_without_liblsl_it_is_said_where_to_put_it(monkeypatch, tmp_path):
    (tmp_path / "pylsl.py").write_text('raise RuntimeError("LSL binary library file was not found.\\n Please …")')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pylsl", raising=False)
    with pytest.raises(OutletError, match="no liblsl that it can load.*PYLSL_LIB"):
        load_pylsl()
