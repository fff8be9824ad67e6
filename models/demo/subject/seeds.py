"""Random generators of the simulation, one for each purpose, so that one draw more somewhere changes nothing else."""

from zlib import crc32

import numpy as np

VERSION = 2  # of the simulation: another one gives other numbers from the same seed


def generator(seed: int, purpose: str) -> np.random.Generator:
    """Return the generator of one purpose, for example "subject 1, session 3: trial noise"."""
    return np.random.default_rng([seed, crc32(purpose.encode())])
