"""The Calibration screen while a real daemon records: seen picture, trials, minutes, and the score's curve."""

import nibabel as nib
import numpy as np
import pytest
from monitor_screens import in_event_loop, until, words_of
from running_daemon import AFFINE, SHAPE, RunningDaemon, hello, volume_frames

from braind.client import wire
from braind.client.endpoints import Endpoints
from braind.tui.app import Monitor
from braind.tui.live.picture_view import PictureView
from braind.tui.screens.calibration import CalibrationScreen
from braind.tui.state.calibration import curve_lines, recorded_words, score_words


def scored(minutes, two_way, spread=0.05, session="s"):
    return wire.Calibration(
        session=session, n_trials=round(15 * minutes), n_pictures=10, minutes=minutes, two_way=two_way,
        low=two_way - spread, high=two_way + spread,
    )  # fmt: skip


def test_the_curve_rises_with_the_score_and_shows_chance_and_intervals():
    lines = curve_lines([scored(10.0, 0.9), scored(5.0, 0.6), scored(2.5, 0.55)], 45, 13)
    assert len(lines) == 13
    points = {line.index("●"): row for row, line in enumerate(lines) if "●" in line}
    assert [points[column] for column in sorted(points)] == sorted(points.values(), reverse=True)
    (chance,) = [line for line in lines if line.startswith("0.50")]
    assert "┄┄┄" in chance
    assert any("│" in line for line in lines)
    assert lines[-1].split() == ["0", "10.0", "min"]
    assert all(len(line) <= 45 for line in lines)


@pytest.mark.parametrize("size", [(0, 0), (5, 3), (7, 2), (8, 3), (200, 60)])
def test_a_curve_of_any_size_is_no_error(size):
    for scores in ([], [scored(0.0, 0.5)], [scored(1.0, 0.0, 0.0), scored(1.0, 1.0, 0.2)]):
        assert all(len(line) <= size[0] for line in curve_lines(scores, *size))


def test_what_is_not_known_is_said():
    assert score_words(()).startswith("no score yet")
    nothing = wire.Recorded(session="", run="", n_trials=0, n_pictures=0, n_unnamed=0, minutes=0.0)
    assert recorded_words(nothing) == ["no session was opened yet: the sender's first run opens it"]
    unnamed = wire.Recorded(session="s", run="r", n_trials=3, n_pictures=2, n_unnamed=1, minutes=0.5)
    assert recorded_words(unnamed)[-1] == "1 trial without a picture's name: no fit takes their runs"


@pytest.fixture
def recording_daemon(files, tmp_path):
    mask = np.zeros(SHAPE, np.uint8)
    mask.flat[files.weights.voxel_index] = 1
    nib.save(nib.Nifti1Image(mask, np.array(AFFINE)), tmp_path / "mask.nii.gz")
    daemon = RunningDaemon(files, tmp_path / "data", mask=tmp_path / "mask.nii.gz")
    yield daemon.start()
    daemon.close()


def words(app):
    return " ".join(words_of(app.screen).split())


@pytest.mark.parametrize("size", [(60, 15), (100, 30)], ids=str)
@in_event_loop
async def test_an_operator_sees_what_is_recorded_and_how_good_it_is_also_with_a_monitor_that_starts_late(
    recording_daemon, red_png, size
):
    daemon = recording_daemon
    where = Endpoints(**{name: daemon.addresses[name] for name in ("ingest", "decodes", "control")})
    with daemon.connect("ingest") as scanner:
        scanner.ask(hello())
        for index in range(3):
            scanner.ask_frames(volume_frames(index, stimulus=f"{index % 2}.png", seen_png=red_png))
        for minutes, two_way in ((2.0, 0.6), (4.0, 0.7)):
            daemon.ask(scored(minutes, two_way, session="ses"))
        async with Monitor(where).run_test(size=size) as pilot:
            app = pilot.app
            await pilot.press("k")
            await until(pilot, lambda: "3 trials of 2 pictures; 0.2 minutes" in words(app))
            assert "two-way 0.70 (0.65–0.75), chance 0.50: fitted on 60 trials" in words(app)
            curve = app.screen.query_one("#calibration-curve")
            await until(pilot, lambda: words_of(curve).count("●") == 2)
            picture = app.screen.query_one(PictureView)
            await until(pilot, lambda: picture.picture is not None)
            assert tuple(picture.picture[0, 0]) == (250, 0, 0)
            assert "volume 2: 0.png" in words(app)
            # The next trial comes without its picture: the last trial's picture must not stand for it.
            scanner.ask_frames(volume_frames(3, stimulus="3.png"))
            await until(pilot, lambda: "volume 3: 3.png" in words(app))
            assert picture.picture is None
            daemon.ask(scored(6.0, 0.8, session="ses"))
            await until(pilot, lambda: words_of(curve).count("●") == 3)
            scanner.ask(hello(session="next"))
            await until(pilot, lambda: "no score yet" in words(app) and "session next" in words(app))
            assert not words_of(curve).strip()
            await pilot.press("escape")
            await until(pilot, lambda: not isinstance(app.screen, CalibrationScreen))


@in_event_loop
async def test_a_daemon_of_an_earlier_version_leaves_only_the_newest_score(daemon):
    async with Monitor(daemon.endpoints).run_test(size=(80, 24)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.heartbeat("recording", session="s", calibration=scored(2.0, 0.6))
        await until(pilot, lambda: app.connection.heartbeat is not None)
        await pilot.press("k")
        await until(pilot, lambda: "this daemon's version does not tell what it recorded" in words(app))
        assert "two-way 0.60" in words(app)
