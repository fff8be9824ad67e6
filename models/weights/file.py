"""A file of decoder weights: tensors and their card, as safetensors."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from .card import WeightsCard, WeightsError, read_card

Array = NDArray[Any]


def file_content(tensors: dict[str, Array], card: WeightsCard) -> bytes:
    """Return what a file of these tensors and this card holds."""
    # safetensors writes memory as it lies: a transposed array would come back scrambled.
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    # One key only: the header keeps several in no fixed order, and the fingerprint needs one.
    return save(tensors, metadata={"card": msgspec.json.encode(card).decode()})


def fingerprint(content: bytes) -> str:
    """Return the first 12 hex digits of the SHA-256 of a file's content."""
    return sha256(content).hexdigest()[:12]


@contextmanager
def reading(path: Path) -> Iterator[tuple[WeightsCard, dict[str, Array]]]:
    """Read a file, memory-mapped; what is wrong with it, there or in the `with`, becomes a WeightsError naming it."""
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file; make it with braind fit")
    try:
        with safe_open(path, framework="np") as file:
            card = read_card(file.metadata() or {})
            tensors = file.get_tensors()
        yield card, tensors
    except KeyError as error:
        raise WeightsError(f"{path}: holds no tensor {error}; fit again with braind fit") from error
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: no readable safetensors file ({error}); fit again with braind fit") from error
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}", code=error.code) from error
