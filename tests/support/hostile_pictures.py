"""PNG files that are cut, damaged, or claim more pixels or text than they should."""

import struct
import zlib

from running_daemon import PNG

SIDE = 60_000
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return one chunk of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def header(width: int, height: int, depth: int = 8, colours: int = 2, interlaced: int = 0) -> bytes:
    """Return an IHDR chunk: 8-bit RGB unless told otherwise."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, interlaced))


def png(*chunks: bytes) -> bytes:
    """Return a PNG file of these chunks."""
    return SIGNATURE + b"".join(chunks) + chunk(b"IEND", b"")


def zeros(n_bytes: int) -> bytes:
    """Return compressed zeros: a thousandth of their size."""
    packer = zlib.compressobj(9)
    block = bytes(2**20)
    return b"".join([*(packer.compress(block) for _ in range(n_bytes // 2**20)), packer.flush()])


PIXEL = chunk(b"IDAT", zlib.compress(b"\0\0\0\0"))

PICTURES = {
    "whole": PNG,
    "empty": b"",
    "signature alone": SIGNATURE,
    "header of 60000 x 60000": png(header(SIDE, SIDE), PIXEL),
    "header of 2^31 x 2^31": png(header(2**31 - 1, 2**31 - 1), PIXEL),
    "header of 0 x 0": png(header(0, 0), PIXEL),
    "second header of 60000 x 60000": png(header(1, 1), header(SIDE, SIDE), PIXEL),
    "second header of 10000 x 10000": png(header(1, 1), header(10_000, 10_000), chunk(b"IDAT", zeros(300 * 2**20))),
    "text before a header of 60000 x 60000": png(chunk(b"tEXt", b"a\0b" * 9), header(SIDE, SIDE), PIXEL),
    "one column of 60000": png(header(1, SIDE), chunk(b"IDAT", zlib.compress(bytes(4 * SIDE)))),
    "text of 256 MiB": png(header(1, 1), chunk(b"zTXt", b"a\0\0" + zeros(2**28)), PIXEL),
    "colour profile of 256 MiB": png(header(1, 1), chunk(b"iCCP", b"a\0\0" + zeros(2**28)), PIXEL),
    "pixels of 256 MiB for one": png(header(1, 1), chunk(b"IDAT", zeros(2**28))),
    "2000 animation frames": png(
        header(1, 1), chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)), PIXEL,
        *(chunk(b"fcTL", struct.pack(">IIIIIHHBB", n, 1, 1, 0, 0, 1, 1, 0, 0)) for n in range(2000)),
    ),
    "palette without a palette": png(header(1, 1, colours=3), PIXEL),
    "unknown depth": png(header(1, 1, depth=77), PIXEL),
    "unknown colours": png(header(1, 1, colours=99), PIXEL),
    "16 bits, interlaced": png(header(5, 5, depth=16, interlaced=1), PIXEL),
    "chunk of 2^32 - 1 bytes": SIGNATURE + header(1, 1) + struct.pack(">I", 2**32 - 1) + b"IDAT" + bytes(99),
    "chunk with a wrong checksum": PNG[:29] + bytes(4) + PNG[33:],
    "pixels that are not compressed": png(header(9, 9), chunk(b"IDAT", bytes(99))),
    "something else": SIGNATURE + b"GIF89a" * 100,
}  # fmt: skip
