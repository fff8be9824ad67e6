"""A CLIP that looks at pictures: scores them by likeness and names the object in them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .fingerprint import EMBEDDED_LDM_PATH
from .ldm import LdmError, resize

Array = NDArray[Any]


class PictureClip:
    """Both towers of a CLIP (the demo's by default, or any CLIPModel folder)."""

    def __init__(self, path: Path | None = None) -> None:
        from transformers import CLIPModel, CLIPTokenizer

        path = path or EMBEDDED_LDM_PATH / "clip"
        if not (path / "config.json").is_file():
            raise LdmError(f"{path}/config.json is missing: give the folder of a CLIPModel")
        self.model = CLIPModel.from_pretrained(path, use_safetensors=True, local_files_only=True).eval()
        self.tokenizer = CLIPTokenizer.from_pretrained(path, local_files_only=True)
        preprocessing = json.loads((path / "preprocessor_config.json").read_text())
        self.mean = torch.tensor(preprocessing["image_mean"])[:, None, None]
        self.std = torch.tensor(preprocessing["image_std"])[:, None, None]
        self.px: int = self.model.config.vision_config.image_size

    @torch.inference_mode()
    def embed(self, pictures: Array, batch: int = 32) -> Array:
        """Return unit embeddings (n, d) float32 of pictures (n, height, width, 3) uint8."""
        rows = []
        for start in range(0, len(pictures), batch):
            pixels = torch.from_numpy(np.array(resize(pictures[start : start + batch], self.px)))
            scaled = (pixels.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std
            features = self.model.visual_projection(self.model.vision_model(pixel_values=scaled).pooler_output)
            rows.append(torch.nn.functional.normalize(features))
        return torch.cat(rows).numpy()

    @torch.inference_mode()
    def embed_texts(self, texts: list[str]) -> Array:
        """Return unit embeddings (n, d) float32 of captions."""
        tokens = self.tokenizer(
            texts, padding="max_length", truncation=True, return_tensors="pt",
            max_length=self.model.config.text_config.max_position_embeddings,
        )  # fmt: skip
        features = self.model.text_projection(self.model.text_model(input_ids=tokens.input_ids).pooler_output)
        return torch.nn.functional.normalize(features).numpy()

    def name_objects(self, pictures: Array, captions_of: dict[str, list[str]]) -> list[str]:
        """Name each picture's object zero-shot: the name whose captions, averaged, are nearest (Radford et al. 2021)."""
        names = list(captions_of)
        means = np.stack([self.embed_texts(captions_of[name]).mean(0) for name in names])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        return [names[position] for position in (self.embed(pictures) @ means.T).argmax(1)]
