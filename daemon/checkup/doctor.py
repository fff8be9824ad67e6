"""`braind doctor`: what a report of a fault needs. It holds no key, no voxel and no name of a session or run."""

import os
import platform
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import zmq

from ... import __version__
from ...config import (
    Config,
    ConfigError,
    config_sources,
    data_path,
    engines_path,
    journals_path,
    load_config,
    nsd_path,
    user_config_path,
)
from ...errors import BraindError
from .packages import package_versions, probe_packages
from .running import daemon_of

VARIABLES = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
PRIVATE = ("type", "session", "run", "journal")
"""Fields of a status that name a session: such names may name people."""
NVIDIA_SMI = ("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")

Facts = dict[str, Any]


def examine(config_path: Path | None, overrides: Mapping[str, Mapping[str, Any]]) -> dict[str, Facts]:
    """Return the facts by section. What cannot be found out is a sentence in its place."""
    sections: dict[str, Facts] = {"versions": _versions(), "system": _system(), "packages": probe_packages()}
    try:
        config = load_config(config_path, overrides)
    except BraindError as error:
        sections["settings"] = {"unusable": str(error)}
        return _without_home(sections)
    sections["settings"] = {
        f"{setting.section}.{setting.key}": f"{_value(setting.value)} ({setting.source})"
        for setting in config_sources(config_path, overrides)
        if setting.source != "default"
    }
    sections["paths"] = _paths(config)
    sections["journals"] = _known(lambda: _journals(journals_path(config)))
    sections["daemon"] = _daemon(config)
    return _without_home(sections)


def _versions() -> Facts:
    own = {"braind": __version__, "python": platform.python_version()}
    libraries = {"libzmq": zmq.zmq_version(), "sqlite": sqlite3.sqlite_version}
    return own | package_versions() | libraries


def _system() -> Facts:
    return {
        "os": platform.platform(),
        "cpu": _cpu(),
        "cores": _n_cores(),
        "memory_gb": _memory_gb(),
        "gpu": _gpu(),
        **{name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def _n_cores() -> int | None:
    """Return how many cores this process may use; where only Linux says that, how many there are."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()  # noqa: TID251


def _memory_gb() -> float | str:
    if sys.platform == "win32":
        return "unknown"
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)  # noqa: TID251


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _gpu() -> str:
    """Return the GPUs and their driver, as NVIDIA's tool names them."""
    try:
        done = subprocess.run(NVIDIA_SMI, capture_output=True, text=True, timeout=20, check=False)
    except FileNotFoundError:
        return "none found (no nvidia-smi)"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"unknown ({error})"
    words = "; ".join(done.stdout.strip().splitlines())
    return words if not done.returncode and words else f"none found ({(done.stderr or done.stdout).strip()[:200]})"


def _paths(config: Config) -> Facts:
    paths: dict[str, Callable[[], Path]] = {
        "data": lambda: data_path(config),
        "nsd": lambda: nsd_path(config),
        "engines": lambda: engines_path(config),
        "own settings": user_config_path,
    }
    return {name: _place(path) for name, path in paths.items()}


def _place(of: Callable[[], Path]) -> str:
    try:
        path = of()
    except ConfigError as error:
        return str(error)
    try:
        nearest = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
        free = f"{shutil.disk_usage(nearest).free / 1e9:.1f} GB free"
        return f"{path} ({free if nearest == path else f'not there; {free}'})"
    except (OSError, StopIteration) as error:
        return f"{path} ({error})"


def _journals(folder: Path) -> Facts:
    sizes = [path.stat().st_size for path in folder.glob("*.sqlite3*")]
    n_sessions = len(list(folder.glob("*.sqlite3")))
    return {"sessions": n_sessions, "bytes": sum(sizes), "largest_file_bytes": max(sizes, default=0)}


def _daemon(config: Config) -> Facts:
    running = daemon_of(config)
    if running is None:
        return {"running": False}
    if running.status is None:
        return {"running": True, "answers": False}
    status = msgspec.to_builtins(running.status)
    return {"running": True, **{name: value for name, value in status.items() if name not in PRIVATE}}


def _known(find: Callable[[], Facts]) -> Facts:
    try:
        return find()
    except OSError as error:
        return {"unknown": str(error)}


def _value(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _without_home(facts: Any) -> Any:
    """Return the facts with the home folder, which names its user, as ~."""
    home = os.path.expanduser("~")  # as it is, if the user has no home folder
    if isinstance(facts, str):
        return facts.replace(home, "~") if len(home) > 1 else facts
    if isinstance(facts, dict):
        return {_without_home(key): _without_home(value) for key, value in facts.items()}
    return [_without_home(fact) for fact in facts] if isinstance(facts, list) else facts
