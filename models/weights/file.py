"""A file of decoder weights: tensors and their card, as safetensors."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import file_digest, sha256
from pathlib import Path

import msgspec
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ...arrays import Array
from .card import WeightsCard, WeightsError, read_card

LARGEST_HEADER_BYTES = 1024 * 1024


def file_content(tensors: dict[str, Array], card: WeightsCard) -> bytes:
    """Return a file's content, from its tensors and its card."""
    # safetensors writes memory as it lies: a transposed array would come back scrambled.
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    # One key only: the header keeps several keys in no fixed order, which would change the fingerprint.
    return save(tensors, metadata={"card": msgspec.json.encode(card).decode()})


def fingerprint(content: bytes) -> str:
    """Return the first 12 hex digits of the SHA-256 of a file's content."""
    return sha256(content).hexdigest()[:12]


def file_fingerprint(path: Path) -> str:
    """Return the `fingerprint` of a file's content, read in parts."""
    with path.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()[:12]


def header_problem(path: Path, largest_bytes: int) -> str | None:
    """Return what is wrong with the length of a safetensors file's header; None if nothing is.

    The header comes before the tensors. safetensors reads up to 100 MB of it.
    """
    with path.open("rb") as stream:
        n_bytes = int.from_bytes(stream.read(8), "little")
    # A length beyond the file's end is that of no safetensors file, which safetensors says itself.
    if largest_bytes < n_bytes < path.stat().st_size:
        return f"its header has {n_bytes} bytes, at most {largest_bytes} are read"
    return None


def foreign_tensors(names: Iterable[str], is_known: Callable[[str], bool]) -> str | None:
    """Return a sentence that names tensors which braind does not write; None if there are none."""
    foreign = sorted(name for name in names if not is_known(name))
    if not foreign:
        return None
    more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
    return f"holds a tensor that braind does not know, {foreign[0]!r:.80}{more}"


@contextmanager
def reading(path: Path, is_known: Callable[[str], bool]) -> Iterator[tuple[WeightsCard, dict[str, Array]]]:
    """Yield a file's card and tensors.

    The header, the card and the tensors' names are checked before a tensor is read: another program's file may have
    gigabytes.

    Parameters
    ----------
    path : Path
    is_known : function
        Returns whether such a file has a tensor of this name.

    Raises
    ------
    WeightsError
        The file is missing, damaged, incomplete or another program's, or the block raises for it; the sentence has
        the path.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file; make it with braind fit")
    try:
        if problem := header_problem(path, LARGEST_HEADER_BYTES):
            raise WeightsError(f"{problem}; fit again with braind fit")
        with safe_open(path, framework="np") as file:
            card = read_card(file.metadata() or {})
            if problem := foreign_tensors(file.keys(), is_known):
                raise WeightsError(f"{problem}; fit again with braind fit")
            tensors = file.get_tensors()
        yield card, tensors
    except KeyError as error:
        raise WeightsError(f"{path}: holds no tensor {error}; fit again with braind fit") from error
    except (IndexError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{path}: its tensors are not those of weights ({error}); fit again with braind fit"
        ) from error
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path} is no weights file, or is damaged: no readable safetensors file ({error}); give a file that "
            "`braind fit` wrote"
        ) from error
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}", code=error.code) from error
