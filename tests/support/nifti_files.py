"""NIfTI files for tests."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from running_daemon import AFFINE


def nifti(path: Path, values: Any, affine: Any = AFFINE, tr_s: float | None = None) -> Path:
    """Write an image; return its path."""
    image = nib.Nifti1Image(values, np.array(affine))
    if tr_s is not None:
        image.header["pixdim"][4] = tr_s
        image.header.set_xyzt_units("mm", "sec")
    nib.save(image, path)
    return path
