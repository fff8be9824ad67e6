"""Makes an evaluation's pictures and compares them with the held-out pictures, in this process or by workers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ...arrays import Array
from ...choices import Mode
from ...client.datasets.data_set import DataSet
from ...config import Config
from ..data_sets import data_set_of
from ..decoding import SubjectDecoder
from ..from_settings import on_every_node
from ..pictures import PictureMaker, PictureRequest, open_makers
from ..pieces import map_pieces
from ..workers import Arrays, Workers
from .scenes import scene_judge

if TYPE_CHECKING:
    from ...models.pipeline_settings import PipelineSettings
    from ...models.scores.comparison import Comparison
    from ...models.scores.decodes import Compare
    from ...models.scores.likeness import Likeness, OwnClip, SimilarityScorer
    from ...models.scores.networks import Source
    from ...models.scores.protocols import Measure


@dataclass(frozen=True, eq=False)
class Scoring:
    """How held-out pictures are scored.

    Parameters
    ----------
    protocol : str
        Name of a published protocol.
    source : path, "hub" or None
        Of the protocol's networks.
    nsd_ids : array of shape (n_pictures,), int
        0-based 73k ids of the held-out pictures.
    kinds : sequence of str
        The object in each picture, if known.
    """

    protocol: str
    source: "Source"
    nsd_ids: Array
    kinds: Sequence[str]

    @property
    def measures(self) -> "tuple[Measure, ...]":
        """Return the protocol's measures and braind's own."""
        from ...models.scores.protocols import PROTOCOLS, own_measures

        protocol = PROTOCOLS[self.protocol]
        return (*protocol.measures, *own_measures(protocol))

    def scorer(self, tree: DataSet) -> "tuple[SimilarityScorer, dict[str, str], str]":
        """Load networks and references; return the scorer, and why measures and the own CLIP are missing."""
        from ...models.scores.likeness import SimilarityScorer
        from ...models.scores.networks import load_extractors
        from ...models.scores.protocols import PROTOCOLS

        protocol, pictures = PROTOCOLS[self.protocol], tree.pictures(self.nsd_ids)
        extractors, missing = load_extractors(protocol.networks, self.source)
        own, own_missing = own_clip(tree, self.nsd_ids, self.source)
        judge = scene_judge(tree, pictures, self.nsd_ids)
        scorer = SimilarityScorer(
            pictures, self.measures, extractors, own, self.kinds, pixels=protocol.pixels, judge=judge
        )
        return scorer, missing, own_missing


class Comparer:
    """Makes pictures with a decoding pipeline, and compares them with the held-out pictures."""

    def __init__(self, maker: PictureMaker, scorer: "SimilarityScorer", tree: DataSet, protocol: str) -> None:
        self._maker, self._scorer, self._tree, self._protocol = maker, scorer, tree, protocol

    @classmethod
    def load(cls, config: Config, scoring: Scoring, settings: "PipelineSettings") -> "Comparer":
        """Load the pipeline, the data set's held-out pictures and the networks."""
        maker, tree = PictureMaker.load(settings), data_set_of(config)
        return cls(maker, scoring.scorer(tree)[0], tree, scoring.protocol)

    def facts(self) -> dict[str, str]:
        """Return what the comparisons depend on beside the settings."""
        measures = " ".join(measure.name for measure in self._scorer.measures)
        return {**self._maker.facts(), "protocol": self._protocol, "measures": measures}

    def likeness(self, comparison: "Comparison") -> Arrays:
        """Make or read the pictures of a comparison, and compare them; return the likeness's arrays."""
        from ...models.scores.comparison import likeness_of

        return likeness_of(comparison, self._scorer, self._make, self._tree.pictures).arrays()

    def _make(self, z: Array, c: Array, mode: Mode, seeds: tuple[int, ...]) -> Array:
        return self._maker.pictures(PictureRequest(z, c, tuple((mode, seed) for seed in seeds)))["pictures"]


@dataclass(frozen=True)
class Opened:
    """Comparisons on a pool, the pool's words for its workers, and the engine."""

    compare: "Compare"
    workers: str
    engine: str


@contextmanager
def open_comparisons(
    config: Config, decoder: SubjectDecoder, scorer: "SimilarityScorer", scoring: Scoring, workers: Workers, job: str
) -> Iterator[Opened]:
    """Open the pool that makes an evaluation's pictures and compares them.

    Comparisons that an interrupted attempt has made are not made again. `open_makers` documents `job`.

    Raises
    ------
    BraindError
        If a worker cannot load what it needs, or would measure something else.
    """
    own = Comparer(PictureMaker(decoder.pipeline), scorer, decoder.tree, scoring.protocol)
    load = partial(Comparer.load, on_every_node(config), scoring)
    with open_makers(config, decoder.pipeline, workers, job, load, own, scorer.references) as (
        pool, checkpoint, engine,
    ):  # fmt: skip

        def compare(comparisons: "Sequence[Comparison]", words: str) -> "Iterator[Likeness]":
            from ...models.scores.likeness import Likeness

            names = [comparison.name for comparison in comparisons]
            made = map_pieces(Comparer.likeness, comparisons, pool, checkpoint=checkpoint, names=names, words=words)
            return map(Likeness.of_arrays, made)

        yield Opened(compare, pool.words, engine)


def own_clip(tree: DataSet, nsd_ids: Array, source: "Source") -> "tuple[OwnClip | None, str]":
    """Return the CLIP of braind's own measures, or None and the reason why CLIP is missing.

    Simulated data are scored with the demo's CLIP, photographs with a CLIP of photographs.
    """
    from ...models.scores.clip import PictureClip
    from ...models.scores.likeness import OwnClip
    from ...models.scores.networks import NetworkError, clip_folder

    try:
        clip = PictureClip() if tree.is_simulated() else PictureClip(clip_folder(source))
    except NetworkError as error:
        return None, str(error)
    captions = np.stack([clip.embed_texts(tree.captions(int(nsd_id))).mean(axis=0) for nsd_id in nsd_ids])
    captions /= np.linalg.norm(captions, axis=1, keepdims=True)
    return OwnClip(clip.embed, captions), ""
