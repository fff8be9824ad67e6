"""A text-conditioned latent diffusion model from a diffusers folder: Stable Diffusion 1.x, its variants, or the demo.

All sizes come from the folder's own configuration.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...arrays import Array
from ...choices import GpuDtype
from ..weights.fingerprint import EMBEDDED_LDM_PATH, decoder_fingerprint, denoiser_fingerprint, meaning_fingerprint
from .folder import LdmError, check_folder, check_sizes, class_in, load_alphas_cumprod, load_part, load_tokenizer
from .freed_memory import keep_freed_memory
from .lora import fuse_lora
from .memory import say_memory

NETWORKS = ("vae", "unet", "text_encoder")
ENCODED_PIXELS = 32 * 128 * 128
"""The pictures that are encoded at once have so many pixels: two pictures of 512 px, or 32 of 128 px.

Stable Diffusion's autoencoder takes about 1 GB for each picture of 512 px.
"""


@dataclass(frozen=True)
class LatentDiffusionModel:
    """The parts of a latent diffusion model, on one device, ready for inference.

    A model may also have a few-step student of the denoiser (unet_few_step/) and a small decoder (vae_tiny/, or another
    folder). They are loaded when a preset takes them.
    """

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
    tiny_decoder_path: Path | None = None
    few_step_path: Path | None = None

    @classmethod
    def load(
        cls,
        path: Path | None = None,
        lora: Path | None = None,
        tiny_decoder: Path | None = None,
        *,
        gpu_dtype: GpuDtype = "bfloat16",
    ) -> "LatentDiffusionModel":
        """Load a diffusers folder.

        Parameters
        ----------
        path : folder with model_index.json, or None for the embedded demo
        lora : a LoRA of the denoiser in diffusers' or kohya's format (LCM-, Hyper-type, styles), fused into the
            denoiser; with a LoRA the few-step student is not used
        tiny_decoder : folder of a small autoencoder of the same latents (such as TAESD), instead of the model's own
            vae_tiny/
        gpu_dtype : precision of the networks on a GPU; on a CPU it is float32

        Raises
        ------
        LdmError
            A file is missing, a class is not supported, weights are not safetensors, sizes do not fit each other, or
            the schedule does not predict epsilon.
        """
        path = path or EMBEDDED_LDM_PATH
        classes = check_folder(path)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dtype = getattr(torch, gpu_dtype) if device.type == "cuda" else torch.float32
        if device.type == "cpu":
            keep_freed_memory()
            say_memory(path, {part: path / part for part in NETWORKS}, dtype)
        autoencoder, unet, text_encoder = (load_part(path / part, classes[part], device, dtype) for part in NETWORKS)
        tokenizer, alphas_cumprod = load_tokenizer(path / "tokenizer"), load_alphas_cumprod(path / "scheduler")
        check_sizes(path, autoencoder, unet, text_encoder)
        if lora:
            fuse_lora(unet, lora)
        return cls(
            path=path,
            autoencoder=autoencoder,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            unet=unet,
            alphas_cumprod=alphas_cumprod,
            # The clean end is the schedule's first timestep, as in Stable Diffusion's own code. The schedulers that a
            # folder may name end in different ways; the same weights must give the same pictures with each.
            final_alpha_cumprod=float(alphas_cumprod[0]),
            device=device,
            dtype=dtype,
            lora=lora,
            tiny_decoder_path=tiny_decoder or _if_there(path / "vae_tiny"),
            few_step_path=None if lora else _if_there(path / "unet_few_step"),
        )

    @cached_property
    def tiny_decoder(self) -> Any:
        """Load the small autoencoder; only its decoder is used."""
        path = self.tiny_decoder_path
        assert path is not None
        tiny = load_part(path, class_in(path, "vae"), self.device, self.dtype)
        for what, theirs, ours in (
            ("latent channels", tiny.config.latent_channels, self.latent_shape[0]),
            ("pixels a latent", _factor(tiny), self.factor),
        ):
            if theirs != ours:
                raise LdmError(
                    f"{path}: {theirs} {what}, the model's own decoder has {ours}; give a decoder made for it"
                )
        return tiny

    @cached_property
    def few_step_unet(self) -> Any:
        """Load the few-step student of the denoiser."""
        path = self.few_step_path
        assert path is not None
        student = load_part(path, class_in(path, "unet"), self.device, self.dtype)
        check_sizes(self.path, self.autoencoder, student, self.text_encoder)
        if student.config.sample_size != self.unet.config.sample_size:
            raise LdmError(
                f"{path}: sample_size {student.config.sample_size}, unet/ has {self.unet.config.sample_size}"
            )
        return student

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
        """Return the width of one latent in pixels."""
        return _factor(self.autoencoder)

    @property
    def picture_px(self) -> int:
        """Return the side of the model's pictures."""
        return self.latent_shape[1] * self.factor

    @cached_property
    def fingerprint(self) -> str:
        """Return 12 hex digits of the parts that define z and c; weights hold for one such fingerprint."""
        return meaning_fingerprint(self.path)

    @cached_property
    def denoiser_fingerprint(self) -> str:
        """Return 12 hex digits of the model's own denoiser and its schedule; `Networks` has a preset's fingerprint."""
        return denoiser_fingerprint(self.path, self.lora)

    @cached_property
    def few_step_fingerprint(self) -> str:
        """Return 12 hex digits of the few-step student and its schedule."""
        return denoiser_fingerprint(self.path, unet="unet_few_step")

    @cached_property
    def tiny_decoder_fingerprint(self) -> str:
        """Return 12 hex digits of the small decoder."""
        assert self.tiny_decoder_path is not None
        return decoder_fingerprint(self.tiny_decoder_path)

    @torch.no_grad()
    def encode_pictures(self, pictures: Array, px: int | None = None) -> Array:
        """Encode pictures into z.

        Parameters
        ----------
        pictures : (n_pictures, height, width, 3) uint8
        px : side to resize to first; the model's own by default (the paper uses 320 with a 512-px model)

        Returns
        -------
        z : (n_pictures, channels, px / factor, px / factor) float32
            The posterior's mode times `scaling_factor`. (The paper's code samples the posterior, which adds noise.)
        """
        px = px or self.picture_px
        batch = max(1, ENCODED_PIXELS // px**2)
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


def resize(pictures: Array, px: int) -> Array:
    """Resize (n, height, width, 3) uint8 pictures to px × px by Lanczos resampling, as the paper's code does."""
    from PIL import Image

    if pictures.shape[1:3] == (px, px):
        return pictures
    resized = [Image.fromarray(picture).resize((px, px), Image.Resampling.LANCZOS) for picture in pictures]
    return np.stack([np.asarray(picture) for picture in resized])


def _factor(autoencoder: Any) -> int:
    return 2 ** (len(autoencoder.config.block_out_channels) - 1)


def _if_there(folder: Path) -> Path | None:
    return folder if folder.is_dir() else None
