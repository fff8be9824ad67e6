"""GE's group delay: the pause after each volume, which GE's RepetitionTime leaves out. dcm2niix reads the same."""

import struct
import zlib
from typing import Any

DELAY_AFTER_SLICE_GROUP = (0x0043, 0x107C)  # s; epiRT
PROTOCOL_BLOCK = (0x0025, 0x101B)  # gzip
LARGEST_BLOCK_BYTES = 2**20


def group_delay_s(dataset: Any) -> float:
    """Return the seconds that lie between GE's RepetitionTime and the time from volume to volume; 0 if there are none.

    epiRT ("FMRI") stores the delay in an element, Multi-Phase EPI in the compressed protocol block.
    """
    if DELAY_AFTER_SLICE_GROUP in dataset:
        delay = dataset[DELAY_AFTER_SLICE_GROUP].value
        # In a file with implicit VRs, an unknown private element stays bytes.
        return max(0.0, struct.unpack("<f", delay[:4])[0] if isinstance(delay, bytes) else float(delay))
    block = dataset[PROTOCOL_BLOCK].value if PROTOCOL_BLOCK in dataset else None
    fields = _protocol(block) if isinstance(block, bytes) else {}
    is_multi_phase = "MPh" in fields.get("IOPT", "") and "FMRI" not in fields.get("IOPT", "")
    if not is_multi_phase or fields.get("DELACQ") == "Minimum":
        return 0.0
    return max(0.0, float(fields.get("DELACQNOAV") or 0))


def _protocol(block: bytes) -> dict[str, str]:
    """Return the fields of a protocol block, lines of `set KEY "VALUE"`; none if it is not gzip."""
    # Some versions write the block's length before the gzip stream.
    start = block.find(b"\x1f\x8b\x08")
    if start < 0:
        return {}
    try:
        text = zlib.decompressobj(31).decompress(block[start:], LARGEST_BLOCK_BYTES).decode("latin-1")
    except zlib.error:
        return {}
    fields = {}
    for line in text.splitlines():
        key, _, value = line.strip().removeprefix("set ").partition(" ")
        fields[key] = value.strip().strip('"')
    return fields
