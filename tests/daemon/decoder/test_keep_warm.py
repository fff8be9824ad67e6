"""A GPU's clocks are up when the next volume is expected: once before each, and never while nothing is expected."""

from types import SimpleNamespace

import pytest
from pipelines import decoder_settings, setup_line

from braind.daemon.decoder import decoder as decoder_module
from braind.daemon.decoder.cadence import Cadence
from braind.daemon.decoder.decoder import Decoder


def test_the_next_volume_is_expected_by_the_median_gap():
    cadence = Cadence()
    for arrived_s in (10.0, 11.3, 12.6):
        cadence.add_arrival(arrived_s)
        assert cadence.next_s is None
    for arrived_s in (13.9, 18.0):  # a pause between two runs
        cadence.add_arrival(arrived_s)
        assert cadence.next_s == pytest.approx(arrived_s + 1.3)
    for n in range(1, 20):
        cadence.add_arrival(18.0 + 2 * n)
    assert cadence.next_s == pytest.approx(58.0)


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now_s=100.0)
    monkeypatch.setattr(decoder_module, "time", SimpleNamespace(monotonic=lambda: clock.now_s))
    return clock


def decoder_with(tmp_path, keep_warm_ms, pulse):
    """Return a decoder to which a volume came each second, the last one now."""
    setup = setup_line(tmp_path, decoder_settings(), keep_warm_ms=keep_warm_ms)
    decoder = Decoder(setup, SimpleNamespace(weights=None, keep_warm=pulse), print)
    for arrived_s in (96.0, 97.0, 98.0, 99.0, 100.0):
        decoder._cadence.add_arrival(arrived_s)
    return decoder


def test_the_gpu_is_woken_once_before_each_volume(tmp_path, clock):
    pulses = []
    decoder = decoder_with(tmp_path, 50, lambda: pulses.append(1))
    assert decoder.keep_warm() == pytest.approx(0.95)
    clock.now_s = 100.96
    assert (decoder.keep_warm(), len(pulses)) == (None, 1)
    assert (decoder.keep_warm(), len(pulses)) == (None, 1)
    clock.now_s = 101.2  # it is late: nobody knows how much
    assert (decoder.keep_warm(), len(pulses)) == (None, 1)
    decoder._cadence.add_arrival(101.3)
    assert decoder.keep_warm() == pytest.approx(1.05)
    decoder.close()


def test_without_the_setting_nothing_is_woken(tmp_path, clock):
    pulses = []
    decoder = decoder_with(tmp_path, 0, lambda: pulses.append(1))
    clock.now_s = 100.99
    assert (decoder.keep_warm(), pulses) == (None, [])
    decoder.close()


def test_a_gpu_that_fails_to_wake_is_logged_and_the_decoder_goes_on(tmp_path, clock, caplog):
    def fail():
        raise RuntimeError("CUDA error: unspecified launch failure")

    decoder = decoder_with(tmp_path, 50, fail)
    clock.now_s = 100.96
    assert decoder.keep_warm() is None
    assert "the GPU could not be kept warm for the next volume" in caplog.text
    assert "unspecified launch failure" in caplog.text
    assert decoder.step() is False
    decoder._cadence.add_arrival(101.0)
    assert decoder.keep_warm() == pytest.approx(0.99)  # it is tried again before the next volume
    decoder.close()


def test_no_arrival_is_predicted_until_three_intervals_are_known():
    cadence = Cadence()
    assert cadence.next_s is None
    for arrived_s in (0.0, 2.0, 4.0):
        cadence.add_arrival(arrived_s)
    assert cadence.next_s is None
    cadence.add_arrival(6.0)
    assert cadence.next_s == pytest.approx(8.0)


def test_a_prediction_follows_a_new_tr_after_most_of_the_last_eight_intervals_have_it():
    cadence = Cadence()
    for n in range(9):
        cadence.add_arrival(1.5 * n)
    for n in range(1, 6):
        cadence.add_arrival(12.0 + 0.5 * n)
        assert cadence.next_s == pytest.approx(12.0 + 0.5 * n + (1.5 if n < 4 else 1.0 if n == 4 else 0.5))
