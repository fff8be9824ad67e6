"""CLIP embeddings of pictures and captions, and zero-shot naming of objects."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...arrays import Array
from ..ldm.model import LdmError, resize
from ..weights.fingerprint import EMBEDDED_LDM_PATH


class PictureClip:
    """Image and text tower of a CLIP: the demo's CLIP, or any CLIPModel folder."""

    def __init__(self, path: Path | None = None) -> None:
        from transformers import CLIPModel, CLIPTokenizer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        path = path or EMBEDDED_LDM_PATH / "clip"
        if not (path / "config.json").is_file():
            raise LdmError(f"{path}/config.json is missing: give the folder of a CLIPModel")
        self.model: Any = CLIPModel.from_pretrained(path, use_safetensors=True, local_files_only=True).eval()
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
    def embed_texts(self, texts: list[str], batch: int = 512) -> Array:
        """Return unit embeddings (n, d) float32 of captions."""
        rows = []
        for start in range(0, len(texts), batch):
            tokens = self.tokenizer(
                texts[start : start + batch], padding="max_length", truncation=True, return_tensors="pt",
                max_length=self.model.config.text_config.max_position_embeddings,
            )  # fmt: skip
            features = self.model.text_projection(self.model.text_model(input_ids=tokens.input_ids).pooler_output)
            rows.append(torch.nn.functional.normalize(features))
        return torch.cat(rows).numpy()

    def name_objects(self, pictures: Array, names: list[str], texts: Array) -> list[str]:
        """Name each picture's object zero-shot (Radford et al. 2021): the name of the nearest caption.

        Parameters
        ----------
        names : the name that each caption stands for
        texts : (n_captions, d) unit embeddings of the captions
        """
        return [names[position] for position in (self.embed(pictures) @ texts.T).argmax(1)]
