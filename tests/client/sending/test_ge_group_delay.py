"""GE scans with a pause after each volume have the TR that dcm2niix gives them, not their RepetitionTime."""

import gzip
import struct

import dicom_files
import pytest
from dicom_files import save, volume

from braind.client.sending.dicom import read_dicom
from braind.client.sending.dicom_slices import SliceCollector


def tr_of(datasets, folder):
    collector = SliceCollector()
    made = [collector.add(read_dicom(save(dataset, folder / f"{k}.dcm"))) for k, dataset in enumerate(datasets)]
    return made[-1][0].tr_s


def slices():
    return dicom_files.slices(volume(0), 0, vendor="GE MEDICAL SYSTEMS", tr_ms=2000)


def block(**fields):
    lines = "\n".join(f'set {key} "{value}"' for key, value in fields.items())
    packed = gzip.compress(lines.encode())
    return struct.pack("<I", len(packed)) + packed + bytes(len(packed) % 2)


def test_a_group_delay_of_epirt_counts(tmp_path):
    made = slices()
    for dataset in made:
        dataset.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x7C, "FL", 3.0)
    assert tr_of(made, tmp_path) == pytest.approx(5.0)


def test_a_group_delay_whose_element_came_without_its_type_counts(tmp_path):
    made = slices()
    for dataset in made:
        dataset.private_block(0x0043, "someone else's", create=True).add_new(0x7C, "UN", struct.pack("<f", 3.0))
    assert tr_of(made, tmp_path) == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("fields", "tr_s"),
    [
        ({"IOPT": "EPI, MPh", "DELACQ": "3.0", "DELACQNOAV": "3.0"}, 5.0),
        ({"IOPT": "EPI, MPh", "DELACQ": "Minimum", "DELACQNOAV": "3.0"}, 2.0),
        ({"IOPT": "EPI, MPh"}, 2.0),
        ({"IOPT": "EPI, FMRI", "DELACQNOAV": "3.0"}, 2.0),
    ],
)
def test_a_group_delay_of_a_multi_phase_protocol_counts(tmp_path, fields, tr_s):
    made = slices()
    for dataset in made:
        dataset.private_block(0x0025, "GEMS_SERS_01", create=True).add_new(0x1B, "OB", block(**fields))
    assert tr_of(made, tmp_path) == pytest.approx(tr_s)


@pytest.mark.parametrize("content", [b"", b"no gzip!", gzip.compress(b"cut short " * 90, mtime=0)[:20]])
def test_a_protocol_block_that_cannot_be_read_changes_nothing(tmp_path, content):
    made = slices()
    for dataset in made:
        dataset.private_block(0x0025, "GEMS_SERS_01", create=True).add_new(0x1B, "OB", content)
    assert tr_of(made, tmp_path) == pytest.approx(2.0)
