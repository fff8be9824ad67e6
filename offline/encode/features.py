"""Computes the features of a subject's pictures once, into memory-mapped files. Interrupted runs resume."""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.format import open_memmap

from ...arrays import Array
from ...client.datasets.data_set import DataSet
from ...config import Config, data_path
from ...models.encoding.unet_features import FeatureSettings, Projector, picture_features, picture_noise
from ...whole_file import write_whole

if TYPE_CHECKING:
    from ...models.ldm.model import LatentDiffusionModel


LATENT_PIXELS_AT_ONCE = 64 * 16 * 16  # Smaller batches leave cores idle; larger batches only cost memory.
SAVED_EVERY = 64  # pictures


class FeatureFiles:
    """A folder with one array per feature: (n_pictures, n_dimensions) float32, in the order of the picture ids."""

    def __init__(self, folder: Path, n_pictures: int) -> None:
        self.folder, self.n_pictures = folder, n_pictures
        self._state_path = folder / "extracted.json"

    @property
    def n_done(self) -> int:
        """Return how many pictures' features are on disk."""
        return json.loads(self._state_path.read_text())["n_done"] if self._state_path.exists() else 0

    def names(self) -> list[str]:
        """List the features."""
        return sorted(path.stem for path in self.folder.glob("*.npy"))

    def read(self, name: str) -> Array:
        """Return a feature of all pictures, as a memory map."""
        return np.load(self.folder / f"{name}.npy", mmap_mode="r")

    def write(self, start: int, features: dict[str, Array], description: dict[str, Any]) -> None:
        """Write pictures' features into their rows, and record the number of finished pictures."""
        for name, rows in features.items():
            path = self.folder / f"{name}.npy"
            if start == 0:
                array = open_memmap(path, "w+", np.float32, (self.n_pictures, rows.shape[1]))
            else:
                array = open_memmap(path, "r+")
            array[start : start + len(rows)] = rows
            array.flush()
            del array  # unmap the file: written pages no longer count as this process's memory
        n_done = start + len(next(iter(features.values())))
        state = {**description, "n_pictures": self.n_pictures, "n_done": n_done}
        with write_whole(self._state_path) as unfinished_path:
            unfinished_path.write_text(json.dumps(state, indent=1) + "\n")


def extract_features(
    config: Config,
    data: DataSet,
    ldm: "LatentDiffusionModel",
    subject: int,
    nsd_ids: Array,
    settings: FeatureSettings,
    report: Callable[[str, int, int], None],
) -> FeatureFiles:
    """Compute the pictures' features that are not on disk yet. An interrupted run resumes.

    Parameters
    ----------
    nsd_ids : array of shape (n_pictures,), int
        0-based picture ids.
    """
    description = {"ldm": ldm.fingerprint, "denoiser": ldm.denoiser_fingerprint, "settings": asdict(settings)}
    inputs = json.dumps([description, nsd_ids.tolist(), str(data.root.resolve())]).encode()
    folder = data_path(config) / "encoding" / f"sub-{subject:02d}_{hashlib.sha256(inputs).hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    files = FeatureFiles(folder, len(nsd_ids))
    project = Projector(settings.n_projected, settings.seed)
    at_once = max(1, LATENT_PIXELS_AT_ONCE // math.prod(ldm.latent_shape[1:]))
    for start in range(files.n_done, len(nsd_ids), SAVED_EVERY):
        stop = min(start + SAVED_EVERY, len(nsd_ids))
        batches: dict[str, list[Array]] = {}
        for first in range(start, stop, at_once):
            ids = nsd_ids[first : min(first + at_once, stop)]
            pictures = data.pictures(ids)
            z = ldm.encode_pictures(pictures)
            c = ldm.encode_captions([data.captions(int(nsd_id)) for nsd_id in ids])
            noise = picture_noise(pictures, z.shape[1:], settings.seed)
            for name, features in picture_features(ldm, z, c, noise, settings):
                batches.setdefault(name, []).append(project(name, features))
            report("computing features", first + len(ids), len(nsd_ids))
        files.write(start, {name: np.concatenate(parts) for name, parts in batches.items()}, description)
    return files
