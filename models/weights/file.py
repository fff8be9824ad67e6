"""A file of decoder weights: tensors and their card, as safetensors."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import msgspec
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ...arrays import Array
from .card import WeightsCard, WeightsError, read_card


def file_content(tensors: dict[str, Array], card: WeightsCard) -> bytes:
    """Return a file's content, from its tensors and its card."""
    # safetensors writes memory as it lies: a transposed array would come back scrambled.
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    # One key only: the header keeps several keys in no fixed order, which would change the fingerprint.
    return save(tensors, metadata={"card": msgspec.json.encode(card).decode()})


def fingerprint(content: bytes) -> str:
    """Return the first 12 hex digits of the SHA-256 of a file's content."""
    return sha256(content).hexdigest()[:12]


@contextmanager
def reading(path: Path) -> Iterator[tuple[WeightsCard, dict[str, Array]]]:
    """Yield a file's card and memory-mapped tensors.

    Raises
    ------
    WeightsError
        The file is missing, damaged or incomplete, or the block raises for it; the sentence has the path.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file; make it with braind fit")
    try:
        with safe_open(path, framework="np") as file:
            card = read_card(file.metadata() or {})
            tensors = file.get_tensors()
        yield card, tensors
    except KeyError as error:
        raise WeightsError(f"{path}: holds no tensor {error}; fit again with braind fit") from error
    except (IndexError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{path}: its tensors are not those of weights ({error}); fit again with braind fit"
        ) from error
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: no readable safetensors file ({error}); fit again with braind fit") from error
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}", code=error.code) from error
