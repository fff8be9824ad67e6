"""`braind serve`: the front process, which owns the sockets and supervises the decoder process."""

import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import msgspec

from ..client import wire
from ..client.endpoints import remove_endpoints, write_endpoints
from ..config import Config, data_path, journals_path
from ..errors import BraindError
from ..models.presets import named_presets
from ..models.weights.candidate_names import CandidateNames
from . import link
from .access.authentication import authentication_of
from .access.connections import Connections
from .access.lock import lock_data_path
from .access.loopback import numeric_host
from .access.subscriptions import Subscriptions
from .checks import check_idle
from .control import Control
from .in_use import Start, WeightsInUse
from .ingest import Ingest
from .logs import configure_logging
from .operating.requests import OperatorRequests
from .operating.settings import SettingsInForce
from .outcomes import Outcomes
from .pages import Pages
from .preflight import candidate_names
from .publish import Publisher
from .sessions import Sessions
from .sockets import Sockets, bind_sockets
from .state import DaemonState
from .supervision.crashes import count_crash
from .supervision.supervise import Supervisor
from .supervision.systemd import ServiceManager

STOPPED_AT_ONCE = 130

logger = logging.getLogger(__name__)


def serve(config: Config, start: Start) -> int:
    """Run the daemon until a signal or a client stops it; return 0, the exit status.

    When the decoder is warmed up, the daemon writes one line to stdout: `ready` and a JSON object with the addresses
    and the process id.

    With masks and without weights in use, the daemon records volumes, and decodes after a client has sent `Use`.

    Raises
    ------
    BraindError
        If the daemon cannot start: the address is not loopback, the keys cannot be read, a port is in use, the data
        folder is in use or not writable, or weights, candidates or LDM are missing or do not fit each other.
    """
    configure_logging()
    numeric_host(config.serve)  # an address that is refused is refused before files are read
    settings = SettingsInForce(WeightsInUse(config, start), config.serve.policy, named_presets(config))
    try:
        journals_path(config).mkdir(parents=True, exist_ok=True)
        lock = lock_data_path(data_path(config))
    except OSError as error:
        raise BraindError(
            f"{error.filename}: {error.strerror}; braind keeps its journals there: put that right, or give another "
            "folder in [paths] data",
            code="storage",
        ) from error
    try:
        asyncio.run(Daemon(config, settings, lock).run())
    finally:
        os.close(lock)
    return 0


class Daemon:
    """The front process: it runs the sockets, the publisher and the supervisor, and acts on the decoder's lines.

    Parameters
    ----------
    settings : SettingsInForce
        Weights and settings, which clients may change.
    lock : int
        File descriptor of the data folder's lock.
    """

    def __init__(self, config: Config, settings: SettingsInForce, lock: int) -> None:
        self._config, self._settings = config, settings
        self._sessions = Sessions(journals_path(config), wait_for_disk=config.serve.durability == "full")
        self._sessions.resume()
        self._state = DaemonState(
            self._sessions, settings.weights, preset=settings.decoder.pipeline.preset.name, policy=settings.policy
        )
        self._state.last_seq = self._sessions.last_seq()
        self._authentication = authentication_of(config, self._state.refused_keys)
        self._state.connections = Connections(self._authentication.keyring if self._authentication else None)
        self._outcomes = Outcomes(self._sessions, self._state)
        self._supervisor = Supervisor(
            self._setup, self._on_line, self._on_death,
            lock=lock, on_hang=self._on_hang, is_wanted=not settings.weights.is_blank,
        )  # fmt: skip
        self._stop_asked = asyncio.Event()
        self._service = ServiceManager()
        self._is_announced = False

    async def run(self) -> None:
        """Serve until a signal or a client stops the daemon.

        Raises
        ------
        BraindError
            If a port is in use, or the decoder cannot use the weights, the candidates or the LDM.
        """
        self._resume()
        weights = self._settings.weights
        candidates = candidate_names(weights, Path(self._settings.decoder.candidates_path))
        sockets = bind_sockets(self._config.serve, weights.card.shape, self._authentication, self._state.connections)
        pages = Pages(self._state, self._sessions.journals_path, lambda: self._supervisor.pid)
        self._addresses = msgspec.structs.replace(sockets.endpoints, metrics=pages.serve(self._config.serve))
        write_endpoints(self._config, self._addresses)
        control = self._connect(sockets, candidates)
        self._handle_signals()
        if weights.is_blank:
            logger.info("recording: no weights for subject %d yet", weights.card.subject)
            self._announce_ready()
        supervision = asyncio.create_task(self._supervisor.run(), name="decoder")
        ingest = asyncio.create_task(self._ingest.serve(), name="ingest")
        tasks = [
            supervision,
            ingest,
            asyncio.create_task(self._stop_asked.wait(), name="stop"),
            asyncio.create_task(control.serve(), name="control"),
            asyncio.create_task(self._publisher.beat(), name="heartbeat"),
            asyncio.create_task(self._service.beat(self._state.words), name="systemd"),
            asyncio.create_task(Subscriptions(sockets.decodes, self._state.connections).read(), name="subscriptions"),
        ]
        if self._authentication:
            tasks.append(asyncio.create_task(self._authentication.serve(sockets.endpoints.decodes), name="keys"))
        ended: set[asyncio.Task] = set()
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
            await self._finish(ingest)
            await supervision
        finally:
            self._supervisor.kill()
            await _cancel([task for task in tasks if task not in ended])
            sockets.close()
            pages.close()
            self._sessions.close()
            remove_endpoints(self._config, os.getpid())

    # ── starting ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _resume(self) -> None:
        newest = self._sessions.newest()
        if newest:
            with self._sessions.without_if_damaged(newest.session):
                self._state.session, self._state.run = newest.session, newest.newest_run()
                record = newest.run(self._state.run)
                if record:
                    self._state.signal_check.open(newest, record)
        self._sessions.log_waiting(self._settings.weights.fingerprint)

    def _connect(self, sockets: Sockets, candidates: CandidateNames) -> Control:
        """Give each socket its owner: the publisher, the front and the control, which is returned."""
        self._publisher = Publisher(sockets.decodes, self._sessions, self._state, self._outcomes.on_published)
        self._ingest = Ingest(
            sockets.ingest, self._sessions, self._state, self._settings.weights, candidates,
            store_volumes=self._config.serve.store_volumes,
            wake=self._wake,
        )  # fmt: skip
        operators = OperatorRequests(
            self._sessions, self._state, self._settings, self._supervisor, keys=self._config.serve.keys
        )
        return Control(
            sockets.control, self._sessions, self._state,
            pause=self._pause,
            use=self._use,
            shut_down=self._stop_asked.set,
            others=operators.answers(),
        )  # fmt: skip

    def _setup(self) -> link.Setup:
        return link.Setup(
            decoder=self._settings.decoder,
            journals_path=str(self._sessions.journals_path),
            sessions=self._sessions.names(),
            next_seq=self._state.last_seq + 1,
            policy=self._settings.policy,
            keep_warm_ms=self._config.decode.keep_warm_ms,
            paused=self._state.paused,
        )

    def _handle_signals(self) -> None:
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(signal_number, self._on_signal)

    def _on_signal(self) -> None:
        if self._stop_asked.is_set():
            self._supervisor.kill()
            os._exit(STOPPED_AT_ONCE)
        logger.info("stopping after the current volume; a second signal stops at once")
        self._stop_asked.set()

    # ── running ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _wake(self, line: link.Wake | link.EndOfRun) -> None:
        if isinstance(line, link.Wake):
            self._outcomes.add_arrival(line)
        self._supervisor.send(line)

    def _pause(self, paused: bool) -> None:
        self._state.paused = paused
        self._supervisor.send(link.PauseDecoding(paused=paused))
        logger.info("decoding rests; volumes are still acked" if paused else "decoding goes on")

    def _use(self, request: wire.Use) -> None:
        """Use other weights from now on; refuse weights that do not fit, and a daemon that still has work."""
        in_use = self._settings.weights
        # Checked before files are read: reading files delays acks.
        check_idle(in_use, self._ingest.current_run(), self._sessions.n_to_decode(in_use.fingerprint))
        candidates = self._settings.use(request)
        weights = self._settings.weights
        self._ingest.use(weights, candidates)
        self._state.use(weights)
        self._outcomes.clear()
        self._supervisor.renew()
        logger.info("weights %s, fitted on %d trials, from now on", weights.fingerprint, weights.card.n_trials)

    async def _on_line(self, line: link.ToFront) -> None:
        match line:
            case link.Ready():
                self._on_ready(line)
            case link.Taking():
                self._outcomes.start(line)
            case link.Committed():
                await self._publisher.publish_new()
            case link.Settled():
                self._outcomes.settle(line.session, line.run, line.index, line.state)

    def _on_ready(self, ready: link.Ready) -> None:
        is_first = not self._state.engine
        self._settings.note_loaded()
        self._state.note_ready(ready.engine, ready.ldm, ready.preset)
        for wake in self._outcomes.in_flight():
            self._supervisor.send(wake)
        logger.info("decoder: loaded in %.1f s, warmed up in %.1f s", ready.load_s, ready.warm_up_s)
        if is_first:
            made_with = self._state.no_pictures or f"{ready.engine}, {ready.preset}"
            logger.info("ready: subject %d, %s", self._settings.weights.card.subject, made_with)
            if not self._is_announced:
                self._announce_ready()

    def _announce_ready(self) -> None:
        self._is_announced = True
        self._service.notify("READY=1", f"STATUS={self._state.words()}")
        # The program that started the daemon may have closed the pipe.
        with suppress(BrokenPipeError):
            sys.stdout.write(f"ready {msgspec.json.encode(self._addresses).decode()}\n")
            sys.stdout.flush()

    def _on_hang(self) -> None:
        self._state.decoder_ready = False

    async def _on_death(self) -> None:
        """Count the decoder's crash against its current volume."""
        self._state.note_death()
        self._settings.revert()
        # The volume may have been decoded before the crash: publishing settles it.
        await self._publisher.publish_new()
        volume = self._state.crashed_volume = self._outcomes.crashed()
        if volume:
            count_crash(volume, self._sessions, self._state)
        await self._publisher.publish_new()

    # ── stopping ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _finish(self, ingest: asyncio.Task[None]) -> None:
        """Take no further message, let the decoder finish its volume, and publish its decodes."""
        self._state.stopping = True
        self._service.notify("STOPPING=1")
        await _cancel([ingest])
        await self._supervisor.stop()
        await self._publisher.publish_new()
        await self._publisher.tell_stopped()
        self._sessions.log_left()
        self._sessions.write_catalogue()
        logger.info("stopped")


async def _cancel(tasks: list[asyncio.Task[None]] | list[asyncio.Task]) -> None:
    for task in tasks:
        task.cancel()
    for task, result in zip(tasks, await asyncio.gather(*tasks, return_exceptions=True), strict=True):
        if isinstance(result, Exception):
            logger.error("%s ended with an error", task.get_name(), exc_info=result)
