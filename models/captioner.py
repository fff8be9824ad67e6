"""Captions for pictures without captions, by an image-to-text model of transformers in a local folder."""

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import SafetensorError

from ..arrays import Array
from ..errors import BraindError
from .weights.fingerprint import folder_fingerprint

MOST_TOKENS = 40
AT_ONCE = 16
QUESTION = "Describe this picture in one short sentence."


class CaptionerError(BraindError):
    """A folder holds no usable image-to-text model, or the model writes an empty caption."""

    code = "captioner"


class Captioner:
    """Writes captions with a captioning model (BLIP, GIT, ViT-GPT2) or a chat model that is asked a question.

    Parameters
    ----------
    folder : as transformers' `save_pretrained` writes it

    Raises
    ------
    CaptionerError
    """

    def __init__(self, folder: Path) -> None:
        from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

        if not (folder / "config.json").is_file():
            raise CaptionerError(f"{folder} has no config.json: give the folder of an image-to-text model")
        try:
            loaded: Any = AutoModelForImageTextToText.from_pretrained(
                folder, local_files_only=True, output_loading_info=True
            )
            model, found = loaded
            # transformers initialises missing weights at random
            if found["missing_keys"]:
                raise ValueError(f"the weights lack {sorted(found['missing_keys'])[0]}")
            self._model: Any = model.eval()
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self._pixels: Any = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
            self._chat: Any = None
            if getattr(self._tokenizer, "chat_template", None) or (folder / "chat_template.jinja").is_file():
                self._chat = AutoProcessor.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
            raise CaptionerError(f"{folder} is no image-to-text model that transformers can load: {error}") from error
        self.name = f"{folder.resolve().name} ({folder_fingerprint(folder)})"

    @torch.inference_mode()
    def describe(self, pictures: Array) -> list[str]:
        """Write a caption for each picture, (n, px, px, 3) uint8, RGB.

        Raises
        ------
        CaptionerError
            The model writes an empty caption.
        """
        captions: list[str] = []
        for start in range(0, len(pictures), AT_ONCE):
            captions += self._describe([Image.fromarray(picture) for picture in pictures[start : start + AT_ONCE]])
        captions = [" ".join(caption.split()) for caption in captions]
        if not all(captions):
            raise CaptionerError(f"{self.name} says nothing of picture {captions.index('')}: take another model")
        return captions

    def _describe(self, pictures: list[Image.Image]) -> list[str]:
        settings = {"max_new_tokens": MOST_TOKENS, "do_sample": False}
        if self._chat is None:
            pixels = self._pixels(images=pictures, return_tensors="pt")["pixel_values"]
            tokens = self._model.generate(pixel_values=pixels, **settings)
            return self._tokenizer.batch_decode(tokens, skip_special_tokens=True)
        captions = []
        for picture in pictures:
            asked = [{"type": "image", "image": picture}, {"type": "text", "text": QUESTION}]
            inputs = self._chat.apply_chat_template(
                [{"role": "user", "content": asked}],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
            )
            tokens = self._model.generate(**inputs, **settings)[:, inputs["input_ids"].shape[1] :]
            captions += self._chat.batch_decode(tokens, skip_special_tokens=True)
        return captions
