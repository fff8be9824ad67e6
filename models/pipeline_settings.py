"""Settings of a decoding pipeline, as plain data: the front passes them to the decoder without importing torch."""

import msgspec

from ..choices import CDecoder, EngineName, GpuDtype, Mode
from .presets import Preset


class PipelineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of `DecodingPipeline.load`.

    Parameters
    ----------
    preset : Preset
    mode : str
        z, c or zc: the latents that the pictures are made of.
    c_decoder : str
        linear or expected, as in `Weights`.
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
    c_decoder: CDecoder = "linear"
