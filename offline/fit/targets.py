"""Encodes the ridge's targets: z and c of the trials' pictures, by the latent diffusion model."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...arrays import Array
from ...client.datasets.data_set import DataSet
from ...models.ridge.checkpoint import Checkpoint
from ...models.ridge.memory_maps import release
from ..progress import progress_bar

if TYPE_CHECKING:
    from ...models.ldm.model import LatentDiffusionModel

Encode = Callable[[DataSet, "LatentDiffusionModel", Array, int, Path | None], tuple[Array, Array]]
"""A function with the parameters and results of `encode_targets`."""

ENCODED_AT_ONCE = 256  # pictures; one NSD picture has 0.5 MB


def picture_size_of_z(ldm: "LatentDiffusionModel", share: float) -> int:
    """Return the side, in px, of the pictures that z encodes: a share of the model's picture side."""
    return round(ldm.picture_px * share / ldm.factor) * ldm.factor


def encode_targets(
    tree: DataSet, ldm: "LatentDiffusionModel", nsd_ids: Array, z_px: int, work: Path | None = None
) -> tuple[Array, Array]:
    """Encode pictures and their captions.

    Parameters
    ----------
    nsd_ids : array of shape (n,), int
        The pictures' numbers in the data set.
    z_px : int
        Side of the pictures that z encodes.
    work : Path, optional
        Folder of the checkpoints from which an interrupted encoding resumes. With `work`, the results are memory maps
        of files in the folder: c of NSD's pictures takes 2 GB.

    Returns
    -------
    z, c : arrays of shape (n, *latent_shape) and (n, *text_shape), float32
    """
    chunks = [nsd_ids[start : start + ENCODED_AT_ONCE] for start in range(0, len(nsd_ids), ENCODED_AT_ONCE)]
    captions = [[tree.captions(int(nsd_id)) for nsd_id in chunk] for chunk in chunks]
    inputs, settings = [np.asarray(nsd_ids)], (ldm.fingerprint, z_px, str(tree.root), captions)
    checkpoint = Checkpoint.of_inputs(work, inputs, settings, prefix="encoded-")
    files: dict[str, Array] = {}
    with progress_bar("encoding pictures") as report:
        for number, chunk in enumerate(chunks):
            encode_z = lambda chunk=chunk: ldm.encode_pictures(tree.pictures(chunk), z_px)  # noqa: E731
            encode_c = lambda number=number: ldm.encode_captions(captions[number])  # noqa: E731
            for name, encode in (("z", encode_z), ("c", encode_c)):
                part = checkpoint.array(f"{name}-{number:04d}", encode)
                if name not in files:
                    files[name] = checkpoint.map(name, (len(nsd_ids), *part.shape[1:]), part.dtype)
                start = number * ENCODED_AT_ONCE
                files[name][start : start + len(part)] = part
                release(files[name])
            report("encoding pictures", min((number + 1) * ENCODED_AT_ONCE, len(nsd_ids)), len(nsd_ids))
    return files["z"], files["c"]
