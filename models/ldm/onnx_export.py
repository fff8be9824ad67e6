"""Networks as .onnx files: exported for fixed shapes. A file is written whole or not at all."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.nn import functional

from ...whole_file import write_whole
from .engine import EngineError

OPSET = 23  # the first operator set that has attention
LARGEST_FILE_BYTES = 1.9e9  # a larger network keeps its weights in a second file


def export(network: torch.nn.Module, example: tuple[torch.Tensor, ...], path: Path) -> None:
    """Export a network for inputs of the example's shapes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())
    is_large = size > LARGEST_FILE_BYTES
    with warnings.catch_warnings(), torch.no_grad(), _group_norm_of_layer_norm():
        # torch's exporter warns about its own deprecations, and logs that torchvision, which is not needed, is missing.
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
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
    """Export group normalisation as layer normalisation of each group: onnxruntime has a kernel for the latter.

    onnxruntime splits the operator GroupNormalization into about twenty small operators, which take half of a denoiser
    call's time.
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
