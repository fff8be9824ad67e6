import msgspec
import numpy as np
import pytest

from braind.client import wire
from braind.tui.pictures import KEPT_PX, LARGE_PX, N_LARGE
from braind.tui.recent import N_KEPT, PATIENCE_S, RecentDecodes, median_and_p99_ms

PROVENANCE = wire.Provenance(
    subject=1, preset="live-4", mode="zc", seed=1, engine="e", weights="w", ldm="l", simulated=False, version="0"
)
PICTURE = np.zeros((2, 2, 3), np.uint8)


def stage(index, name, seq=None, **fields):
    fields = {"provenance": PROVENANCE, "timings_s": {name: 0.1}, "session": "s", "run": "r"} | fields
    return wire.Decode(seq=3 * index if seq is None else seq, index=index, stage=name, **fields)


def skipped(index, seq=None):
    return wire.Skipped(seq=3 * index if seq is None else seq, session="s", run="r", index=index, reason="behind")


@pytest.fixture
def recent():
    return RecentDecodes()


def test_stages_come_together_in_one_volume(recent):
    candidates = (wire.Retrieved(label="fox", score=0.8),)
    for name, fields in (("scores", {"retrieved": candidates}), ("xz", {}), ("xzc", {})):
        recent.take_decode(stage(4, name, **fields), PICTURE, 0.0)
    (volume,) = recent.volumes
    assert volume.seen is volume.xz is volume.xzc is PICTURE
    assert volume.retrieved == candidates
    assert set(volume.timings_s) == {"scores", "xz", "xzc"}


def test_the_same_stage_twice_is_one_volume(recent):
    for _ in range(2):
        recent.take_decode(stage(4, "xzc"), PICTURE, 0.0)
    assert recent.n_finished == len(recent.volumes) == 1


def test_a_daemon_that_counts_from_the_start_again_is_newer(recent):
    for index in (0, 1, 2):
        recent.take_decode(stage(index, "xzc", seq=10 + index), PICTURE, 0.0)
    for seq, name in ((1, "scores"), (2, "xzc")):
        recent.take_decode(stage(0, name, seq=seq), PICTURE, 1.0)
    assert [volume.index for volume in recent.newest_first()] == [0, 2, 1, 0]
    assert recent.newest(1.0) is recent.newest_first()[0]


def test_a_new_session_comes_after_an_old_one_whose_numbers_were_larger(recent):
    recent.take_decode(stage(900, "xzc"), PICTURE, 0.0)
    recent.take_decode(stage(0, "xzc", seq=1, session="next"), PICTURE, 1.0)
    assert recent.newest(1.0).session == "next"


def test_only_the_newest_volumes_keep_large_pictures(recent):
    large = np.zeros((LARGE_PX, LARGE_PX, 3), np.uint8)
    for index in range(N_LARGE + 3):
        for name in ("scores", "xz", "xzc"):
            recent.take_decode(stage(index, name), large, 0.0)
    sizes = [(volume.seen.shape[0], volume.xz.shape[0], volume.xzc.shape[0]) for volume in recent.volumes]
    assert sizes == [(KEPT_PX,) * 3] * 3 + [(LARGE_PX,) * 3] * N_LARGE


def test_an_old_volumes_late_pictures_are_small(recent):
    large = np.zeros((LARGE_PX, LARGE_PX, 3), np.uint8)
    for index in range(N_LARGE + 1):
        recent.take_decode(stage(index, "scores", seq=1 + index), large, 0.0)
    recent.take_decode(stage(0, "xzc", seq=100), large, 0.0)
    assert recent.volumes[0].xzc.shape[0] == KEPT_PX


def test_only_the_newest_volumes_are_kept(recent):
    for index in range(N_KEPT + 10):
        recent.take_decode(stage(index, "xzc"), PICTURE, 0.0)
    assert len(recent.volumes) == N_KEPT
    assert recent.volumes[0].index == 10


def test_a_finished_decode_stays_until_the_next_is_finished_or_slow(recent):
    recent.take_decode(stage(1, "xzc"), PICTURE, 0.0)
    recent.take_decode(stage(2, "scores"), None, 10.0)
    assert recent.newest(10.0 + 0.9 * PATIENCE_S).index == 1
    assert recent.newest(10.0 + 1.1 * PATIENCE_S).index == 2
    recent.take_decode(stage(2, "xzc"), PICTURE, 10.2)
    assert recent.newest(10.2).index == 2


def test_the_first_volume_is_shown_from_its_first_stage(recent):
    recent.take_decode(stage(1, "scores"), None, 0.0)
    assert recent.newest(0.0).index == 1


def test_skipped_volumes_leave_the_last_picture_standing(recent):
    recent.take_decode(stage(1, "xzc"), PICTURE, 0.0)
    recent.take_decode(stage(2, "scores"), None, 0.0)
    for index in (2, 3, 4):
        recent.take_skipped(skipped(index), 0.0)
    assert recent.newest(100.0).index == 1
    assert [volume.skipped for volume in recent.newest_first()] == ["behind"] * 3 + [""]


def test_a_skipped_volume_that_is_decoded_later_is_skipped_no_more(recent):
    recent.take_skipped(skipped(2), 0.0)
    recent.take_decode(stage(2, "xzc"), PICTURE, 0.0)
    recent.take_skipped(skipped(2), 0.0)
    assert recent.newest(0.0).skipped == ""


def test_mode_z_ends_with_xz(recent):
    provenance = msgspec.structs.replace(PROVENANCE, mode="z")
    recent.take_decode(stage(1, "xz", provenance=provenance), PICTURE, 0.0)
    assert recent.newest(0.0).final_picture is PICTURE


def test_median_and_p99_are_numpys():
    times_s = np.random.default_rng(3).gamma(2.0, 0.1, 87).tolist()
    expected = 1e3 * np.median(times_s), 1e3 * np.percentile(times_s, 99, method="inverted_cdf")
    assert median_and_p99_ms(times_s) == pytest.approx(expected)
    assert median_and_p99_ms([0.25]) == (250.0, 250.0)


def test_a_later_decode_of_a_trial_supersedes_and_an_unfinished_one_takes_no_screen(recent):
    recent.take_decode(stage(1, "xzc"), PICTURE, 0.0)
    for index, since_onset_s in ((3, 4.5), (4, 5.8)):
        unfolding = {"event": 0, "is_final": False, "since_onset_s": since_onset_s}
        recent.take_decode(stage(index, "scores", **unfolding), None, float(index))
        recent.take_decode(stage(index, "scores", seq=3 * index + 1, **unfolding | {"event": 1}), None, float(index))
    assert [(volume.index, volume.event) for volume in recent.volumes] == [(1, None), (4, 0), (4, 1)]
    assert recent.volumes[1].since_onset_s == 5.8
    assert recent.newest(60.0).index == 1
    for name in ("scores", "xz", "xzc"):
        recent.take_decode(stage(8, name, event=0, since_onset_s=11.2, spike=True), PICTURE, 61.0)
    assert len(recent.volumes) == 3
    assert (recent.newest(61.0).event, recent.newest(61.0).flags) == (0, ("spike",))


LABELS = (wire.LabelProbability(label="face", probability=0.7), wire.LabelProbability(label="cat", probability=0.3))


def classified(index, event, is_final, mode, seq):
    provenance = msgspec.structs.replace(PROVENANCE, mode=mode)
    fields = {"labels": LABELS, "event": event, "is_final": is_final, "provenance": provenance}
    return stage(index, "scores", seq, **fields)


@pytest.mark.parametrize("mode", ["labels", "zc"])
def test_the_classes_are_of_the_running_trial_with_the_latest_onset_and_a_short_trial_hides_no_block(recent, mode):
    shown = []
    for seq, (index, event, is_final) in enumerate([
        (2, 0, False), (8, 0, False), (9, 0, False), (9, 1, False), (10, 0, False), (10, 1, False),
        (11, 1, True), (11, 0, False), (12, 0, False), (15, 0, True),
    ], 1):  # fmt: skip
        recent.take_decode(classified(index, event, is_final, mode, seq), None, 0.0)
        shown.append((recent.newest_classified.event, recent.newest_classified.index))
        if mode == "labels":
            assert recent.newest(0.0) is recent.newest_classified
    assert shown == [(0, 2), (0, 8), (0, 9), (1, 9), (1, 9), (1, 10), (0, 10), (0, 11), (0, 12), (0, 15)]


def test_a_trial_that_never_became_final_does_not_hide_later_trials(recent):
    recent.take_decode(classified(4, 0, False, "labels", 1), None, 0.0)
    recent.take_decode(classified(30, 1, True, "labels", 2), None, 0.0)
    assert recent.newest(0.0).event == 1


def test_of_betas_the_classes_are_the_last_volumes_that_came(recent):
    for seq, index in enumerate((0, 5, 3), 1):
        recent.take_decode(classified(index, None, True, "labels", seq), None, 0.0)
    assert recent.newest(0.0).index == 3
    recent.take_skipped(skipped(6, 4), 0.0)
    assert recent.newest(0.0).index == 3


def test_classes_of_the_last_run_stay_until_the_next_run_has_some(recent):
    recent.take_decode(classified(4, 0, True, "labels", 1), None, 0.0)
    recent.take_skipped(wire.Skipped(seq=2, session="s", run="next", index=0, reason="behind"), 0.0)
    assert recent.newest(0.0).run == "r"
    assert recent.newest_classified is None
