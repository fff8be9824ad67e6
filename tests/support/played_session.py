"""A session that a played daemon publishes, and a monitor that watches it while the clock stands still."""

import asyncio
from contextlib import asynccontextmanager

from braind.client import wire
from braind.client.endpoints import Endpoints
from braind.tui.app import Monitor

NOWHERE = Endpoints(ingest="tcp://127.0.0.1:9", decodes="tcp://127.0.0.1:9", control="tcp://127.0.0.1:9")
"""Where no daemon is."""
SESSION = "sub-01_ses-14"
RUN_3, RUN_4 = f"{SESSION}_run-03", f"{SESSION}_run-04"
PICTURES = (
    ("a red fox in deep snow beside a frozen river", (168, 70, 40)),
    ("two boats on a calm lake at dusk", (40, 70, 120)),
    ("a plate of food on a wooden table", (150, 120, 60)),
)
COUNTS = {"n_acked": 124, "n_decoded": 121, "n_skipped": 2, "n_refused": 0, "n_waiting": 0}
SCORES = wire.Calibration(
    session=SESSION, n_trials=240, n_pictures=200, minutes=16.0, two_way=0.712, low=0.651, high=0.77
)


class PlayedSession:
    """What a daemon publishes of a session: three pictures again and again, one every four seconds."""

    def __init__(self, daemon, clock, png_of):
        self.daemon, self.clock, self._png_of = daemon, clock, png_of

    def beat(self, state="ready", run=RUN_3, **fields):
        """Send a heartbeat of now."""
        self.daemon.heartbeat(state, run=run, **{"sent_s": self.clock.time()} | COUNTS | fields)

    def decode(self, index, *stages, run=RUN_3, ago_s=2.0, **fields):
        """Send the decode of a volume."""
        label, colour = PICTURES[index % len(PICTURES)]
        blurred = tuple(round(0.6 * part + 40) for part in colour)
        seen = wire.SeenCandidate(label=label, score=0.31, rank=6 + 7 * index, nsd_id=7000 + index)
        fields = {"trial": 3000 + index, "feedback": 0.42 - index % 5 / 5, "seen_candidate": seen} | fields
        fields["n_candidates"] = 300
        self.daemon.decode(
            index, *stages, run=run, seen_png=self._png_of(*colour), label=label, colour=blurred,
            made_s=self.clock.time() - ago_s, **fields,
        )  # fmt: skip

    def decode_run(self, n, run=RUN_3, ago_s=2.0, **fields):
        """Send the decodes of the first volumes of a run, the newest `ago_s` seconds old."""
        for index in range(n):
            self.decode(index, run=run, ago_s=ago_s + 4.0 * (n - 1 - index), **fields)


@asynccontextmanager
async def watching(session, size=(100, 28), *, notifications=False, **look):
    """Run a monitor of the session's daemon; yield its pilot when it has subscribed."""
    monitor = Monitor(session.daemon.endpoints, **look)
    async with monitor.run_test(size=size, notifications=notifications) as pilot:
        await asyncio.to_thread(session.daemon.wait_for_viewer)
        yield pilot
