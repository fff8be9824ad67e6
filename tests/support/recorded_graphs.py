"""CUDA graphs without CUDA: what torch runs is recorded, operator by operator; a replay runs that list only.

Like a real graph, a replay reads and writes the tensors of the recording where they lie. What a real recording refuses,
this one refuses: reading a number back to the host, tensors made of the host's numbers.
"""

from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

REFUSED = ("_local_scalar_dense", "lift_fresh", "nonzero", "scalar_tensor", "is_pinned")


class Graph(TorchDispatchMode):
    """Stands for torch.cuda.CUDAGraph."""

    def __init__(self):
        super().__init__()
        self.operators = []
        self.n_replays = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.__name__.split(".")[0]
        if name in REFUSED:
            raise RuntimeError(f"operation not permitted when stream is capturing: {name}")
        result = function(*args, **(kwargs or {}))
        self.operators.append((function, args, kwargs or {}, result))
        return result

    @torch.inference_mode()
    def replay(self):
        self.n_replays += 1
        for function, args, kwargs, recorded in self.operators:
            places, results = tree_flatten(recorded)[0], tree_flatten(function(*args, **kwargs))[0]
            for place, result in zip(places, results, strict=True):
                if isinstance(place, torch.Tensor) and place.data_ptr() != result.data_ptr():
                    place.copy_(result)


@contextmanager
def recording(graph, pool, stream):
    """Stand for torch.cuda.graph."""
    assert pool == "pool"
    with graph:
        yield


class Stream:
    """Stands for torch.cuda.Stream; here everything is done at once."""

    def wait_stream(self, other):
        pass

    def synchronize(self):
        pass


def pretend_cuda_graphs(monkeypatch):
    """Put all this in the place of torch.cuda's; return the list of what the host did, in order."""
    said = []

    class Event:
        def record(self):
            said.append("launched")

        def synchronize(self):
            said.append("waited")

    for name, stand_in in {
        "CUDAGraph": Graph, "graph": recording, "Stream": Stream, "Event": Event,
        "graph_pool_handle": lambda: "pool", "current_stream": lambda: SimpleNamespace(),
        "stream": lambda stream: nullcontext(),
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, stand_in)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    return said
