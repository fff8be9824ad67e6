"""/metrics and /healthz of a real daemon."""

import json
import math
import time
import urllib.error
import urllib.request

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from running_daemon import PATIENCE_S, RunningDaemon, hello, volume_frames

from braind.client import wire
from braind.daemon.publish import is_last

N_VOLUMES = 3


@pytest.fixture(scope="module")
def daemon(files, tmp_path_factory):
    daemon = RunningDaemon(files, tmp_path_factory.mktemp("pages"), serve={"metrics": True, "metrics_port": 0})
    yield daemon.start()
    daemon.close()


def get(daemon, path):
    try:
        with urllib.request.urlopen(daemon.addresses["metrics"] + path, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def scrape(daemon):
    """Return the page's families by name, and its samples by name and labels."""
    status, text = get(daemon, "/metrics")
    assert status == 200
    families = {family.name: family for family in text_string_to_metric_families(text)}
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in families.values()
        for sample in family.samples
    }
    return families, samples


def until(daemon, wanted):
    """Scrape until the samples are as wanted; return them."""
    deadline = time.monotonic() + PATIENCE_S
    while not wanted(samples := scrape(daemon)[1]):
        assert time.monotonic() < deadline, samples
        time.sleep(0.05)
    return samples


def test_what_became_of_each_message_is_counted_and_timed(daemon):
    before = scrape(daemon)[1]
    assert before["braind_volumes_acked_total",] == 0
    assert before["braind_volumes_settled_total", "failed"] == 0
    with daemon.watch() as viewer, daemon.connect("ingest") as scanner, daemon.connect("control") as control:
        scanner.ask(hello())
        for index in (*range(N_VOLUMES), 0):  # the last one is a duplicate
            assert isinstance(scanner.ask_frames(volume_frames(index)), wire.Ack)
        assert scanner.ask_frames([b"junk"]).code == "malformed"
        assert control.ask_frames([b"BRD1", b"[" * 10_000]).code == "malformed"
        viewer.until(lambda message: is_last(message) and message.index == N_VOLUMES - 1)
    after = until(daemon, lambda samples: samples["braind_volumes_settled_total", "decoded"] == N_VOLUMES)
    assert after["braind_volumes_acked_total",] == N_VOLUMES
    assert after["braind_messages_refused_total", "malformed", "ingest"] == 1
    assert after["braind_messages_refused_total", "malformed", "control"] == 1
    for stage in ("scores", "xz", "xzc"):
        assert after["braind_decodes_published_total", stage] == N_VOLUMES
    for step in ("ack", "decoder", "ridge", "scores", "xz", "xzc"):
        assert after["braind_latency_seconds_count", step] == N_VOLUMES
        assert 0 < after["braind_latency_seconds_sum", step] < PATIENCE_S
    assert after["braind_journal_commit_seconds_count",] == N_VOLUMES
    assert after["braind_last_seq",] == daemon.status().last_seq == 3 * N_VOLUMES
    assert abs(after["braind_last_ack_timestamp_seconds",] - time.time()) < PATIENCE_S
    assert until(daemon, lambda samples: samples["braind_volumes_waiting",] == 0)


def test_the_machine_and_both_processes_are_told(daemon):
    samples = scrape(daemon)[1]
    front = psutil.Process(daemon.process.pid)
    assert samples["process_resident_memory_bytes",] == pytest.approx(front.memory_info().rss, rel=0.2)
    assert samples["braind_decoder_process_resident_memory_bytes",] > 2**26
    assert 10 < samples["process_open_fds",] < samples["process_max_fds",]
    free = psutil.disk_usage(str(daemon.data_path)).free
    assert samples["braind_journal_disk_free_bytes",] == pytest.approx(free, rel=0.2)
    states = {labels[1]: value for labels, value in samples.items() if labels[0] == "braind_state"}
    assert states == {"recording": 0, "starting": 0, "ready": 1, "paused": 0, "stopping": 0}


def test_names_follow_prometheus_conventions(daemon):
    families, samples = scrape(daemon)
    for name, family in families.items():
        assert name.startswith(("braind_", "process_")), name
        assert family.documentation, name
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples), name
        if family.type == "histogram":
            assert name.endswith("_seconds")
    assert not [name for name, *_ in samples if name.endswith("_created")]
    assert not any(math.isnan(value) for value in samples.values())


def test_a_daemon_whose_decoder_died_is_unwell_until_a_new_one_is_ready(daemon):
    status, body = get(daemon, "/healthz")
    assert (status, json.loads(body)) == (200, {"healthy": True, "state": "ready", "problem": ""})
    daemon.decoder.kill()
    deadline = time.monotonic() + PATIENCE_S
    while get(daemon, "/healthz")[0] == 200:
        assert time.monotonic() < deadline
    status, body = get(daemon, "/healthz")
    assert status == 503
    assert json.loads(body)["problem"].startswith("the decoder process died")
    daemon.wait_until(lambda status: status.state == "ready")
    assert get(daemon, "/healthz")[0] == 200
    assert scrape(daemon)[1]["braind_decoder_restarts_total",] == 1


def test_the_pages_are_on_the_loopback_address_only_and_only_when_asked_for(daemon, files, tmp_path):
    listening = [
        connection.laddr for connection in psutil.Process(daemon.process.pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]  # fmt: skip
    assert len(listening) == 4
    assert {address.ip for address in listening} == {"127.0.0.1"}
    other = RunningDaemon(files, tmp_path)
    try:
        other.start(wait=False).wait_bound()
        connections = psutil.Process(other.process.pid).net_connections("tcp")
        assert sum(connection.status == psutil.CONN_LISTEN for connection in connections) == 3
        assert other.addresses["metrics"] == ""
    finally:
        other.close()
