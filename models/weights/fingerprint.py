"""Fingerprints of diffusers folders, without loading them. No torch."""

import hashlib
from pathlib import Path

EMBEDDED_LDM_PATH = Path(__file__).parents[1] / "demo"


def meaning_fingerprint(path: Path) -> str:
    """Return 12 hex digits of what z and c mean: autoencoder, text encoder and tokenizer."""
    return _hash_folders([path / part for part in ("vae", "text_encoder", "tokenizer")])


def denoiser_fingerprint(path: Path, lora: Path | None = None, unet: str = "unet") -> str:
    """Return 12 hex digits of the denoiser, with the LoRA fused into it if there is one, and its noise schedule."""
    return _hash_folders([path / part for part in (unet, "scheduler")], [lora] if lora else [])


def folder_fingerprint(folder: Path) -> str:
    """Return 12 hex digits of a model that is a folder by itself."""
    return _hash_folders([folder])


def combined(*fingerprints: str) -> str:
    """Return one fingerprint of several."""
    return hashlib.sha256(" ".join(fingerprints).encode()).hexdigest()[:12]


def _hash_folders(folders: list[Path], files: list[Path] | None = None) -> str:
    digest = hashlib.sha256()
    for folder in folders:
        for file in sorted(folder.glob("*")):
            if file.suffix in (".json", ".safetensors", ".txt"):
                digest.update(f"{folder.name}/{file.name}".encode())
                _add_content(digest, file)
    for file in files or []:
        _add_content(digest, file)
    return digest.hexdigest()[:12]


def _add_content(digest: "hashlib._Hash", file: Path) -> None:
    with file.open("rb") as stream:
        digest.update(hashlib.file_digest(stream, "sha256").digest())
