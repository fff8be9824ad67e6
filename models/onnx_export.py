"""Networks as .onnx files: exported once, in shapes that are fixed, whole or not at all."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.nn import functional

from ..whole_file import write_whole
from .engines import EngineError

OPSET = 23  # the first with attention as an operator of its own
LARGEST_FILE_BYTES = 1.9e9  # what is larger has its weights in a file beside it


def export(network: torch.nn.Module, example: tuple[torch.Tensor, ...], path: Path) -> None:
    """Export a network for inputs shaped like the example's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())
    is_large = size > LARGEST_FILE_BYTES
    with warnings.catch_warnings(), torch.no_grad(), _group_norm_of_layer_norm():
        warnings.simplefilter("ignore")  # torch's exporter warns about its own deprecations, and logs that it misses
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # torchvision, which nothing here needs
        program = torch.onnx.export(
            network.eval(), example, dynamo=True, opset_version=OPSET, verbose=False, external_data=is_large
        )
    if program is None:
        raise EngineError(f"{path}: torch exported nothing; take the torch engine")
    if is_large:
        program.save(path, external_data=True)
        return
    with write_whole(path) as unfinished_path:
        program.save(unfinished_path)


@contextmanager
def _group_norm_of_layer_norm() -> Iterator[None]:
    """Have group normalisation exported as layer normalisation of each group, which onnxruntime has a kernel for.

    It takes the operator GroupNormalization apart into a score of small ones, half of a denoiser call's time.
    """
    stock = functional.group_norm

    def group_norm(
        input: torch.Tensor,  # noqa: A002 (torch's name)
        num_groups: int,
        weight: torch.Tensor,
        bias: torch.Tensor,
        eps: float = 1e-5,
    ) -> torch.Tensor:
        groups = input.reshape(len(input), num_groups, -1)
        normal = functional.layer_norm(groups, groups.shape[2:], eps=eps).reshape(input.shape)
        a_channel = (-1, *[1] * (input.ndim - 2))
        return normal * weight.reshape(a_channel) + bias.reshape(a_channel)

    functional.group_norm = group_norm
    try:
        yield
    finally:
        functional.group_norm = stock
