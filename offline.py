"""What is done without a scanner: simulating, fitting, decoding recorded trials, evaluating.

Here the client's reading of NSD meets the models' mathematics, which know nothing of each other.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from itertools import permutations, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from . import __version__
from .client.config import Config, candidates_path, nsd_path, weights_path
from .client.nsd import NsdTree, Trials
from .errors import BraindError
from .models.candidates import Candidates
from .models.roi import union_index
from .models.weights import Weights, WeightsCard

if TYPE_CHECKING:
    from .models.evaluate import HeldOut
    from .models.ldm import LatentDiffusionModel
    from .models.reconstruct import Mode, Reconstructor

Array = NDArray[Any]
log = logging.getLogger(__name__)

ENCODED_AT_ONCE = 256  # pictures; NSD's own weigh 0.5 MB each


class OfflineError(BraindError):
    """A request that the data cannot answer."""

    code = "offline"


def ensure_tree(config: Config) -> NsdTree:
    """Return the NSD tree of the settings, simulating it first when none is set and none is there."""
    root = nsd_path(config)
    if not config.paths.nsd and not (root / "simulated.json").is_file():
        simulate_tree(config, [1, 2], root)
    return NsdTree(root)


def simulate_tree(config: Config, subjects: list[int], root: Path) -> None:
    """Write the simulated subjects' tree."""
    from .models.demo.nsd_tree import simulate

    with _progress("simulating") as report:
        simulate(root, subjects, progress=report)


def picture_size_of_z(ldm: "LatentDiffusionModel", profile: str) -> int:
    """Return the side, in px, of the pictures that a profile's z encodes."""
    from .models.profiles import profile_with

    share = profile_with(profile).z_share
    return round(ldm.picture_px * share / ldm.factor) * ldm.factor


def fit_subject(config: Config, subject: int) -> Path:
    """Fit a subject's weights on all trials of pictures that are not shared; return the weights' path.

    Writes the candidate set (the shared pictures) and a model card beside them.
    """
    from .models.fit import fit_weights, model_card, profile_named

    tree, ldm = ensure_tree(config), load_ldm(config)
    voxel_index, z_positions, c_positions = union_index(
        tree.roi_mask(subject, list(config.fit.z_rois)), tree.roi_mask(subject, list(config.fit.c_rois))
    )
    trials = tree.trials(subject)
    trained = ~trials.is_shared
    picture_ids, picture_of_trial = np.unique(trials.nsd_id[trained], return_inverse=True)
    z_px = picture_size_of_z(ldm, config.decode.profile)
    z, c = encode_targets(tree, ldm, picture_ids, z_px)
    with _progress("reading betas"):
        voxels = tree.masked_betas(subject, [int(session) for session in np.unique(trials.session)], voxel_index)[
            trained
        ]
    card = WeightsCard(
        subject=subject,
        shape=tree.shape(subject),
        affine=tuple(tuple(row) for row in tree.affine(subject).tolist()),
        z_rois=tuple(config.fit.z_rois),
        c_rois=tuple(config.fit.c_rois),
        ldm=ldm.fingerprint,
        latent_shape=z.shape[1:],
        text_shape=c.shape[1:],
        simulated=tree.is_simulated(),
        nsd=tree.root.name,
        version=__version__,
    )
    with _progress("fitting") as report:
        weights = fit_weights(
            voxels, z_positions, c_positions, voxel_index, picture_of_trial, z, c, card,
            profile=replace(profile_named(config.decode.profile), folds=config.fit.folds),
            max_discarded_variance=config.fit.max_discarded_variance,
            progress=lambda target, done, total: report(f"fitting {target}", done, total),
        )  # fmt: skip
    path = weights_path(config, subject)
    weights.save(path)
    path.with_suffix(".md").write_text(model_card(weights))
    shared_ids = np.unique(trials.nsd_id[trials.is_shared])
    shared_z, shared_c = encode_targets(tree, ldm, shared_ids, z_px)
    labels = [tree.captions(int(nsd_id))[0] for nsd_id in shared_ids]
    Candidates(shared_z, shared_c, shared_ids, labels).save(candidates_path(config, subject))
    return path


def load_ldm(config: Config) -> "LatentDiffusionModel":
    """Load the latent diffusion model of the settings."""
    from .models.ldm import LatentDiffusionModel

    return LatentDiffusionModel.load(Path(config.paths.ldm).expanduser() if config.paths.ldm else None)


def encode_targets(tree: NsdTree, ldm: "LatentDiffusionModel", nsd_ids: Array, z_px: int) -> tuple[Array, Array]:
    """Encode pictures and their captions: z (n, *latent_shape) and c (n, *text_shape), float32."""
    z, c = [], []
    with _progress("encoding pictures") as report:
        for start in range(0, len(nsd_ids), ENCODED_AT_ONCE):
            chunk = nsd_ids[start : start + ENCODED_AT_ONCE]
            z.append(ldm.encode_pictures(tree.pictures(chunk), z_px))
            c.append(ldm.encode_captions([tree.captions(int(nsd_id)) for nsd_id in chunk]))
            report("encoding pictures", start + len(chunk), len(nsd_ids))
    return np.concatenate(z), np.concatenate(c)


@dataclass(frozen=True)
class Decoder:
    """Everything that decodes one subject's trials offline."""

    config: Config
    subject: int
    tree: NsdTree
    weights: Weights
    ldm: "LatentDiffusionModel"
    reconstructor: "Reconstructor"

    @classmethod
    def load(cls, config: Config, subject: int) -> "Decoder":
        """Load weights and model, fitting first when the subject has no weights."""
        from .models.profiles import profile_with
        from .models.reconstruct import Reconstructor

        tree, ldm = ensure_tree(config), load_ldm(config)
        path = weights_path(config, subject)
        if not path.is_file():
            fit_subject(config, subject)
        weights = Weights.load(path)
        weights.check_ldm(ldm.fingerprint)
        weights.check_volume(tree.shape(subject), tree.affine(subject))
        decode = config.decode
        profile = profile_with(
            decode.profile,
            strength=decode.strength,
            guidance_scale=decode.guidance_scale,
            num_inference_steps=decode.num_inference_steps,
        )
        return cls(config, subject, tree, weights, ldm, Reconstructor(ldm, profile, decode.seed))

    @cached_property
    def test_trials(self) -> Trials:
        """Return the trials of shared pictures, in the order they were seen."""
        trials = self.tree.trials(self.subject)
        return trials.of(trials.is_shared)

    @cached_property
    def test_voxels(self) -> Array:
        """Return the test trials' voxels: (n_trials, n_voxels) float32, % signal change."""
        trials = self.tree.trials(self.subject)
        sessions = [int(session) for session in np.unique(trials.session)]
        return self.tree.masked_betas(self.subject, sessions, self.weights.voxel_index)[trials.is_shared]

    def provenance(self) -> dict[str, Any]:
        """Return what made a picture: enough to make it again."""
        return {
            "subject": self.subject,
            "simulated": self.weights.card.simulated,
            "weights": self.weights.fingerprint,
            "ldm": self.ldm.fingerprint,
            "denoiser": self.ldm.denoiser_fingerprint,
            "config": hashlib.sha256(msgspec.json.encode([self.config.decode, self.config.fit])).hexdigest()[:12],
            "profile": msgspec.to_builtins(self.reconstructor.profile),
            "seed": self.reconstructor.seed,
            "engine": self.reconstructor.engine,
            "versions": {"braind": __version__, **{name: version(name) for name in ("torch", "diffusers", "numpy")}},
        }


def ready_weights(config: Config, subject: int) -> Path:
    """Return the path of weights that fit the settings' model, fitting when they are missing or of another model."""
    path = weights_path(config, subject)
    try:
        Weights.load(path).check_ldm(_fingerprint(config))
        Candidates.load(candidates_path(config, subject))
    except BraindError as reason:
        log.info("fitting subject %d: %s", subject, reason)
        fit_subject(config, subject)
    return path


def _fingerprint(config: Config) -> str:
    from .models.fingerprint import EMBEDDED_LDM_PATH, meaning_fingerprint

    return meaning_fingerprint(Path(config.paths.ldm).expanduser() if config.paths.ldm else EMBEDDED_LDM_PATH)


def decode_trials(
    config: Config, subject: int, trials: str, mode: "Mode", out: Path, *, averaged: bool = False, sheet: bool = True
) -> list[Path]:
    """Make pictures of test trials: a PNG and a JSON sidecar each, and a sheet of seen, z, c and zc.

    Parameters
    ----------
    trials : "all", or positions among the test trials (or, averaged, among the test pictures): "0,3,10-19", "0:8"
    averaged : decode means of a picture's repeats
    """
    from PIL import Image

    from .models.evaluate import average_repeats
    from .models.sheets import contact_sheet

    decoder = Decoder.load(config, subject)
    test = decoder.test_trials
    if averaged:
        picture_ids, picture_of_trial = np.unique(test.nsd_id, return_inverse=True)
        voxels, _ = average_repeats(decoder.test_voxels, picture_of_trial)
        names = [f"sub-{subject:02d}_nsd-{nsd_id:05d}_desc-averaged" for nsd_id in picture_ids]
    else:
        voxels, picture_ids = decoder.test_voxels, test.nsd_id
        names = [
            f"sub-{subject:02d}_ses-{session:02d}_run-{run:02d}_trial-{trial:02d}_desc-single"
            for session, run, trial in zip(test.session, test.run, test.trial_in_run, strict=True)
        ]
    chosen = parse_positions(trials, len(voxels))
    seen = decoder.tree.pictures(picture_ids[chosen])
    out.mkdir(parents=True, exist_ok=True)
    columns, paths = [], []
    with _progress("decoding") as report:
        for n, position in enumerate(chosen):
            (z,), (c,) = decoder.weights.predict(voxels[position : position + 1])
            wanted: tuple[Mode, ...] = ("z", "c", "zc") if sheet else (mode,)
            pictures = {kind: decoder.reconstructor.picture(z, c, kind) for kind in wanted}
            columns.append([seen[n], *(pictures[kind] for kind in wanted)])
            path = out / f"{names[position]}_mode-{mode}_decode.png"
            Image.fromarray(pictures[mode]).save(path)
            nsd_id = int(picture_ids[position])
            sidecar = {"mode": mode, "position": int(position), "nsd_id": nsd_id, "averaged": averaged,
                       "caption": decoder.tree.captions(nsd_id)[0], **decoder.provenance()}  # fmt: skip
            path.with_suffix(".json").write_text(json.dumps(sidecar, indent=2, ensure_ascii=False) + "\n")
            paths.append(path)
            report("decoding", n + 1, len(chosen))
    if sheet:
        title = f"subject {subject}, {'averaged repeats' if averaged else 'single trials'}, {config.decode.profile}"
        path = out / f"sub-{subject:02d}_desc-{'averaged' if averaged else 'single'}_sheet.png"
        contact_sheet(columns, ["seen", "z", "c", "zc"], title, decoder.weights.card.simulated).save(path)
        paths.append(path)
    return paths


def parse_positions(text: str, n: int) -> Array:
    """Read "all", "0,3,10-19" (both ends in) or "0:8" (end out) into positions below n."""
    if text == "all":
        return np.arange(n)
    positions: list[int] = []
    try:
        for part in text.split(","):
            if ":" in part:
                start, _, stop = part.partition(":")
                positions += range(int(start or 0), int(stop or n))
            else:
                first, _, last = part.partition("-")
                positions += range(int(first), int(last or first) + 1)
    except ValueError:
        raise OfflineError(f"trials {text!r}: give all, numbers and ranges, such as 0,3,10-19 or 0:8") from None
    outside = [position for position in positions if not 0 <= position < n]
    if outside or not positions:
        raise OfflineError(f"trials {text!r}: there are {n}, numbered 0 to {n - 1}")
    return np.array(positions)


def held_out_of(decoder: Decoder) -> "HeldOut":
    """Return the subject's test trials with all that they are scored against."""
    from .models.evaluate import HeldOut

    picture_ids, picture_of_trial = np.unique(decoder.test_trials.nsd_id, return_inverse=True)
    z_px = decoder.weights.card.latent_shape[1] * decoder.ldm.factor
    z, c = encode_targets(decoder.tree, decoder.ldm, picture_ids, z_px)
    novel = np.isin(picture_ids, decoder.tree.novel_kind_ids())
    pictures = decoder.tree.pictures(picture_ids)
    kinds = [_kind_in(decoder.tree.captions(int(nsd_id))[0]) for nsd_id in picture_ids]
    return HeldOut(decoder.test_voxels, picture_of_trial, pictures, z, c, kinds, novel)


def evaluate_subject(
    config: Config, subject: int, as_json: bool = False, max_trials_per_picture: int | None = None
) -> dict[str, Any]:
    """Score a subject's decoder on all test pictures; prints a table on stderr unless JSON is wanted."""
    from .models.clip import PictureClip
    from .models.evaluate import evaluate

    decoder = Decoder.load(config, subject)
    clip = PictureClip()
    names, captions = kind_captions()
    texts = clip.embed_texts(captions)
    with _progress("evaluating") as report:
        scores = evaluate(
            decoder.weights,
            held_out_of(decoder),
            decoder.reconstructor.picture,
            clip.embed,
            lambda pictures: clip.name_objects(pictures, names, texts),
            max_trials_per_picture=max_trials_per_picture,
            progress=report,
        )
    scores["provenance"] = decoder.provenance()
    if not as_json:
        _print_scores(scores)
    return scores


def kind_captions() -> tuple[list[str], list[str]]:
    """Return every caption of the demo's objects, over sizes, places and colours: (names, captions), a row each."""
    from .models.demo.scenes import COLOURS, KINDS, PLACES, SIZES

    rows = [
        (kind, f"a {size} {kind} at the {place} , {above} above {below}")
        for kind, size, place in product(KINDS, SIZES, PLACES)
        for above, below in permutations(COLOURS, 2)
    ]
    return [kind for kind, _ in rows], [caption for _, caption in rows]


def _kind_in(caption: str) -> str:
    from .models.demo.scenes import KINDS

    return next((word for word in caption.split() if word in KINDS), "")


def _print_scores(scores: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{scores['n_pictures']} held-out pictures" + (
        ", SIMULATED" if scores["provenance"]["simulated"] else ""))  # fmt: skip
    names = ("clip_two_way", "pixcorr", "ssim", "object_named")
    for column in ("", *names):
        table.add_column(column)
    rows = [(f"{part} {mode}", scores[part][mode]) for part in ("single", "averaged") for mode in ("zc", "z", "c")]
    rows += [(f"control: {name}", control) for name, control in scores["controls"].items()]
    for name, row in rows:
        table.add_row(
            name, *(f"{row[n]['mean']:.3f} [{row[n]['ci95'][0]:.3f}, {row[n]['ci95'][1]:.3f}]" for n in names)
        )
    Console().print(table)


@contextmanager
def _progress(words: str) -> Iterator[Callable[[str, int, int], None]]:
    """Show a progress bar on stderr when it is a terminal; yields `report(words, done, total)`."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(words, total=None)
        yield lambda now, done, total: bar.update(task, description=now, completed=done, total=total)
