"""A real `braind monitor` in a pseudo-terminal, and the daemon that this process plays for it."""

import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import numpy as np
import psutil
import zmq
from PIL import Image

from braind.client import wire

COLUMNS, ROWS, CELL_PX = 120, 40, (10, 20)
PICTURE_PX, N_PICTURES = 512, 24
SESSION, RUN = "sub-01_ses-14", "sub-01_ses-14_run-03"
STAGES: tuple[wire.Stage, ...] = ("scores", "xz", "xzc")


class PlayedDaemon:
    """Publishes decodes with pictures and heartbeats; answers one question for its status if told to."""

    def __init__(self) -> None:
        self._context = zmq.Context()
        self._decodes, self._control = self._context.socket(zmq.XPUB), self._context.socket(zmq.ROUTER)
        self.ports = [socket.bind_to_random_port("tcp://127.0.0.1") for socket in (self._decodes, self._control)]
        self._pngs = [_png(number) for number in range(N_PICTURES)]
        self._seq = 0
        self._provenance = wire.Provenance(
            subject=1, preset="live-4", mode="zc", seed=42, engine="onnx-cpu", weights="weights", ldm="ldm",
            simulated=True, version="0",
        )  # fmt: skip

    def wait_for_viewer(self) -> None:
        """Return when a monitor has subscribed."""
        assert self._decodes.poll(60_000), "no monitor came"

    def decode(self, index: int, pauses_s: tuple[float, ...] = (0.0, 0.0, 0.0)) -> float:
        """Publish the three stages of a decode, each after a pause; return when the last one went, monotonic clock."""
        timings_s = {"ack": 0.003, "scores": 0.009, "xz": 0.05, "xzc": 0.4}
        retrieved = tuple(wire.Retrieved(label=label_of(index, n), score=0.9 - n / 10) for n in range(5))
        for position, stage in enumerate(STAGES):
            self._seq += 1
            message = wire.Decode(
                seq=self._seq, session=SESSION, run=RUN, index=index, stage=stage, provenance=self._provenance,
                timings_s=timings_s, seen=stage == "scores", retrieved=retrieved,
            )  # fmt: skip
            time.sleep(pauses_s[position])
            self._decodes.send_multipart(wire.encode(message, self._pngs[(3 * index + position) % N_PICTURES]))
        published_s = time.monotonic()
        beat = wire.Heartbeat(last_seq=self._seq, state="ready", subject=1, n_acked=index, n_decoded=index)
        self._decodes.send_multipart(wire.encode(beat))
        return published_s

    def answer_status(self) -> None:
        """Answer the next request, which must be one for the daemon's status."""
        viewer, *request = self._control.recv_multipart()
        assert isinstance(wire.decode(request)[0], wire.StatusRequest)
        status = wire.Status(
            state="ready", pid=os.getpid(), version="0", uptime_s=60.0, subject=1, weights="weights", ldm="ldm",
            engine="onnx-cpu", preset="live-4", policy="latest", simulated=True, journal="", session=SESSION, run=RUN,
            n_acked=0, n_decoded=0, n_skipped=0, n_refused=0, n_waiting=0, decoder_restarts=0, last_seq=0,
        )  # fmt: skip
        self._control.send_multipart([viewer, *wire.encode(status)])

    def close(self) -> None:
        """Close the sockets."""
        self._context.destroy(linger=0)


class Drawn:
    """What a program writes to a terminal, read as it comes; only the newest 4 MiB are kept."""

    def __init__(self, master: int) -> None:
        self._master, self._newest = master, bytearray()
        self._n_dropped = 0
        self._grown = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for(self, words: str, timeout_s: float = 60.0) -> float:
        """Return when the words had come, on the monotonic clock; forget everything before them."""
        looked_for, until_s = words.encode(), time.monotonic() + timeout_s
        with self._grown:
            searched = 0
            # Each byte is searched once: searching a megabyte of pictures at each read would delay what is measured.
            while (at := self._newest.find(looked_for, max(0, searched - self._n_dropped - len(looked_for)))) < 0:
                searched = self._n_dropped + len(self._newest)
                if not self._grown.wait(until_s - time.monotonic()):
                    raise TimeoutError(f"{words!r} was not drawn within {timeout_s:.0f} s")
            self._drop(at)
            return self._read_s

    def _drop(self, n_bytes: int) -> None:
        """Forget the oldest bytes."""
        del self._newest[:n_bytes]
        self._n_dropped += n_bytes

    def _read(self) -> None:
        with suppress(OSError):
            while piece := os.read(self._master, 1 << 16):
                with self._grown:
                    self._read_s = time.monotonic()
                    self._newest += piece
                    self._drop(max(0, len(self._newest) - (4 << 20)))
                    self._grown.notify_all()
        os.close(self._master)


@dataclass(frozen=True)
class WatchedMonitor:
    """A monitor's process, what it draws, and when it was started, on the monotonic clock."""

    process: psutil.Process
    drawn: Drawn
    started_s: float

    @property
    def cpu_s(self) -> float:
        """The processor time so far."""
        times = self.process.cpu_times()
        return times.user + times.system


@contextmanager
def monitor(ports: list[int], *options: str, environment: dict[str, str] | None = None) -> Iterator[WatchedMonitor]:
    """Run `braind monitor` in a terminal of 120 × 40 cells against a daemon's ports for decodes and control."""
    master, slave = pty.openpty()
    size = struct.pack("HHHH", ROWS, COLUMNS, COLUMNS * CELL_PX[0], ROWS * CELL_PX[1])
    fcntl.ioctl(slave, termios.TIOCSWINSZ, size)
    decodes_port, control_port = map(str, ports)
    with tempfile.TemporaryDirectory() as folder:
        variables = {
            **os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "BRAIND_PATHS__DATA": folder,
            "BRAIND_SERVE__DECODES_PORT": decodes_port, "BRAIND_SERVE__CONTROL_PORT": control_port,
            "BRAIND_SERVE__INGEST_PORT": control_port, **(environment or {}),
        }  # fmt: skip
        variables.pop("TMUX", None)
        command, started_s = [sys.executable, "-m", "braind", "monitor", *options], time.monotonic()
        process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=variables)
        os.close(slave)
        try:
            yield WatchedMonitor(psutil.Process(process.pid), Drawn(master), started_s)
        finally:
            process.terminate()
            process.wait()


def label_of(index: int, position: int = 0) -> str:
    """Return the label of a decode's candidate, which is on the screen when the decode is."""
    return f"picture {index}.{position}"


def _png(seed: int) -> bytes:
    """Return a picture as the model makes them: large smooth forms, and a little noise as of a photograph."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((PICTURE_PX, PICTURE_PX), Image.Resampling.BICUBIC), np.int16)
    noisy = np.clip(smooth + generator.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "PNG")
    return file.getvalue()
