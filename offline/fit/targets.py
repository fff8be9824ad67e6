"""Encodes the ridge's targets: z and c of the trials' pictures, by the latent diffusion model."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...arrays import Array
from ...client.datasets.data_set import DataSet
from ...models.ridge.checkpoint import Checkpoint
from ...models.ridge.memory_maps import release
from ...printable import printable
from ..progress import progress_bar

if TYPE_CHECKING:
    from ...models.ldm.model import LatentDiffusionModel

log = logging.getLogger(__name__)

Encode = Callable[[DataSet, "LatentDiffusionModel", Array, int, Path | None], tuple[Array, Array]]
"""A function with the parameters and results of `encode_targets`."""

ENCODED_AT_ONCE = 256  # pictures; one NSD picture has 0.5 MB
ENCODED_PIXELS = 16 * 512 * 512
"""Fewer pictures are encoded at once if they have more pixels: each checkpoint is a few minutes of work at most."""
ALIKE = 1e-3
"""Two c are alike if they differ by less than this share of the distance of a usual c from the mean c."""
N_EXAMPLES, LONGEST_EXAMPLE = 3, 60


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
    at_once = min(ENCODED_AT_ONCE, max(1, ENCODED_PIXELS // z_px**2))
    chunks = [nsd_ids[start : start + at_once] for start in range(0, len(nsd_ids), at_once)]
    captions = [[tree.captions(int(nsd_id)) for nsd_id in chunk] for chunk in chunks]
    inputs, settings = [np.asarray(nsd_ids)], (ldm.fingerprint, z_px, str(tree.root), at_once, captions)
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
                start = number * at_once
                files[name][start : start + len(part)] = part
                release(files[name])
            report("encoding pictures", min((number + 1) * at_once, len(nsd_ids)), len(nsd_ids))
    return files["z"], files["c"]


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
    row_of_captions = {tuple(of_picture): row for row, of_picture in enumerate(captions)}
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
