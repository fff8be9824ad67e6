"""Encodes the ridge's targets: z and c of the trials' pictures, by the latent diffusion model."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...arrays import Array
from ...client.datasets.data_set import DataSet
from ...config import Config
from ...models.ridge.checkpoint import Checkpoint
from ...models.ridge.memory_maps import release
from ...printable import printable
from ..data_sets import data_set_of
from ..from_settings import load_ldm, on_every_node
from ..pieces import OwnPool, Pool, map_pieces, open_pool
from ..progress import progress_bar
from ..workers import ONE_PROCESS, Arrays, Workers, check_alike

if TYPE_CHECKING:
    from ...models.ldm.model import LatentDiffusionModel

log = logging.getLogger(__name__)

Encode = Callable[[DataSet, "LatentDiffusionModel", Array, int, Path | None], tuple[Array, Array]]
"""A function with the first parameters and the results of `encode_targets`."""

ENCODED_AT_ONCE = 256  # pictures; one NSD picture has 0.5 MB
ENCODED_PIXELS = 16 * 512 * 512
"""Fewer pictures are encoded at once if they have more pixels: each checkpoint is a few minutes of work at most."""
ALIKE = 1e-3
"""Two c are alike if they differ by less than this share of the distance of a usual c from the mean c."""
N_EXAMPLES, LONGEST_EXAMPLE = 3, 60


def picture_size_of_z(ldm: "LatentDiffusionModel", share: float) -> int:
    """Return the side, in px, of the pictures that z encodes: a share of the model's picture side."""
    return round(ldm.picture_px * share / ldm.factor) * ldm.factor


class PicturesToEncode(NamedTuple):
    """Some pictures' numbers in the data set, their captions, and the side, in px, of the pictures that z encodes."""

    nsd_ids: Array
    captions: list[list[str]]
    z_px: int


class TargetEncoder:
    """Encodes pictures of a data set and their captions."""

    def __init__(self, tree: DataSet, ldm: "LatentDiffusionModel") -> None:
        self._tree, self._ldm = tree, ldm

    @classmethod
    def load(cls, config: Config) -> "TargetEncoder":
        """Open the settings' data set and load their model, in float32 on a GPU too."""
        return cls(data_set_of(config), load_ldm(config, is_exact=True))

    def facts(self) -> dict[str, str]:
        """Return what the targets depend on beside the pictures."""
        return {"model": self._ldm.fingerprint}

    def encode(self, some: PicturesToEncode) -> Arrays:
        """Encode some pictures: z (n, *latent_shape) and c (n, *text_shape), float32."""
        z = self._ldm.encode_pictures(self._tree.pictures(some.nsd_ids), some.z_px)
        return {"z": z, "c": self._ldm.encode_captions(some.captions)}


def encode_targets(
    tree: DataSet,
    ldm: "LatentDiffusionModel",
    nsd_ids: Array,
    z_px: int,
    work: Path | None = None,
    pool: Pool | None = None,
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
    pool : Pool of TargetEncoder, optional
        Encodes the pictures; by default this process does.

    Returns
    -------
    z, c : arrays of shape (n, *latent_shape) and (n, *text_shape), float32
    """
    at_once = min(ENCODED_AT_ONCE, max(1, ENCODED_PIXELS // z_px**2))
    chunks = [nsd_ids[start : start + at_once] for start in range(0, len(nsd_ids), at_once)]
    captions = [[tree.captions(int(nsd_id)) for nsd_id in chunk] for chunk in chunks]
    inputs, settings = [np.asarray(nsd_ids)], (ldm.fingerprint, z_px, str(tree.root), at_once, captions)
    checkpoint = Checkpoint.of_inputs(work, inputs, settings, prefix="encoded-")
    pieces = [PicturesToEncode(chunk, of_chunk, z_px) for chunk, of_chunk in zip(chunks, captions, strict=True)]
    pool = pool or OwnPool(TargetEncoder(tree, ldm))
    files: dict[str, Array] = {}
    with progress_bar("encoding pictures") as report:
        words = "encoding pictures"
        encoded = map_pieces(TargetEncoder.encode, pieces, pool, checkpoint=checkpoint, words=words, report=report)
        for number, parts in enumerate(encoded):
            start = number * at_once
            for name, part in parts.items():
                if name not in files:
                    files[name] = checkpoint.map(name, (len(nsd_ids), *part.shape[1:]), part.dtype)
                files[name][start : start + len(part)] = part
                release(files[name])
    return files["z"], files["c"]


@contextmanager
def open_encoders(
    config: Config, tree: DataSet, ldm: "LatentDiffusionModel", workers: Workers = ONE_PROCESS
) -> Iterator[Pool]:
    """Open the pool that encodes a data set's pictures.

    Raises
    ------
    BraindError
        If a worker has not the data set or the model.
    """
    own = TargetEncoder(tree, ldm)
    with open_pool(workers, partial(TargetEncoder.load, on_every_node(config)), lambda: own) as pool:
        check_alike(pool.facts(), own.facts())
        yield pool


def warn_of_captions(ldm: "LatentDiffusionModel", captions: Sequence[list[str]], c: Array) -> None:
    """Log one warning if the text encoder loses what the pictures' captions say.

    The warning counts, with examples, captions with words that the tokenizer does not know, captions that are longer
    than the encoder's context, and pictures of different captions that have nearly the same c.

    Parameters
    ----------
    captions : sequence of list of str
        Each picture's captions.
    c : array of shape (n_pictures, *text_shape), float32
    """
    texts = sorted({text for of_picture in captions for text in of_picture})
    tokens = ldm.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    # The context also holds the tokens of the text's start and end.
    context = ldm.tokenizer.model_max_length - 2
    unknown = [text for text, own in zip(texts, tokens, strict=True) if ldm.tokenizer.unk_token_id in own]
    cut = [text for text, own in zip(texts, tokens, strict=True) if len(own) > context]
    alike = [" = ".join(_quoted(captions[row][0]) for row in pair) for pair in _alike(captions, c)]
    complaints = [
        (unknown, f"{len(unknown)} of {len(texts)} have words that its tokenizer does not know", _quoted),
        (cut, f"{len(cut)} of {len(texts)} are cut after {context} tokens", _quoted),
        (alike, f"{len(alike)} pairs of pictures with different captions have nearly the same c", str),
    ]
    said = [
        f"{words} ({', '.join(write(one) for one in found[:N_EXAMPLES])})"
        for found, words, write in complaints
        if found
    ]
    if said:
        log.warning(
            "the text encoder does not tell all captions apart: %s; write shorter captions of words that it knows, or "
            "give another model with --ldm", "; ".join(said),
        )  # fmt: skip


def _alike(captions: Sequence[list[str]], c: Array) -> list[tuple[int, int]]:
    """Return neighbouring pairs of pictures whose captions differ and whose c do not, by row."""
    # The order of the captions does not matter: c is their mean.
    row_of_captions = {tuple(sorted(of_picture)): row for row, of_picture in enumerate(captions)}
    rows = np.array(sorted(row_of_captions.values()), np.int64)
    flat = c.reshape(len(c), -1)
    some = flat[rows[:ENCODED_AT_ONCE]].astype(np.float64)
    distance = ALIKE * np.sqrt(((some - some.mean(axis=0)) ** 2).sum(axis=1).mean())
    # Nearly equal c are neighbours along any direction: comparing all pairs would take hours.
    direction = np.random.default_rng(0).standard_normal(flat.shape[1]).astype(np.float32)
    by_direction = rows[np.argsort([float(flat[row] @ direction) for row in rows], kind="stable")]
    return [
        (int(one), int(other))
        for one, other in zip(by_direction[:-1], by_direction[1:], strict=True)
        if np.linalg.norm(flat[one] - flat[other]) <= distance
    ]


def _quoted(caption: str) -> str:
    text = printable(caption)
    return repr(text if len(text) <= LONGEST_EXAMPLE else text[: LONGEST_EXAMPLE - 1] + "…")
