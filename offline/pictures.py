"""Makes pictures of decoded z and c, by this process's pipeline or by the pipelines of workers."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from ..arrays import Array
from ..choices import Mode
from ..config import Config, data_path
from ..models.ridge.checkpoint import Checkpoint
from .from_settings import on_every_node, pipeline_settings
from .pieces import Pool, Report, map_pieces, open_pool
from .workers import Arrays, Workers, check_alike, check_one_kind

if TYPE_CHECKING:
    from ..models.ldm.reconstruct import Reconstructor
    from ..models.pipeline.decoding_pipeline import DecodingPipeline
    from ..models.pipeline_settings import PipelineSettings


class PictureRequest(NamedTuple):
    """z (*latent_shape) and c (*text_shape), and the pictures that are wanted of them, each a mode and a seed."""

    z: Array
    c: Array
    wanted: tuple[tuple[Mode, int], ...]

    @property
    def name(self) -> str:
        """Return a name that no request for other pictures has."""
        return sha256(b"".join((self.z.tobytes(), self.c.tobytes(), repr(self.wanted).encode()))).hexdigest()[:24]


class PictureMaker:
    """Makes the pictures of a request with a decoding pipeline."""

    def __init__(self, pipeline: "DecodingPipeline") -> None:
        self._pipeline = pipeline
        self._of_seed: dict[int, Reconstructor] = {}

    @classmethod
    def load(cls, settings: "PipelineSettings") -> "PictureMaker":
        """Load the pipeline of the settings."""
        from ..models.pipeline.decoding_pipeline import DecodingPipeline

        return cls(DecodingPipeline.load(settings))

    def facts(self) -> dict[str, str]:
        """Return what the pictures depend on beside the settings."""
        reconstructor = self._pipeline.reconstructor
        return {
            "model": self._pipeline.ldm.fingerprint,
            "denoiser": reconstructor.networks.fingerprint,
            "engine": reconstructor.engine_words,
        }

    def pictures(self, request: PictureRequest) -> Arrays:
        """Make the wanted pictures: `pictures`, (n_wanted, px, px, 3) uint8."""
        import numpy as np

        made = [self._with_seed(seed).picture(request.z, request.c, mode) for mode, seed in request.wanted]
        return {"pictures": np.stack(made)}

    def _with_seed(self, seed: int) -> "Reconstructor":
        if seed not in self._of_seed:
            self._of_seed[seed] = self._pipeline.with_seed(seed)
        return self._of_seed[seed]


class Pictures:
    """Makes pictures on a pool; pictures that an interrupted attempt has made are not made again."""

    def __init__(self, pool: Pool, checkpoint: Checkpoint, engine: str) -> None:
        self._pool, self._checkpoint, self.engine = pool, checkpoint, engine

    def of(self, requests: Sequence[PictureRequest], words: str, report: Report | None = None) -> Iterator[Array]:
        """Make the pictures of each request, (n_wanted, px, px, 3) uint8, in order."""
        made = map_pieces(
            PictureMaker.pictures,
            requests,
            self._pool,
            checkpoint=self._checkpoint,
            names=[request.name for request in requests],
            words=words,
            report=report,
        )
        return (one["pictures"] for one in made)


@contextmanager
def open_pictures(config: Config, pipeline: "DecodingPipeline", workers: Workers, job: str) -> Iterator[Pictures]:
    """Open the pool that makes a job's pictures; `open_makers` documents the parameters."""
    own = PictureMaker(pipeline)
    with open_makers(config, pipeline, workers, job, PictureMaker.load, own) as (pool, checkpoint, engine):
        yield Pictures(pool, checkpoint, engine)


class Maker(Protocol):
    """A tool that makes pictures, and says what they depend on."""

    def facts(self) -> dict[str, str]:
        """Return what the results depend on beside the settings, with the `engine` among it."""
        ...


@contextmanager
def open_makers(
    config: Config,
    pipeline: "DecodingPipeline",
    workers: Workers,
    job: str,
    load: "Callable[[PipelineSettings], Maker]",
    own: Maker,
    inputs: Sequence[Array] = (),
) -> Iterator[tuple[Pool, Checkpoint, str]]:
    """Open the pool of a job's tools, which make pictures with the pipeline's model, engine and preset.

    Results are kept in the data folder's `unfinished` until the job is done.

    Parameters
    ----------
    job : str
        Begins the name of the folder of kept results, such as "decode_sub-01".
    load : callable that can be pickled
        Loads the tool in a worker.
    own : Maker
        The tool of this process.
    inputs : sequence of arrays
        What results depend on beside the tool's facts and the preset.

    Returns
    -------
    opened : (Pool, Checkpoint, str)
        The pool, the checkpoint of its results, and the engine.

    Raises
    ------
    BraindError
        If a worker cannot load the tool, or would make other pictures.
    """
    # An engine that each worker chose for itself could be another one.
    chosen = "onnx" if pipeline.reconstructor.engine.name.startswith("onnx") else "torch"
    settings = msgspec.structs.replace(pipeline_settings(on_every_node(config)), engine=chosen)
    with open_pool(workers, partial(load, settings), lambda: own) as pool:
        here, facts = own.facts(), pool.facts()
        engine = check_one_kind(facts, "engine")
        check_alike(facts, {name: here[name] for name in here if name != "engine"})
        made_by = {name: value for name, value in sorted(facts[0].items()) if name not in ("node", "process")}
        described = msgspec.json.encode([made_by, pipeline.settings.preset])
        work = data_path(config) / "unfinished"
        checkpoint = Checkpoint.of_inputs(work, list(inputs), described, prefix=f"{job}-")
        yield pool, checkpoint, engine
        checkpoint.drop()
