"""Retrieval: ranks known pictures by their similarity with decoded z and c.

The set's features are standardised once; a ranking is two matrix–vector products. No torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import msgspec
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ...arrays import Array
from ...choices import Mode
from ...errors import BraindError
from ...whole_file import write_whole
from ..constant_features import is_varying
from .file import foreign_tensors, header_problem

TENSORS = ("z", "c", "nsd_id")
LARGEST_HEADER_BYTES = 64 * 1024 * 1024  # the header has the labels: captions of up to 100,000 pictures
# Files store half precision. A standard deviation below this share of the largest one is rounding.
HALF_PRECISION_ROUNDING = 1e-4


class CandidatesError(BraindError):
    """A candidate set cannot be used."""

    code = "candidates"


@dataclass(frozen=True, eq=False)
class Candidates:
    """Known pictures and their features.

    Parameters
    ----------
    z : array of shape (n, *latent_shape), float
    c : array of shape (n, *text_shape), float
    nsd_id : array of shape (n,), int64
    labels : sequence of n str
        Each picture's name: its caption.
    files : sequence of n str, or empty, or None
        Each picture's file below the data set's stimuli. Empty: `nsd_id` are the Natural Scenes Dataset's ids. None:
        an earlier version wrote the set, so no trial's picture can be found in it.
    """

    z: Array
    c: Array
    nsd_id: Array
    labels: Sequence[str]
    files: Sequence[str] | None = None

    def __post_init__(self) -> None:
        counts = {len(self.z), len(self.c), len(self.nsd_id), len(self.labels)}
        if len(counts) != 1 or counts == {0}:
            raise CandidatesError(
                f"a candidate set needs as many z ({len(self.z)}), c ({len(self.c)}), nsd_id ({len(self.nsd_id)}) and "
                f"labels ({len(self.labels)}), at least one"
            )

    @cached_property
    def _z_profiles(self) -> "_Profiles":
        return _profiles(self.z)

    @cached_property
    def _c_profiles(self) -> "_Profiles":
        return _profiles(self.c)

    def scores(self, z: Array, c: Array, mode: Mode = "zc") -> Array:
        """Return each candidate's score, shape (n,), float32, -1 to 1.

        The score is the correlation of decoded with candidate features, averaged over z and c in mode zc. Features are
        standardised over the set; constant features are dropped.

        Parameters
        ----------
        z : array of shape latent_shape, float
        c : array of shape text_shape, float
        """
        if mode == "z":
            return self._z_profiles.correlations(z)
        if mode == "c":
            return self._c_profiles.correlations(c)
        return (self._z_profiles.correlations(z) + self._c_profiles.correlations(c)) / 2

    @cached_property
    def _by_file(self) -> dict[str, int | None]:
        """Positions by the pictures' files, with and without extension; None for a name of several pictures."""
        found: dict[str, int | None] = {}
        for position, file in enumerate(self.files or ()):
            for name in file_names(file):
                found[name] = None if name in found else position
        return found

    def seen_position(self, nsd_id: int | None, stimulus: str | None) -> int | None:
        """Return the position of a trial's picture; None if it is no candidate, or is not named as the set's are.

        A trial of the Natural Scenes Dataset names its picture by `nsd_id`, any other trial by the file `stimulus`:
        numbers of other data sets are not the sender's.
        """
        if self.files is None:
            return None
        if self.files:
            return self._by_file.get(stimulus or "")
        found = np.flatnonzero(self.nsd_id == nsd_id) if nsd_id is not None else ()
        return int(found[0]) if len(found) == 1 else None

    def preference(self, c: Array, right: int, foil: int) -> float:
        """Return the score of candidate `right` minus the score of candidate `foil`, in mode c: -2 to 2.

        Both are positions in the set. Mode c because c says what was seen, and z only where it lay in the picture.
        Features are standardised because raw text embeddings correlate highly with each other.

        Parameters
        ----------
        c : array of shape text_shape, float
        """
        fits_right, fits_foil = self._c_profiles.correlations(c, [right, foil])
        return float(fits_right - fits_foil)

    def save(self, path: Path) -> None:
        """Write a safetensors file, features in half precision, whole or not at all."""
        # safetensors writes memory as it lies: a transposed array would come back scrambled.
        tensors = {
            "z": np.ascontiguousarray(self.z, np.float16),
            "c": np.ascontiguousarray(self.c, np.float16),
            "nsd_id": np.ascontiguousarray(self.nsd_id, np.int64),
        }
        # One key only: the header keeps several keys in no fixed order, and the same fit would write other bytes.
        names = {"labels": self.labels, "files": self.files}
        content = save(tensors, metadata={"names": msgspec.json.encode(names).decode()})
        with write_whole(Path(path)) as unfinished_path:
            unfinished_path.write_bytes(content)

    @classmethod
    def load(cls, path: Path) -> "Candidates":
        """Read a candidate set.

        Raises
        ------
        CandidatesError
            If the file is missing, no safetensors file, incomplete or holds numbers that are not finite.
        """
        tensors, labels, files = read_tensors(path, TENSORS)
        if not (np.isfinite(tensors["z"]).all() and np.isfinite(tensors["c"]).all()):
            raise CandidatesError(f"{path}: holds features that are not finite; make it again with braind fit")
        return cls(**tensors, labels=labels, files=files)


def file_names(file: str) -> set[str]:
    """Return the names by which a sender may call a picture's file: with and without its extension."""
    return {file, str(PurePosixPath(file).with_suffix(""))}


def best_first(scores: Array, n: int = 5) -> list[int]:
    """Return the positions of the `n` highest of a set's scores, the highest first; ties in the set's order."""
    return np.argsort(-scores, kind="stable")[:n].tolist()


def read_tensors(path: Path, names: Sequence[str]) -> tuple[dict[str, Array], list[str], list[str] | None]:
    """Read the named tensors, the labels and the files of a set. Raises CandidatesError if one cannot be read."""
    path = Path(path)
    if not path.is_file():
        raise CandidatesError(f"{path}: no such candidate set; make it with braind fit")
    try:
        if problem := header_problem(path, LARGEST_HEADER_BYTES):
            raise CandidatesError(f"{path}: {problem}; make it with braind fit")
        with safe_open(path, framework="np") as file:
            if problem := foreign_tensors(file.keys(), TENSORS.__contains__):
                raise CandidatesError(f"{path}: {problem}; make it with braind fit")
            metadata = file.metadata() or {}
            labels, files = _labels_and_files(metadata)
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, KeyError, RecursionError, msgspec.DecodeError) as error:
        raise CandidatesError(f"{path}: no readable candidate set ({error}); make it with braind fit") from error
    wrong = [name for name, tensor in tensors.items() if tensor.shape[:1] != (len(labels),)]
    if wrong or tensors["nsd_id"].ndim != 1 or tensors["nsd_id"].dtype.kind not in "iu":
        raise CandidatesError(
            f"{path}: {', '.join(wrong) or 'nsd_id'} must hold one entry, an integer in nsd_id, for each of the "
            f"{len(labels)} labels; make it again with braind fit"
        )
    if files and len(files) != len(labels):
        raise CandidatesError(f"{path}: {len(files)} files of {len(labels)} pictures; make it again with braind fit")
    return tensors, labels, files


class _Names(msgspec.Struct):
    labels: list[str]
    files: list[str] | None


def _labels_and_files(metadata: dict[str, str]) -> tuple[list[str], list[str] | None]:
    """Return a set's labels and files by its metadata. Sets of earlier versions have a key for each."""
    if "names" not in metadata:
        labels = msgspec.json.decode(metadata["labels"], type=list[str])
        return labels, msgspec.json.decode(metadata.get("files", "null"), type=list[str] | None)
    names = msgspec.json.decode(metadata["names"], type=_Names)
    return names.labels, names.files


def check_shapes(path: Path, latent_shape: tuple[int, ...], text_shape: tuple[int, ...]) -> None:
    """Raise CandidatesError if a set cannot be read or its features have other shapes than the decoded z and c."""
    try:
        with safe_open(path, framework="np") as file:
            shapes = [tuple(file.get_slice(name).get_shape()[1:]) for name in ("z", "c")]
    except (SafetensorError, OSError) as error:
        raise CandidatesError(f"{path}: no readable candidate set ({error}); make it with braind fit") from error
    for name, shape, wanted in zip("zc", shapes, (latent_shape, text_shape), strict=True):
        if shape != tuple(wanted):
            raise CandidatesError(
                f"{path}: {name} of shape {shape}, but the weights decode one of {tuple(wanted)}; give the set that "
                "`braind fit` wrote beside the weights"
            )


@dataclass(frozen=True, eq=False)
class _Profiles:
    """The set's standardised features: unit rows of mean zero, over the features that vary."""

    varying: Array
    mean: Array
    std: Array
    rows: Array

    def correlations(self, decoded: Array, positions: Sequence[int] | None = None) -> Array:
        """Correlate a decoded latent with all candidates, or with the candidates at `positions`."""
        features = (decoded.reshape(-1)[self.varying].astype(np.float32) - self.mean) / self.std
        rows = self.rows if positions is None else self.rows[positions]
        return rows @ _unit_rows(features[None])[0]


def _profiles(features: Array) -> _Profiles:
    features = features.reshape(len(features), -1).astype(np.float32)
    spread = features.std(axis=0)
    varying = np.flatnonzero(is_varying(spread, HALF_PRECISION_ROUNDING))
    mean, std = features[:, varying].mean(axis=0), spread[varying]
    return _Profiles(varying, mean, std, _unit_rows((features[:, varying] - mean) / std))


def _unit_rows(rows: Array) -> Array:
    """Centre each row and scale it to length 1; a row without variation becomes zero."""
    if rows.shape[1] == 0:
        return rows
    rows = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1)
