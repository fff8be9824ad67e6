"""Every built-in preset with the engine that `auto` takes: how long a picture takes, and what it is worth."""

from typing import Any

import numpy as np
from msgspec.structs import replace
from support.held_out import HeldOutDecodes
from support.measuring import N_WARM_UPS, seconds, summary

from braind.config import Config
from braind.models.ldm.model import LatentDiffusionModel
from braind.models.pipeline.decoding_pipeline import DecodingPipeline
from braind.models.presets import named_presets
from braind.offline.from_settings import pipeline_settings

SUBJECT = 1
N_PICTURES = 60


def measure(config: Config, *, quick: bool) -> dict[str, Any]:
    """Time presets in turn over held-out trials, and score their pictures."""
    presets = named_presets(config)
    names = ("live-4", "live-1") if quick else tuple(presets)
    ldm = LatentDiffusionModel.load()
    held_out = HeldOutDecodes.load(config, SUBJECT, 2 if quick else N_PICTURES)
    settings = replace(pipeline_settings(config), engine="torch" if quick else "auto")
    reconstructors = {
        name: DecodingPipeline.around(ldm, replace(settings, preset=presets[name])).reconstructor for name in names
    }
    times: dict[str, list[float]] = {name: [] for name in names}
    pictures: dict[str, list[Any]] = {name: [] for name in names}
    for step in range(-N_WARM_UPS, len(held_out)):
        z, c = held_out.z[max(step, 0)], held_out.c[max(step, 0)]
        for name, reconstructor in reconstructors.items():
            taken_s = seconds(lambda: pictures[name].append(reconstructor.picture(z, c)))  # noqa: B023 (called at once)
            if step >= 0:
                times[name].append(taken_s)
    rows = [
        {
            "preset": name, "engine": reconstructors[name].engine.name, "calls": presets[name].n_calls,
            "decoder": presets[name].decoder, **summary(times[name]),
            **held_out.scores(np.stack(pictures[name][N_WARM_UPS:])),
        }
        for name in names
    ]  # fmt: skip
    return {"trials": len(held_out), "foils": len(held_out.foils), "rows": rows}
