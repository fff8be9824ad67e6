"""Loads the protocols' published networks with torchvision and transformers, from a folder or from their hubs.

The files in a folder keep the names under which the libraries download them. A missing file raises `NetworkError`.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import torch

from ...arrays import Array
from ...errors import BraindError
from ...extras import how_to_install
from .protocols import Network, network_input

FeatureExtractor = Callable[[Array], dict[str, Array]]
"""Pictures (n, height, width, 3) uint8 → features by measure, each (n, n_features) float32."""
Source = Path | Literal["hub"] | None

CLIP_NAME = "openai/clip-vit-large-patch14"
SWAV_URL = "https://dl.fbaipublicfiles.com/deepcluster/swav_800ep_pretrain.pth.tar"
TORCHVISION = {
    # torchvision's names of the model and of its weights, and the model's options for these weights
    "alexnet": ("alexnet", "AlexNet_Weights.IMAGENET1K_V1", {}),
    "inception_v3": (
        "inception_v3", "Inception_V3_Weights.IMAGENET1K_V1", {"transform_input": True, "init_weights": False},
    ),
    "efficientnet_b1": ("efficientnet_b1", "EfficientNet_B1_Weights.IMAGENET1K_V2", {}),
    "efficientnet_b1_v1": ("efficientnet_b1", "EfficientNet_B1_Weights.IMAGENET1K_V1", {}),
    "swav": ("resnet50", None, {}),
}  # fmt: skip


class NetworkError(BraindError):
    """A network cannot be loaded. The sentence names the missing file or library."""

    code = "network"


def load_extractors(networks: tuple[Network, ...], source: Source) -> tuple[list[FeatureExtractor], dict[str, str]]:
    """Load the available networks; return them, and for each other measure a sentence that says what it needs."""
    extractors, missing = [], {}
    for network in networks:
        try:
            extractors.append(load_extractor(network, source))
        except NetworkError as error:
            missing |= dict.fromkeys(network.layers, str(error))
    return extractors, missing


def load_extractor(network: Network, source: Source) -> FeatureExtractor:
    """Load one network.

    Raises
    ------
    NetworkError
        If the network's library, folder or weights are missing, or if they do not fit each other.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if network.name == "clip":
        model = _load_clip(source).to(device)
        outputs = _clip_outputs
    else:
        model = _load_torchvision(network, source).to(device)
        outputs = layer_outputs

    @torch.inference_mode()
    def extract(pictures: Array) -> dict[str, Array]:
        features = outputs(model, network_input(pictures, network).to(device), network.layers)
        return {name: feature.flatten(1).float().cpu().numpy() for name, feature in features.items()}

    return extract


def layer_outputs(model: Any, pixels: torch.Tensor, layers: Mapping[str, str]) -> dict[str, torch.Tensor]:
    """Run a model on pixels and return the outputs of the named submodules, by measure."""
    found: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        # a copy, because the next layer may work in place
        return lambda _module, _inputs, output: found.update({name: output.clone()})

    hooks = [model.get_submodule(layer).register_forward_hook(keep(name)) for name, layer in layers.items()]
    try:
        model(pixels)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def clip_folder(source: Source) -> Path:
    """Return the folder of CLIP ViT-L/14. From the hub, transformers downloads it first.

    Raises
    ------
    NetworkError
    """
    if source is None:
        raise NetworkError(f"needs {CLIP_NAME}: --networks FOLDER or --networks hub")
    if source == "hub":
        from huggingface_hub import snapshot_download

        try:
            return Path(snapshot_download(CLIP_NAME, allow_patterns=["*.json", "*.txt", "model.safetensors"]))
        except Exception as error:  # noqa: BLE001  (its client raises errors of several libraries)
            raise NetworkError(f"needs {CLIP_NAME} from the hub ({type(error).__name__})") from error
    folder = source / CLIP_NAME.split("/")[1]
    if not (folder / "config.json").is_file():
        raise NetworkError(f"needs {CLIP_NAME} as {folder.name}/ in the folder of --networks")
    return folder


def _load_clip(source: Source) -> Any:
    from transformers import CLIPVisionModelWithProjection
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    folder = clip_folder(source)
    try:
        return CLIPVisionModelWithProjection.from_pretrained(folder, use_safetensors=True, local_files_only=True).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise NetworkError(f"needs readable weights in {folder.name}/ ({_first_line(error)})") from error


def _clip_outputs(model: Any, pixels: torch.Tensor, layers: Mapping[str, str]) -> dict[str, torch.Tensor]:
    output = model(pixel_values=pixels, output_hidden_states=True)
    found = {}
    for name, layer in layers.items():
        part, _, number = layer.partition(".")
        found[name] = getattr(output, part)[int(number)] if number else getattr(output, part)
    return found


def _load_torchvision(network: Network, source: Source) -> Any:
    model_name, weights_name, options = TORCHVISION[network.name]
    try:
        library: Any = import_module("torchvision.models")
    # torchvision built for another torch fails with RuntimeError
    except (ImportError, RuntimeError) as error:
        raise NetworkError(f"needs torchvision, {how_to_install('scores')} ({_first_line(error)})") from error
    state = _read_state(library.get_weight(weights_name).url if weights_name else SWAV_URL, source)
    model = library.get_model(model_name, weights=None, **options)
    try:
        if network.name == "swav":
            # published with the prefix of the training's wrapper and without a classifier
            state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
            lacking = [name for name in model.load_state_dict(state, strict=False).missing_keys if name[:3] != "fc."]
            if lacking:
                raise NetworkError(f"needs weights of a ResNet-50 for SwAV; these lack {lacking[0]}")
        else:
            model.load_state_dict(state)
    except (RuntimeError, AttributeError) as error:
        raise NetworkError(f"needs weights of {model_name}; these do not fit ({_first_line(error)})") from error
    return model.eval()


def _read_state(url: str, source: Source) -> Any:
    name = url.rsplit("/", 1)[1]
    if source is None:
        raise NetworkError(f"needs {name}: --networks FOLDER or --networks hub")
    try:
        if source == "hub":
            return torch.hub.load_state_dict_from_url(url, map_location="cpu", progress=False, weights_only=True)
        if not (source / name).is_file():
            raise NetworkError(f"needs {name} in the folder of --networks")
        # tensors only: a file that wants to run code is refused
        return torch.load(source / name, map_location="cpu", weights_only=True)
    except NetworkError:
        raise
    except Exception as error:  # noqa: BLE001  (unpicklers and downloads raise what they like)
        raise NetworkError(f"needs a readable {name} ({type(error).__name__}: {_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
