"""The main memory that a large model's networks take, said before they take it."""

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch

from ..weights.model_folder import weight_files

LARGE_BYTES = 1e9
"""Networks that take less are loaded without a word."""
NAMES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}
"""Names of the number formats in .safetensors files."""
MEMINFO = Path("/proc/meminfo")

log = logging.getLogger(__name__)


def say_memory(path: Path, parts: Mapping[str, Path], dtype: torch.dtype) -> None:
    """Log the memory that networks will take on a CPU, if it is much; say how much is free, and if that is too little.

    Parameters
    ----------
    path : the model's folder, for the sentence
    parts : folders of the networks, by their part of the model
    dtype : the numbers' format in memory
    """
    stored: Counter[str] = Counter()
    for part, folder in parts.items():
        stored += numbers_in(folder, part)
    needed = stored.total() * dtype.itemsize
    if needed < LARGE_BYTES:
        return
    computed = str(dtype).removeprefix("torch.")
    ((most, _),) = stored.most_common(1)
    words = f"the networks have {stored.total() / 1e9:.2f} billion numbers and take {in_gb(needed)} of memory"
    if NAMES.get(most, most) != computed:
        words = f"there is no GPU, so the {NAMES.get(most, most)} numbers of the files become {computed}; {words}"
    free = available_bytes()
    if free is None:
        log.warning("%s: %s", path, words)
    elif free < needed:
        log.warning(
            "%s: %s, but only %s are free: the system may end this process; close other programs, or take a machine "
            "with more memory",
            path, words, in_gb(free),
        )  # fmt: skip
    else:
        log.warning("%s: %s; %s are free", path, words, in_gb(free))


def numbers_in(folder: Path, part: str) -> "Counter[str]":
    """Count the numbers in a part's weights, by their format. A file that cannot be read counts nothing.

    The file's loading says what is wrong with it.
    """
    from safetensors import SafetensorError, safe_open

    counted: Counter[str] = Counter()
    for file in weight_files(folder, part)[1]:
        if file.suffix != ".safetensors":
            continue  # the index of shards
        try:
            with safe_open(file, "pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118 (safe_open is no mapping)
                    tensor = tensors.get_slice(name)
                    counted[tensor.get_dtype()] += torch.Size(tensor.get_shape()).numel()
        except (OSError, SafetensorError):
            continue
    return counted


def available_bytes() -> int | None:
    """Return the memory that programs can take without swapping; None where the system does not say it."""
    try:
        lines = MEMINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = [line.split() for line in lines if line.startswith("MemAvailable:")]
    return int(found[0][1]) * 1024 if found else None


def in_gb(n_bytes: float) -> str:
    """Return a size in GB with one decimal."""
    return f"{n_bytes / 1e9:.1f} GB"
