"""The bytes that Dimon, AFNI and MURFI send, made from volumes by their published layouts."""

import math
import struct

import numpy as np

AFFINE = [[1.8, 0.0, 0.0, -4.0], [0.0, 1.8, 0.0, -5.0], [0.0, 0.0, 1.8, -6.0], [0.0, 0.0, 0.0, 1.0]]
SHAPE = (4, 5, 6)


def volume(number, dtype=np.int16):
    return np.random.default_rng(number).integers(0, 4000, SHAPE).astype(dtype)


def vsend(number, voxels, *, series="1.2.3", pre_header=False, mosaic=False, moved=None, swap=False, tr_ms=1333):
    """An image: fields at the offsets of the C struct on x86-64."""
    x, y, z = voxels.shape
    data = bytearray(616)
    struct.pack_into("<5s", data, 0, b"ERTI")
    struct.pack_into("<i", data, 8, 4)
    struct.pack_into("64s64s16s256s16s", data, 12, series.encode(), b"EPI", b"3Dt", b"", b"int16_t")
    struct.pack_into("??", data, 428, not swap, mosaic)
    struct.pack_into("<4d", data, 432, 1.8, 1.8, 1.8, 0.0)
    struct.pack_into("<3i", data, 464, x, y, z)
    struct.pack_into("<16f", data, 476, *np.array(AFFINE).ravel())
    struct.pack_into("<4i", data, 540, tr_ms, 0, number + 1, 10)
    struct.pack_into("?", data, 556, moved is not None)
    struct.pack_into("<6d", data, 568, *(moved or [0.0] * 6))
    if mosaic:
        side = math.ceil(math.sqrt(z))
        picture = np.zeros((side * y, side * x), np.int16)
        for k in range(z):
            picture[k // side * y :][:y, k % side * x :][:, :x] = voxels[:, :, k].T
    else:
        picture = voxels.transpose(2, 1, 0)
    pixels = np.ascontiguousarray(picture, ">i2" if swap else "<i2").tobytes()
    return (struct.pack("<2i", 616, len(pixels)) if pre_header else b"") + bytes(data) + pixels


DIMON = (
    "NUM_CHAN 1\nACQUISITION_TYPE 3D+timing\nZORDER seq\nTPATTERN explicit 0 0.2\nTR 1.333\nXYFOV 7.2 9.0 10.8\n"
    "XYMATRIX 4 5 6\nDATUM short\nXYZAXES {axes}\nXYZFIRST {first}\nBYTEORDER {order}\nNOTE made by a test\n"
)


def stream(*volumes, order="LSB_FIRST", axes="L-R P-A I-S", first="4.0L 5.0P 6.0I"):
    dtype = "<i2" if order == "LSB_FIRST" else ">i2"
    bodies = [np.ascontiguousarray(v.transpose(2, 1, 0), dtype).tobytes() for v in volumes]
    return DIMON.format(axes=axes, first=first, order=order).encode() + b"\0" + b"".join(bodies)


def motion(version, *blocks, counts=(), order="<"):
    hello = bytes([0xAB, 0xCD, 0xEF, 0xAB + version]) + struct.pack(f"{order}{len(counts)}i", *counts)
    return hello + b"".join(struct.pack(f"{order}{len(block)}f", *block) for block in blocks)
