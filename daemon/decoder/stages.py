"""Turns one trial's voxels into the stages that viewers see: scores, xz, xzc. It knows no journal and no process."""

import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import msgspec
import numpy as np
import torch
from PIL import Image

from ... import __version__
from ...arrays import Array
from ...choices import Mode
from ...client.wire import STAGES_OF_MODE, Provenance, Retrieved, SeenCandidate, last_stage
from ...models.pipeline.decoding_pipeline import DecodingPipeline
from ...models.weights.candidate_names import CandidateNames
from ...models.weights.candidates import Candidates, CandidatesError, best_first
from ...models.weights.weights import Weights
from .. import link
from ..journal.records import Pair, Shown
from .label_stages import StageResult, StagesError, ranked_classes

logger = logging.getLogger("braind.daemon.decoder")

N_RETRIEVED = 5
PNG_COMPRESS_LEVEL = 1  # higher levels take several times as long and save few bytes


class Stages:
    """Turns voxels into scores and pictures. Candidates and pipeline are loaded once.

    Parameters
    ----------
    settings : link.DecoderSettings
    weights : Weights
        They decode pictures; `LabelStages` is for weights that decode only classes.

    Raises
    ------
    BraindError
        If a file is missing or damaged, or the weights were fitted for another LDM.
    """

    def __init__(self, settings: link.DecoderSettings, weights: Weights) -> None:
        self.weights = weights
        self._candidates = Candidates.load(Path(settings.candidates_path))
        self._names = CandidateNames(self._candidates.nsd_id, self._candidates.labels, self._candidates.files)
        pipeline = DecodingPipeline.load(settings.pipeline, self.weights)
        self._mode: Mode = settings.pipeline.mode
        self._volume = pipeline.volume_graph(self.weights)
        self._refiner = pipeline.with_preset(settings.refine) if settings.refine and self._mode != "z" else None
        self._newest: tuple[Array, Array] | None = None
        reconstructor = pipeline.reconstructor
        self.provenance = Provenance(
            subject=self.weights.card.subject,
            preset=reconstructor.preset.name,
            mode=self._mode,
            seed=reconstructor.seed,
            engine=reconstructor.engine_words,
            weights=self.weights.fingerprint,
            ldm=pipeline.ldm.fingerprint,
            denoiser=reconstructor.networks.fingerprint,
            simulated=self.weights.card.simulated,
            version=__version__,
            torch=str(torch.__version__),
            threads=torch.get_num_threads(),
            c_decoder=self.weights.c_decoder,
        )

    def warm_up(self) -> None:
        """Decode a trial of mean voxels and discard the result, because the first decode is the slowest."""
        for _ in self.run(self.weights.voxel_mean):
            pass

    def run(
        self, voxels: Array, pair: Pair | None = None, shown: Shown | None = None, *, has_pictures: bool = True
    ) -> Iterator[StageResult]:
        """Yield each stage as soon as it is ready.

        Parameters
        ----------
        voxels : array of shape (n_voxels,), float32
            One trial's response, % signal change.
        pair : the candidates that the trial is compared with, if its sender named two
        shown : the names of the picture that was on screen; it is ranked among the candidates, and changes nothing else
        has_pictures : False for scores alone
        """
        steps_s: dict[str, float] = {}
        # 6. ridge gives z and c; scores and retrieval
        arrays = self._volume.run(voxels)
        z, c = next(arrays)
        if not (np.isfinite(z).all() and np.isfinite(c).all()):
            raise StagesError(
                "the voxels give a z or c that is not finite; check the units and the scale of the volumes, "
                "and the weights"
            )
        labels = ranked_classes(self.weights, voxels)
        steps_s["ridge"] = time.monotonic()
        fits = self._candidates.scores(z, c)
        retrieved = tuple(
            Retrieved(label=self._candidates.labels[at], score=float(fits[at]), nsd_id=int(self._candidates.nsd_id[at]))
            for at in best_first(fits, N_RETRIEVED)
        )
        seen_candidate = self._seen_candidate(fits, shown) if shown else None
        feedback = self._feedback(c, pair) if pair else None
        steps_s["scores"] = time.monotonic()
        yield StageResult(
            "scores", retrieved, None, dict(steps_s),
            is_last=False,
            feedback=feedback,
            latents=latents_sha256(z, c),
            labels=labels,
            n_candidates=len(fits),
            seen_candidate=seen_candidate,
        )  # fmt: skip
        if not has_pictures:
            return
        self._newest = z, c
        # 7. z is decoded to Xz; z is noised and denoised under c; zc is decoded to Xzc
        for stage, (picture,) in zip(STAGES_OF_MODE[self._mode][1:], arrays, strict=True):
            png = _png(picture)
            steps_s[stage] = time.monotonic()
            yield StageResult(stage, (), png, dict(steps_s), is_last=stage == last_stage(self._mode))

    def _seen_candidate(self, fits: Array, shown: Shown) -> SeenCandidate | None:
        at = self._candidates.seen_position(shown.nsd_id, shown.stimulus)
        if at is None:
            return None
        return SeenCandidate(
            label=self._candidates.labels[at],
            score=float(fits[at]),
            # Another candidate that fits as well counts as a better one, so that a tie flatters nobody.
            rank=int(np.count_nonzero(fits >= fits[at])),
            nsd_id=int(self._candidates.nsd_id[at]),
        )

    def _feedback(self, c: Array, pair: Pair) -> float | None:
        try:
            right, foil = (self._names.position(name) for name in pair)
        except CandidatesError as error:
            # The front refuses unknown names, but the run may have been recorded with other candidates.
            logger.warning("no feedback: %s", error)
            return None
        return round(self._candidates.preference(c, right, foil), 6)

    def keep_warm(self) -> None:
        """Raise the GPU's clocks for the next volume."""
        self._volume.pulse()

    def refine(self, before_call: Callable[[], object]) -> tuple[bytes, Provenance] | None:
        """Return the newest trial's refined picture, a PNG, and its provenance; None without a preset to refine with.

        Parameters
        ----------
        before_call : called before each denoiser call. Its exception ends the picture.
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


def latents_sha256(z: Array, c: Array) -> str:
    """Return the SHA-256 (64 hex digits) of z's bytes followed by c's, C order, little-endian float32."""
    digest = hashlib.sha256()
    for latents in (z, c):
        digest.update(np.ascontiguousarray(latents, "<f4").tobytes())
    return digest.hexdigest()


def _png(picture: Array) -> bytes:
    """Return a PNG of an (px, px, 3) uint8 picture."""
    content = BytesIO()
    Image.fromarray(picture).save(content, "PNG", compress_level=PNG_COMPRESS_LEVEL)
    return content.getvalue()
