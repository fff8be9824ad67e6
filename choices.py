"""The named choices that settings, messages and models share."""

from typing import Literal

Kind = Literal["beta", "bold"]
"""Contents of a volume: one trial's response (beta), or the BOLD signal of one TR."""
Durability = Literal["full", "normal"]
Mode = Literal["z", "c", "zc"]
"""The latents that a picture is made of: z, c, or both."""
Policy = Literal["latest", "all"]
"""Which waiting volumes are decoded: the newest, or all in their order."""
CDecoder = Literal["linear", "expected"]
"""How c is decoded: by its linear map, or as its expected value over the training pictures' captions."""
EngineName = Literal["auto", "torch", "onnx"]
GpuDtype = Literal["bfloat16", "float16", "float32"]
ZScore = Literal["none", "full", "causal"]
Rule = Literal["ddim", "dpm++", "lcm", "tcd"]
Guidance = Literal["none", "full", "first"]
LatentPath = Literal["direct", "reencode"]
LatentDecoder = Literal["full", "tiny", "auto"]
Pictures = Literal["auto", "kitty", "sixel", "half", "off"]
"""How the monitor draws pictures; auto asks the terminal."""
ThemeName = Literal["control-room", "dark-room"]
