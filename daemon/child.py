"""A `braind serve` process for another program: `braind demo` and `braind check` start one on free loopback ports."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from ..client.connection import NoDaemonError
from ..client.control import ControlClient
from ..client.endpoints import Endpoints, endpoints
from ..config import ENVIRONMENT_PREFIX, Config, data_path
from ..errors import BraindError, ExitCode

STOP_S = 30.0
N_DEATHS = 2
"""A decoder that has died this often before it was ready would die again."""


class ChildDaemonError(BraindError):
    """The daemon stopped or did not become ready. `code` is refused if it refused to start."""

    code = "daemon"


@contextmanager
def child_daemon(config: Config, options: Sequence[str], *, ready_within_s: float) -> Iterator[Endpoints]:
    """Run `braind serve` with exactly these settings, but on free loopback ports and with every volume decoded.

    Parameters
    ----------
    config : the daemon's settings; the data folder must exist, and the daemon's log and settings file lie there
    options : further options of `braind serve`

    Yields
    ------
    The daemon's endpoints, when it is ready or recording.

    Raises
    ------
    ChildDaemonError
        With the daemon's last words.
    """
    serve = msgspec.structs.replace(
        config.serve, host="127.0.0.1", ingest_port=0, decodes_port=0, control_port=0, policy="all"
    )
    config = msgspec.structs.replace(config, serve=serve)
    folder = data_path(config)
    config_path, log_path = folder / "config.toml", folder / "serve.log"
    config_path.write_text(_toml(config), encoding="utf-8")
    # A variable would override the file.
    environment = {name: text for name, text in os.environ.items() if not _is_setting(name)}
    command = [sys.executable, "-m", "braind", "serve", "--config", str(config_path), *options]
    with (
        log_path.open("wb") as log,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment) as daemon,
    ):
        try:
            yield _wait_until_ready(config, daemon, log_path, ready_within_s)
        finally:
            daemon.terminate()
            try:
                daemon.wait(STOP_S)
            except subprocess.TimeoutExpired:
                daemon.kill()


def _wait_until_ready(
    config: Config, daemon: "subprocess.Popen[bytes]", log_path: Path, ready_within_s: float
) -> Endpoints:
    deadline = time.monotonic() + ready_within_s
    while time.monotonic() < deadline:
        if daemon.poll() is not None:
            code = "refused" if daemon.returncode == ExitCode.USAGE else "daemon"
            raise ChildDaemonError(_last_words(log_path), code=code)
        where = endpoints(config)
        if where.pid == daemon.pid:
            try:
                with ControlClient(*where.address("control")) as control:
                    status = control.status()
            except NoDaemonError:
                continue  # The daemon writes its file before its sockets answer.
            if status.state in ("ready", "recording"):
                return where
            if status.decoder_restarts >= N_DEATHS:
                raise ChildDaemonError(f"the decoder died {N_DEATHS} times at its start: {_decoder_words(log_path)}")
        time.sleep(0.1)
    raise ChildDaemonError(f"the daemon was not ready within {ready_within_s:.0f} s: {_last_words(log_path)}")


def _last_words(log_path: Path) -> str:
    """Return the last sentence of a daemon's log, of which the lines are JSON objects or text."""
    lines = log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    if not lines:
        return "it said nothing"
    try:
        return str(json.loads(lines[-1])["message"])
    except (ValueError, KeyError, TypeError):
        return lines[-1].removeprefix("braind: ")


def _decoder_words(log_path: Path) -> str:
    """Return the last line that is no record of the front: the end of the decoder's traceback."""
    log = log_path.read_text(encoding="utf-8", errors="replace")
    lines = [line for line in log.splitlines() if line and not line.startswith("{")]
    return lines[-1] if lines else _last_words(log_path)


def _is_setting(name: str) -> bool:
    return name.startswith(ENVIRONMENT_PREFIX) and "__" in name


def _toml(config: Config) -> str:
    """Return a settings file's text. Strings, numbers, booleans and lists are written alike in JSON and TOML."""
    sections = msgspec.to_builtins(config)
    presets = {f"presets.{json.dumps(name)}": preset for name, preset in sections.pop("presets").items()}
    del sections["monitor"]  # a daemon has no screen
    lines: list[str] = []
    for section, settings in (sections | presets).items():
        lines += [f"[{section}]"]
        lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in settings.items()]
    return "\n".join(lines) + "\n"
