"""The card of a weights file: the training data, the fit's settings and its scores."""

import msgspec

from ...choices import Kind, ZScore
from ...errors import BraindError

SCHEMA = 2


class WeightsError(BraindError):
    """A weights file cannot be used, or a volume or LDM does not match the weights."""

    code = "weights"


class WeightsCard(msgspec.Struct, frozen=True, kw_only=True):
    """The training data, the fit's settings and its scores.

    The first block is known before the fit; `models/fit.py` fills in the second. `shape` is (X, Y, Z). `latent_shape`
    and `text_shape` are the shapes of one picture's z and c. `alphas_*` are the smallest, median and largest chosen
    penalty. `discarded_*` is the share of the predicted variance that the low rank loses. `scores` are cross-validated
    fractions for single trials. `estimates` names the version of the single-trial responses. `z_score` is their scaling
    within their session; voxels to decode need the same scaling. For kind bold, `fitted_on` names the training
    responses and `tr_s` is the TR. `captioner` names the model that wrote missing captions. `labels` are the classes,
    in the order of the label map's targets. `test_runs` are the runs that the fit left out. `prior_runs` are the runs,
    (session, run), that the BOLD prior was learned from: their trials must not be scored.
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
    kind: Kind = "beta"
    estimates: str = ""
    sessions: str = ""
    z_score: ZScore = "none"
    captioner: str = ""
    labels: tuple[str, ...] = ()
    test_runs: str = ""
    prior_runs: tuple[tuple[int, int], ...] = ()

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
    """Return the card in a safetensors file's metadata. Raises WeightsError for a missing card or another schema."""
    card = metadata.get("card", "")
    try:
        schema = msgspec.json.decode(card).get("schema")
        if schema != SCHEMA:
            raise WeightsError(f"weights of schema {schema}, this braind reads {SCHEMA}; fit again with braind fit")
        return msgspec.json.decode(card, type=WeightsCard)
    except (msgspec.DecodeError, AttributeError, RecursionError) as error:
        raise WeightsError(
            f"no weights file: it holds no card of braind weights ({error}); give a file that `braind fit` wrote"
        ) from error
