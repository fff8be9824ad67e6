"""One exported network in onnxruntime: on the CPU, or on a GPU with fixed buffers, as one CUDA graph.

onnxruntime falls back to the CPU silently, so the provider in use is checked.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .engine import EngineError, OnnxSettings

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
DTYPES = {
    "tensor(float)": (torch.float32, np.float32),
    "tensor(float16)": (torch.float16, np.float16),
    "tensor(uint8)": (torch.uint8, np.uint8),
}

Network = Callable[..., list[torch.Tensor]]


def provider_of(settings: OnnxSettings, device: torch.device) -> str:
    """Return onnxruntime's provider: the settings' provider, or the provider of the model's device.

    Raises
    ------
    EngineError
        If the provider needs a GPU, there is none, and the settings forbid the CPU.
    """
    asked = settings.provider or device.type
    if asked == "cpu" or device.type == "cuda":
        return asked
    if settings.may_fall_back:
        return "cpu"
    raise EngineError(
        f"onnxruntime's provider {asked} needs an NVIDIA GPU, and torch finds none here; set [decode] provider to cpu, "
        "or may_fall_back to true"
    )


def open_network(path: Path, provider: str, settings: OnnxSettings, cache: Path, n_threads: int) -> tuple[Network, str]:
    """Open an exported network; return the network and the provider that runs it.

    Parameters
    ----------
    n_threads : threads on a CPU

    Raises
    ------
    EngineError
        If onnxruntime cannot run the file, or takes the CPU although the settings forbid it.
    """
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    try:
        session = onnxruntime.InferenceSession(
            path, session_options(n_threads), providers=provider_options(provider, cache)
        )
    except Exception as error:  # noqa: BLE001 (onnxruntime's exceptions share no other class)
        raise EngineError(f"{path}: onnxruntime cannot run it ({error}); delete that file and try again") from error
    taken = session.get_providers()[0]
    if taken == PROVIDERS[provider]:
        return (_on_cpu(session) if provider == "cpu" else _on_gpu(session)), provider
    if taken == PROVIDERS["cpu"] and settings.may_fall_back:
        return _on_cpu(session), "cpu"
    raise EngineError(
        f"onnxruntime fell back to {taken}, but {PROVIDERS[provider]} was asked for; install the CUDA and cuDNN it "
        "wants, take the torch engine, or set [decode] may_fall_back to true"
    )


def session_options(n_threads: int) -> Any:
    """Return onnxruntime's options for one network.

    Each network has its own threads. Waiting threads rest: spinning threads would take the cores of the other networks.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def provider_options(provider: str, cache: Path) -> list[tuple[str, dict[str, str]]]:
    """Return onnxruntime's providers with their options; on a GPU a network becomes one CUDA graph."""
    cuda = (PROVIDERS["cuda"], {"enable_cuda_graph": "1", "cudnn_conv_algo_search": "EXHAUSTIVE", "use_tf32": "0"})
    if provider == "cuda":
        return [cuda]
    if provider == "tensorrt":
        options = {"trt_cuda_graph_enable": "1", "trt_fp16_enable": "1", "trt_engine_cache_enable": "1",
                   "trt_engine_cache_path": str(cache)}  # fmt: skip
        return [(PROVIDERS["tensorrt"], options), cuda]
    return [(PROVIDERS["cpu"], {})]


def _on_cpu(session: Any) -> Network:
    names = [one.name for one in session.get_inputs()]

    def run(*inputs: torch.Tensor) -> list[torch.Tensor]:
        arrays = [tensor.cpu().contiguous().numpy() for tensor in inputs]
        outputs = session.run(None, dict(zip(names, arrays, strict=True)))
        return [torch.from_numpy(output) for output in outputs]

    return run


def _on_gpu(session: Any) -> Network:
    """Run a network on fixed buffers: a CUDA graph reads and writes the same addresses in every run."""
    binding = session.io_binding()
    buffers: dict[str, list[torch.Tensor]] = {}
    for bind, ports in ((binding.bind_input, session.get_inputs()), (binding.bind_output, session.get_outputs())):
        buffers[bind.__name__] = []
        for port in ports:
            dtype, element = DTYPES[port.type]
            buffer = torch.zeros(port.shape, dtype=dtype, device="cuda")
            bind(port.name, "cuda", 0, element, tuple(port.shape), buffer.data_ptr())
            buffers[bind.__name__].append(buffer)

    def run(*inputs: torch.Tensor) -> list[torch.Tensor]:
        for buffer, tensor in zip(buffers["bind_input"], inputs, strict=True):
            buffer.copy_(tensor)
        torch.cuda.current_stream().synchronize()
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return [buffer.clone() for buffer in buffers["bind_output"]]

    return run
