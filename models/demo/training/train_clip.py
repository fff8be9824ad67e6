"""Stage 2: train the demo's small contrastive CLIP on scenes and their captions.

Its text tower becomes the latent diffusion model's text encoder; its image tower names objects and scores pictures in
the evaluation.
"""

import json
from pathlib import Path

import click
import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPConfig, CLIPModel, CLIPTextModel, CLIPTokenizer

from ..scenes import (
    COLOURS,
    KINDS,
    PLACES,
    SIZES,
    Scene,
    caption_words,
    captions,
    draw_held_out_scene,
    draw_training_scene,
)
from .training import DEMO_PATH, Checkpoint, Part, autocast, one_cycle, render_bank, steps, to_signed, training_device

MAX_TOKENS = 16
PREPROCESSING = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"shortest_edge": 128}}
# The words of a caption: which token says each, and how strongly embeddings hold it. The object counts most.
WORDS = (
    (tuple(SIZES), 2, 3.0), (KINDS, 3, 7.0), (tuple(PLACES), 6, 4.0), (tuple(COLOURS), 8, 4.0),
    (tuple(COLOURS), 10, 4.0),
)  # fmt: skip
END_TOKEN = 11  # the end of a caption, and the padding after it
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


def word_directions(width: int) -> torch.Tensor:
    """Return a direction of its own for every word: (width, n_words), orthonormal, and orthogonal to the mean.

    A contrastive loss crowds similar objects together, and so does reading words back under noise (64 objects in about
    30 dimensions): embeddings decoded from a noisy brain then name the wrong one.
    """
    n_words = sum(len(words) for words, _, _ in WORDS)
    drawn = torch.randn((width, n_words), generator=torch.Generator().manual_seed(0))
    # layer normalisation takes the mean away
    return torch.linalg.qr(torch.cat([torch.ones(width, 1), drawn], dim=1))[0][:, 1:]


def written_words(said: torch.Tensor) -> torch.Tensor:
    """Return how strongly each token of captions holds each word: (batch, MAX_TOKENS, n_words).

    Parameters
    ----------
    said : (batch, 5) int64, positions in `WORDS`: held by the token that says the word and by the caption's end, the
        object by all tokens that follow it
    """
    columns = []
    for n, (words, token, strength) in enumerate(WORDS):
        held = torch.zeros(MAX_TOKENS, device=said.device)
        held[token] = strength
        held[token if words is KINDS else END_TOKEN :] = strength
        columns.append(held[:, None] * torch.nn.functional.one_hot(said[:, n], len(words))[:, None].float())
    return torch.cat(columns, dim=2)


def words_of(scene: Scene) -> list[int]:
    """Return the positions of a scene's words in `WORDS`."""
    said = (scene.size, scene.kind, scene.place, scene.above, scene.below)
    return [words.index(word) for word, (words, _, _) in zip(said, WORDS, strict=True)]


def train_text_tower(clip: Part, ids: torch.Tensor, words: torch.Tensor, n_steps: int) -> None:
    """Teach the text tower to write every word in its own direction; minutes of text only."""
    directions = word_directions(clip.config.text_config.hidden_size).to(ids.device)
    parameters = list(clip.text_model.parameters())
    optimiser = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01)
    for step, bar in steps(0, n_steps, "text tower"):
        chosen = torch.randint(len(ids), (192,), device=ids.device)
        said = torch.randint(5, (192,), device=ids.device)
        for group in optimiser.param_groups:
            group["lr"] = one_cycle(step, n_steps, 2e-3)
        embeddings = clip.text_model(input_ids=ids[chosen, said]).last_hidden_state
        loss = (embeddings @ directions - written_words(words[chosen])).square().mean()
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
@click.option("--from-shipped", is_flag=True, help="Keep models/demo/text_encoder; go on with models/demo/clip.")
def main(n_text_steps: int, n_steps: int, state: Path, n_pictures: int, from_shipped: bool) -> None:
    """Train the CLIP; write models/demo/tokenizer, models/demo/text_encoder and models/demo/clip."""
    torch.manual_seed(0)
    device = training_device()
    rng = np.random.default_rng(2)
    scenes = [draw_training_scene(rng) for _ in range(n_pictures)]
    tokenizer = ready_tokenizer(DEMO_PATH / "tokenizer")
    ids = torch.stack([token_ids(tokenizer, captions(scene)) for scene in scenes]).to(device)
    clip = new_clip(tokenizer).to(device)
    optimiser = torch.optim.AdamW(clip.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.05)
    checkpoint = Checkpoint(state / "clip.safetensors", clip, optimiser)
    done = checkpoint.resume()
    if done == 0 and from_shipped:
        clip.load_state_dict(CLIPModel.from_pretrained(DEMO_PATH / "clip").state_dict())
        clip.text_model.load_state_dict(CLIPTextModel.from_pretrained(DEMO_PATH / "text_encoder").state_dict())
    elif done == 0:
        train_text_tower(clip, ids, torch.tensor([words_of(scene) for scene in scenes], device=device), n_text_steps)
        clip.text_model.save_pretrained(DEMO_PATH / "text_encoder")
        checkpoint.save(1)
    # the denoiser is trained on this text tower's embeddings: from here on only what sees pictures learns
    clip.text_model.requires_grad_(False)
    bank = render_bank(scenes)
    rng = np.random.default_rng(200 + done)
    batch = 96 if device.type == "cpu" else 512
    for step, bar in steps(max(done, 1), n_steps, "clip"):
        chosen = torch.from_numpy(rng.integers(len(scenes), size=batch))
        said = torch.from_numpy(rng.integers(5, size=batch))
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
