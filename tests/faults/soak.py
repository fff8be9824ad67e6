"""`make soak`: random kills of everything for hours, and what was kept meanwhile, as a table.

Every so often the scanner client, a viewer, the front, the decoder or both die by SIGKILL. The programs are started
again, as an operator would. It ends with status 1 when an invariant is broken, and prints the seed that repeats it.
"""

import argparse
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parent.parent / "support"))

from running_daemon import PATIENCE_S, RunningDaemon, files_for
from scans import LAST_RUN, Decodes, Scan, Watch, decodes_of, free_ports, restart, undisturbed

from braind.client.connection import NoDaemonError
from braind.client.scanner import ScannerClient
from braind.client.subscriber import DecodeSubscriber
from braind.models.weights.fingerprint import EMBEDDED_LDM_PATH

HOURS = 2.0
DECODE = {"num_inference_steps": 2}
VOLUMES = {"beta": 24, "bold": 30}
LONGEST_REST_S = 2.0
MOST_SCANNER_KILLS = 5
VICTIMS = ("scanner", "viewer", "front", "decoder", "both")
# An LDM's process is seconds old before it decodes: most kills strike elsewhere.
WEIGHTS = (4, 4, 1, 1, 1)
MOST_DESCRIPTORS = 64
MOST_GROWTH = 64 * 2**20


def send(scan: Scan, port: int, acked: Any) -> None:
    """Send a scan from where the daemon has it; put each acked volume's number into the queue."""
    with ScannerClient(port=port, give_up_s=PATIENCE_S) as client:
        while True:
            try:
                run = client.open_run(scan.hello())
                break
            except NoDaemonError:
                continue
        for index in range(scan.n_volumes):
            run.send(scan.voxels(index), index=index, onsets=scan.onsets(index), scale=scan.scale)
            acked.put(index)
            time.sleep(0.05)
        run.end()
        last = client.open_run(Scan("beta", 1, LAST_RUN, scan.session).hello())
        last.send(Scan("beta", 1).voxels(0), index=0, scale=1 / 300)


def view(decodes_port: int, control_port: int) -> None:
    """Hear what comes, from the beginning on."""
    with DecodeSubscriber(decodes_port=decodes_port, control_port=control_port, history=10**9) as subscriber:
        for _ in subscriber:
            pass


class Soak:
    """A daemon, a scanner client and viewers that are killed and started again.

    Parameters
    ----------
    folder : Path
        The data folder.
    seed : int
        Repeats the kills.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.ports = free_ports()
        files = files_for(EMBEDDED_LDM_PATH)
        self.oracle: dict[str, Decodes] = {
            kind: undisturbed(files, folder / f"oracle-{kind}", Scan(kind, n), decode=DECODE)
            for kind, n in VOLUMES.items()
        }
        self.daemon = RunningDaemon(files, folder / "data", decode=DECODE, serve=self.ports).start()
        self.kills: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.broken: list[str] = []
        self.usage: list[tuple[int, int]] = []
        """Descriptors and memory of the front at the end of each scan."""
        self._spawn = multiprocessing.get_context("spawn")
        self._n_scans = 0

    def run(self, until_s: float) -> None:
        """Send scan after scan until the time has come, and check each one."""
        viewer = self._viewer()
        with Watch(self.ports["decodes_port"], self.ports["control_port"]) as watch:
            while time.monotonic() < until_s and not self.broken:
                self._n_scans += 1
                kind = self.chance.choice(list(VOLUMES))
                viewer = self._scan(Scan(kind, VOLUMES[kind], session=f"soak-{self._n_scans}"), watch, viewer)
        viewer.kill()
        self._check_numbers(watch)

    def _scan(self, scan: Scan, watch: Watch, viewer: Any) -> Any:
        acked, queue = set[int](), self._spawn.Queue()
        sender = self._sender(scan, queue)
        # A volume that kills two decoders is passed over, so a decoder dies once in a scan. A scanner client dies a few
        # times: on a slow machine it starts in more time than passes between two kills, and would never finish.
        left = {"decoder": 1, "scanner": MOST_SCANNER_KILLS}
        while sender.is_alive():
            sender.join(self.chance.uniform(0.001, LONGEST_REST_S))
            if not sender.is_alive() and sender.exitcode == 0:
                break
            victim = self.chance.choices(VICTIMS, WEIGHTS)[0]
            if not left.get(victim, 1):
                continue
            if victim in left:
                left[victim] -= 1
            self.kills[victim] += 1
            if victim == "scanner":
                sender.kill()
                sender.join()
                sender = self._sender(scan, queue)
            elif victim == "viewer":
                viewer.kill()
                viewer.join()
                viewer = self._viewer()
            else:
                self._kill_daemon(victim)
        while not queue.empty():
            acked.add(queue.get())
        self._check(scan, watch, acked)
        return viewer

    def _kill_daemon(self, victim: str) -> None:
        decoder = self.daemon.decoder
        if victim == "decoder":
            decoder.kill()
            return
        if victim == "both":
            self.daemon.kill()
        else:
            self.daemon.process.kill()
            self.daemon.process.wait(PATIENCE_S)
        decoder.wait(PATIENCE_S)
        restart(self.daemon)

    def _check(self, scan: Scan, watch: Watch, acked: set[int]) -> None:
        def is_over(heard: list[Any]) -> bool:
            return any((m.session, m.run, getattr(m, "stage", "xzc")) == (scan.session, LAST_RUN, "xzc") for m in heard)

        if not watch.until(is_over):
            self.broken.append(f"{scan.session}: not decoded within {PATIENCE_S:g} s\n{self.daemon.words()[-4000:]}")
            return
        with self.daemon.connect("ingest") as peer:
            # The run has ended: its next volume is the first that the journal lacks.
            if (next_index := peer.ask(scan.hello()).next_index) <= max(acked, default=-1):
                self.broken.append(f"{scan.session}: volume {next_index} was acked and is gone")
        if decodes_of(watch.heard, scan) != self.oracle[scan.kind]:
            self.broken.append(f"{scan.session}: its decodes differ from those of an undisturbed {scan.kind} scan")
        self.done[scan.kind] += 1
        self.done["volumes"] += len(acked)
        front = psutil.Process(self.daemon.process.pid)
        self.usage.append((front.num_fds(), front.memory_info().rss))

    def _check_numbers(self, watch: Watch) -> None:
        seqs = [message.seq for message, _ in watch.heard]
        if seqs != list(range(1, len(seqs) + 1)):
            self.broken.append("a viewer's numbers have a hole or a duplicate")
        if watch.n_lost:
            self.broken.append(f"{watch.n_lost} messages were lost to a viewer")
        if self.usage and max(n for n, _ in self.usage) > MOST_DESCRIPTORS:
            self.broken.append(f"the front has {max(n for n, _ in self.usage)} descriptors")
        if self.usage and self.usage[-1][1] - self.usage[0][1] > MOST_GROWTH:
            self.broken.append("the front's memory has grown")

    def _sender(self, scan: Scan, queue: Any) -> Any:
        process = self._spawn.Process(target=send, args=(scan, self.ports["ingest_port"], queue), daemon=True)
        process.start()
        return process

    def _viewer(self) -> Any:
        arguments = (self.ports["decodes_port"], self.ports["control_port"])
        process = self._spawn.Process(target=view, args=arguments, daemon=True)
        process.start()
        return process


def main() -> int:
    """Soak, and print what was done and what was broken; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=float(os.environ.get("SOAK_HOURS", HOURS)))
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="braind-soak-") as folder:
        soak = Soak(Path(folder), given.seed)
        try:
            soak.run(began_s + given.hours * 3600)
        finally:
            soak.daemon.close()
    rows = {
        "hours": f"{(time.monotonic() - began_s) / 3600:.2f}",
        **{f"scans, {kind}": soak.done[kind] for kind in VOLUMES},
        "acked volumes": soak.done["volumes"],
        **{f"kills, {victim}": soak.kills[victim] for victim in VICTIMS},
        "front's descriptors, first to last scan": f"{soak.usage[0][0]} to {soak.usage[-1][0]}" if soak.usage else "",
        "front's memory, MiB, first to last scan": " to ".join(f"{soak.usage[n][1] / 2**20:.0f}" for n in (0, -1))
        if soak.usage
        else "",
        "invariants broken": len(soak.broken),
    }
    for name, value in rows.items():
        print(f"| {name} | {value} |")
    print(*soak.broken, sep="\n")
    return 1 if soak.broken else 0


if __name__ == "__main__":
    sys.exit(main())
