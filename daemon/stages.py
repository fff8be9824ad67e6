"""From one trial's voxels to the stages that viewers see: scores, xz, xzc. It knows no journal and no process."""

import logging
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch
from numpy.typing import NDArray
from PIL import Image

from .. import __version__
from ..client.wire import Provenance, Retrieved, Stage
from ..models.candidate_names import CandidateNames
from ..models.candidates import Candidates, CandidatesError
from ..models.engines import OnnxSettings, engine_for, load_engine
from ..models.ldm import LatentDiffusionModel
from ..models.reconstruct import Mode, Reconstructor
from ..models.volume_graph import VolumeGraph
from ..models.weights import Weights
from . import link
from .records import Pair

Array = NDArray[Any]

logger = logging.getLogger("braind.daemon.decoder")

STAGES: dict[str, tuple[Stage, ...]] = {"z": ("scores", "xz"), "c": ("scores", "xzc"), "zc": ("scores", "xz", "xzc")}
N_RETRIEVED = 5
PNG_COMPRESS_LEVEL = 1  # a stronger level takes several times as long and saves few bytes


class StageResult(NamedTuple):
    """One stage: the best candidates for `scores`, a PNG for the others. `steps_s`: monotonic time of each step so far.

    `feedback`: see `wire.Decode`, of `scores` where two candidates were named.
    `is_last`: no further stage follows in this mode.
    """

    stage: Stage
    retrieved: tuple[Retrieved, ...]
    png: bytes | None
    steps_s: dict[str, float]
    is_last: bool
    feedback: float | None = None


class Stages:
    """Everything that turns voxels into pictures, loaded once.

    Raises
    ------
    BraindError
        If a file is missing or damaged, or weights and LDM do not belong together.
    """

    def __init__(self, setup: link.Setup) -> None:
        if setup.threads:
            torch.set_num_threads(setup.threads)
        self.weights = Weights.load(Path(setup.weights_path))
        self._candidates = Candidates.load(Path(setup.candidates_path))
        self._names = CandidateNames(self._candidates.nsd_id, self._candidates.labels)
        paths = (setup.ldm_path, setup.lora_path, setup.tiny_decoder_path)
        ldm = LatentDiffusionModel.load(*(Path(path) if path else None for path in paths), gpu_dtype=setup.gpu_dtype)
        self.weights.check_ldm(ldm.fingerprint)
        onnx = OnnxSettings(setup.provider, setup.may_fall_back)
        engine = load_engine(setup.engine, ldm, setup.preset, Path(setup.engines_path), onnx)
        reconstructor = Reconstructor(ldm, setup.preset, setup.seed, engine)
        self._volume = VolumeGraph(self.weights, reconstructor, setup.mode)
        self._refiner: Reconstructor | None = None
        if setup.refine and setup.mode != "z":
            refining = engine_for(setup.refine, engine, Path(setup.engines_path), onnx)
            self._refiner = Reconstructor(ldm, setup.refine, setup.seed, refining)
        self._newest: tuple[Array, Array] | None = None
        self._mode: Mode = setup.mode
        self.provenance = Provenance(
            subject=self.weights.card.subject,
            preset=setup.preset.name,
            mode=setup.mode,
            seed=setup.seed,
            engine=reconstructor.engine_words,
            weights=self.weights.fingerprint,
            ldm=ldm.fingerprint,
            denoiser=engine.networks.fingerprint,
            simulated=self.weights.card.simulated,
            version=__version__,
        )

    def warm_up(self) -> None:
        """Decode a trial whose voxels are all at their mean, and throw it away: the first decode is the slowest."""
        for _ in self.run(self.weights.voxel_mean):
            pass

    def run(self, voxels: Array, pair: Pair | None = None, *, has_pictures: bool = True) -> Iterator[StageResult]:
        """Yield each stage as soon as it is ready.

        Parameters
        ----------
        voxels : array of shape (n_voxels,), float32
            One trial's response, % signal change.
        pair : the candidates that the trial is compared with, if its sender named two
        has_pictures : False for scores alone
        """
        steps_s: dict[str, float] = {}
        names = STAGES[self._mode]
        # 6. ridge gives z and c; scores and retrieval
        arrays = self._volume.run(voxels)
        z, c = next(arrays)
        steps_s["ridge"] = time.monotonic()
        retrieved = tuple(
            Retrieved(label=self._candidates.labels[at], score=score, nsd_id=int(self._candidates.nsd_id[at]))
            for at, score in self._candidates.rank(z, c, N_RETRIEVED)
        )
        feedback = self._feedback(c, pair) if pair else None
        steps_s["scores"] = time.monotonic()
        yield StageResult("scores", retrieved, None, dict(steps_s), is_last=False, feedback=feedback)
        if not has_pictures:
            return
        self._newest = z, c
        # 7. z is decoded to Xz; z is noised and denoised under c; zc is decoded to Xzc
        for stage, (picture,) in zip(names[1:], arrays, strict=True):
            png = _png(picture)
            steps_s[stage] = time.monotonic()
            yield StageResult(stage, (), png, dict(steps_s), is_last=stage == names[-1])

    def _feedback(self, c: Array, pair: Pair) -> float | None:
        try:
            right, foil = (self._names.position(name) for name in pair)
        except CandidatesError as error:
            # The front refuses unknown names; a journal may have been recorded beside another candidate set.
            logger.warning("no feedback: %s", error)
            return None
        return round(self._candidates.preference(c, right, foil), 6)

    def keep_warm(self) -> None:
        """Have a GPU's clocks up for the next volume."""
        self._volume.pulse()

    def refine(self, before_call: Callable[[], object]) -> tuple[bytes, Provenance] | None:
        """Make a better picture of the newest trial: a PNG, and what made it; None if none is to be made.

        Parameters
        ----------
        before_call : called before each denoiser call; what it raises ends the picture.
        """
        if self._refiner is None or self._newest is None:
            return None
        picture = self._refiner.picture(*self._newest, self._mode, before_call)
        return _png(picture), msgspec.structs.replace(
            self.provenance,
            preset=self._refiner.preset.name,
            engine=self._refiner.engine_words,
            denoiser=self._refiner.networks.fingerprint,
        )


def _png(picture: Array) -> bytes:
    """Return a PNG of an (px, px, 3) uint8 picture."""
    content = BytesIO()
    Image.fromarray(picture).save(content, "PNG", compress_level=PNG_COMPRESS_LEVEL)
    return content.getvalue()
