"""Messages that are nested deeply, and hostile names and paths: one sentence each, one log line, no traceback."""

import json

import msgspec
import pytest
from running_daemon import RunningDaemon, hello

from braind.client import wire
from braind.client.endpoints import endpoints, endpoints_path
from braind.config import load_config
from braind.daemon import link

NESTED = {
    "array": b"[" * 10_000,
    "object": b'{"a":' * 10_000,
    "closed": b"[" * 10_000 + b"]" * 10_000,
    "unknown field": b'{"type":"status_request","x":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "known field": b'{"type":"hello","session":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001,
}


@pytest.fixture(scope="module")
def daemon(files, tmp_path_factory):
    daemon = RunningDaemon(files, tmp_path_factory.mktemp("hostile"))
    yield daemon.start(wait=False).wait_bound()
    daemon.close()


@pytest.mark.parametrize("name", ["ingest", "control"])
@pytest.mark.parametrize("header", NESTED.values(), ids=NESTED)
def test_deep_json_is_malformed_and_no_traceback(daemon, name, header):
    with daemon.connect(name) as peer:
        for _ in range(20):
            assert peer.ask_frames([b"BRD1", header]).code == "malformed"
        assert isinstance(daemon.status(), wire.Status)
    assert "traceback" not in daemon.words().lower()
    assert daemon.words().count("refused (malformed)") <= 10


@pytest.mark.parametrize("header", NESTED.values(), ids=NESTED)
def test_deep_json_is_an_error_with_a_name_for_every_reader(header, tmp_path):
    with pytest.raises(wire.WireError, match="JSON header"):  # viewers, the client and the journal's messages
        wire.decode([b"BRD1", header])
    for read in (link.decode_for_decoder, link.decode_for_front):
        with pytest.raises(ValueError, match="."):
            read(header)
        for tag in (b"ready", b"wake"):
            with pytest.raises(ValueError, match="."):
                read(b'{"type":"' + tag + b'","x":' + header + b"}")
    config = load_config(overrides={"paths": {"data": str(tmp_path)}})
    endpoints_path(config).write_bytes(header)
    assert endpoints(config).pid is None


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/" + "a" * 5000, "File name too long"),
        ("/nowhere\x00/w", r"\x00"),
        ("/no\nwhere\x1b[31m", r"no\nwhere\x1b[31m"),
        ("/\udcff", "malformed"),
    ],
    ids=["long", "nul", "control", "not UTF-8"],
)
def test_a_hostile_path_is_refused_with_one_short_sentence(daemon, path, words):
    text = json.dumps({"type": "use", "weights": path, "candidates": path}).encode()
    with daemon.connect("control") as control:
        refused = control.ask_frames([b"BRD1", text])
    assert isinstance(refused, wire.Refused)
    assert words in refused.sentence or words == refused.code
    assert refused.sentence.isprintable()
    assert len(refused.sentence) < 400
    assert "traceback" not in daemon.words().lower()


@pytest.mark.parametrize("name", ["two\nlines", "\x1b[31m", "<script>alert(1)</script>", "\u2028", "../x", "a" * 5000])
def test_a_hostile_name_breaks_no_log_line(daemon, name):
    with daemon.connect("ingest") as scanner:
        for session, run in ((name, "run-01"), ("ses", name)):
            answer = scanner.ask(hello(session=session, run=run))
            assert isinstance(answer, wire.Refused | wire.Welcome)
            scanner.ask(wire.EndRun(session=session, run=run, n_volumes=0))
    for line in daemon.words().splitlines():
        assert isinstance(msgspec.json.decode(line), dict)
        assert len(line) < 2000
