"""Settings of a decoding pipeline: plain data, which the front process hands to the decoder without importing torch."""

from typing import Literal

import msgspec

from .presets import Preset

Mode = Literal["z", "c", "zc"]
EngineName = Literal["auto", "torch", "onnx"]
GpuDtype = Literal["bfloat16", "float16", "float32"]


class PipelineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that `DecodingPipeline.load` needs to know.

    Parameters
    ----------
    preset : Preset
    mode : str
        z, c or zc: the pictures that a volume gets.
    seed : int
        Seed of the noise tensor that every picture starts from.
    engine : str
        torch, onnx, or auto: the faster engine, measured once on this machine.
    engines_path : str
        Folder of exported networks and measured times.
    gpu_dtype : str
        Precision of the networks on a GPU; on a CPU it is float32.
    ldm_path, lora_path, tiny_decoder_path : str or None
        As in `LatentDiffusionModel.load`.
    provider : str
        onnxruntime's provider: cpu, cuda or tensorrt; empty takes the model's own device.
    may_fall_back : bool
        Let onnxruntime take the CPU where the provider is not available.
    threads : int
        torch's CPU threads; 0 leaves them as they are.
    """

    preset: Preset
    mode: Mode
    seed: int
    engine: EngineName
    engines_path: str
    gpu_dtype: GpuDtype
    ldm_path: str | None = None
    lora_path: str | None = None
    tiny_decoder_path: str | None = None
    provider: str = ""
    may_fall_back: bool = False
    threads: int = 0
