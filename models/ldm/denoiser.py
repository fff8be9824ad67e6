"""The denoiser in two halves: the context of c, computed once a volume, and the network of every call.

The keys and values of cross-attention depend neither on the latents nor on the timestep. The same holds for the pooled
embedding, which some models add to the timestep's embedding. Timesteps are a preset's constants: each is embedded once.
"""

from copy import deepcopy
from math import log
from typing import Any, NamedTuple

import torch
from torch.nn.functional import scaled_dot_product_attention

from ...errors import BraindError


class DenoiserError(BraindError):
    """A UNet has inputs or parts that braind does not provide."""

    code = "ldm"


class Context(NamedTuple):
    """The denoiser's view of n text embeddings.

    Parameters
    ----------
    pooled : (n, time width), added to the timestep's embedding; zeros for models without pooled embeddings
    keys_values : K and V of each cross-attention in turn, (n, heads, tokens, head width)
    """

    pooled: torch.Tensor
    keys_values: tuple[torch.Tensor, ...]


def joined(first: Context, second: Context) -> Context:
    """Put two contexts into one batch."""
    pairs = zip(first.keys_values, second.keys_values, strict=True)
    return Context(torch.cat([first.pooled, second.pooled]), tuple(torch.cat(pair) for pair in pairs))


class Denoiser(torch.nn.Module):
    """Runs a diffusers UNet on contexts. It copies the UNet's structure and shares its weights; the UNet is unchanged.

    Raises
    ------
    DenoiserError
        For a UNet with inputs beyond latents, timestep and text embedding.
    """

    def __init__(self, unet: Any) -> None:
        super().__init__()
        check_unet(unet)
        weights = {id(tensor): tensor for tensor in (*unet.parameters(), *unet.buffers())}
        self.unet = deepcopy(unet, weights)
        self._attentions = [part for part in self.unet.modules() if getattr(part, "is_cross_attention", False)]
        for n, attention in enumerate(self._attentions):
            attention.processor = _GivenAttention(n)

    @property
    def takes_guidance(self) -> bool:
        """Return whether the guidance scale is an input of the network, as in consistency-distilled models (LCM)."""
        return self.unet.config.time_cond_proj_dim is not None

    def time_embedding(self, timestep: int, guidance_scale: float = 1.0) -> torch.Tensor:
        """Embed a timestep, and the guidance scale if the model takes one: (1, time width)."""
        weight = self.unet.conv_in.weight
        projected = self.unet.time_proj(torch.tensor([timestep], device=weight.device)).to(weight.dtype)
        condition = None
        if self.takes_guidance:
            condition = guidance_embedding(guidance_scale, self.unet.config.time_cond_proj_dim).to(weight)
        return self.unet.time_embedding(projected, condition)

    def context(self, embeddings: torch.Tensor) -> Context:
        """Compute the context of text embeddings (n, tokens, width)."""
        n, width = len(embeddings), self.unet.time_embedding.linear_2.out_features
        pools = self.unet.config.addition_embed_type == "text"
        pooled = self.unet.add_embedding(embeddings) if pools else embeddings.new_zeros((n, width))
        keys_values = []
        for attention in self._attentions:
            for project in (attention.to_k, attention.to_v):
                keys_values.append(_in_heads(project(embeddings), attention.heads))
        return Context(pooled, tuple(keys_values))

    def forward(
        self, latents: torch.Tensor, time_embedding: torch.Tensor, pooled: torch.Tensor, *keys_values: torch.Tensor
    ) -> torch.Tensor:
        """Predict the noise in latents (n, channels, h, w) at a timestep, under a context of n embeddings."""
        unet = self.unet
        embedding = time_embedding + pooled
        if unet.time_embed_act is not None:
            embedding = unet.time_embed_act(embedding)
        hidden = unet.conv_in(latents)
        skipped = [hidden]
        for block in unet.down_blocks:
            hidden, outputs = block(hidden, embedding, **_for(block, keys_values))
            skipped += outputs
        if unet.mid_block is not None:
            hidden = unet.mid_block(hidden, embedding, **_for(unet.mid_block, keys_values))
        for block in unet.up_blocks:
            n = len(block.resnets)
            hidden = block(hidden, tuple(skipped[-n:]), embedding, **_for(block, keys_values))
            del skipped[-n:]
        if unet.conv_norm_out is not None:
            hidden = unet.conv_act(unet.conv_norm_out(hidden))
        return unet.conv_out(hidden)


class _GivenAttention:
    """A diffusers attention processor for the n-th cross-attention, with keys and values from the context."""

    def __init__(self, n: int) -> None:
        self._n = n

    def __call__(
        self, attention: Any, hidden_states: torch.Tensor, encoder_hidden_states: Any, *_: Any, **__: Any
    ) -> torch.Tensor:
        keys, values = encoder_hidden_states[2 * self._n : 2 * self._n + 2]
        queries = _in_heads(attention.to_q(hidden_states), attention.heads)
        attended = scaled_dot_product_attention(queries, keys, values)
        return attention.to_out[0](attended.transpose(1, 2).flatten(2))


def _for(block: Any, keys_values: tuple[torch.Tensor, ...]) -> dict[str, Any]:
    """Return the argument that gives a block's cross-attentions their keys and values, if the block has any."""
    return {"encoder_hidden_states": keys_values} if getattr(block, "has_cross_attention", False) else {}


def _in_heads(projected: torch.Tensor, heads: int) -> torch.Tensor:
    """Split (n, tokens, width) into (n, heads, tokens, head width)."""
    return projected.unflatten(2, (heads, -1)).transpose(1, 2)


def guidance_embedding(guidance_scale: float, width: int) -> torch.Tensor:
    """Embed a guidance scale as in consistency-distilled models (Luo et al. 2023): (1, width)."""
    half = width // 2
    frequencies = torch.exp(torch.arange(half) * (-log(10000) / (half - 1)))
    angles = 1000 * (guidance_scale - 1) * frequencies
    return torch.cat([angles.sin(), angles.cos()])[None]


def check_unet(unet: Any) -> None:
    """Raise DenoiserError for a UNet with inputs or parts that braind does not provide."""
    config = unet.config
    if config.in_channels != config.out_channels:
        raise DenoiserError(
            f"the denoiser takes {config.in_channels} channels and gives {config.out_channels}, as inpainting models "
            "do; braind takes plain text-conditioned ones, such as Stable Diffusion 1.x"
        )
    plain = {
        "encoder_hid_dim_type": (None,), "class_embed_type": (None,), "addition_embed_type": (None, "text"),
        "center_input_sample": (False,), "cross_attention_norm": (None,), "num_class_embeds": (None,),
    }  # fmt: skip
    for setting, values in plain.items():
        if getattr(config, setting, None) not in values:
            raise DenoiserError(
                f"the denoiser has {setting} = {getattr(config, setting)!r}, which braind has no input for; take a "
                "plain text-conditioned one, such as Stable Diffusion 1.x's"
            )
    if config.sample_size % 2**unet.num_upsamplers:
        raise DenoiserError(
            f"the denoiser's sample_size {config.sample_size} cannot be halved {unet.num_upsamplers} times"
        )
