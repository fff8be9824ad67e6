"""A comparison of up to 16 pictures with the seen pictures: the piece that an evaluation is divided into."""

from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

import numpy as np

from ...arrays import Array
from ...choices import Mode
from .likeness import Likeness, SimilarityScorer

MakePictures = Callable[[Array, Array, Mode, tuple[int, ...]], Array]
"""z (*latent_shape), c (*text_shape), mode, seed of each sample → (n_samples, px, px, 3) uint8."""


class Decodes(NamedTuple):
    """Pictures to be made of z (n, *latent_shape) and c (n, *text_shape), with the seed of each sample.

    A single z and c make the picture that stands for all n.
    """

    z: Array
    c: Array
    mode: Mode
    seeds: tuple[int, ...]


class Comparison(NamedTuple):
    """Pictures, and the seen pictures that they are compared with.

    Parameters
    ----------
    pictures : Decodes, or array of shape (n,), int
        Decodes, or 0-based 73k ids of recorded pictures.
    seen : array of shape (n,), int
        Each picture's own seen picture.
    other : array of shape (n,), int, optional
        Another seen picture for each, for the shuffled control of pixel measures.
    """

    pictures: Decodes | Array
    seen: Array
    other: Array | None = None

    @property
    def name(self) -> str:
        """Return a name that no other comparison has."""
        parts = self.pictures if isinstance(self.pictures, Decodes) else (self.pictures,)
        digest = sha256()
        for part in (*parts, self.seen, self.other):
            words = f"{part.shape} {part.dtype}" if isinstance(part, np.ndarray) else repr(part)
            digest.update(words.encode())
            if isinstance(part, np.ndarray):
                digest.update(part.tobytes())
        return digest.hexdigest()[:24]


def likeness_of(
    comparison: Comparison, scorer: SimilarityScorer, make: MakePictures, recorded: Callable[[Array], Array]
) -> Likeness:
    """Make or read the pictures, and compare them with the seen pictures, averaged over samples.

    Parameters
    ----------
    recorded : 0-based 73k ids (n,) → pictures (n, px, px, 3) uint8
    """
    wanted, seen, other = comparison
    if isinstance(wanted, Decodes):
        pairs = zip(wanted.z, wanted.c, strict=True)
        samples = np.stack([make(z, c, wanted.mode, wanted.seeds) for z, c in pairs], axis=1)
        if len(wanted.z) == 1:
            samples = np.repeat(samples, len(seen), axis=1)
    else:
        samples = recorded(wanted)[None]
    return Likeness.averaged([scorer.compare(pictures, seen, other) for pictures in samples])
