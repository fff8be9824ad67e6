"""A simulated subject's noise-free responses to pictures.

Early visual voxels see the picture through receptive fields. The other visual voxels mix what the scene means (which
object, its category, size, place and colours) with some of what it looks like. Nothing here knows of a decoder: no
voxel is computed from a latent, an embedding or any trained network. docs/simulation.md tells the whole.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from ....arrays import Array
from ..kinds import CATEGORIES, KINDS
from ..scenes import COLOURS, PLACES, Scene
from .anatomy import STREAMS, Anatomy
from .receptive_fields import draw_receptive_fields, see
from .seeds import generator

N_OBJECT_DIMENSIONS = 40
CATEGORY_SHARE = 0.5  # variance of the object space that kinds of one category share
EXEMPLAR_SHARE = 0.44  # of the object variance: differs between pictures of one kind, the same at repeats
OBJECT_SPECTRUM = 1.0  # the k-th dimension of the object space has the variance k ** -OBJECT_SPECTRUM
LOW_LEVEL_PX = 4  # the look that leaks into higher voxels: channels on a grid of 4 x 4
TUNING_SMOOTHNESS = 0.7  # voxels; neighbours share part of their tuning
ACTIVE_SHARE = 0.25  # of a region's voxels, for each attribute: voxels that respond to it
BATCH_PICTURES = 250
SIGNAL_SD = 0.6  # % signal change, median over voxels; NSD's is near
MEAN_RESPONSE = 1.2  # % signal change


@dataclass(frozen=True)
class Mixture:
    """Strength of a region's responses to each attribute: relative standard deviations."""

    object: float
    size: float
    place: float
    colour: float
    position: float
    look: float


# The attributes that each region responds to, after the two-streams literature: objects ventrally, places dorsally.
MIXTURES = {
    "midventral": Mixture(object=0.8, size=0.3, place=0.3, colour=0.5, position=0.2, look=0.9),
    "ventral": Mixture(object=1.0, size=0.35, place=0.35, colour=0.3, position=0.1, look=0.3),
    "midlateral": Mixture(object=0.7, size=0.4, place=0.4, colour=0.2, position=0.2, look=0.8),
    "lateral": Mixture(object=0.9, size=0.4, place=0.4, colour=0.1, position=0.15, look=0.3),
    "midparietal": Mixture(object=0.3, size=0.5, place=0.7, colour=0.1, position=0.5, look=0.7),
    "parietal": Mixture(object=0.4, size=0.5, place=0.8, colour=0.1, position=0.5, look=0.3),
}


def evoked_responses(
    anatomy: Anatomy, scenes: list[Scene], pictures: Callable[[slice], Array], seed: int, subject: int
) -> Array:
    """Compute every voxel's noise-free response to every scene.

    Parameters
    ----------
    anatomy : Anatomy
    scenes : list of n_pictures scenes
    pictures : function
        Gives the rendered pictures of a slice of the scenes, (n, px, px, 3) uint8.
    seed, subject : int
        The object space follows from the seed alone and is common to all subjects, the voxels from both.

    Returns
    -------
    evoked : array of shape (n_pictures, n_voxels), float32
        Standardised over the scenes: mean 0 and standard deviation 1 for visual voxels, 0 for all others. Voxels are
        the brain's, in the order of `anatomy.voxel_index`.
    """
    drivers = draw_drivers(anatomy, scenes, pictures, seed, subject)
    evoked = np.zeros((len(scenes), len(drivers.streams)), np.float32)
    evoked[:, drivers.streams == STREAMS["early"]] = drivers.early
    for region in MIXTURES:
        evoked[:, drivers.streams == STREAMS[region]] = _mixed_responses(drivers, region)
    return evoked


@dataclass(frozen=True, eq=False)
class Drivers:
    """The drive of a subject's voxels.

    Parameters
    ----------
    streams : array of shape (n_voxels,), int
        Each voxel's region.
    early : array of shape (n_pictures, n_early), float32
        Responses of the early voxels, standardised.
    attributes : name → array of shape (n_pictures, n_dimensions)
        What the others answer to, the look of the picture among it.
    tuning : name → array of shape (n_dimensions, n_voxels)
    """

    streams: Array
    early: Array
    attributes: dict[str, Array]
    tuning: dict[str, Array]

    def parts(self, region: str) -> Iterator[tuple[str, Array]]:
        """Yield each attribute's name and its share of the drive of a region's voxels, (n_pictures, n_voxels)."""
        voxels = self.streams == STREAMS[region]
        for name, strength in asdict(MIXTURES[region]).items():
            part = self.attributes[name] @ self.tuning[name][:, voxels]
            # scaled by the attribute's spread over the whole region, so that voxels differ in selectivity
            yield name, strength * part / max(float(part.std()), 1e-6)


def draw_drivers(
    anatomy: Anatomy, scenes: list[Scene], pictures: Callable[[slice], Array], seed: int, subject: int
) -> Drivers:
    """Draw the drive of a subject's voxels; parameters as in `evoked_responses`."""
    rng = generator(seed, f"subject {subject}: voxels")
    early, look = _early_responses(anatomy, len(scenes), pictures, rng)
    attributes = {**scene_attributes(scenes, seed, subject), "look": _standardise(look)}
    tuning = _draw_tuning(anatomy, {name: values.shape[1] for name, values in attributes.items()}, rng)
    return Drivers(anatomy.streams.flat[anatomy.voxel_index], early, attributes, tuning)


def scene_attributes(scenes: list[Scene], seed: int, subject: int) -> dict[str, Array]:
    """Return the scenes' attributes for a subject: name → (n_pictures, n_dimensions), standardised over scenes."""
    spread = np.arange(1, N_OBJECT_DIMENSIONS + 1) ** (-OBJECT_SPECTRUM / 2)
    kinds = np.array([KINDS.index(scene.kind) for scene in scenes])
    of_kind = _object_space(generator(seed, "object space"))[kinds]
    of_picture = generator(seed, f"subject {subject}: exemplars").normal(0, 1, of_kind.shape)
    objects = np.sqrt(1 - EXEMPLAR_SHARE) * of_kind + np.sqrt(EXEMPLAR_SHARE) * of_picture
    colours = np.array([[COLOURS[scene.above], COLOURS[scene.below]] for scene in scenes])
    attributes = {
        "object": objects * spread,
        "size": np.array([[scene.extent] for scene in scenes]),
        "place": np.array([np.eye(len(PLACES))[list(PLACES).index(scene.place)] for scene in scenes]),
        "colour": colours.reshape(len(scenes), -1),
        "position": np.array([[scene.x, scene.y] for scene in scenes]),
    }
    return {name: values if name == "object" else _standardise(values) for name, values in attributes.items()}


def _object_space(rng: np.random.Generator) -> Array:
    """Place every kind in a graded object space; kinds of one category lie close together: (n_kinds, 40)."""
    categories = rng.normal(0, 1, (len(CATEGORIES), N_OBJECT_DIMENSIONS))
    kinds = rng.normal(0, 1, (len(KINDS), N_OBJECT_DIMENSIONS))
    n_in_category = len(KINDS) // len(CATEGORIES)
    shared = np.repeat(categories, n_in_category, axis=0)
    return np.sqrt(CATEGORY_SHARE) * shared + np.sqrt(1 - CATEGORY_SHARE) * kinds


def _early_responses(
    anatomy: Anatomy, n_pictures: int, pictures: Callable[[slice], Array], rng: np.random.Generator
) -> tuple[Array, Array]:
    """Return the early voxels' standardised responses, and the look of each picture on a coarse grid."""
    fields = draw_receptive_fields(anatomy, rng)
    responses, looks = [], []
    for start in range(0, n_pictures, BATCH_PICTURES):
        channels = see(pictures(slice(start, min(start + BATCH_PICTURES, n_pictures))))
        responses.append(fields.pool(channels))
        n, n_channels, px, _ = channels.shape
        block = px // LOW_LEVEL_PX
        coarse = channels.reshape(n, n_channels, LOW_LEVEL_PX, block, LOW_LEVEL_PX, block).mean((3, 5))
        looks.append(np.sqrt(coarse.reshape(n, -1)))
    return _standardise(np.concatenate(responses)), np.concatenate(looks)


def _draw_tuning(anatomy: Anatomy, n_dimensions: dict[str, int], rng: np.random.Generator) -> dict[str, Array]:
    """Draw the voxels' tuning: attribute → (n_dimensions, n_voxels), sparse, smooth over cortex."""
    tuning = {}
    for name, n in n_dimensions.items():
        fields = rng.standard_normal((n, *anatomy.shape), dtype=np.float32)
        smooth = gaussian_filter(fields, (0, *[TUNING_SMOOTHNESS] * 3))[:, anatomy.brainmask]
        smooth /= smooth.std()
        threshold = np.quantile(np.abs(smooth), 1 - ACTIVE_SHARE)
        tuning[name] = np.sign(smooth) * np.maximum(np.abs(smooth) - threshold, 0)
    return tuning


def _mixed_responses(drivers: Drivers, region: str) -> Array:
    """Respond to attributes through a region's mixture and a compressive non-linearity, standardised."""
    drive = np.zeros((len(drivers.early), int((drivers.streams == STREAMS[region]).sum())), np.float32)
    for _, part in drivers.parts(region):
        drive += part
    drive = _standardise(drive)
    # no signal below the resting level, and less than twice the response to twice the drive
    return _standardise(np.log1p(np.exp(1.5 * drive)) ** 0.6)


def _standardise(values: Array) -> Array:
    spread = values.std(0)
    spread[spread == 0] = 1
    return ((values - values.mean(0)) / spread).astype(np.float32)
