"""From one volume's voxels to z and c, Xz and Xzc, without leaving the model's device.

On a GPU each stage is recorded once as a CUDA graph, because viewers see the stages one by one. A volume launches all
graphs at once, and the host waits for each in turn: the GPU denoises while the host ranks candidates and writes Xz's
PNG. On a CPU a stage is computed when its arrays are asked for.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..ldm.reconstruct import Reconstructor
from ..ldm.torch_engine import TorchEngine
from ..pipeline_settings import Mode
from ..weights.weights import Weights
from .device_ridge import DeviceRidge

Array = NDArray[Any]
Tensors = tuple[torch.Tensor, ...]
Function = Callable[[], Tensors]

N_WARM_UPS = 3  # calls in which torch compiles, chooses kernels, and caches constants


class VolumeGraph:
    """Turns voxels into the stages' arrays.

    Parameters
    ----------
    mode : str
        z, c or zc: the stages of a volume.
    is_recorded : bool, optional
        Record CUDA graphs; by default if the torch engine runs on a GPU.
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
        coarse = None if mode == "c" else self._add(lambda: (reconstructor.coarse_of(predicted.results[0]),))

        def picture() -> Tensors:
            z, c = predicted.results
            # A preset that encodes z again takes the Xz of the stage before: z is decoded once.
            return (reconstructor.picture_of(z, c, mode, coarse=coarse.results[0] if coarse else None),)

        if mode != "z":
            self._add(picture)

    def run(self, voxels: Array) -> Iterator[tuple[Array, ...]]:
        """Yield (z, c), then (Xz,) and (Xzc,) as far as the mode has them, each as soon as it is ready.

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
        """Decode the last volume again on a GPU and discard it: the GPU's clocks are then up for the next volume."""
        if self._recorder is not None:
            self._launch_all()

    @torch.inference_mode()
    def _take(self, voxels: Array) -> None:
        if self._recorder is not None:
            self._recorder.stream.synchronize()  # an earlier run may not have ended and still reads the buffer
        # Journaled voxels are read-only, and torch would warn about making a tensor of them.
        np.copyto(self._host_voxels.numpy(), voxels)
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
    """A function of tensors that stay in place, called at every launch; each result has a leading 1."""

    def __init__(self, function: Function) -> None:
        self._function = function
        self.results: Tensors = ()

    @torch.inference_mode()
    def launch(self) -> None:
        """Compute the results."""
        self.results = self._function()

    def arrays(self) -> tuple[Array, ...]:
        """Return the results without the leading 1."""
        return tuple(result[0].cpu().numpy() for result in self.results)


class Recorder:
    """The stream and the memory pool of CUDA graphs that are replayed one after the other."""

    def __init__(self) -> None:
        self.stream, self.pool = torch.cuda.Stream(), torch.cuda.graph_pool_handle()


class Recorded:
    """A function of tensors that stay in place, recorded as a CUDA graph; its results stay in place, too."""

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
        """Start the graph and the copy to the host, and return without waiting."""
        with torch.cuda.stream(self._stream):
            self._graph.replay()
            for place, result in zip(self._on_host, self.results, strict=True):
                place.copy_(result, non_blocking=True)
            self._is_done.record()

    def arrays(self) -> tuple[Array, ...]:
        """Wait for the newest launch; return its results without the leading 1."""
        self._is_done.synchronize()
        return tuple(place[0].numpy().copy() for place in self._on_host)


def _on_host(weights: Weights) -> Callable[[torch.Tensor], Tensors]:
    """Return the weights' own prediction: on a CPU it is faster than torch's."""

    def predict(voxels: torch.Tensor) -> Tensors:
        z, c = weights.predict(voxels.numpy()[None])
        return torch.from_numpy(z), torch.from_numpy(c)

    return predict


def is_recordable(reconstructor: Reconstructor) -> bool:
    """Return whether the torch engine runs on a GPU. onnxruntime records its CUDA graphs itself."""
    return reconstructor.ldm.device.type == "cuda" and isinstance(reconstructor.engine, TorchEngine)


@torch.inference_mode()
def picture_maker(reconstructor: Reconstructor, z: Array, c: Array) -> Callable[[], object]:
    """Return a function that makes one picture as the daemon makes it."""
    if not is_recordable(reconstructor):
        return lambda: reconstructor.picture(z, c)
    device = reconstructor.ldm.device
    tensors = torch.from_numpy(z)[None].to(device), torch.from_numpy(c)[None].to(device)
    stage = Recorded(lambda: (reconstructor.picture_of(*tensors),), Recorder())

    def make() -> object:
        stage.launch()
        return stage.arrays()

    return make
