"""The protocols' networks, from folders of small random weights in the layouts that their libraries have."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.distance import correlation as correlation_distance
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from braind.models.scores.likeness import SimilarityScorer
from braind.models.scores.networks import NetworkError, layer_outputs, load_extractor, load_extractors
from braind.models.scores.protocols import PROTOCOLS, Network, network_input


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (4, 48, 48, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of networks that holds a small random CLIP under the real one's name."""
    folder = tmp_path_factory.mktemp("networks")
    torch.manual_seed(0)
    config = CLIPVisionConfig(hidden_size=16, intermediate_size=32, num_hidden_layers=12, num_attention_heads=2,
                              image_size=224, patch_size=56, projection_dim=8)  # fmt: skip
    CLIPVisionModelWithProjection(config).save_pretrained(folder / "clip-vit-large-patch14")
    return folder


def clip_of(protocol):
    return next(network for network in PROTOCOLS[protocol].networks if network.name == "clip")


def test_clip_is_loaded_by_its_own_library_and_gives_each_protocols_layers(folder, pictures):
    model = CLIPVisionModelWithProjection.from_pretrained(folder / "clip-vit-large-patch14")
    features = load_extractor(clip_of("takagi"), folder)(pictures)
    with torch.no_grad():
        wanted = model(network_input(pictures, clip_of("takagi")), output_hidden_states=True)
    assert features["clip"] == pytest.approx(wanted.image_embeds.numpy(), abs=1e-5)
    assert features["clip_h6"] == pytest.approx(wanted.hidden_states[6].flatten(1).numpy(), abs=1e-5)
    assert features["clip_h12"].shape == (4, 17 * 16)
    assert set(load_extractor(clip_of("mindeye"), folder)(pictures)) == {"clip"}


def test_layers_are_read_as_they_leave_the_layer_even_when_the_next_works_in_place(pictures):
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(inplace=True), torch.nn.Flatten())
    pixels = network_input(pictures, clip_of("mindeye"))
    with torch.no_grad():
        features = layer_outputs(model, pixels, {"first": "0", "second": "1"})
        assert torch.equal(features["first"], model[0](pixels))
    assert features["first"].min() < 0 <= features["second"].min()
    assert not model[0]._forward_hooks


@pytest.mark.parametrize(
    ("source", "sentence"),
    [(None, "--networks"), ("empty", "clip-vit-large-patch14/"), ("broken", "readable weights")],
)
def test_a_missing_clip_says_what_it_needs(tmp_path, source, sentence):
    if source == "broken":
        (tmp_path / "clip-vit-large-patch14").mkdir()
        (tmp_path / "clip-vit-large-patch14/config.json").write_text('{"model_type": "clip_vision_model"}')
    with pytest.raises(NetworkError, match=f"needs.*{sentence}"):
        load_extractor(clip_of("takagi"), None if source is None else tmp_path)


@pytest.mark.parametrize("protocol", list(PROTOCOLS))
def test_networks_that_are_not_here_are_named_measure_by_measure(folder, protocol):
    extractors, missing = load_extractors(PROTOCOLS[protocol].networks, folder)
    assert len(extractors) == 1
    others = [
        measure for network in PROTOCOLS[protocol].networks if network.name != "clip" for measure in network.layers
    ]
    assert list(missing) == others
    assert all(sentence.startswith("needs ") for sentence in missing.values())


def test_a_measure_without_its_network_is_left_out_and_distances_are_scipys(folder, pictures):
    protocol = replace(PROTOCOLS["mindeye"], measures=PROTOCOLS["mindeye"].measures[2:])
    extract = load_extractor(clip_of("mindeye"), folder)
    scorer = SimilarityScorer(pictures, protocol.measures, [extract, lambda seen: {"swav": extract(seen)["clip"]}])
    assert [measure.name for measure in scorer.measures] == ["clip", "swav"]
    picture_of_decoded = np.array([0, 1, 2, 3])
    scores = scorer.scores(scorer.compare(pictures[::-1], picture_of_decoded), picture_of_decoded)
    features = extract(pictures)["clip"]
    wanted = [correlation_distance(features[n], features[3 - n]) for n in range(4)]
    assert scores["swav"] == pytest.approx(wanted, abs=1e-6)
    assert set(scores) == {"clip", "swav"}


def test_published_torchvision_networks_give_every_layer(tmp_path, pictures):
    models = pytest.importorskip("torchvision.models", exc_type=(ImportError, RuntimeError))
    torch.manual_seed(2)
    torch.save(models.alexnet().state_dict(), tmp_path / "alexnet-owt-7be5be79.pth")
    inception = models.inception_v3(init_weights=False)
    torch.save(inception.state_dict(), tmp_path / "inception_v3_google-0cc3c7bd.pth")
    for name in ("efficientnet_b1-c27df63c.pth", "efficientnet_b1_rwightman-bac287d4.pth"):
        torch.save(models.efficientnet_b1().state_dict(), tmp_path / name)
    swav = {f"module.{name}": value for name, value in models.resnet50().state_dict().items() if name[:3] != "fc."}
    torch.save(swav, tmp_path / "swav_800ep_pretrain.pth.tar")
    n_features = {
        "alexnet_pool2": 192 * 17 * 17,
        "alexnet_pool5": 256 * 8 * 8,
        "alexnet_fc7": 4096,
        "inception": 2048,
        "efficientnet": 1280,
        "swav": 2048,
    }
    # AlexNet's convolutions grow with its input
    of_protocol = {
        "mindeye": {"alexnet_2": 192 * 31 * 31, "alexnet_5": 256 * 15 * 15},
        "brain-diffuser": {"alexnet_2": 192 * 27 * 27, "alexnet_5": 256 * 13 * 13},
        "takagi": {},
    }
    for protocol in PROTOCOLS.values():
        n_of_measure = n_features | of_protocol[protocol.name]
        extractors, missing = load_extractors(protocol.networks, tmp_path)
        assert set(missing) <= {"clip", "clip_h6", "clip_h12"}
        for extract in extractors:
            for name, feature in extract(pictures[:2]).items():
                assert feature.shape == (2, n_of_measure[name]), name


def test_weights_of_another_network_are_refused(tmp_path, pictures):
    pytest.importorskip("torchvision.models", exc_type=(ImportError, RuntimeError))
    torch.save({"nothing": torch.zeros(1)}, tmp_path / "alexnet-owt-7be5be79.pth")
    network = Network("alexnet", {"alexnet_2": "features.4"}, 256, "tensor")
    with pytest.raises(NetworkError, match="do not fit"):
        load_extractor(network, tmp_path)
    (tmp_path / "alexnet-owt-7be5be79.pth").write_bytes(b"no weights")
    with pytest.raises(NetworkError, match="readable"):
        load_extractor(network, tmp_path)
