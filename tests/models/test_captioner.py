"""Captions by models of transformers: tiny ones, which always say the same word."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from braind.models.captioner import Captioner, CaptionerError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "<image>", "ball", "dog"]
TINY = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
NOT_BALL = [number for number, word in enumerate(WORDS) if word != "ball"]
PICTURES = np.random.default_rng(0).integers(0, 255, (3, 64, 64, 3), np.uint8)


def made_for_it(folder):
    """A BLIP model."""
    from transformers import BertTokenizerFast, BlipConfig, BlipForConditionalGeneration, BlipProcessor
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    (folder / "vocab.txt").write_text("\n".join(WORDS))
    tokens = {"bos_token_id": 5, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    text = {**TINY, **tokens, "vocab_size": len(WORDS), "encoder_hidden_size": 32, "max_position_embeddings": 64}
    config = BlipConfig(text_config=text, vision_config={**TINY, "image_size": 32, "patch_size": 16}, projection_dim=16)
    model = BlipForConditionalGeneration(config)
    torch.nn.init.constant_(model.text_decoder.cls.predictions.bias[WORDS.index("ball")], 100.0)
    model.save_pretrained(folder)
    pixels = BlipImageProcessorPil(size={"height": 32, "width": 32})
    words = BertTokenizerFast(str(folder / "vocab.txt"), additional_special_tokens=["[DEC]"])
    BlipProcessor(pixels, words).save_pretrained(folder)


def one_that_is_asked(folder):
    """A LLaVA model, whose tokenizer has a chat template."""
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "bos_token": "[CLS]", "eos_token": "[SEP]"}
    words = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special, additional_special_tokens=["<image>"])
    template = (
        "{% for m in messages %}{% for c in m['content'] %}"
        "{% if c['type'] == 'image' %}<image> {% else %}{{ c['text'] }} {% endif %}{% endfor %}{% endfor %}"
    )
    LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        words,
        patch_size=16,
        vision_feature_select_strategy="default",
        chat_template=template,
        image_token="<image>",
        num_additional_image_tokens=1,
    ).save_pretrained(folder)
    text = LlamaConfig(
        **TINY, vocab_size=len(WORDS), pad_token_id=0, bos_token_id=2, eos_token_id=3, num_key_value_heads=2
    )
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**TINY, image_size=32, patch_size=16),
        text_config=text,
        image_token_index=WORDS.index("<image>"),
        vision_feature_layer=-1,
    )
    model = LlavaForConditionalGeneration(config)
    model.generation_config.suppress_tokens = NOT_BALL
    model.save_pretrained(folder)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [made_for_it, one_that_is_asked])
def test_every_picture_gets_a_caption_and_the_model_a_name(tmp_path, make):
    folder = tmp_path / "says-ball"
    folder.mkdir()
    make(folder)
    captioner = Captioner(folder)
    captions = captioner.describe(PICTURES)
    assert len(captions) == 3
    assert {word for caption in captions for word in caption.split()} == {"ball"}
    assert captioner.name.startswith("says-ball (")
    assert captioner.describe(PICTURES) == captions


@pytest.mark.parametrize(("config", "words"), [(None, "no config.json"), ('{"model_type": "bert"}', "image-to-text")])
def test_a_folder_without_such_a_model_is_refused_by_name(tmp_path, config, words):
    if config:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(CaptionerError, match=words):
        Captioner(tmp_path)


def without_a_tensor(path):
    tensors = load_file(path)
    del tensors["text_decoder.bert.encoder.layer.0.attention.output.LayerNorm.weight"]
    save_file(tensors, path, metadata={"format": "pt"})


def with_another_shape(path):
    tensors = load_file(path)
    tensors["text_decoder.bert.encoder.layer.0.attention.output.dense.weight"] = torch.zeros(3, 5)
    save_file(tensors, path, metadata={"format": "pt"})


def truncated(path):
    path.write_bytes(path.read_bytes()[:2000])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("damage", [without_a_tensor, with_another_shape, truncated, lambda path: path.unlink()])
def test_damaged_weights_are_refused_and_never_filled_with_random_ones(tmp_path, damage):
    made_for_it(tmp_path)
    damage(tmp_path / "model.safetensors")
    with pytest.raises(CaptionerError, match=f"{tmp_path} is no image-to-text model that transformers can load"):
        Captioner(tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_says_nothing_is_refused_with_the_picture(tmp_path):
    made_for_it(tmp_path)
    captioner = Captioner(tmp_path)
    captioner._describe = lambda pictures: ["a  ball\n", " ", "a dog"]
    with pytest.raises(CaptionerError, match="says nothing of picture 1: take another model"):
        captioner.describe(PICTURES)
