"""Computes the features of a subject's pictures once, into memory-mapped files. Interrupted runs resume."""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.format import open_memmap

from ...arrays import Array
from ...client.datasets.data_set import DataSet
from ...config import Config, data_path
from ...models.encoding.unet_features import FeatureSettings, Projector, picture_features, picture_noise
from ...models.ridge.memory_maps import new_memory_map
from ...whole_file import write_whole
from ..data_sets import data_set_of
from ..from_settings import load_ldm, on_every_node
from ..pieces import open_pool, with_speed
from ..workers import ONE_PROCESS, Arrays, Workers, check_alike

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
                array = new_memory_map(path, (self.n_pictures, rows.shape[1]), np.float32)
            else:
                array = open_memmap(path, "r+")
            array[start : start + len(rows)] = rows
            array.flush()
            del array  # unmap the file: written pages no longer count as this process's memory
        n_done = start + len(next(iter(features.values())))
        state = {**description, "n_pictures": self.n_pictures, "n_done": n_done}
        with write_whole(self._state_path) as unfinished_path:
            unfinished_path.write_text(json.dumps(state, indent=1) + "\n")


class FeatureExtractor:
    """Computes features of a data set's pictures."""

    def __init__(self, data: DataSet, ldm: "LatentDiffusionModel", settings: FeatureSettings) -> None:
        self._data, self._ldm, self._settings = data, ldm, settings
        self._project = Projector(settings.n_projected, settings.seed)

    @classmethod
    def load(cls, config: Config, settings: FeatureSettings) -> "FeatureExtractor":
        """Open the settings' data set and load their model."""
        return cls(data_set_of(config), load_ldm(config), settings)

    def facts(self) -> dict[str, str]:
        """Return what the features depend on beside the pictures."""
        return {"model": self._ldm.fingerprint, "denoiser": self._ldm.denoiser_fingerprint}

    def features(self, nsd_ids: Array) -> Arrays:
        """Compute all features of pictures, by name: (n, n_dimensions) float32."""
        pictures = self._data.pictures(nsd_ids)
        z = self._ldm.encode_pictures(pictures)
        c = self._ldm.encode_captions([self._data.captions(int(nsd_id)) for nsd_id in nsd_ids])
        noise = picture_noise(pictures, z.shape[1:], self._settings.seed)
        found = picture_features(self._ldm, z, c, noise, self._settings)
        return {name: self._project(name, features) for name, features in found}


def extract_features(
    config: Config,
    data: DataSet,
    ldm: "LatentDiffusionModel",
    subject: int,
    nsd_ids: Array,
    settings: FeatureSettings,
    report: Callable[[str, int, int], None],
    workers: Workers = ONE_PROCESS,
) -> FeatureFiles:
    """Compute the pictures' features that are not on disk yet. An interrupted run resumes.

    Parameters
    ----------
    nsd_ids : array of shape (n_pictures,), int
        0-based picture ids.
    workers : Workers
        Compute the features; this process writes them, in order.
    """
    description = {"ldm": ldm.fingerprint, "denoiser": ldm.denoiser_fingerprint, "settings": asdict(settings)}
    inputs = json.dumps([description, nsd_ids.tolist(), str(data.root.resolve())]).encode()
    folder = data_path(config) / "encoding" / f"sub-{subject:02d}_{hashlib.sha256(inputs).hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    files = FeatureFiles(folder, len(nsd_ids))
    at_once = max(1, LATENT_PIXELS_AT_ONCE // math.prod(ldm.latent_shape[1:]))
    saved = [range(start, min(start + SAVED_EVERY, len(nsd_ids))) for start in range(0, len(nsd_ids), SAVED_EVERY)]
    missing = [rows for rows in saved if rows.start >= files.n_done]
    pieces = [nsd_ids[first : min(first + at_once, rows.stop)] for rows in missing for first in rows[::at_once]]
    if not pieces:
        return files
    own = FeatureExtractor(data, ldm, settings)
    load = partial(FeatureExtractor.load, on_every_node(config), settings)
    with open_pool(workers, load, lambda: own) as pool:
        check_alike(pool.facts(), own.facts())
        told, n_done = with_speed(report, pool.words), missing[0].start
        computed = pool.map(FeatureExtractor.features, pieces)
        for rows in missing:
            batches: dict[str, list[Array]] = {}
            for batch in islice(computed, len(rows[::at_once])):
                for name, features in batch.items():
                    batches.setdefault(name, []).append(features)
                n_done += len(next(iter(batch.values())))
                told("computing features", n_done, len(nsd_ids))
            files.write(rows.start, {name: np.concatenate(parts) for name, parts in batches.items()}, description)
    return files
