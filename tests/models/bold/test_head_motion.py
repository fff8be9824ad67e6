"""Head motion relative to the first volume, and Power's framewise displacement."""

import numpy as np
import pytest

from braind.models.bold.head_motion import HEAD_RADIUS_MM, HeadMotion


def test_framewise_displacement_is_powers_sum_over_six_parameters():
    rng = np.random.default_rng(0)
    motion = rng.normal(0, 0.02, (20, 6))
    wanted = np.abs(np.diff(motion, axis=0) * [1, 1, 1, 50, 50, 50]).sum(axis=1)
    head = HeadMotion()
    found = [head.add_volume(one)[1] for one in motion]
    assert found == pytest.approx([0, *wanted])


def test_the_position_is_relative_to_the_first_volume():
    head = HeadMotion()
    assert not head.add_volume(np.array([5.0, 0, 0, 0.1, 0, 0]))[0].any()
    position, _ = head.add_volume(np.array([5.5, 0, -1, 0.12, 0, 0]))
    assert position == pytest.approx([0.5, 0, -1, 0.02 * HEAD_RADIUS_MM, 0, 0])


def test_a_volume_without_motion_estimates_counts_as_still():
    head = HeadMotion()
    head.add_volume(np.ones(6))
    position, displacement_mm = head.add_volume(None)
    assert (position.tolist(), displacement_mm) == ([0] * 6, 0)
    # the next estimate is compared with the last known one
    assert head.add_volume(np.array([2.0, 1, 1, 1, 1, 1]))[1] == pytest.approx(1)
