"""The decoding pipeline: a latent diffusion model, an engine and a reconstructor, made once from its settings.

The daemon, the offline commands and the benchmarks all decode with it.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from ..ldm.engine import OnnxSettings
from ..ldm.model import LatentDiffusionModel
from ..ldm.reconstruct import Reconstructor
from ..pipeline_settings import PipelineSettings
from ..presets import Preset
from ..weights.weights import Weights
from .choose import Chosen, choose_engine, engine_for, load_engine
from .volume_graph import VolumeGraph


@dataclass(frozen=True, eq=False)
class DecodingPipeline:
    """Makes pictures of z and c by the settings' preset, and by other presets and seeds with the same model."""

    settings: PipelineSettings
    reconstructor: Reconstructor

    @classmethod
    def load(cls, settings: PipelineSettings, weights: Weights | None = None) -> "DecodingPipeline":
        """Load the model and the engine; torch takes the settings' threads.

        Parameters
        ----------
        weights : weights whose z and c will be decoded; they are checked before the engine is loaded, which takes long

        Raises
        ------
        BraindError
            If a file is missing or damaged, the weights belong to another model, or the engine is not available.
        """
        use_threads(settings.threads)
        ldm = load_model(settings)
        if weights is not None:
            weights.check_ldm(ldm.fingerprint)
        return cls.around(ldm, settings)

    @classmethod
    def around(cls, ldm: LatentDiffusionModel, settings: PipelineSettings) -> "DecodingPipeline":
        """Load the engine for a model that is loaded already.

        Raises
        ------
        BraindError
            If the model lacks a network of the preset, or the engine is not available.
        """
        engine = load_engine(settings.engine, ldm, settings.preset, Path(settings.engines_path), _onnx(settings))
        return cls(settings, Reconstructor(ldm, settings.preset, settings.seed, engine))

    @property
    def ldm(self) -> LatentDiffusionModel:
        """Return the latent diffusion model."""
        return self.reconstructor.ldm

    def volume_graph(self, weights: Weights) -> VolumeGraph:
        """Return the stages from a volume's voxels to the pictures of the settings' mode."""
        return VolumeGraph(weights, self.reconstructor, self.settings.mode)

    def with_preset(self, preset: Preset) -> Reconstructor:
        """Return a reconstructor by another preset; it shares the engine if the preset takes the same networks."""
        engine = engine_for(preset, self.reconstructor.engine, Path(self.settings.engines_path), _onnx(self.settings))
        return Reconstructor(self.ldm, preset, self.settings.seed, engine)

    def with_seed(self, seed: int) -> Reconstructor:
        """Return a reconstructor with other noise; it shares the engine."""
        return Reconstructor(self.ldm, self.settings.preset, seed, self.reconstructor.engine)


def use_threads(n: int) -> None:
    """Give torch n CPU threads, in the whole process; 0 leaves them as they are."""
    if n:
        torch.set_num_threads(n)


def load_model(settings: PipelineSettings) -> LatentDiffusionModel:
    """Load the settings' latent diffusion model (`LdmError`)."""
    paths = (settings.ldm_path, settings.lora_path, settings.tiny_decoder_path)
    return LatentDiffusionModel.load(*(Path(path) if path else None for path in paths), gpu_dtype=settings.gpu_dtype)


def choose_for(ldm: LatentDiffusionModel, settings: PipelineSettings) -> Chosen:
    """Return the engine that `auto` takes with the settings, and the measurements of all engines."""
    return choose_engine(ldm, settings.preset, Path(settings.engines_path), _onnx(settings))


def _onnx(settings: PipelineSettings) -> OnnxSettings:
    return OnnxSettings(settings.provider, settings.may_fall_back)
