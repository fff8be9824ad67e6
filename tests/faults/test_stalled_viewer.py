"""A viewer that reads nothing: the daemon keeps few messages for it, and the other viewers get all."""

import asyncio

import pytest
import zmq

from braind.config import load_config
from braind.daemon.sockets import VIEWER_QUEUE, bind_sockets

N_MESSAGES = 400
PICTURE = bytes(2**20)
# The system's own buffers hold some messages of 1 MiB too.
MOST_KEPT = VIEWER_QUEUE + 64
SUBSCRIBED = b"\x01"


class Viewers:
    """The decodes socket with a viewer that reads, one that does not, and one that only marks the end."""

    def __init__(self):
        ports = {"ingest_port": 0, "decodes_port": 0, "control_port": 0}
        self.n_viewers = 0
        self.sockets = bind_sockets(load_config(None, {"serve": ports}).serve, (7, 8, 9))

    async def subscribe(self, **options):
        viewer = self.sockets.context.socket(zmq.SUB)
        for name, value in options.items():
            setattr(viewer, name, value)
        viewer.connect(self.sockets.endpoints.decodes)
        viewer.subscribe(b"")
        # XPUB reports only the first subscription to a topic: a topic of the viewer's own tells that it is there.
        self.n_viewers += 1
        own = b"viewer %d" % self.n_viewers
        viewer.subscribe(own)
        while await self.sockets.decodes.recv() != SUBSCRIBED + own:
            pass
        return viewer

    async def last_kept(self, viewer):
        """Read everything that was kept for a viewer; return the numbers."""
        numbers = []
        while True:
            # The mark itself is dropped while the queue is full, so it is sent again.
            await self.sockets.decodes.send_multipart([b"end"], copy=False)
            while await viewer.poll(100):
                number, *_ = await viewer.recv_multipart()
                if number == b"end":
                    return numbers
                numbers.append(int(number))


def run(scenario):
    async def timed():
        viewers = Viewers()
        try:
            async with asyncio.timeout(60):
                return await scenario(viewers)
        finally:
            viewers.sockets.context.destroy(linger=0)

    return asyncio.run(timed())


@pytest.mark.timeout(90)
def test_few_messages_are_kept_for_a_viewer_that_stalls_and_another_viewer_gets_all():
    async def scenario(viewers):
        stalled = await viewers.subscribe(rcvhwm=1)
        reading = await viewers.subscribe(rcvhwm=0)
        received = []
        for number in range(N_MESSAGES):
            await viewers.sockets.decodes.send_multipart([b"%d" % number, PICTURE], copy=False)
            received.append(int((await reading.recv_multipart(copy=True))[0]))
        return received, await viewers.last_kept(stalled)

    received, kept = run(scenario)
    assert received == list(range(N_MESSAGES))
    # The oldest messages are kept: the viewer sees a gap in the numbers after them.
    assert kept == list(range(len(kept)))
    assert VIEWER_QUEUE <= len(kept) <= MOST_KEPT
