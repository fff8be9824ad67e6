"""A text-conditioned latent diffusion model from a diffusers folder: Stable Diffusion 1.x, its variants, or the demo.

Nothing here knows which of them it has: sizes are read from the folder's own configuration.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import BraindError
from .fingerprint import EMBEDDED_LDM_PATH, denoiser_fingerprint, meaning_fingerprint

Array = NDArray[Any]

PARTS = {
    "vae": ("AutoencoderKL", "AutoencoderTiny"),
    "text_encoder": ("CLIPTextModel",),
    "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "unet": ("UNet2DConditionModel",),
    "scheduler": (),  # any: only its noise schedule is read
}


class LdmError(BraindError):
    """A folder that is not a latent diffusion model braind can use."""

    code = "ldm"


@dataclass(frozen=True)
class LatentDiffusionModel:
    """The parts of a latent diffusion model, on one device, ready for inference."""

    path: Path
    autoencoder: Any
    text_encoder: Any
    tokenizer: Any
    unet: Any
    alphas_cumprod: torch.Tensor
    final_alpha_cumprod: float
    device: torch.device
    dtype: torch.dtype
    lora: Path | None = None

    @classmethod
    def load(cls, path: Path | None = None, lora: Path | None = None) -> "LatentDiffusionModel":
        """Load a diffusers folder, in half precision on a GPU and float32 on a CPU.

        Parameters
        ----------
        path : folder with model_index.json, or None for the embedded demo
        lora : a LoRA of the denoiser in diffusers' or kohya's format (LCM-, Hyper-type, styles), fused into it

        Raises
        ------
        LdmError
            A missing file, a class braind cannot use, weights that are not safetensors, a schedule that does not
            predict epsilon.
        """
        # diffusers and transformers: seconds to import, so only those who decode pay
        from diffusers import AutoencoderKL, AutoencoderTiny, DDIMScheduler, UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTokenizer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # loading takes a blink; its bars would stand between the daemon's lines
        path = path or EMBEDDED_LDM_PATH
        index = check_folder(path)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dtype = torch.float16 if device.type == "cuda" else torch.float32
        autoencoder_class = AutoencoderTiny if index["vae"][1] == "AutoencoderTiny" else AutoencoderKL
        loaded = {"torch_dtype": dtype, "use_safetensors": True, "local_files_only": True}
        try:
            autoencoder = autoencoder_class.from_pretrained(path / "vae", **loaded)
            unet = UNet2DConditionModel.from_pretrained(path / "unet", **loaded)
            text_encoder = CLIPTextModel.from_pretrained(
                path / "text_encoder", dtype=dtype, use_safetensors=True, local_files_only=True
            )
            tokenizer = CLIPTokenizer.from_pretrained(path / "tokenizer", local_files_only=True)
            scheduler: Any = DDIMScheduler.from_pretrained(path / "scheduler")
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise LdmError(f"{path}: the latent diffusion model does not load: {error}") from error
        if lora:
            fuse_lora(unet, lora)
        if scheduler.config.prediction_type != "epsilon":
            raise LdmError(
                f"{path}/scheduler: prediction_type is {scheduler.config.prediction_type!r}; "
                "braind denoises models that predict epsilon, such as Stable Diffusion 1.x"
            )
        parts: tuple[Any, ...] = (autoencoder, unet, text_encoder)
        for part in parts:
            part.to(device).eval().requires_grad_(False)
        return cls(
            path,
            autoencoder,
            text_encoder,
            tokenizer,
            unet,
            scheduler.alphas_cumprod.double(),
            float(scheduler.final_alpha_cumprod),
            device,
            dtype,
            lora,
        )

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Return z's shape (channels, height, width) at the model's own picture size."""
        side = self.unet.config.sample_size
        return (self.unet.config.in_channels, side, side)

    @property
    def text_shape(self) -> tuple[int, int]:
        """Return c's shape (tokens, width)."""
        return (self.tokenizer.model_max_length, self.text_encoder.config.hidden_size)

    @property
    def factor(self) -> int:
        """Return how many pixels one latent is wide."""
        return 2 ** (len(self.autoencoder.config.block_out_channels) - 1)

    @property
    def picture_px(self) -> int:
        """Return the side of the model's pictures."""
        return self.latent_shape[1] * self.factor

    @cached_property
    def fingerprint(self) -> str:
        """Return 12 hex digits of what z and c mean; weights predict them for one such meaning only."""
        return meaning_fingerprint(self.path)

    @cached_property
    def denoiser_fingerprint(self) -> str:
        """Return 12 hex digits of the denoiser and its schedule."""
        return denoiser_fingerprint(self.path, self.lora)

    @torch.no_grad()
    def encode_pictures(self, pictures: Array, px: int | None = None, batch: int = 32) -> Array:
        """Encode pictures into z.

        Parameters
        ----------
        pictures : (n_pictures, height, width, 3) uint8
        px : side to resize to first; the model's own by default (the paper uses 320 with a 512-px model)

        Returns
        -------
        z : (n_pictures, channels, px / factor, px / factor) float32
            The posterior's mode times `scaling_factor`. (The paper's code samples the posterior: noise in a target.)
        """
        px = px or self.picture_px
        latents = []
        for start in range(0, len(pictures), batch):
            signed = self._signed(resize(pictures[start : start + batch], px))
            latents.append(self.encode_signed(signed).float().cpu())
        return torch.cat(latents).numpy()

    def encode_signed(self, pictures: torch.Tensor) -> torch.Tensor:
        """Encode (n, 3, px, px) in [−1, 1] into scaled latents, by the posterior's mode."""
        encoded = self.autoencoder.encode(pictures)
        latents = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents
        return latents * self.autoencoder.config.scaling_factor

    def decode_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode scaled latents (n, channels, h, w) into pictures (n, 3, px, px), about [−1, 1]."""
        return self.autoencoder.decode(latents / self.autoencoder.config.scaling_factor).sample

    @torch.no_grad()
    def encode_captions(self, captions_of_pictures: list[list[str]], batch: int = 64) -> Array:
        """Encode each picture's captions into c, the mean of their text embeddings (Takagi & Nishimoto, §3.3).

        Returns
        -------
        c : (n_pictures, tokens, width) float32, the text encoder's last hidden state
        """
        flat = [caption for captions in captions_of_pictures for caption in captions]
        embeddings = []
        for start in range(0, len(flat), batch):
            tokens = self.tokenizer(
                flat[start : start + batch], padding="max_length", truncation=True, return_tensors="pt",
                max_length=self.tokenizer.model_max_length,
            )  # fmt: skip
            embeddings.append(self.text_encoder(tokens.input_ids.to(self.device)).last_hidden_state.float().cpu())
        counts = [len(captions) for captions in captions_of_pictures]
        parts = torch.cat(embeddings).split(counts)
        return torch.stack([part.mean(0) for part in parts]).numpy()

    def _signed(self, pictures: Array) -> torch.Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(pictures)).to(self.device).permute(0, 3, 1, 2)
        return (tensor.float() / 127.5 - 1).to(self.dtype)


def fuse_lora(unet: Any, path: Path) -> None:
    """Add a LoRA to the denoiser's weights, for good.

    Raises
    ------
    LdmError
        A file that is missing, no safetensors file, of another model, or that changes the text encoder too (weights
        fitted for its embeddings would no longer fit).
    """
    from diffusers.loaders import StableDiffusionLoraLoaderMixin

    loader: Any = StableDiffusionLoraLoaderMixin  # annotated with a third value that is not asked for

    if not path.is_file() or path.suffix != ".safetensors":
        raise LdmError(f"{path}: no such .safetensors file; give a LoRA of the model's denoiser")
    try:
        state, alphas = loader.lora_state_dict(
            str(path.parent), weight_name=path.name, local_files_only=True, use_safetensors=True
        )
        if any(key.startswith("text_encoder") for key in state):
            raise LdmError(
                f"{path}: this LoRA changes the text encoder, and with it what c means; "
                "braind takes LoRAs of the denoiser alone"
            )
        loader.load_lora_into_unet(state, network_alphas=alphas, unet=unet)
        unet.fuse_lora()
        unet.unload_lora()
    except (OSError, ValueError, LookupError, RuntimeError) as error:
        raise LdmError(f"{path}: this LoRA does not fit the model's denoiser: {error}") from error


def check_folder(path: Path) -> dict[str, Any]:
    """Return model_index.json of a diffusers folder, after checking that every part is there and usable."""
    index_path = path / "model_index.json"
    if not index_path.is_file():
        raise LdmError(f"{index_path} is missing: give a diffusers folder, such as one of Stable Diffusion 1.5")
    index = json.loads(index_path.read_text())
    for part, classes in PARTS.items():
        if not (path / part).is_dir() or part not in index:
            raise LdmError(f"{path}: the folder {part}/ is missing, so this is no text-conditioned diffusion model")
        name = index[part][1]
        if classes and name not in classes:
            raise LdmError(f"{path}/{part}: class {name}; braind takes {' or '.join(classes)}")
    for part in ("vae", "unet", "text_encoder"):
        if not list((path / part).glob("*.safetensors")):
            raise LdmError(
                f"{path}/{part} holds no .safetensors file; braind never loads .bin or .ckpt, which can run code: "
                "convert the model with diffusers' save_pretrained(safe_serialization=True)"
            )
    return index


def resize(pictures: Array, px: int) -> Array:
    """Resize (n, height, width, 3) uint8 pictures to px × px by Lanczos, as the paper's code does."""
    from PIL import Image

    if pictures.shape[1:3] == (px, px):
        return pictures
    resized = [Image.fromarray(picture).resize((px, px), Image.Resampling.LANCZOS) for picture in pictures]
    return np.stack([np.asarray(picture) for picture in resized])
