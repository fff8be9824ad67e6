"""What a bridge makes of a peer's bytes, byte by byte: whole, odd, cut and hostile ones."""

import asyncio
import json
import math
import struct

import numpy as np
import pytest
from peer_bytes import AFFINE, DIMON, SHAPE, motion, stream, volume, vsend

from braind.client.bridges import afni_stream
from braind.client.bridges import murfi as bridge_murfi
from braind.client.bridges import pyneal as bridge_pyneal
from braind.client.bridges.afni_motion import MotionValues, OfTr, read_motion
from braind.client.bridges.runs import PeerError
from braind.client.sending.incoming import Incoming

LARGEST = 10_000


def fed(*pieces, closed=True):
    """A connection on which these bytes came."""
    reader = asyncio.StreamReader()
    for piece in pieces:
        reader.feed_data(piece)
    if closed:
        reader.feed_eof()
    return reader


def images(data, largest=LARGEST):
    async def read():
        return [one async for one in afni_stream.read_images(fed(data), largest)]

    return [one for one in asyncio.run(read()) if one is not None]


def runs(data):
    """The numbers of the volumes of each run of a connection."""

    async def read():
        found = [[]]
        async for one in afni_stream.read_images(fed(data), LARGEST):
            if one is None:
                found.append([])
            else:
                found[-1].append(one.voxels)
        return found[:-1]

    return asyncio.run(read())


def header(**changed):
    """Dimon's header with fields changed, or without those that are None."""
    lines = dict(line.split(" ", 1) for line in DIMON.format(
        axes="L-R P-A I-S", first="4.0L 5.0P 6.0I", order="LSB_FIRST"
    ).splitlines())  # fmt: skip
    lines |= changed
    return "\n".join(f"{key} {value}" for key, value in lines.items() if value is not None).encode()


# ── AFNI's images ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"XYMATRIX": None}, "XYMATRIX"),
        ({"XYMATRIX": "4"}, "not AFNI's"),
        ({"XYMATRIX": "4 0 6"}, "shape"),
        ({"XYMATRIX": "4 five 6"}, "five"),
        ({"XYMATRIX": "4 5"}, "ZNUM"),
        ({"XYFOV": None}, "XYFOV"),
        ({"XYFOV": "7.2 9.0"}, "ZDELTA"),
        ({"XYZAXES": "L-R L-R I-S"}, "axes"),
        ({"XYZAXES": "Q-R P-A X-Y"}, "not AFNI's"),
        ({"DATUM": "complex"}, "complex"),
        ({"BYTEORDER": "PDP"}, "PDP"),
        ({"NUM_CHAN": "3"}, "3 channels .echoes.; send the combined volumes"),
        ({"TR": "soon"}, "soon"),
    ],
)
def test_a_header_that_lacks_what_a_volume_needs_is_named(changed, named):
    with pytest.raises(PeerError, match=named):
        afni_stream.parse_header(header(**changed))


def test_a_header_is_placed_where_afni_puts_its_first_voxel():
    parsed = afni_stream.parse_header(header())
    assert parsed.shape == SHAPE
    np.testing.assert_allclose(parsed.affine, AFFINE, atol=1e-6)
    turned = afni_stream.parse_header(header(XYZAXES="R-L A-P S-I", XYZFIRST="4.0R 5.0A 6.0S"))
    np.testing.assert_allclose(turned.affine[:3, :3], -np.diag([1.8] * 3) * [-1, -1, 1] * [-1, -1, 1])
    np.testing.assert_allclose(turned.affine[:3, 3], [4.0, 5.0, 6.0])


def test_without_a_first_voxel_the_field_of_view_is_centred():
    affine = afni_stream.parse_header(header(XYZFIRST=None)).affine
    centre = affine @ [*((n - 1) / 2 for n in SHAPE), 1]
    np.testing.assert_allclose(centre[:3], 0, atol=1e-9)


def test_an_oblique_scan_has_its_own_matrix():
    matrix = np.array([[-1.7, 0.3, 0, 4], [-0.3, -1.7, 0, 5], [0, 0, 1.8, -6], [0, 0, 0, 1]])
    words = " ".join(f"{value:g}" for value in matrix.ravel())
    affine = afni_stream.parse_header(header(OBLIQUE_XFORM=words)).affine
    np.testing.assert_allclose(affine, np.diag([-1, -1, 1, 1]) @ matrix)


def test_slices_that_came_alternating_are_put_in_their_places():
    order = afni_stream.parse_header(header(ACQUISITION_TYPE="2D+zt", ZORDER="alt")).slice_order
    assert order == [0, 2, 4, 1, 3, 5]
    sent = volume(0)[:, :, order]
    text = header(ACQUISITION_TYPE="2D+zt", ZORDER="alt")
    (one,) = images(text + b"\0" + np.ascontiguousarray(sent.transpose(2, 1, 0)).tobytes())
    np.testing.assert_array_equal(one.voxels, volume(0))


@pytest.mark.parametrize(("datum", "dtype"), [("byte", np.uint8), ("float", np.float32), ("short", np.int16)])
def test_every_datum_of_afni_arrives_as_its_numbers(datum, dtype):
    sent = (volume(3) % 250).astype(dtype)
    (one,) = images(header(DATUM=datum) + b"\0" + np.ascontiguousarray(sent.transpose(2, 1, 0)).tobytes())
    np.testing.assert_array_equal(one.voxels, sent)
    assert one.tr_s == pytest.approx(1.333)


def test_a_stream_that_closes_between_volumes_is_a_run_that_is_over():
    assert [one.index for one in images(stream(volume(0), volume(1)))] == [0, 1]
    assert images(stream()) == []


def test_the_end_of_a_run_that_comes_cut_is_no_partial_volume():
    assert len(images(stream(volume(0)) + b"Et Earello Endorenna utulien!!")) == 1


@pytest.mark.parametrize("n_padding", [2 * 4 * 5, 2 * 4 * 5 * 6], ids=["a slice", "a volume"])
@pytest.mark.parametrize("padding", [b"\0", b"\x07", b"\xff"])
def test_after_the_end_of_a_run_the_next_header_opens_the_next_run(n_padding, padding):
    end = b"Et Earello Endorenna utulien!!".ljust(n_padding, padding)
    first, second, third = runs(stream(volume(0), volume(1)) + end + stream(volume(2)) + end + stream(volume(3)))
    for found, numbers in ((first, [0, 1]), (second, [2]), (third, [3])):
        np.testing.assert_array_equal(found, [volume(number) for number in numbers])
    assert len(runs(stream(volume(0)) + end + stream(volume(1)) + end)) == 2


def test_a_next_run_of_another_shape_is_read_by_its_own_header():
    end = b"Et Earello Endorenna utulien!!".ljust(40, b"\1")
    other = header(XYMATRIX="2 3 4", XYFOV="3.6 5.4 7.2") + b"\0" + bytes(2 * 24)
    first, second = runs(stream(volume(0)) + end + other)
    assert (first[0].shape, second[0].shape) == (SHAPE, (2, 3, 4))


def test_what_comes_after_the_end_of_a_run_and_is_no_header_is_named():
    with pytest.raises(PeerError, match="after the end of a run came no header of the next run"):
        images(stream(volume(0)) + b"Et Earello Endorenna utulien!!".ljust(240, b"\0") + bytes(240))


def test_a_header_without_a_tr_says_no_tr():
    (one,) = images(header(TR=None) + b"\0" + bytes(240))
    assert one.tr_s is None


def test_a_volume_that_is_cut_is_named_with_its_number():
    with pytest.raises(PeerError, match="volume 1 is partial, 233 of 240 bytes") as error:
        images(stream(volume(0), volume(1))[:-7])
    assert error.value.code == "partial"


@pytest.mark.parametrize("data", [b"", b"XYMATRIX 4 5 6\n", b"x" * 200_000])
def test_a_header_without_an_end_is_named(data):
    with pytest.raises(PeerError, match="a header without an end|too large"):
        images(data)


def test_volumes_too_large_for_the_weights_grid_are_refused_before_they_are_read():
    with pytest.raises(PeerError, match="volumes of 240: too large for these weights' grid"):
        images(stream(volume(0)), largest=100)
    with pytest.raises(PeerError, match="too large"):
        images(header(XYMATRIX="60000 60000 60000", XYFOV="1e5 1e5 1e5") + b"\0")


# ── AFNI's motion ───────────────────────────────────────────────────────────────────────────────────────────────────

STILL = (0.1, 0.2, 0.3, 1.0, 2.0, 3.0)
BYE = bytes([0xDE, 0xAD, 0xDE, 0xAD])


def blocks(*pieces):
    async def read():
        values = MotionValues()
        await read_motion(fed(*pieces), values)
        return [one for one in [await values.of(index, 0) for index in range(5)] if one]

    return asyncio.run(read())


@pytest.mark.parametrize("hello", [b"\xab\xcd\xef\xb0", b"\xab\xcd\xef\xaa", b"GET ", b"\0\0\0\0"])
def test_a_hello_of_nobody_is_refused(hello):
    with pytest.raises(PeerError, match="no hello of AFNI's; AFNI_REALTIME_MP_HOST_PORT leads here"):
        blocks(hello + bytes(100))


@pytest.mark.parametrize("counts", [[-1], [2_000_000_000 | 1]])
def test_counts_of_rois_that_cannot_be_are_refused(counts):
    with pytest.raises(PeerError, match="are no counts of ROIs or voxels"):
        blocks(motion(1, counts=counts))


def test_motion_that_is_not_finite_is_refused():
    with pytest.raises(PeerError, match="not finite"):
        blocks(motion(1, (float("nan"), *STILL[1:]), counts=[0]))


def test_roi_means_that_are_not_finite_are_left_out():
    (one,) = blocks(motion(1, (*STILL, 5.0, float("inf"), 7.0), counts=[3]) + BYE)
    assert one.roi_values == (5.0, 7.0)


def test_a_sender_that_closes_inside_a_block_is_an_error_and_between_blocks_is_not():
    whole = motion(0, STILL, STILL)
    assert len(blocks(whole)) == 2
    for n_bytes in (1, 3, 10, 23):
        with pytest.raises(asyncio.IncompleteReadError):
            blocks(whole[:-n_bytes])


def test_a_sender_that_closes_in_its_hello_is_an_error():
    with pytest.raises(asyncio.IncompleteReadError):
        blocks(b"\xab\xcd")
    with pytest.raises(asyncio.IncompleteReadError):
        blocks(motion(4, counts=[2, 3])[:-3])


def test_a_volume_waits_for_its_motion_until_that_comes_or_the_run_ends():
    async def wait():
        values = MotionValues()
        assert await values.of(0, 0) is None  # nobody is connected: no wait at all
        await values.begin()
        first = asyncio.create_task(values.of(0, 60))
        second = asyncio.create_task(values.of(1, 60))
        await asyncio.sleep(0)
        await values.add(OfTr(STILL, (1.0,)))
        assert (await first).motion == STILL
        await values.end()
        assert await second is None
        # the next run's first TR is not answered with the last run's
        await values.begin()
        assert await values.of(0, 0) is None

    asyncio.run(wait())


def test_motion_goes_beside_the_volume_and_changes_no_voxel():
    incoming = Incoming(volume(0), np.array(AFFINE), 4, "afni", "AFNI's image 4", tr_s=1.333)
    beside = OfTr(STILL, (1.0, 2.0)).beside(incoming)
    assert (beside.motion, beside.roi_values, beside.index) == (STILL, (1.0, 2.0), 4)
    assert beside.voxels is incoming.voxels


# ── MURFI ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def image(data):
    async def read():
        return await bridge_murfi.read_vsend(fed(data))

    return asyncio.run(read())


@pytest.mark.parametrize("voxels", [volume(0), volume(0)[:1, :1, :1], volume(0)[:, :, :4], volume(0)[:, :, :1]])
@pytest.mark.parametrize("mosaic", [False, True])
def test_an_image_of_any_shape_arrives_as_sent(voxels, mosaic):
    one = image(vsend(7, voxels, mosaic=mosaic, series="1.2.9"))
    np.testing.assert_array_equal(one.voxels, voxels)
    np.testing.assert_allclose(one.affine, AFFINE, atol=1e-6)
    assert (one.index, one.series, one.tr_s, one.motion) == (7, "1.2.9", 1.333, None)


@pytest.mark.parametrize(
    ("offset", "layout", "values", "named"),
    [
        (412, "16s", [b"float"], "pixels of type 'float'"),
        (464, "<3i", [4, 0, 6], "shape"),
        (464, "<3i", [4, -5, 6], "shape"),
        (464, "<3i", [2**20, 2**20, 6], "shape"),
        (476, "<f", [float("nan")], "not an image's"),
        (540, "<i", [-1], "-1 ms"),
        (548, "<i", [0], "TR number 0"),
    ],
)
def test_a_struct_that_is_no_images_is_refused(offset, layout, values, named):
    data = bytearray(vsend(0, volume(0)))
    struct.pack_into(layout, data, offset, *values)
    with pytest.raises(PeerError, match=named):
        image(bytes(data))


def test_a_pre_header_that_contradicts_the_struct_is_refused():
    data = bytearray(vsend(0, volume(0), pre_header=True))
    struct.pack_into("<i", data, 4, 999)
    with pytest.raises(PeerError, match="the pre-header announces 999 bytes; .* in int16 has 240"):
        image(bytes(data))


@pytest.mark.parametrize("n_bytes", [0, 4, 8, 300, 615, 616, 616 + 239])
def test_a_sender_that_closes_early_leaves_no_volume(n_bytes):
    with pytest.raises(asyncio.IncompleteReadError):
        image(vsend(0, volume(0))[:n_bytes])


def test_motion_that_is_not_finite_is_no_motion():
    moved = [0.1, float("nan"), 0.3, 0.01, 0.02, 0.03]
    assert image(vsend(0, volume(0), moved=moved)).motion is None


def test_murfis_angles_are_degrees_and_its_shifts_are_mm():
    one = image(vsend(0, volume(0), moved=[0.5, -0.25, 2.0, 1.0, -2.0, 90.0]))
    assert one.motion == pytest.approx((0.5, -0.25, 2.0, math.pi / 180, -math.pi / 90, math.pi / 2))


def test_a_tr_of_0_is_not_said():
    assert image(vsend(0, volume(0), tr_ms=0)).tr_s is None


def test_a_series_without_a_name_is_a_series():
    assert image(vsend(0, volume(0), series="")).series == "no series UID"


# ── Pyneal ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def pyneal(**changed):
    fields = {"volIdx": 3, "dtype": "int16", "shape": list(SHAPE), "affine": str(AFFINE), "TR": "1.333"} | changed
    return [json.dumps(fields).encode(), volume(0).tobytes()]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"TR": "-1"}, "TR -1.0"),
        ({"TR": "nan"}, "TR nan"),
        ({"TR": "two"}, "not Pyneal's"),
        ({"shape": [4, 5]}, "not Pyneal's"),
        ({"shape": [4, 5, 0]}, "240 bytes"),
        ({"shape": [2**40, 2**40, 2**40]}, "240 bytes"),
        ({"dtype": "no such"}, "not Pyneal's"),
        ({"dtype": "complex64"}, "dtype complex64"),
        ({"affine": "[[NaN, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]"}, "affine"),
        ({"affine": "[" * 100_000}, "not Pyneal's"),
        ({"volIdx": "first"}, "not Pyneal's"),
    ],
)
def test_a_pyneal_header_that_cannot_be_is_refused(changed, named):
    with pytest.raises(PeerError, match=named):
        bridge_pyneal.read_pyneal(pyneal(**changed))


@pytest.mark.parametrize(("tr", "tr_s"), [("1.333", 1.333), ("1333.0", 1.333), (2, 2.0), ("20", 20.0), ("0", None)])
def test_pyneals_tr_is_in_seconds_whether_it_came_so_or_in_milliseconds(tr, tr_s):
    one = bridge_pyneal.read_pyneal(pyneal(TR=tr))
    assert (one.index, one.tr_s) == (3, tr_s)
    np.testing.assert_array_equal(one.voxels, volume(0))
