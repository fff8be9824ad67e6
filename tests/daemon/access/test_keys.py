"""A daemon that requires keys, and who gets in: real daemons, real handshakes."""

import asyncio
import json
import re
import subprocess
import sys
from collections import deque

import msgspec
import pytest
from keyed_peers import KeyedPeer, address_of, deliveries, make_key, misled, owner_key, stranger
from running_daemon import RunningDaemon, hello, volume_frames

from braind.client import wire
from braind.client.connection import RefusedByDaemon
from braind.client.control import ControlClient
from braind.client.endpoints import Endpoints
from braind.client.scanner import ScannerClient
from braind.client.subscriber import DecodeSubscriber
from braind.client.use import use_weights
from braind.daemon.access.keyring import revoke_client
from braind.daemon.journal.recording import Recording

N_WRONG_MESSAGES = 1000
REQUESTS = {
    "status": wire.StatusRequest(),
    "fetch": wire.FetchRequest(from_seq=1),
    "pause": wire.Pause(paused=False),
    "use": wire.Use(weights="none", candidates="none"),
    "calibration": wire.Calibration(session="s", n_trials=1, n_pictures=1, minutes=1.0, two_way=0.5, low=0.4, high=0.6),
}


@pytest.fixture(scope="module")
def daemon(files, tmp_path_factory):
    daemon = RunningDaemon(files, tmp_path_factory.mktemp("keys"), serve={"keys": "required"})
    yield daemon.start(wait=False).wait_bound()
    daemon.close()


@pytest.fixture(scope="module")
def viewer_key(daemon):
    return make_key(daemon, "viewer", "view")


@pytest.fixture(scope="module")
def sender_key(daemon):
    return make_key(daemon, "sender", "ingest")


@pytest.fixture(scope="module")
def operator_key(daemon):
    return make_key(daemon, "operator", "control")


def subscriber_of(daemon, key, **options):
    host, decodes_port, _ = address_of(daemon, "decodes")
    return DecodeSubscriber(host, decodes_port, address_of(daemon, "control").port, key=key, **options)


def ask_status(daemon, key):
    with ControlClient(*address_of(daemon, "control", key)) as client:
        return client.status()


def ask_grid(daemon, key):
    with ScannerClient(*address_of(daemon, "ingest", key), timeout_s=0.5) as client:
        return client.grid()


def hear_heartbeat(daemon, key):
    with subscriber_of(daemon, key) as subscriber:
        return subscriber.receive(5)


def hear_heartbeat_async(daemon, key):
    async def hear():
        with subscriber_of(daemon, key) as subscriber:
            return await subscriber.receive_async(5)

    return asyncio.run(hear())


# ── programs of the same data folder ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "command", [["status", "--json"], ["use", "{weights}", "--candidates", "{candidates}", "--wait", "0"]]
)
def test_a_command_beside_the_daemon_needs_no_option(daemon, command):
    command = [
        word.format(weights=daemon.files.weights_path, candidates=daemon.files.candidates_path) for word in command
    ]
    # the settings name other ports than the daemon's: only serve.json is right
    done = subprocess.run(
        [sys.executable, "-m", "braind", *command, "--data", daemon.data_path], capture_output=True, text=True
    )
    assert "key" not in done.stderr
    assert done.returncode == 0, done.stderr


def test_the_daemon_names_the_owners_key_file_and_no_secret(daemon):
    told = (daemon.data_path / "serve.json").read_text()
    assert json.loads(told)["key"] == str((daemon.data_path / "keys/owner.key").resolve())
    assert owner_key(daemon).secret not in told + daemon.words()


# ── who does not get in, and what is said ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("ask", [ask_status, ask_grid, hear_heartbeat, hear_heartbeat_async])
def test_a_program_without_a_key_or_with_an_unknown_key_is_told_why(daemon, ask):
    with pytest.raises(RefusedByDaemon, match="requires a key: give a key file with --key") as error:
        ask(daemon, None)
    assert error.value.code == "key"
    with pytest.raises(RefusedByDaemon, match=r"refused the key 'owner' .*revoked.*braind keys add") as error:
        ask(daemon, stranger(owner_key(daemon)))
    assert error.value.code == "key"


@pytest.mark.parametrize("ask", [ask_status, ask_grid, hear_heartbeat, hear_heartbeat_async])
def test_a_key_for_another_daemon_is_said_to_be_one(daemon, ask):
    with pytest.raises(RefusedByDaemon, match="breaks off each handshake: key 'owner' was made for another daemon"):
        ask(daemon, misled(owner_key(daemon)))


@pytest.mark.parametrize("ask", [ask_status, ask_grid, hear_heartbeat, hear_heartbeat_async])
def test_a_right_key_gets_in(daemon, ask):
    assert ask(daemon, owner_key(daemon)) is not None


def test_nothing_is_delivered_of_a_thousand_messages_from_wrong_keys_and_roles(
    daemon, viewer_key, sender_key, operator_key
):
    revoked = make_key(daemon, "gone", "ingest", "view", "control")
    revoke_client(daemon.data_path / "keys", "gone")
    owner = owner_key(daemon)
    wrong = [None, stranger(owner), misled(owner), revoked]
    volumes, shutdown = wire.encode(hello(session="wrong")), wire.encode(wire.Shutdown())
    attempts = [
        *(("ingest", key, volumes) for key in (*wrong, viewer_key, operator_key)),
        *(("control", key, shutdown) for key in (*wrong, viewer_key, sender_key)),
        *(("decodes", key, []) for key in (*wrong, sender_key, operator_key)),
    ]
    before = ask_status(daemon, owner)
    assert deliveries(daemon, attempts, N_WRONG_MESSAGES // 12 + 1) == []
    after = ask_status(daemon, owner)
    assert (after.pid, after.session, after.n_refused) == (before.pid, "", before.n_refused)
    assert after.state != "stopping"
    assert not list((daemon.data_path / "journals").iterdir())


def test_refusals_are_logged_by_reason_and_at_most_once_a_second(daemon):
    lines = [json.loads(line) for line in daemon.words().splitlines()]
    refused = [(line["code"], line["time"][:19]) for line in lines if "audit" in line["logger"]]
    assert {code for code, _ in refused} >= {"no_key", "unknown_key", "server_key", "role"}
    # lines a second apart may carry the same second only if one is of its beginning and one of its end
    assert max(refused.count(one) for one in refused) <= 2
    assert any(re.search(r"\d+ like it before", line["message"]) for line in lines)


# ── roles ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("ingest", {"status"}),
        ("view", {"status", "fetch"}),
        ("control", {"status", "fetch", "pause", "use", "calibration"}),
    ],
)
def test_each_role_gets_what_is_its_own_and_no_more(daemon, role, allowed, viewer_key, sender_key, operator_key):
    key = {"view": viewer_key, "ingest": sender_key, "control": operator_key}[role]
    with KeyedPeer(daemon, "control", key) as peer:
        answers = {name: peer.ask(request) for name, request in REQUESTS.items()}
    refused = {name for name, one in answers.items() if isinstance(one, wire.Refused) and one.code == "role"}
    assert set(REQUESTS) - refused == allowed


def test_a_viewer_that_sends_and_a_sender_that_controls_are_answered_with_what_they_lack(
    daemon, viewer_key, sender_key
):
    with KeyedPeer(daemon, "ingest", viewer_key) as peer:
        answer = peer.ask(hello())
        assert (answer.code, answer.retryable) == ("role", False)
        assert "needs the role ingest; key 'viewer' has view" in answer.sentence
    with ScannerClient(*address_of(daemon, "ingest", viewer_key)) as client:
        with pytest.raises(RefusedByDaemon, match="needs the role ingest"):
            client.open_run(hello())
    with ControlClient(*address_of(daemon, "control", sender_key)) as client:
        with pytest.raises(RefusedByDaemon, match="Shutdown needs the role control; key 'sender' has ingest"):
            client.shutdown()


def test_malformed_requests_of_a_known_key_are_answered_as_ever(daemon, sender_key):
    with KeyedPeer(daemon, "control", sender_key) as peer:
        peer.send([b"BRD1", b"{"])
        assert [one.code for one in peer.answers()] == ["malformed"]


def test_a_key_for_control_alone_can_give_the_daemon_other_weights(daemon, operator_key):
    where = msgspec.json.decode((daemon.data_path / "serve.json").read_bytes(), type=Endpoints)
    where = msgspec.structs.replace(where, key=str(daemon.data_path / "keys" / f"{operator_key.name}.key"))
    status = use_weights(where, daemon.files.weights_path, daemon.files.candidates_path, wait_s=1)
    assert status.weights == daemon.files.weights.fingerprint


# ── revocation ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_mark_names_the_key_that_set_it_whatever_the_message_says(daemon, operator_key, sender_key):
    host, port, key = address_of(daemon, "ingest", sender_key)
    with ScannerClient(host, port, key) as scanner:
        scanner.open_run(hello(run="marked"))
    with ControlClient(*address_of(daemon, "control", operator_key)) as control:
        control.mark(wire.Mark(note="moved her head", by="somebody else"))
    with Recording(daemon.data_path / "journals" / "ses.sqlite3") as recording:
        assert [mark.by for mark in recording.marks()] == ["operator"]


def test_a_key_that_is_revoked_ends_its_live_connections_and_nobody_elses(daemon, sender_key):
    gone = make_key(daemon, "leaver", "ingest", "view", "control")
    with (
        KeyedPeer(daemon, "ingest", gone) as ingest,
        KeyedPeer(daemon, "control", gone) as control,
        subscriber_of(daemon, gone) as viewer,
        subscriber_of(daemon, owner_key(daemon)) as other_viewer,
        KeyedPeer(daemon, "ingest", sender_key) as other_sender,
    ):
        assert isinstance(ingest.ask(hello(session="leaver")), wire.Welcome)
        assert isinstance(control.ask(wire.StatusRequest()), wire.Status)
        assert viewer.receive(5)
        assert other_viewer.receive(5)
        assert isinstance(other_sender.ask(hello(session="stayer")), wire.Welcome)
        revoke_client(daemon.data_path / "keys", "leaver")
        for peer, message in ((ingest, hello(session="leaver", run="run-02")), (control, wire.StatusRequest())):
            answer = peer.ask(message)
            assert isinstance(answer, wire.Refused)
            assert (answer.code, "was revoked" in answer.sentence) == ("key", True)
        ingest.send(volume_frames(0, session="leaver"))
        assert [one.code for one in ingest.answers()] == ["key"]
        with pytest.raises(RefusedByDaemon, match="refused the key 'leaver'"):
            deque(viewer, maxlen=0)
        # the other viewer was disconnected too, and is back
        for _ in range(3):
            assert other_viewer.receive(10)
        other_sender.send(volume_frames(0, session="stayer"))
        assert [type(one) for one in other_sender.answers()] == [wire.Ack]


def test_a_viewer_that_is_disconnected_misses_no_decode(files, tmp_path):
    """A revoked key disconnects every viewer for a moment: decodes of that moment are fetched."""
    daemon = RunningDaemon(files, tmp_path, serve={"keys": "required"})
    try:
        daemon.start()
        n_volumes = 6
        with (
            subscriber_of(daemon, owner_key(daemon), from_seq=1) as viewer,
            ScannerClient(*address_of(daemon, "ingest", owner_key(daemon))) as client,
        ):
            assert viewer.receive(10)
            client.open_run(hello())
            for index in range(n_volumes):
                make_key(daemon, f"guest-{index}", "view")
                client._connection.settle(("volume", index), volume_frames(index))
                revoke_client(daemon.data_path / "keys", f"guest-{index}")
            heard = []
            while len(heard) < 3 * n_volumes:
                received = viewer.receive(30)
                assert received is not None, daemon.words()
                if isinstance(received.message, wire.Decode):
                    heard.append(received.message.seq)
            assert heard == list(range(1, 3 * n_volumes + 1))
            assert viewer.n_lost == 0
        assert "viewers were disconnected" in daemon.words()
    finally:
        daemon.close()


def test_a_key_file_that_others_may_read_is_not_used(daemon):
    make_key(daemon, "open", "view")
    path = daemon.data_path / "keys" / "open.key"
    path.chmod(0o644)
    done = subprocess.run(
        [sys.executable, "-m", "braind", "status", "--data", daemon.data_path, "--key", path],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "mode 0644" in done.stderr
