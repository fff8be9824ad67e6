"""Fingerprints of diffusers folders, without loading them. No torch."""

import hashlib
from pathlib import Path

EMBEDDED_LDM_PATH = Path(__file__).parent / "demo"


def meaning_fingerprint(path: Path) -> str:
    """Return 12 hex digits of what z and c mean: autoencoder, text encoder and tokenizer."""
    return _hash_folders([path / part for part in ("vae", "text_encoder", "tokenizer")])


def denoiser_fingerprint(path: Path) -> str:
    """Return 12 hex digits of the denoiser and its noise schedule."""
    return _hash_folders([path / part for part in ("unet", "scheduler")])


def _hash_folders(folders: list[Path]) -> str:
    digest = hashlib.sha256()
    for folder in folders:
        for file in sorted(folder.glob("*")):
            if file.suffix in (".json", ".safetensors", ".txt"):
                digest.update(f"{folder.name}/{file.name}".encode())
                with file.open("rb") as stream:
                    digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:12]
