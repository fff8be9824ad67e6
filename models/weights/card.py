"""What decoder weights were fitted on and how well they do: the card in their file."""

from typing import Literal

import msgspec

from ...errors import BraindError
from ..session_scaling import ZScore

SCHEMA = 2


class WeightsError(BraindError):
    """A weights file that cannot be used, or a volume or LDM that is not the one the weights were fitted for."""

    code = "weights"


class WeightsCard(msgspec.Struct, frozen=True, kw_only=True):
    """What the weights were fitted on and how well they do.

    The first block is known before the fit; `models/fit.py` fills in the second. `shape` is (X, Y, Z); `latent_shape`
    and `text_shape` are one picture's z and c; `alphas_*` are the smallest, median and largest chosen penalty;
    `discarded_*` is the share of the predicted variance lost by the low rank; `scores` are cross-validated, single
    trials, fractions. `estimates` says which single-trial responses were taken, `z_score` how they were scaled within
    their session: voxels must come scaled so. `fitted_on` says, of kind bold, which responses stand for those to come,
    and `tr_s` how long a volume took. `captioner` names the model that wrote captions of pictures that had none.
    """

    subject: int
    shape: tuple[int, int, int]
    affine: tuple[tuple[float, float, float, float], ...]
    z_rois: tuple[str, ...]
    c_rois: tuple[str, ...]
    ldm: str
    latent_shape: tuple[int, int, int]
    text_shape: tuple[int, int]
    simulated: bool
    nsd: str = ""
    version: str = ""
    kind: Literal["beta", "bold"] = "beta"
    estimates: str = ""
    sessions: str = ""
    z_score: ZScore = "none"
    captioner: str = ""

    profile: str = ""
    folds: int = 0
    n_trials: int = 0
    n_pictures: int = 0
    alphas_z: tuple[float, float, float] = (0.0, 0.0, 0.0)
    alphas_c: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rank_z: int = 0
    rank_c: int = 0
    discarded_z: float = 0.0
    discarded_c: float = 0.0
    scores: dict[str, float] = {}
    fitted_on: str = ""
    tr_s: float | None = None
    mask_sha256: str = ""
    schema: int = SCHEMA


def read_card(metadata: dict[str, str]) -> WeightsCard:
    """Return the card of a safetensors file's metadata (`WeightsError` if it is none of this schema)."""
    card = metadata.get("card", "")
    try:
        schema = msgspec.json.decode(card).get("schema")
        if schema != SCHEMA:
            raise WeightsError(f"weights of schema {schema}, this braind reads {SCHEMA}; fit again with braind fit")
        return msgspec.json.decode(card, type=WeightsCard)
    except (msgspec.DecodeError, AttributeError) as error:
        raise WeightsError(f"holds no card of braind weights ({error}); make it with braind fit") from error
