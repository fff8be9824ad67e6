"""Starts Ray on this machine, or joins a cluster; says what each worker gets of it.

Besides the pool of workers (`ray_pool.py`) this is the only file that knows Ray.
"""

import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .cluster_address import ANSWERS_WITHIN_S, HeadAddress, NoClusterError, head_address, named_address, wants_token
from .workers import Workers, WorkersError

log = logging.getLogger(__name__)

MOST_WORDS = 160
BLAS_VARIABLES = "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"


def connect(workers: Workers) -> Mapping[str, float]:
    """Start Ray on this machine, or join the cluster; a second call keeps what is there. Return its GPUs and cores.

    Raises
    ------
    NoClusterError
        If the address is not that of a Ray cluster of the same version, which this machine belongs to.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Ray reads these when it is imported. A program that has imported it before has chosen for itself.
    if "ray" not in sys.modules:
        # Without a cluster, Ray listens on 127.0.0.1 only. With one, it takes 127.0.0.1 for another address of this
        # machine otherwise, where a head on 127.0.0.1 does not listen.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        if not workers.address:
            # Whoever reaches Ray's ports can run programs: other users of this machine lack the token.
            os.environ.setdefault("RAY_AUTH_MODE", "token")
            if os.environ["RAY_AUTH_MODE"] == "token":
                os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    import ray

    if not ray.is_initialized():
        with _in_time(workers.address), _own_handler_of_sigterm():
            ray.init(
                address=_head(workers) if workers.address else "local",
                num_cpus=None if workers.address else max(workers.n or 1, os.cpu_count() or 1),
                include_dashboard=None if workers.address else False,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
            )
        # Ray prints what became of workers to stdout, which is for data; the pool's log says it.
        from ray._private import worker as of_ray

        of_ray._worker_logs_enabled = False
    return ray.cluster_resources()


@contextmanager
def _own_handler_of_sigterm() -> Iterator[None]:
    """Let SIGTERM end the command as Ctrl-C does: the handler that Ray installs writes a stack and aborts."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler if before == signal.SIG_DFL else before)


def _head(workers: Workers) -> str:
    """Return host:port of the cluster's head; let Ray send the token if the head wants one.

    Raises
    ------
    NoClusterError
        If Ray's head does not answer there, refuses the token, or this machine is no node of the cluster.
    """
    from ray._private import services
    from ray._private.authentication import authentication_token_setup as authentication

    logging.getLogger("ray").setLevel(logging.CRITICAL)  # The sentence here is enough.
    address = named_address(workers) or head_address(services.get_ray_address_from_environment("auto", None))
    if wants_token(address):
        # Ray does this by itself only for a head that it found by itself.
        authentication.maybe_enable_token_auth_if_token_available()
    if not services.find_node_ids() & _nodes(address):
        raise NoClusterError(
            f"--ray {workers.address}: this machine is no node of the cluster; join it with ray start --address "
            f"{address.words}, or run the command on a node"
        )
    return address.words


def _nodes(address: HeadAddress) -> set[str]:
    """Return the identifiers of the cluster's nodes."""
    from ray._raylet import GcsClient  # pyright: ignore[reportAttributeAccessIssue]

    nodes = GcsClient(address=address.words).get_all_node_info(timeout=ANSWERS_WITHIN_S)
    return {node.hex() for node in nodes}


@contextmanager
def _in_time(address: str) -> Iterator[None]:
    """Turn Ray's errors into a sentence."""
    from ray.exceptions import RayError

    try:
        yield
    except (ConnectionError, RuntimeError, ValueError, AssertionError, RayError) as error:
        raise NoClusterError(
            f"--ray {address}: no Ray cluster that this machine belongs to ({first_words(error)}); start one with "
            "ray start --head, or leave --ray out"
            if address
            else f"Ray does not start here: {first_words(error)}"
        ) from error


def shares(workers: Workers, threads: int, resources: Mapping[str, float]) -> tuple[int, dict[str, Any]]:
    """Return the number of workers, and what Ray reserves for each of them.

    Parameters
    ----------
    threads : int
        Of each worker.
    resources : mapping
        GPUs and cores (CPU) of the cluster, as Ray names them.

    Raises
    ------
    WorkersError
        If more workers are wanted than there are GPUs, or cores.
    """
    n_gpus, n_cores = int(resources.get("GPU", 0)), int(resources.get("CPU", 0))
    # The number of threads decides the order of sums: every worker has as many as this process.
    environment = {"OMP_NUM_THREADS": str(threads), **dict.fromkeys(BLAS_VARIABLES, str(_blas_threads() or threads))}
    options = {"num_cpus": 1, "num_gpus": 1 if n_gpus else 0, "runtime_env": {"env_vars": environment},
               "max_restarts": 0, "max_task_retries": 0}  # fmt: skip
    if n_gpus:
        if (workers.n or 0) > n_gpus:
            raise WorkersError(
                f"--workers {workers.n}: there are {n_gpus} GPUs, and each worker takes one; give --workers {n_gpus}",
                code="option",
            )
        return workers.n or n_gpus, options
    if workers.address:
        log.warning("the Ray cluster at %s has no GPU: its %d cores do the work", workers.address, n_cores)
    if (workers.n or 0) > n_cores:
        raise WorkersError(
            f"--workers {workers.n}: there are {n_cores} cores, and each worker takes one; give --workers {n_cores}",
            code="option",
        )
    return workers.n or max(1, n_cores // threads), options


def _blas_threads() -> int:
    """Return the threads of numpy's matrix products in this process, 0 if they are unknown."""
    from threadpoolctl import threadpool_info

    return max((found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"), default=0)


def first_words(error: Exception) -> str:
    """Return the first words of Ray's account."""
    words = " ".join(str(error).split())
    return words if len(words) <= MOST_WORDS else f"{words[:MOST_WORDS]}…"
