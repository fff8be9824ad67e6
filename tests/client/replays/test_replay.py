"""Replays of a small simulated dataset."""

import io
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from braind.client import wire
from braind.client.connection import RefusedByDaemon
from braind.client.datasets.nsd.tree import BETA_SCALE, NsdTree
from braind.client.replays.plan import ReplayPlan
from braind.client.replays.progress_bar import progress_bar
from braind.client.replays.replay import ReplayProgress, replay
from braind.client.replays.runs import ReplayedTrials, ReplayError, bold_runs
from braind.client.replays.unfinished import UnfinishedReplay
from braind.client.scanner import ScannerClient
from braind.client.subscriber import DecodeSubscriber
from braind.config import load_config
from braind.models.demo.subject.nsd_tree import TreeSize, simulate


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("nsd") / "tree"
    simulate(root, [1], n_sessions=2, size=TreeSize(n_shared=12, n_bold_sessions=1))
    return NsdTree(root)


@pytest.fixture(scope="session")
def trials(tree):
    return ReplayedTrials.of(tree, 1, None)


@pytest.fixture
def run(daemon, tree):
    """Replay to the daemon, with a subscriber, flat out."""

    def run(session_id="1", progress=None, settle_s=5.0, **plan):
        with (
            ScannerClient(port=daemon.ingest_port, timeout_s=0.5, give_up_s=10) as client,
            DecodeSubscriber("127.0.0.1", daemon.decodes_port, daemon.control_port) as subscriber,
        ):
            return replay(
                tree,
                ReplayPlan(1, **plan),
                client,
                subscriber,
                session_id=session_id,
                progress=progress,
                settle_s=settle_s,
            )

    return run


def sent_volumes(daemon):
    """Return (header, array) of what the daemon has, in the order of arrival."""
    return [(daemon.headers[key], array) for key, array in daemon.volumes.items()]


def stored_beta(tree, trials, position):
    return tree.betas(1, int(trials.session[position]))[int(trials.row[position])]


def mean_so_far(tree, trials, position):
    """Return the mean of a picture's repeats up to a trial, in % signal change, by the plain way, and their number."""
    positions = [n for n in range(position + 1) if trials.nsd_id[n] == trials.nsd_id[position]]
    return np.mean([stored_beta(tree, trials, n) * BETA_SCALE for n in positions], axis=0), len(positions)


def test_test_trials_are_those_of_the_shared_pictures(tree, trials):
    shared = set(np.asarray(tree.shared_ids()).tolist())
    assert set(trials.nsd_id.tolist()) <= shared
    everything = tree.trials(1)
    np.testing.assert_array_equal(everything.nsd_id[trials.trial], trials.nsd_id)
    np.testing.assert_array_equal((trials.session - 1) * 750 + trials.row, trials.trial)
    assert trials.is_last.sum() == len(set(trials.nsd_id.tolist()))


def test_every_test_trial_arrives_as_stored_with_the_picture_that_was_seen(daemon, run, tree, trials):
    summary = run()
    sent = sent_volumes(daemon)
    assert [header.trial for header, _ in sent] == trials.trial.tolist()
    for position, (header, array) in enumerate(sent):
        np.testing.assert_array_equal(array, stored_beta(tree, trials, position))
        assert (header.scale, header.dtype, header.nsd_id) == (BETA_SCALE, "int16", trials.nsd_id[position])
        picture = np.asarray(Image.open(io.BytesIO(daemon.pictures[header.session, header.run, header.index])))
        np.testing.assert_array_equal(picture, tree.pictures(np.array([header.nsd_id]))[0])
    n = len(trials.trial)
    assert (summary.n_sent, summary.n_acked, summary.n_decoded) == (n, n, n)
    assert (summary.n_duplicates, summary.n_refused, summary.n_skipped, summary.n_outstanding) == (0, 0, 0, 0)
    assert summary.latency_p50_s is not None
    assert summary.latency_p99_s is not None
    assert 0 < summary.latency_p50_s <= summary.latency_p99_s < summary.wall_s
    assert f"{n} sent" in summary.text()
    assert set(daemon.ended) == {"ses-01", "ses-02"}


def test_running_means_are_of_the_repeats_seen_so_far(daemon, run, tree, trials):
    run(repeats="running")
    for position, (header, array) in enumerate(sent_volumes(daemon)):
        mean, n_averaged = mean_so_far(tree, trials, position)
        np.testing.assert_allclose(array, mean, atol=1e-4)
        assert (header.n_averaged, header.scale, header.dtype) == (n_averaged, 1.0, "float32")


def test_means_are_one_volume_a_picture(daemon, run, tree, trials):
    run(repeats="mean")
    last = np.nonzero(trials.is_last)[0]
    sent = sent_volumes(daemon)
    assert [header.nsd_id for header, _ in sent] == trials.nsd_id[last].tolist()
    for position, (header, array) in zip(last, sent, strict=True):
        mean, n_averaged = mean_so_far(tree, trials, position)
        np.testing.assert_allclose(array, mean, atol=1e-4)
        assert header.n_averaged == n_averaged


def test_one_nsd_session_can_be_replayed(daemon, run, trials):
    summary = run(session=2)
    assert summary.n_sent == (trials.session == 2).sum()
    assert {header.run for header, _ in sent_volumes(daemon)} == {"ses-02"}


def test_each_picture_can_be_named_with_a_foil(daemon, run, trials):
    run(max_volumes=6, with_foils=True)
    headers = [header for header, _ in sent_volumes(daemon)]
    assert [header.right for header in headers] == trials.nsd_id[:6].tolist()
    assert {header.foil for header in headers} <= set(trials.nsd_id.tolist())
    assert all(header.foil != header.right for header in headers)
    foils = {header.right: header.foil for header in headers}
    assert all(foils[header.right] == header.foil for header in headers)


@pytest.mark.parametrize("repeats", ["single", "running"])
def test_an_interrupted_replay_goes_on_where_it_stopped(daemon, run, tree, trials, repeats):
    run(repeats=repeats, max_volumes=5)
    assert len(daemon.volumes) == 5
    summary = run(repeats=repeats)
    n = len(trials.trial)
    assert (summary.n_resumed, summary.n_sent, summary.n_duplicates) == (5, n - 5, 0)
    assert daemon.n_volume_messages == n
    if repeats == "running":
        for position, (_, array) in enumerate(sent_volumes(daemon)):
            np.testing.assert_allclose(array, mean_so_far(tree, trials, position)[0], atol=1e-4)


def test_another_session_id_starts_anew(daemon, run):
    run(max_volumes=3)
    assert run(max_volumes=3, session_id="2").n_sent == 3


def test_a_replay_whose_name_can_be_no_file_on_windows_is_refused(run):
    with pytest.raises(ReplayError, match="whose name ends with a dot"):
        run(session_id="2.")


def test_a_daemon_that_restarts_in_between_gets_every_volume(daemon, run, trials):
    restarted = []

    def restart(counts):
        if counts.n_sent == 5 and not restarted:
            restarted.append(True)
            daemon.stop()
            daemon.start()

    summary = run(progress=restart)
    assert restarted
    assert summary.n_acked == summary.n_decoded == len(daemon.volumes) == len(trials.trial)


def test_skipped_volumes_are_counted_and_not_waited_for(daemon, run):
    daemon.latest_skips = {1, 3}
    summary = run(max_volumes=6)
    assert (summary.n_decoded, summary.n_skipped, summary.n_outstanding) == (4, 2, 0)


def test_a_refused_volume_is_counted_and_the_next_one_sent(daemon, run):
    daemon.refuse[2] = wire.Refused(code="not_finite", sentence="NaN in 3 voxels", index=2)
    summary = run(max_volumes=6)
    assert (summary.n_sent, summary.n_acked, summary.n_refused, summary.n_decoded) == (6, 5, 1, 5)
    assert summary.refusals == {"not_finite": "NaN in 3 voxels"}


def test_volumes_that_are_never_decoded_are_not_waited_for_for_ever(daemon, run):
    daemon.publishes_decodes = False
    summary = run(max_volumes=3, settle_s=0.3)
    assert (summary.n_acked, summary.n_decoded, summary.n_outstanding) == (3, 0, 3)


def test_a_run_that_is_refused_ends_the_replay(daemon, run):
    daemon.refuse_hello = wire.Refused(code="shape", sentence="the axes are reversed")
    with pytest.raises(RefusedByDaemon, match="axes"):
        run()


def test_volumes_keep_the_pace(run):
    assert run(max_volumes=5, pace_s=0.1).wall_s >= 0.4


def test_bold_volumes_come_one_a_tr_each_after_the_onsets_before_it(daemon, run, tree):
    first = next(bold_runs(tree, 1, "name", 2))
    summary = run(kind="bold", session=2, max_volumes=30, settle_s=0.1)
    assert summary.n_sent == 30
    bold = tree.bold_run(1, 2, tree.bold_runs(1, 2)[0])
    for index, (header, array) in enumerate(sent_volumes(daemon)):
        assert (header.index, header.trial, header.scale) == (index, None, 1.0)
        np.testing.assert_array_equal(array, bold[..., index])
    onsets = {event.event: event.onset_s for event in daemon.events.values()}
    assert list(onsets) == [event.event for event in first.events if event.onset_s < 30 * tree.bold_tr_s]
    for event, onset_s in onsets.items():
        after = [index for kind, index in daemon.order[daemon.order.index(("event", event)) :] if kind == "volume"]
        assert min(after, default=30) <= onset_s / tree.bold_tr_s < min(after, default=30) + 1


def test_onsets_name_the_trial_and_its_picture(tree):
    trials = tree.trials(1)
    for event in next(bold_runs(tree, 1, "name", 2)).events:
        assert trials.nsd_id[event.shown.trial] == event.shown.nsd_id


@pytest.mark.parametrize("plan", [{}, {"repeats": "mean"}, {"repeats": "calibration"}, {"kind": "bold"}], ids=str)
def test_each_trial_names_its_class_if_the_data_set_has_classes(daemon, run, tree, monkeypatch, plan):
    known = tree.trials(1)
    names = np.array([f"class {nsd_id}" if nsd_id % 2 else "" for nsd_id in known.nsd_id])
    monkeypatch.setattr(tree, "trials", lambda subject: replace(known, label=names))
    run(session=2, max_volumes=24, settle_s=0.1, **plan)
    sent = daemon.events.values() if plan.get("kind") == "bold" else [header for header, _ in sent_volumes(daemon)]
    labels = [(one.label, f"class {one.nsd_id}" if one.nsd_id % 2 else None) for one in sent]
    assert labels
    assert all(label == expected for label, expected in labels)


def test_what_the_dataset_does_not_have_is_said(run):
    with pytest.raises(ReplayError, match="no test trials in session 9; it has sessions 1-2"):
        run(session=9)
    with pytest.raises(ReplayError, match="no BOLD time series in session 1; replay its betas"):
        run(kind="bold", session=1)


def test_only_an_interrupted_replay_is_gone_on_with(tmp_path):
    config = load_config(overrides={"paths": {"data": str(tmp_path)}})
    first = UnfinishedReplay(config, ReplayPlan(1))
    assert not first.is_resumed
    second = UnfinishedReplay(config, ReplayPlan(1))
    assert second.is_resumed
    assert second.session_id == first.session_id
    assert not UnfinishedReplay(config, ReplayPlan(1, repeats="running")).is_resumed
    assert not UnfinishedReplay(config, ReplayPlan(1), fresh=True).is_resumed
    second.finish()
    assert not UnfinishedReplay(config, ReplayPlan(1)).is_resumed


def test_a_calibration_has_all_trials_and_names_their_pictures(daemon, run, tree):
    summary = run(repeats="calibration", session=1, max_volumes=20)
    trials = tree.trials(1)
    sent = [header for header, _ in sent_volumes(daemon)]
    assert [header.nsd_id for header in sent] == trials.nsd_id[:20].tolist()
    assert [header.stimulus for header in sent] == [f"picture-{nsd_id:05d}.png" for nsd_id in trials.nsd_id[:20]]
    assert sent[0].captions == tuple(tree.captions(int(trials.nsd_id[0])))
    assert summary.session.startswith("replay-subj01-beta-calibration-ses01")
    first = next(bold_runs(tree, 1, "s", None, "calibration"))
    assert first.events[0].shown.stimulus == f"picture-{first.events[0].shown.nsd_id:05d}.png"
    assert all(event.shown.captions for event in first.events)


@pytest.mark.parametrize("plan", [{}, {"repeats": "mean"}, {"kind": "bold", "max_volumes": 240}])
def test_the_total_is_known_before_the_first_volume_is_sent(daemon, run, tree, trials, plan):
    totals = []
    summary = run(progress=lambda counts: totals.append((counts.n_planned, counts.n_sent)), settle_s=0.5, **plan)
    n_of_all_runs = int(trials.is_last.sum()) if "repeats" in plan else len(trials.row)
    total = plan.get("max_volumes", n_of_all_runs)
    assert totals[0] == (total, 0)
    assert {n_planned for n_planned, _ in totals} == {total}
    assert summary.n_sent == total


def test_a_replay_names_what_it_waits_for(daemon, run):
    daemon.publishes_decodes = False
    said = []
    run(progress=lambda counts: said.append(counts.waits_for), settle_s=0.3, max_volumes=2)
    assert said[0] == "the daemon to open run ses-01"
    assert "the ack of run ses-01, volume 0" in said
    assert said[-1] == "2 decodes, until none has come for 0.3 s"


def test_a_replay_without_a_terminal_says_how_far_it_is_in_lines(monkeypatch, capsys):
    said = threading.Event()
    monkeypatch.setattr("braind.client.progress_lines.EVERY_S", 0.05)
    monkeypatch.setattr("braind.client.progress_lines.say", lambda words: (sys.stdout.write(words), said.set()))
    counts = ReplayProgress("s", n_planned=354, n_resumed=10, n_sent=21, n_decoded=19, n_skipped=1)
    counts.waits_for = "2 decodes, until none has come for 60 s"
    with progress_bar() as report:
        report(counts)
        said.clear()
        assert said.wait(30)
    words = "31 of 354 volumes sent, decoded 19, skipped 1; waiting for 2 decodes, until none has come for 60 s, after"
    assert words in capsys.readouterr().out
