"""Fingerprints of diffusers folders, without loading them. No torch."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from .model_folder import weight_files

OTHER_FILES = {
    "scheduler": ("scheduler_config.json",),
    "tokenizer": (
        "added_tokens.json",
        "merges.txt",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.json",
    ),
}
"""The files of a part without weights."""

EMBEDDED_LDM_PATH = Path(__file__).parents[1] / "demo"


def meaning_fingerprint(path: Path) -> str:
    """Return 12 hex digits of what z and c mean: autoencoder, text encoder and tokenizer."""
    return _hash(_part_files(path, ("vae", "text_encoder", "tokenizer")))


def denoiser_fingerprint(path: Path, lora: Path | None = None, unet: str = "unet") -> str:
    """Return 12 hex digits of the denoiser, its LoRA if any, and its noise schedule."""
    return _hash(_part_files(path, (unet, "scheduler")), [lora] if lora else [])


def decoder_fingerprint(folder: Path) -> str:
    """Return 12 hex digits of a small decoder in its own folder."""
    return _hash(_files_of(folder, "vae"))


def folder_fingerprint(folder: Path) -> str:
    """Return 12 hex digits of a model in a single folder, with all of its files."""
    return _hash([file for file in sorted(folder.glob("*")) if file.suffix in (".json", ".safetensors", ".txt")])


def combined(*fingerprints: str) -> str:
    """Combine several fingerprints into one."""
    return hashlib.sha256(" ".join(fingerprints).encode()).hexdigest()[:12]


def _part_files(path: Path, parts: Iterable[str]) -> list[Path]:
    return [file for part in parts for file in _files_of(path / part, part)]


def _files_of(folder: Path, part: str) -> list[Path]:
    """Return the files that loading a part reads. Other files beside them mean nothing."""
    if part in OTHER_FILES:
        return [file for name in sorted(OTHER_FILES[part]) if (file := folder / name).is_file()]
    files = [file for file in (folder / "config.json",) if file.is_file()]
    return sorted([*files, *weight_files(folder, part)[1]])


def _hash(files: Iterable[Path], unnamed: Iterable[Path] = ()) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.parent.name}/{file.name}".encode())
        _add_content(digest, file)
    for file in unnamed:
        _add_content(digest, file)
    return digest.hexdigest()[:12]


def _add_content(digest: "hashlib._Hash", file: Path) -> None:
    with file.open("rb") as stream:
        digest.update(hashlib.file_digest(stream, "sha256").digest())
