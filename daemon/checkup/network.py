"""Checks a scan's sockets: ZeroMQ's version, the address, the ports and the keys."""

import socket
import stat

import zmq

from ...client.endpoints import SOCKETS, endpoints
from ...errors import ExitCode
from ..access.keyring import OWNER, Keyring, keys_path
from ..access.loopback import numeric_host
from ..sockets import OLDEST_LIBZMQ
from .plan import CheckPlan
from .report import Report
from .running import RunningDaemon


def check_network(plan: CheckPlan, running: RunningDaemon | None, report: Report) -> None:
    """Check ZeroMQ's version, the address, and that each port is free or used by this folder's daemon."""
    if zmq.zmq_version_info() < OLDEST_LIBZMQ:
        report.fail("libzmq", f"{zmq.zmq_version()} is too old, 4.3.5 is needed: pip install -U pyzmq", ExitCode.USAGE)
    else:
        report.ok("libzmq", f"{zmq.zmq_version()}")
    serve = plan.config.serve
    n_failed = 0
    with report.failing("address", ExitCode.PORTS):
        numeric_host(serve)
    if running and running.status:
        where = endpoints(plan.config)
        used = ", ".join(str(where.address(name)[1]) for name in SOCKETS)
        report.ok("ports", f"{used}: used by this folder's running daemon (process {running.status.pid})")
        return
    if running:
        report.warn("ports", "left out: a daemon uses this data folder, and does not say which ports")
        return
    ports = {name: getattr(serve, f"{name}_port") for name in SOCKETS}
    for name, port in ports.items():
        others = [other for other in SOCKETS if other != name and ports[other] == port and port]
        why = f"{others[0]}_port is the same" if others else _taken(serve.host, port)
        if why:
            n_failed += 1
            report.fail(
                "ports",
                f"port {port} on {serve.host} cannot be bound ({why}); stop the program that has it, or set [serve] "
                f"{name}_port to another",
                ExitCode.PORTS,
            )
    if not n_failed:
        numbers = ", ".join(str(port) if port else "any free one" for port in ports.values())
        report.ok("ports", f"{numbers} on {serve.host}: free")


def check_keys(plan: CheckPlan, report: Report) -> None:
    """Check that only their owner can read the keys, and that a daemon that requires keys can use them."""
    folder, is_required = keys_path(plan.config), plan.config.serve.keys == "required"
    with report.failing("keys", ExitCode.PORTS):
        if not folder.exists():
            who = "`braind serve` makes them" if is_required else "only programs of this machine reach the daemon"
            report.ok("keys", f"{folder}: no keys; {who}")
            return
        found = sorted(folder.rglob("*"))
        for path in (folder, *found):
            mode, right_mode = stat.S_IMODE(path.stat().st_mode), "700" if path.is_dir() else "600"
            if mode & 0o077:
                sentence = f"{path}: others may open it (mode {mode:04o}): chmod {right_mode} {path}"
                report.fail("keys", sentence, ExitCode.PORTS)
                return
        if is_required and not Keyring(folder).owner_path.exists():
            report.warn("keys", f"{folder / OWNER}.key is missing: programs of this machine need a key of their own")
            return
        n_files = sum(path.is_file() for path in found)
        unused = "" if is_required else "; no key is required, and only programs of this machine reach the daemon"
        report.ok("keys", f"{folder}: {n_files} files that only their owner may open{unused}", n_files=n_files)


def _taken(host: str, port: int) -> str | None:
    """Return why a port cannot be bound; None if it can."""
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        return error.strerror or str(error)
    return None
