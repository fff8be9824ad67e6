"""DICOM files as scanners write them, made with pydicom from volumes on a RAS grid."""

import math
import struct

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

SHAPE = (4, 5, 6)
AFFINE = np.array(((1.8, 0.0, 0.0, -4.0), (0.0, 1.8, 0.0, -5.0), (0.0, 0.0, 1.8, -6.0), (0.0, 0.0, 0.0, 1.0)))
MM = 1.8
SERIES = generate_uid()


def volume(number, shape=SHAPE):
    return np.random.default_rng(number).integers(0, 4000, shape).astype(np.int16)


def planes(voxels):
    """Axial slices as a scanner stores them: rows to the left, columns to the back, from the feet up."""
    return [voxels[::-1, ::-1, k].T for k in range(voxels.shape[2])]


def position(k, shift_mm=0.0, shape=SHAPE):
    ras = AFFINE[:3, 3] + MM * np.array([shape[0] - 1, shape[1] - 1, k]) + [0, 0, shift_mm]
    return [-ras[0], -ras[1], ras[2]]


def base(number, series=SERIES, tr_ms=1333, storage=MRImageStorage, vendor="SIEMENS"):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = storage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.Modality, dataset.Manufacturer, dataset.PatientName, dataset.PatientID = "MR", vendor, "phantom", "0"
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID = series, "1.2.826.0.1.3680043.8.498.1"
    dataset.FrameOfReferenceUID = "1.2.826.0.1.3680043.8.498.2"
    dataset.SeriesNumber, dataset.InstanceNumber, dataset.AcquisitionNumber = 7, number + 1, number + 1
    dataset.StudyDate, dataset.StudyTime = "20261123", "120000"
    dataset.SeriesDescription = dataset.ProtocolName = "bold"
    dataset.ScanningSequence, dataset.MRAcquisitionType, dataset.EchoTime = "EP", "2D", 30
    if tr_ms:
        dataset.RepetitionTime = tr_ms
    return dataset


def with_pixels(dataset, pixels):
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.PixelData = np.ascontiguousarray(pixels, "<i2").tobytes()
    return dataset


def csa(**tags):
    """Siemens's private header: SV10, little-endian, each item padded to 4 bytes."""
    body = b"SV10\4\3\2\1" + struct.pack("<2I", len(tags), 77)
    for name, (representation, values) in tags.items():
        body += name.encode().ljust(64, b"\0") + struct.pack("<i4sIII", len(values), representation, 6, len(values), 77)
        for value in values:
            text = str(value).encode() + b"\0"
            body += struct.pack("<4I", len(text), len(text), 77, len(text)) + text.ljust(-(-len(text) // 4) * 4, b"\0")
    return body


def mosaic(voxels, number, *, shift_mm=0.0, **fields):
    slices = planes(voxels)
    rows, columns = slices[0].shape
    side = math.ceil(math.sqrt(len(slices)))
    picture = np.zeros((side * rows, side * columns), np.int16)
    for k, plane in enumerate(slices):
        picture[k // side * rows :][:rows, k % side * columns :][:, :columns] = plane
    dataset = base(number, **fields)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    corner = np.array(position(0, shift_mm)) - MM / 2 * np.array([(side - 1) * columns, (side - 1) * rows, 0])
    dataset.ImagePositionPatient = corner.round(6).tolist()
    dataset.PixelSpacing, dataset.SliceThickness, dataset.SpacingBetweenSlices = [MM, MM], MM, MM
    block = dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(
        0x10,
        "OB",
        csa(
            NumberOfImagesInMosaic=(b"US\0\0", [len(slices)]),
            SliceNormalVector=(b"FD\0\0", ["0.0", "0.0", "1.0"]),
            AcquisitionMatrixText=(b"SH\0\0", [f"{rows}*{columns}"]),
        ),
    )
    return with_pixels(dataset, picture)


def uih_grid(voxels, number, **fields):
    """A grid has fewer rows of tiles than a mosaic, the first slice's position, and a list of all positions."""
    slices = planes(voxels)
    rows, columns = slices[0].shape
    across = math.ceil(math.sqrt(len(slices)))
    picture = np.zeros((math.ceil(len(slices) / across) * rows, across * columns), np.int16)
    for k, plane in enumerate(slices):
        picture[k // across * rows :][:rows, k % across * columns :][:, :columns] = plane
    dataset = base(number, vendor="UIH", **fields)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "VFRAME"]
    dataset.ImageOrientationPatient, dataset.ImagePositionPatient = (
        [1, 0, 0, 0, 1, 0],
        np.round(position(0), 6).tolist(),
    )
    dataset.PixelSpacing, dataset.SliceThickness = [MM, MM], MM
    block = dataset.private_block(0x0065, "Image Private Header", create=True)
    block.add_new(0x50, "DS", str(len(slices)))
    frames = [_item(ImagePositionPatient=np.round(position(k), 6).tolist()) for k in range(len(slices))]
    block.add_new(0x51, "SQ", Sequence(frames))
    return with_pixels(dataset, picture)


def enhanced(volumes, number, *, shift_mm=0.0, shuffle=False, vendor="Siemens Healthineers", slope=None, **fields):
    """Multi-frame: Siemens XA with one volume, Philips with several by temporal position."""
    dataset = base(number, storage=EnhancedMRImageStorage, vendor=vendor, **{"tr_ms": None, **fields})
    tr_ms = fields.get("tr_ms", 1333)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "FMRI", "NONE"]
    shared = Dataset()
    shared.PlaneOrientationSequence = Sequence([_item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])])
    shared.PixelMeasuresSequence = Sequence(
        [_item(PixelSpacing=[MM, MM], SliceThickness=MM, SpacingBetweenSlices=MM)]
    )  # fmt: skip
    shared.MRTimingAndRelatedParametersSequence = Sequence([_item(RepetitionTime=tr_ms, FlipAngle=60)])
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    pixels, groups = [], []
    for time, voxels in enumerate(volumes):
        for k, plane in enumerate(planes(voxels)):
            group = Dataset()
            group.PlanePositionSequence = Sequence(
                [_item(ImagePositionPatient=np.round(position(k, shift_mm), 6).tolist())]
            )
            content = _item(InStackPositionNumber=k + 1, StackID="1", DimensionIndexValues=[1, k + 1, time + 1])
            if len(volumes) > 1:
                content.TemporalPositionIndex = time + 1
            group.FrameContentSequence = Sequence([content])
            if slope is not None:
                group.PixelValueTransformationSequence = Sequence(
                    [_item(RescaleSlope=slope, RescaleIntercept=0, RescaleType="US")]
                )  # fmt: skip
            pixels.append(plane)
            groups.append(group)
    order = np.random.default_rng(0).permutation(len(groups)) if shuffle else range(len(groups))
    dataset.PerFrameFunctionalGroupsSequence = Sequence([groups[n] for n in order])
    dataset.NumberOfFrames = len(groups)
    return with_pixels(dataset, np.stack([pixels[n] for n in order]))


def slices(voxels, number, *, vendor, **fields):
    """One file a slice, as Philips (temporal positions) and GE (a running number) write them."""
    made = []
    for k, plane in enumerate(planes(voxels)):
        dataset = base(number, vendor=vendor, **fields)
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "M_FFE" if vendor == "Philips" else "OTHER"]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.ImagePositionPatient = np.round(position(k), 6).tolist()
        dataset.PixelSpacing, dataset.SliceThickness, dataset.SpacingBetweenSlices = [MM, MM], MM, MM
        dataset.InstanceNumber = number * voxels.shape[2] + k + 1
        if vendor == "Philips":
            dataset.TemporalPositionIdentifier = number + 1
            block = dataset.private_block(0x2001, "Philips Imaging DD 001", create=True)
            block.add_new(0x18, "SL", voxels.shape[2])
            dataset.RescaleSlope, dataset.RescaleIntercept = 0.5, 0
        else:
            block = dataset.private_block(0x0021, "GEMS_RELA_01", create=True)
            block.add_new(0x4F, "SL", voxels.shape[2])
        made.append(with_pixels(dataset, plane))
    return made


def save(dataset, path):
    dataset.save_as(path, enforce_file_format=True)
    return path


def _item(**fields):
    item = Dataset()
    for name, value in fields.items():
        setattr(item, name, value)
    return item
