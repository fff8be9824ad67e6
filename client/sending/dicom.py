"""DICOM files as scanners write them: mosaics, enhanced multi-frame files, and files of one slice each.

Geometry stays DICOM's (LPS, row and column directions); the last step turns it into RAS+.
"""

import warnings
from pathlib import Path
from typing import Any

from ...extras import how_to_install
from .dicom_enhanced import read_enhanced
from .dicom_mosaic import is_mosaic, read_mosaic
from .dicom_slices import Slice, read_slice
from .incoming import CANNOT_READ, Incoming, IncomingError


def read_dicom(path: Path, *, first_number: int = 1, by_acquisition: bool = False) -> list[Incoming] | Slice:
    """Read a file: return its volumes, or its one slice.

    Parameters
    ----------
    first_number : InstanceNumber, AcquisitionNumber or TemporalPositionIdentifier of a series' first volume
    by_acquisition : number volumes so that the echoes of a volume share its number, not by InstanceNumber

    Raises
    ------
    IncomingError
        The file is cut short, is no DICOM file, is compressed without a plug-in, or lacks elements of its geometry.
    """
    import pydicom
    from pydicom.errors import BytesLengthException, InvalidDicomError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom warns about non-conforming values, which scanners do write
            dataset = pydicom.dcmread(path)
            return _volumes(dataset, path.name, first_number, by_acquisition)
    except IncomingError:
        raise
    except InvalidDicomError as error:
        raise IncomingError(f"{path} is no DICOM file, or only its beginning is there") from error
    except (*CANNOT_READ, BytesLengthException) as error:
        raise IncomingError(
            f"{path} cannot be read as DICOM ({error}): cut short, or without what is needed"
        ) from error


def _volumes(dataset: Any, source: str, first_number: int, by_acquisition: bool) -> list[Incoming] | Slice:
    if int(dataset.get("SamplesPerPixel", 1)) != 1:
        raise IncomingError(f"{source}: a colour image, no volume; send the series of magnitude images")
    _check_decodable(dataset, source)
    if "PerFrameFunctionalGroupsSequence" in dataset:
        return read_enhanced(dataset, source, first_number, by_acquisition=by_acquisition)
    if is_mosaic(dataset):
        return [read_mosaic(dataset, source, first_number, by_acquisition=by_acquisition)]
    return read_slice(dataset, source, first_number, by_acquisition=by_acquisition)


def _check_decodable(dataset: Any, source: str) -> None:
    """Raise IncomingError if the pixels are compressed and no plug-in of pydicom decompresses them."""
    from pydicom.pixels import get_decoder

    meta = getattr(dataset, "file_meta", None)
    syntax = meta.get("TransferSyntaxUID") if meta is not None else None
    if syntax is None or not syntax.is_compressed or not syntax.is_encapsulated:
        return
    try:
        decoder = get_decoder(syntax)
        missing = [] if decoder.is_available else decoder.missing_dependencies
    except NotImplementedError:
        missing = ["nothing"]
    if missing:
        # The extra installs gdcm, which does not know every compression.
        helps = any(one.startswith("gdcm ") for one in missing)
        raise IncomingError(
            f"{source}: its pixels are compressed ({syntax.name}), and nothing here decompresses them; export "
            "uncompressed (Explicit VR Little Endian)"
            + (f", or install pydicom's plug-in: {how_to_install('dicom')}" if helps else "")
        )
