"""Makes z, c and pictures again with the weights, c decoder, preset, seed, engine and threads of their provenance."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, get_args

import msgspec
import numpy as np
import torch

from ... import __version__
from ...arrays import Array
from ...choices import CDecoder, EngineName, Mode
from ...client.wire import STAGES_OF_MODE, LabelProbability, Provenance, Stage
from ...errors import BraindError
from ...models.ldm.model import LatentDiffusionModel
from ...models.pipeline.decoding_pipeline import DecodingPipeline, load_model, use_threads
from ...models.pipeline_settings import PipelineSettings
from ...models.presets import Preset
from ...models.weights.file import fingerprint
from ...models.weights.weights import Weights
from .label_stages import LABELS_MODE, ranked_classes
from .stages import latents_sha256


class RemakeError(BraindError):
    """A decode cannot be made again here."""

    code = "remake"


class MadeScores(NamedTuple):
    """The stage `scores` made again: `Decode.latents` and `Decode.labels`."""

    latents: str
    labels: tuple[LabelProbability, ...]


class LabelRemaker:
    """Makes the classes of weights without pictures again. `differs` has the meaning that it has in `Remaker`."""

    def __init__(self, weights: Weights, provenance: Provenance) -> None:
        self._weights = weights
        self.differs = _words({"braind": (provenance.version, __version__)})

    def remake(self, voxels: Array, stages: Iterable[Stage]) -> dict[Stage, MadeScores | Array]:
        """Return the stage `scores`. Raises StagesError for numbers that are not finite."""
        return {"scores": MadeScores("", ranked_classes(self._weights, voxels))}


class Remaker:
    """Makes z, c, classes and pictures of one provenance again.

    `differs` says what is not as it was: with the same voxels another engine may give other bits.
    """

    def __init__(self, weights: Weights, pipeline: DecodingPipeline, provenance: Provenance) -> None:
        self._weights, self._pipeline, self._threads = weights, pipeline, provenance.threads or 0
        self._volume = pipeline.volume_graph(weights)
        self.differs = _differences(provenance, pipeline)

    def remake(self, voxels: Array, stages: Iterable[Stage]) -> dict[Stage, MadeScores | Array]:
        """Return the stage `scores`, and a picture, (px, px, 3) uint8, for any other stage.

        Raises
        ------
        StagesError
            If the probability of a class is not finite.
        """
        wanted, mode = set(stages), self._pipeline.settings.mode
        made: dict[Stage, MadeScores | Array] = {}
        use_threads(self._threads)
        with np.errstate(all="ignore"):  # damaged voxels may be huge
            arrays = self._volume.run(voxels)
            z, c = next(arrays)
            made["scores"] = MadeScores(latents_sha256(z, c), ranked_classes(self._weights, voxels))
            # The generator decodes a picture when it is asked for.
            for stage in STAGES_OF_MODE[mode][1:]:
                if wanted - made.keys() - {"refined"}:
                    (made[stage],) = next(arrays)
            if "refined" in wanted:
                made["refined"] = self._pipeline.reconstructor.picture(z, c, mode)
        return made


class Remakers:
    """Loads weights and pipelines when they are first needed, and keeps them.

    Parameters
    ----------
    settings : PipelineSettings
        Model, provider and precision. The provenance gives c decoder, preset, mode, seed, engine and threads.
    presets : mapping of str to Preset
    weights_paths : files among which the weights are looked for, by fingerprint
    """

    def __init__(
        self, settings: PipelineSettings, presets: Mapping[str, Preset], weights_paths: Iterable[Path]
    ) -> None:
        self._settings, self._presets = settings, presets
        self._unread = list(weights_paths)
        self._paths: dict[str, Path] = {}
        self._weights: dict[str, Weights] = {}
        self._made: dict[Provenance, Remaker | LabelRemaker | RemakeError] = {}
        self._model: LatentDiffusionModel | None = None

    def weights(self, wanted: str) -> Weights:
        """Return the weights of a fingerprint.

        Raises
        ------
        RemakeError
            If no file has the fingerprint, or a file cannot be read.
        """
        while wanted not in self._paths and self._unread:
            path = self._unread.pop(0)
            try:
                self._paths[fingerprint(path.read_bytes())] = path
            except OSError as error:
                raise RemakeError(
                    f"{path} cannot be read ({error.strerror}): weights {wanted} are not found"
                ) from error
        if wanted not in self._paths:
            raise RemakeError(f"weights {wanted} are gone: no file of the weights folder has them; give --weights FILE")
        if wanted not in self._weights:
            try:
                self._weights[wanted] = Weights.load(self._paths[wanted])
            except BraindError as error:
                raise RemakeError(str(error)) from error
        return self._weights[wanted]

    def of(self, provenance: Provenance) -> Remaker | LabelRemaker:
        """Return what makes this provenance's decodes again.

        Raises
        ------
        RemakeError
            If the weights are gone, or the preset, the engine or the model is not available here.
        """
        key = msgspec.structs.replace(provenance, simulated=False)
        if key not in self._made:
            try:
                self._made[key] = self._load(provenance)
            except BraindError as error:
                self._made[key] = RemakeError(str(error))
        made = self._made[key]
        if isinstance(made, RemakeError):
            raise made
        return made

    def _load(self, provenance: Provenance) -> Remaker | LabelRemaker:
        weights = self.weights(provenance.weights)
        if weights.has_pictures == (provenance.mode == LABELS_MODE):
            made = "pictures" if weights.has_pictures else "only classes"
            raise RemakeError(f"mode {provenance.mode!r:.80}, but weights {weights.fingerprint} decode {made}")
        if not weights.has_pictures:
            return LabelRemaker(weights, provenance)
        engine = provenance.engine.partition("-")[0]
        if provenance.preset not in self._presets:
            raise RemakeError(f"no preset named {provenance.preset!r:.80}: give the settings that it was made with")
        # An earlier braind took the prior wherever the weights have one, and did not say so.
        c_decoder = provenance.c_decoder or ("expected" if weights.prior else "linear")
        known = provenance.mode in get_args(Mode) and c_decoder in get_args(CDecoder)
        if not known or engine not in get_args(EngineName):
            raise RemakeError(
                f"mode {provenance.mode!r:.80}, c decoder {c_decoder!r:.80} or engine {provenance.engine!r:.80} is "
                "unknown"
            )
        settings = msgspec.structs.replace(
            self._settings,
            preset=self._presets[provenance.preset],
            mode=provenance.mode,
            seed=provenance.seed,
            c_decoder=c_decoder,
            engine=engine,
            threads=provenance.threads or self._settings.threads,
        )
        use_threads(settings.threads)
        if self._model is None:
            self._model = load_model(settings)
        weights.check_ldm(self._model.fingerprint)
        weights = weights.with_c_decoder(settings.c_decoder)
        return Remaker(weights, DecodingPipeline.around(self._model, settings), provenance)


def _differences(provenance: Provenance, pipeline: DecodingPipeline) -> str:
    """Return what is not as the provenance says; "" if nothing is known to differ."""
    reconstructor = pipeline.reconstructor
    return _words(
        {
            "engine": (provenance.engine, reconstructor.engine_words),
            "denoiser": (provenance.denoiser, reconstructor.networks.fingerprint),
            "torch": (provenance.torch or "unknown", str(torch.__version__)),
            "threads": (provenance.threads or "unknown", torch.get_num_threads()),
            "braind": (provenance.version, __version__),
        }
    )


def _words(there_and_here: Mapping[str, tuple[object, object]]) -> str:
    """Return in words what is there otherwise than here."""
    return "; ".join(
        f"{what} {there!s:.80} made it, here is {here}"
        for what, (there, here) in there_and_here.items()
        if there != here
    )
