"""One exported network in onnxruntime: on the CPU, or on a GPU with fixed buffers, so that it is one CUDA graph.

onnxruntime falls back to the CPU without a word, so the provider really in use is checked.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .engines import EngineError, OnnxSettings

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
DTYPES = {
    "tensor(float)": (torch.float32, np.float32),
    "tensor(float16)": (torch.float16, np.float16),
    "tensor(uint8)": (torch.uint8, np.uint8),
}

Network = Callable[..., list[torch.Tensor]]


def provider_of(settings: OnnxSettings, device: torch.device) -> str:
    """Return where onnxruntime is to run: as set, or where the model is.

    Raises
    ------
    EngineError
        A GPU's provider without a GPU, unless the CPU may stand in for it.
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
    """Open an exported network, for so many threads on a CPU; return it and the provider that really runs it.

    Raises
    ------
    EngineError
        If onnxruntime cannot run the file, or took the CPU and may not.
    """
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    try:
        session = onnxruntime.InferenceSession(
            path, session_options(n_threads), providers=provider_options(provider, cache)
        )
    except Exception as error:  # noqa: BLE001 (onnxruntime's own exceptions share no class but this)
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
    """Return onnxruntime's options.

    Each network has threads of its own, which rest while they wait: those that spin take the cores from the others'.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def provider_options(provider: str, cache: Path) -> list[tuple[str, dict[str, str]]]:
    """Return onnxruntime's list of a provider and its options; a network's kernels become one CUDA graph."""
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
    """Bind fixed buffers: a CUDA graph reads and writes the same addresses at every run."""
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
