"""Decodes recorded trials offline, for `braind decode`, `braind evaluate` and `braind report`."""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from .. import __version__
from ..arrays import Array
from ..choices import Mode
from ..client.datasets.data_set import DataSet, Trials
from ..config import Config, weights_path
from ..errors import BraindError
from ..models.weights.weights import Weights
from .data_sets import check_estimates, check_test_runs, data_set_of, kind_of
from .fit.bold import is_of_runs
from .fit.subject import fit_subject
from .fit.trials import read_trials
from .from_settings import pipeline_settings
from .pictures import PictureRequest, open_pictures
from .progress import progress_bar
from .typography import number
from .workers import ONE_PROCESS, Workers

if TYPE_CHECKING:
    from ..models.ldm.model import LatentDiffusionModel
    from ..models.ldm.reconstruct import Reconstructor
    from ..models.pipeline.decoding_pipeline import DecodingPipeline


class DecodingError(BraindError):
    """The named trials do not exist, or no held-out trial can be decoded."""

    code = "trials"


@dataclass(frozen=True)
class SubjectDecoder:
    """Decodes one subject's recorded trials, with a data set, weights and a pipeline that match."""

    config: Config
    subject: int
    tree: DataSet
    weights: Weights
    pipeline: "DecodingPipeline"

    @classmethod
    def load(cls, config: Config, subject: int) -> "SubjectDecoder":
        """Load weights and pipeline; a subject without weights is fitted first.

        Raises
        ------
        BraindError
            If weights, data set and model do not match, or one of them cannot be read.
        """
        from ..models.pipeline.decoding_pipeline import DecodingPipeline

        tree, settings = data_set_of(config), pipeline_settings(config)
        path = weights_path(config, subject, kind_of(tree))
        if not path.is_file():
            fit_subject(config, subject)
        weights = Weights.load(path).with_c_decoder(config.decode.c_decoder)
        check_estimates(weights.card, tree)
        check_test_runs(weights.card, config)
        weights.check_volume(tree.shape(subject), tree.affine(subject))
        return cls(config, subject, tree, weights, DecodingPipeline.load(settings, weights))

    @property
    def ldm(self) -> "LatentDiffusionModel":
        """Return the latent diffusion model."""
        return self.pipeline.ldm

    @property
    def reconstructor(self) -> "Reconstructor":
        """Return the reconstructor of the settings' preset and seed."""
        return self.pipeline.reconstructor

    @cached_property
    def test_trials(self) -> Trials:
        """Return the held-out trials that show a picture, in the order of presentation.

        Trials of runs that the BOLD prior was learned from are left out.
        """
        return self._test[0]

    @cached_property
    def test_voxels(self) -> Array:
        """Return the test trials' voxels, scaled as in the fit: (n_trials, n_voxels) float32."""
        return self._test[1]

    @cached_property
    def _test(self) -> tuple[Trials, Array]:
        trials, voxels = self.read_trials()
        held_out = is_held_out(self.weights, trials) & trials.has_picture
        return trials.of(held_out), voxels[held_out]

    def read_trials(self) -> tuple[Trials, Array]:
        """Read all trials that have a response, and their voxels, scaled as in the fit: (n_trials, n_voxels)."""
        card = self.weights.card
        return read_trials(self.tree, self.subject, self.weights.voxel_index, card.z_score, self.weights.bold_prior)

    def provenance(self, engine: str = "") -> dict[str, Any]:
        """Return a picture's provenance: everything that is needed to reproduce the picture.

        Parameters
        ----------
        engine : str
            Description of the engine; by default the engine of the decoder's own pipeline.
        """
        return {
            "subject": self.subject,
            "simulated": self.weights.card.simulated,
            "weights": self.weights.fingerprint,
            "ldm": self.ldm.fingerprint,
            "denoiser": self.reconstructor.networks.fingerprint,
            "config": hashlib.sha256(msgspec.json.encode([self.config.decode, self.config.fit])).hexdigest()[:12],
            "c_decoder": self.weights.c_decoder,
            "preset": msgspec.to_builtins(self.reconstructor.preset),
            "seed": self.reconstructor.seed,
            "engine": engine or self.reconstructor.engine_words,
            "versions": {"braind": __version__, **{name: version(name) for name in ("torch", "diffusers", "numpy")}},
        }


def is_held_out(weights: Weights, trials: Trials) -> Array:
    """Return which trials are held out, and of no run that the BOLD prior was learned from: (n_trials,) bool.

    Raises
    ------
    DecodingError
        If all held-out trials are of such runs.
    """
    held_out = trials.is_shared & ~is_of_runs(trials, weights.card.prior_runs)
    if not held_out.any():
        raise DecodingError(
            "every held-out trial is of a run that the BOLD prior was learned from: hold out runs with --test-runs and "
            "fit again, or take more runs"
            if trials.is_shared.any()
            else "no trial is held out: hold out runs with --test-runs and fit again"
        )
    return held_out


def decode_trials(
    config: Config,
    subject: int,
    trials: str,
    mode: Mode,
    out: Path,
    *,
    averaged: bool = False,
    sheet: bool = True,
    workers: Workers = ONE_PROCESS,
) -> list[Path]:
    """Decode test trials into PNG files with JSON sidecars, and write a sheet of seen, z, c and zc.

    The sheet names each trial and shows the PixCorr of its seen picture and zc.

    Parameters
    ----------
    trials : str
        "all", or positions such as "0,3,10-19" or "0:8" among the test trials. With `averaged`, positions among the
        test pictures.
    averaged : bool
        Decode the mean of each picture's repeats.
    workers : Workers
        Make the pictures. An interrupted attempt's pictures are not made again.

    Raises
    ------
    DecodingError
        If the positions cannot be read, or a position does not exist.
    """
    from PIL import Image

    from ..models.scores.held_out import average_repeats
    from ..models.scores.metrics import pixcorr
    from ..models.scores.protocols import measured_pixels
    from ..models.sheets import Column, contact_sheet

    def positions(test: Trials) -> Array:
        if not len(test):
            raise DecodingError(f"subject {subject} has no held-out trial that shows a picture: no picture is decoded")
        return parse_positions(trials, len(np.unique(test.nsd_id)) if averaged else len(test))

    # Wrong trials are refused before the model is loaded.
    of_subject = data_set_of(config).trials(subject)
    positions(of_subject.of(of_subject.is_shared & of_subject.has_picture))
    decoder = SubjectDecoder.load(config, subject)
    # A trial whose run ended too early has no response.
    test = decoder.test_trials
    chosen = positions(test)
    if averaged:
        picture_ids, picture_of_trial = np.unique(test.nsd_id, return_inverse=True)
        voxels, _ = average_repeats(decoder.test_voxels, picture_of_trial)
        of_pictures = zip(picture_ids, averaged_labels(picture_of_trial), strict=True)
        labels = [f"nsd-{nsd_id:05d}\n{words}" for nsd_id, words in of_pictures]
        names = [f"sub-{subject:02d}_nsd-{nsd_id:05d}_desc-averaged" for nsd_id in picture_ids]
    else:
        voxels, picture_ids = decoder.test_voxels, test.nsd_id
        labels = [words.replace(" trial", "\ntrial") for words in trial_labels(test)]
        names = [f"sub-{subject:02d}_{words.replace(' ', '_')}_desc-single" for words in trial_labels(test)]
    seen = decoder.tree.pictures(picture_ids[chosen])
    out.mkdir(parents=True, exist_ok=True)
    wanted: tuple[Mode, ...] = ("z", "c", "zc") if sheet else (mode,)
    columns, paths = [], []
    requests = []
    for position in chosen:
        (z,), (c,) = decoder.weights.predict(voxels[position : position + 1])
        requests.append(PictureRequest(z, c, tuple((kind, config.decode.seed) for kind in wanted)))
    with (
        open_pictures(config, decoder.pipeline, workers, f"decode_sub-{subject:02d}") as pictures_of,
        progress_bar("decoding") as report,
    ):
        provenance = decoder.provenance(pictures_of.engine)
        for n, made in enumerate(pictures_of.of(requests, "decoding", report)):
            position, pictures = chosen[n], dict(zip(wanted, made, strict=True))
            if sheet:
                score = pixcorr(measured_pixels(seen[n : n + 1]), measured_pixels(pictures["zc"][None]))[0]
                shown = [seen[n], *(pictures[kind] for kind in wanted)]
                columns.append(Column(shown, labels[position], f"PixCorr {number(score, '.2f')}"))
            path = out / f"{names[position]}_mode-{mode}_decode.png"
            Image.fromarray(pictures[mode]).save(path)
            nsd_id = int(picture_ids[position])
            sidecar = {"mode": mode, "position": int(position), "nsd_id": nsd_id, "averaged": averaged,
                       "caption": decoder.tree.captions(nsd_id)[0], **provenance}  # fmt: skip
            path.with_suffix(".json").write_text(json.dumps(sidecar, indent=2, ensure_ascii=False) + "\n")
            paths.append(path)
    if sheet:
        preset = decoder.reconstructor.preset.name
        title = f"subject {subject}, {'averaged repeats' if averaged else 'single trials'}, {preset}"
        title += ", c expected" if decoder.weights.c_decoder == "expected" else ""
        title += "; below: PixCorr of seen and zc"
        path = out / f"sub-{subject:02d}_desc-{'averaged' if averaged else 'single'}_sheet.png"
        contact_sheet(columns, ["seen", "z", "c", "zc"], title, decoder.weights.card.simulated).save(path)
        paths.append(path)
    return paths


def trial_labels(trials: Trials) -> list[str]:
    """Return the label of each trial, such as "ses-01 run-02 trial-03"."""
    numbers = zip(trials.session, trials.run, trials.trial_in_run, strict=True)
    return [f"ses-{session:02d} run-{run:02d} trial-{trial:02d}" for session, run, trial in numbers]


def averaged_labels(picture_of_trial: Array) -> list[str]:
    """Return the number of trials of each picture, such as "3 trials"; `picture_of_trial` is (n_trials,) int."""
    return [f"{n} trial{'s' if n > 1 else ''}" for n in np.bincount(picture_of_trial)]


def parse_positions(text: str, n: int) -> Array:
    """Parse "all", "0,3,10-19" (last included) or "0:8" (last excluded) into positions below n.

    Raises
    ------
    DecodingError
    """
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
        raise DecodingError(
            f"trials {text!r}: give all, numbers and ranges, such as 0,3,10-19 or 0:8", code="option"
        ) from None
    outside = [position for position in positions if not 0 <= position < n]
    if outside or not positions:
        raise DecodingError(f"trials {text!r}: there are {n}, numbered 0 to {n - 1}", code="option")
    return np.array(positions)


def describe_engines(config: Config, as_json: bool = False) -> str:
    """Describe the engines for the settings' model and preset: measured times, and the engine that `auto` chooses."""
    import torch

    from ..models.ldm.networks import networks_of
    from ..models.pipeline.decoding_pipeline import choose_for, load_model, use_threads

    settings = pipeline_settings(config)
    use_threads(settings.threads)
    preset, ldm = settings.preset, load_model(settings)
    chosen = choose_for(ldm, settings)
    words = networks_of(ldm, preset).words
    if as_json:
        return json.dumps({"preset": preset.name, "networks": words, **asdict(chosen)}, indent=2)
    lines = [f"preset {preset.name}, {preset.n_calls} denoiser calls, {words}, {torch.get_num_threads()} threads"]
    for one in chosen.measured:
        taken = "not available: " + one.problem if one.picture_ms is None else f"{one.picture_ms:.1f} ms a picture"
        lines.append(f"  {one.name:12} {taken}")
    return "\n".join([*lines, f"auto takes {chosen.name}: {chosen.reason}"])


def kind_captions() -> tuple[list[str], list[str]]:
    """Return the demo's kinds, and a caption that names each."""
    from ..models.demo.kinds import KINDS

    return list(KINDS), [f"a photo of a {kind}" for kind in KINDS]


def kind_in(caption: str) -> str:
    """Return the kind of demo object that a caption names, or ""."""
    from ..models.demo.kinds import KINDS

    return next((word for word in caption.split() if word in KINDS), "")
