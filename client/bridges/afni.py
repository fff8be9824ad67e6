"""AFNI's realtime channels: Dimon's stream of volumes, and the motion that AFNI sends to realtime_receiver."""

import asyncio

from ..address import Address
from .afni_motion import MotionValues, read_motion
from .afni_stream import read_images
from .runs import PEER_PATIENCE_S, BridgeRuns, Reader, Writer, announce, listen, port_of

CONTROL_PORT, IMAGE_PORT, MOTION_PORT = 7961, 7960, 53214


async def serve_afni(
    runs: BridgeRuns,
    host: str,
    control_port: int = CONTROL_PORT,
    image_port: int = IMAGE_PORT,
    motion_port: int = MOTION_PORT,
    *,
    motion_wait_s: float = 0.0,
) -> None:
    """Serve AFNI's three channels for ever; an image connection is a run, or a session of runs.

    Parameters
    ----------
    control_port, image_port, motion_port : TCP ports; 0 is any free port
    motion_wait_s : how long a volume waits for its TR's motion while AFNI's motion channel is connected

    Raises
    ------
    PeerError
        A port cannot be listened at.
    """
    motion = MotionValues()
    one_at_a_time = asyncio.Lock()

    async def control(reader: Reader, writer: Writer) -> None:
        # The peer announces the source of the images, and may name a command for AFNI to run; nothing is run here.
        async with asyncio.timeout(PEER_PATIENCE_S):
            announced = await reader.read(1024)
        runs.say(f"AFNI's control channel: {announced.split(bytes(1))[0].splitlines()[:1]}")

    async def images(reader: Reader, writer: Writer) -> None:
        async with one_at_a_time:
            runs.peer_came()
            await runs.end_run()
            try:
                async for incoming in read_images(reader, runs.largest_bytes):
                    if incoming is None:
                        await runs.end_run()
                        runs.peer_came()
                        continue
                    of_tr = await motion.of(incoming.index, motion_wait_s)
                    await runs.take(of_tr.beside(incoming) if of_tr else incoming)
            finally:
                await runs.end_run()

    async def receiver(reader: Reader, writer: Writer) -> None:
        await read_motion(reader, motion)

    async with (
        await listen(control, host, control_port, runs) as control_server,
        await listen(images, host, image_port, runs) as image_server,
        await listen(receiver, host, motion_port, runs) as motion_server,
    ):
        ports = (port_of(server) for server in (control_server, image_server, motion_server))
        announce("listening " + " ".join(Address(host, port).url for port in ports))
        await asyncio.gather(
            control_server.serve_forever(), image_server.serve_forever(), motion_server.serve_forever()
        )
