"""What can be said of weights, candidates and LDM before a model is loaded: whether they are there and fit together."""

from pathlib import Path

from ..errors import BraindError
from ..models.fingerprint import EMBEDDED_LDM_PATH, meaning_fingerprint
from ..models.weights import Weights


def load_weights(subject: int, weights_path: Path, candidates_path: Path, ldm_path: Path | None) -> Weights:
    """Return the weights, if they are the subject's and belong to the LDM (None: the embedded one).

    Raises
    ------
    BraindError
        Naming the file that is missing or does not fit, and what to do.
    """
    ldm_path = ldm_path or EMBEDDED_LDM_PATH
    for path in (weights_path, candidates_path):
        if not path.is_file():
            raise BraindError(f"{path} is missing; make it with `braind fit --subject {subject}`", code="weights")
    weights = Weights.load(weights_path)
    weights.check_subject(subject)
    weights.check_live()
    if not (ldm_path / "model_index.json").is_file():
        raise BraindError(
            f"{ldm_path / 'model_index.json'} is missing: give a diffusers folder, such as one of Stable Diffusion 1.5",
            code="ldm",
        )
    weights.check_ldm(meaning_fingerprint(ldm_path))
    return weights
