"""Settings of a decoding pipeline and of a decoder process, for tests: torch, the embedded model, one thread."""

import os
from pathlib import Path
from typing import Any

import msgspec
from running_daemon import Files

from braind.daemon import link
from braind.models.pipeline_settings import PipelineSettings
from braind.models.presets import PRESETS


def pipeline_settings(name: str = "live-4", **changed: Any) -> PipelineSettings:
    """Return settings with the torch engine and the embedded model, and with changed fields."""
    settings = PipelineSettings(
        preset=PRESETS[name], mode="zc", seed=42, engine="torch", gpu_dtype="bfloat16",
        engines_path=os.environ["BRAIND_PATHS__ENGINES"],
    )  # fmt: skip
    return msgspec.structs.replace(settings, **changed)


def decoder_settings(files: Files | None = None, refine: str = "", **changed: Any) -> link.DecoderSettings:
    """Return what a decoder loads; without files there is nothing to load."""
    return link.DecoderSettings(
        weights_path=str(files.weights_path) if files else "",
        candidates_path=str(files.candidates_path) if files else "",
        pipeline=pipeline_settings(**changed),
        refine=PRESETS[refine] if refine else None,
    )


def setup_line(journals_path: Path, decoder: link.DecoderSettings, **changed: Any) -> link.Setup:
    """Return the first line for a decoder with journals in a folder."""
    setup = link.Setup(
        decoder=decoder, journals_path=str(journals_path), sessions=(), next_seq=1, policy="all", keep_warm_ms=0,
        paused=False,
    )  # fmt: skip
    return msgspec.structs.replace(setup, **changed)
