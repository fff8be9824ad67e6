"""Choices by name that settings, messages and models share."""

from typing import Literal

Kind = Literal["beta", "bold"]
"""What a volume is: one trial's response, or one BOLD volume per TR."""
Mode = Literal["z", "c", "zc"]
"""What a picture is made of."""
EngineName = Literal["auto", "torch", "onnx"]
GpuDtype = Literal["bfloat16", "float16", "float32"]
ZScore = Literal["none", "full", "causal"]
Rule = Literal["ddim", "dpm++", "lcm", "tcd"]
Guidance = Literal["none", "full", "first"]
LatentPath = Literal["direct", "reencode"]
LatentDecoder = Literal["full", "tiny", "auto"]
