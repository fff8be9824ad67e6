"""From one volume's voxels to z and c, Xz and Xzc, without leaving the model's device.

On a GPU everything between the voxels and the pictures' bytes is recorded once, as one CUDA graph a stage, because
viewers see the stages one by one. A volume launches all of them in one go, and the host waits for each in turn: while
it ranks candidates and writes Xz's PNG, the GPU denoises. On a CPU a stage is computed when it is wanted.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .device_ridge import DeviceRidge
from .engines import TorchEngine
from .reconstruct import Mode, Reconstructor
from .weights import Weights

Array = NDArray[Any]
Tensors = tuple[torch.Tensor, ...]
Function = Callable[[], Tensors]

N_WARM_UPS = 3  # compile, choose kernels, make what is made once for ever


class VolumeGraph:
    """Turns voxels into the stages' arrays.

    Parameters
    ----------
    mode : str
        z, c or zc: which stages there are.
    is_recorded : bool, optional
        Record CUDA graphs; by default where the torch engine runs on a GPU.
    """

    @torch.inference_mode()
    def __init__(
        self, weights: Weights, reconstructor: Reconstructor, mode: Mode, *, is_recorded: bool | None = None
    ) -> None:
        is_recorded = is_recordable(reconstructor) if is_recorded is None else is_recorded
        self._recorder = Recorder() if is_recorded else None
        voxels = torch.from_numpy(np.array(weights.voxel_mean))
        self._host_voxels = voxels.pin_memory() if is_recorded else voxels
        self._voxels = voxels.clone().to(reconstructor.ldm.device)
        self._stages: list[Called | Recorded] = []
        on_host = self._voxels.device.type == "cpu" and not is_recorded
        predict = _on_host(weights) if on_host else DeviceRidge(weights, reconstructor.ldm.device)
        predicted = self._add(lambda: predict(self._voxels))
        if mode != "c":
            self._add(lambda: (reconstructor.coarse_of(predicted.results[0]),))
        if mode != "z":
            self._add(lambda: (reconstructor.picture_of(predicted.results[0], predicted.results[1], mode),))

    def run(self, voxels: Array) -> Iterator[tuple[Array, ...]]:
        """Yield (z, c), then (Xz,) and (Xzc,) where the mode has them, each as soon as it is ready.

        Parameters
        ----------
        voxels : array of shape (n_voxels,), float32
            % signal change, in the order of the weights' `voxel_index`.
        """
        self._take(voxels)
        for stage in self._stages:
            if self._recorder is None:
                stage.launch()
            yield stage.arrays()

    @torch.inference_mode()
    def pulse(self) -> None:
        """Have a GPU decode its last volume again for nobody, so that its clocks are up when the next one comes."""
        if self._recorder is not None:
            self._launch_all()

    @torch.inference_mode()
    def _take(self, voxels: Array) -> None:
        if self._recorder is not None:
            self._recorder.stream.synchronize()  # an earlier run that nobody saw to its end still reads the buffer
        self._host_voxels.copy_(torch.from_numpy(np.ascontiguousarray(voxels, np.float32)))
        if self._recorder is None:
            self._voxels.copy_(self._host_voxels)
            return
        with torch.cuda.stream(self._recorder.stream):
            self._voxels.copy_(self._host_voxels, non_blocking=True)
        self._launch_all()

    def _launch_all(self) -> None:
        for stage in self._stages:
            stage.launch()

    def _add(self, function: Function) -> "Called | Recorded":
        self._stages.append(Recorded(function, self._recorder) if self._recorder else Called(function))
        return self._stages[-1]


class Called:
    """A function of tensors that stay in place, each result with a leading 1; called at every launch."""

    def __init__(self, function: Function) -> None:
        self._function = function
        self.results: Tensors = ()

    @torch.inference_mode()
    def launch(self) -> None:
        """Compute the results."""
        self.results = self._function()

    def arrays(self) -> tuple[Array, ...]:
        """Return the results, without their leading 1."""
        return tuple(result[0].cpu().numpy() for result in self.results)


class Recorder:
    """The stream and the memory of CUDA graphs that are always replayed one after the other."""

    def __init__(self) -> None:
        self.stream, self.pool = torch.cuda.Stream(), torch.cuda.graph_pool_handle()


class Recorded:
    """A function of tensors that stay in place, recorded as a CUDA graph; so do its results and their host copies."""

    @torch.inference_mode()
    def __init__(self, function: Function, recorder: Recorder) -> None:
        self._stream = recorder.stream
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            for _ in range(N_WARM_UPS):
                function()
        self._stream.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=recorder.pool, stream=self._stream):
            self.results = function()
        self._on_host = tuple(torch.zeros(one.shape, dtype=one.dtype).pin_memory() for one in self.results)
        self._is_done = torch.cuda.Event()

    @torch.inference_mode()
    def launch(self) -> None:
        """Start computing, and copying to the host, without waiting for either."""
        with torch.cuda.stream(self._stream):
            self._graph.replay()
            for place, result in zip(self._on_host, self.results, strict=True):
                place.copy_(result, non_blocking=True)
            self._is_done.record()

    def arrays(self) -> tuple[Array, ...]:
        """Wait for the newest launch; return its results, without their leading 1."""
        self._is_done.synchronize()
        return tuple(place[0].numpy().copy() for place in self._on_host)


def _on_host(weights: Weights) -> Callable[[torch.Tensor], Tensors]:
    """Return the weights' own prediction, which on a CPU is faster than torch's."""

    def predict(voxels: torch.Tensor) -> Tensors:
        z, c = weights.predict(voxels.numpy()[None])
        return torch.from_numpy(z), torch.from_numpy(c)

    return predict


def is_recordable(reconstructor: Reconstructor) -> bool:
    """Return whether pictures can be CUDA graphs: the torch engine's, on a GPU. onnxruntime records graphs itself."""
    return reconstructor.ldm.device.type == "cuda" and isinstance(reconstructor.engine, TorchEngine)


@torch.inference_mode()
def picture_maker(reconstructor: Reconstructor, z: Array, c: Array) -> Callable[[], object]:
    """Return what makes one picture in the way that a daemon does."""
    if not is_recordable(reconstructor):
        return lambda: reconstructor.picture(z, c)
    device = reconstructor.ldm.device
    tensors = torch.from_numpy(z)[None].to(device), torch.from_numpy(c)[None].to(device)
    stage = Recorded(lambda: (reconstructor.picture_of(*tensors),), Recorder())

    def make() -> object:
        stage.launch()
        return stage.arrays()

    return make
