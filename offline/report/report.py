"""`braind report`: documents one subject's decoder in one self-contained HTML file."""

import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ... import __version__
from ...arrays import Array
from ...config import Config
from ...printable import printable
from ...whole_file import write_whole
from ..decoding import SubjectDecoder
from ..evaluate.tables import not_measured, score_tables
from ..progress import progress_bar
from .figures import file_uri, latency_figure, masks_figure, picture_uri, scores_figure
from .galleries import Gallery, make_galleries
from .inputs import STEPS, Encoding, FoundSessions, ReportError, Session, read_encoding, read_scores, read_session
from .methods import Data, Facts, Model, labels, paragraphs
from .references import cited

LIBRARIES = (
    "torch", "diffusers", "transformers", "onnxruntime-gpu", "numpy", "scipy", "scikit-learn", "scikit-image",
    "nibabel", "h5py", "nilearn", "matplotlib", "jinja2", "pillow",
)  # fmt: skip
PICTURE_PX, FIGURE_PX = 192, 1600
MOST_BYTES = 15_000_000
C_DECODERS = {"linear": "linear", "expected": "expected, a classifier into the training captions"}


def write_report(
    config: Config,
    subject: int,
    out: Path,
    *,
    scores_path: Path | None = None,
    encoding_path: Path | None = None,
    session_name: str | None = None,
    averaged: bool = False,
) -> None:
    """Write a subject's report.

    Parameters
    ----------
    scores_path : Path, optional
        Output of `braind evaluate --json`. By default, the decoder is scored here by the protocol mindeye.
    encoding_path : Path, optional
        Folder that `braind encode` wrote.
    session_name : str, optional
        A recorded session. The default is the subject's newest readable session.
    averaged : bool
        Galleries show averaged repeats, not first trials.

    Raises
    ------
    ReportError
        If an input is missing or was made with another decoder, or the file cannot be written.
    """
    if not out.parent.is_dir():
        raise ReportError(f"{out.parent} is no folder; make it first, or give another -o")
    decoder = SubjectDecoder.load(config, subject)
    made_with = decoder.provenance()
    scores = read_scores(scores_path, made_with, len(np.unique(decoder.test_trials.nsd_id))) if scores_path else None
    encoding = read_encoding(encoding_path, made_with) if encoding_path else None
    recorded = read_session(config, subject, session_name)
    if scores is None:
        from ..evaluate.evaluate import evaluate_subject

        scores = evaluate_subject(config, subject)
    with progress_bar("decoding held-out pictures") as report:
        galleries = make_galleries(decoder, averaged, report)
    page = render(decoder, scores, galleries, recorded, encoding, averaged=averaged)
    try:
        with write_whole(out) as unfinished_path:
            unfinished_path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ReportError(f"{out} cannot be written ({error.strerror}); give another -o") from error


def render(
    decoder: SubjectDecoder,
    scores: dict[str, Any],
    galleries: list[Gallery],
    recorded: FoundSessions,
    encoding: Encoding | None,
    *,
    averaged: bool,
) -> str:
    """Return the report as HTML."""
    session = recorded.session
    facts = facts_of(decoder, scores, session, encoding)
    methods = paragraphs(facts)
    weights, tree = decoder.weights, decoder.tree
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["picture"] = lambda picture: picture_uri(picture, PICTURE_PX)
    environment.filters["parts"] = lambda cell: cell.split(" ", 1) if cell[:1] in "0123456789+-−" else [cell]
    environment.filters["one_line"] = printable
    return environment.get_template("report.html.j2").render(
        subject=decoder.subject,
        simulated=weights.card.simulated,
        version=__version__,
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        summary=summary(scores, session),
        parameters=parameters(decoder),
        masks=masks_figure(tree.brainmask(decoder.subject), voxel_masks(decoder), tree.affine(decoder.subject)),
        scores=scores,
        score_tables=score_tables(scores),
        not_measured=not_measured(scores),
        scores_figure=scores_figure(scores),
        galleries=galleries,
        averaged=averaged,
        session=session,
        damaged_sessions=recorded.damaged,
        steps={step: words for step, words in STEPS.items() if session and session.times_s[step]},
        latency_figure=latency_figure(session) if session and session.final_step else "",
        weights=weights.fingerprint,
        encoding=encoding.result if encoding else None,
        encoding_figures={name: file_uri(path, FIGURE_PX) for name, path in encoding.figures.items()}
        if encoding
        else {},
        provenance=provenance_rows(decoder),
        versions=versions(),
        methods=methods,
        references=cited(methods),
    )


def facts_of(
    decoder: SubjectDecoder, scores: dict[str, Any], session: Session | None, encoding: Encoding | None
) -> Facts:
    """Gather the inputs of the methods paragraphs."""
    trials, paths = decoder.tree.trials(decoder.subject), decoder.config.paths
    return Facts(
        version=__version__,
        data=Data(
            subject=decoder.subject,
            simulated=decoder.weights.card.simulated,
            estimates=decoder.tree.estimates,
            bids=Path(decoder.config.paths.bids).name,
            n_sessions=len(np.unique(trials.session)),
            n_trials=len(trials),
            n_held_out_trials=int(trials.is_shared.sum()),
            n_held_out_pictures=len(np.unique(trials.nsd_id[trials.is_shared])),
        ),
        weights=decoder.weights,
        model=Model(
            name=Path(paths.ldm).name, lora=Path(paths.lora).name, latent_shape=tuple(decoder.ldm.latent_shape),
            picture_px=decoder.ldm.picture_px, is_few_step=decoder.reconstructor.networks.is_few_step,
            is_tiny=decoder.reconstructor.networks.is_tiny,
        ),
        preset=decoder.reconstructor.preset,
        seed=decoder.reconstructor.seed,
        engine=decoder.reconstructor.engine.name,
        scores=scores,
        session=session,
        encoding=encoding,
    )  # fmt: skip


def voxel_masks(decoder: SubjectDecoder) -> dict[str, Array]:
    """Return the masks of the voxels that z and c are decoded from: (X, Y, Z) bool."""
    weights = decoder.weights
    masks = {}
    for name, part in (("z", weights.z), ("c", weights.c)):
        mask = np.zeros(int(np.prod(weights.card.shape)), bool)
        mask[weights.voxel_index[part.positions]] = True
        masks[name] = mask.reshape(weights.card.shape)
    return masks


def summary(scores: dict[str, Any], session: Session | None) -> list[tuple[str, str]]:
    """Return the key figures at the top of the report: value and label."""
    rows = [(f"{scores['n_pictures']:,}", "held-out pictures scored")]
    row, words = ("single", "single trials") if "single" in scores else ("averaged", "averaged repeats")
    for name in ("pixcorr", "clip", "clip_two_way"):
        if "mean" in (score := scores[row]["zc"].get(name, {})):
            title = scores["measures"][name]["title"]
            low, high = score["ci95"]
            rows.append((f"{score['mean']:.2f}", f"{title}, {words} [{low:.2f}, {high:.2f}]"))
    if session and session.final_step:
        median_ms = session.statistics_ms(session.final_step)["median"]
        rows.append((f"{median_ms:,.0f} ms", f"from volume to {STEPS[session.final_step]}, live (median)"))
    return rows


def parameters(decoder: SubjectDecoder) -> dict[str, dict[str, str]]:
    """Return the parameters of fit and pictures: group → name → value."""
    from ...models.model_card import penalty_words

    card, reconstructor, preset = decoder.weights.card, decoder.reconstructor, decoder.reconstructor.preset
    fit = {
        "profile": card.profile,
        "ROIs of z": f"{', '.join(labels(card.z_rois))} ({len(decoder.weights.z.positions):,} voxels)",
        "ROIs of c": f"{', '.join(labels(card.c_rois))} ({len(decoder.weights.c.positions):,} voxels)",
        "training": f"{card.n_trials:,} single trials of {card.n_pictures:,} pictures",
        "folds": str(card.folds),
        "voxels z-scored per session": card.z_score,
        **{
            f"penalties of {name}": penalty_words(alphas)
            for name, alphas in (("z", card.alphas_z), ("c", card.alphas_c))
        },
        "rank of z and c": f"{card.rank_z}, {card.rank_c}",
        "predicted variance lost to it": f"{card.discarded_z:.2%}, {card.discarded_c:.2%}",
        "c decoder": C_DECODERS[decoder.weights.c_decoder],
        **{f"cross-validated {name.replace('_', ' ')}": f"{value:.3f}" for name, value in card.scores.items()},
    }
    pictures = {
        "preset": preset.name,
        "start": f"timestep {preset.start} of 1000",
        "denoiser calls": str(preset.n_calls),
        "rule": preset.rule,
        "guidance": preset.guidance
        if preset.guidance == "none"
        else f"{preset.guidance}, scale {preset.guidance_scale:g}",
        "path of z": preset.latent_path,
        "seed": str(reconstructor.seed),
        "engine and networks": reconstructor.engine_words,
        "shape of z": " × ".join(map(str, card.latent_shape)),
        "shape of c": " × ".join(map(str, card.text_shape)),
        "side of a picture": f"{decoder.ldm.picture_px} px",
    }
    return {"Fit": fit, "Pictures": pictures}


def provenance_rows(decoder: SubjectDecoder) -> dict[str, str]:
    """Return the identifiers of data, weights and models, without paths of this machine."""
    card, made = decoder.weights.card, decoder.provenance()
    return {
        "data set": card.nsd,
        "volumes": f"{' × '.join(map(str, card.shape))} voxels",
        "mask (SHA-256)": card.mask_sha256[:12],
        "weights": f"{made['weights']}, schema {card.schema}, fitted by braind {card.version}",
        "latent diffusion model": Path(decoder.config.paths.ldm).name or "embedded in braind",
        "autoencoder and text encoder": made["ldm"],
        "denoiser": made["denoiser"],
        "LoRA": Path(decoder.config.paths.lora).name or "none",
        "settings": made["config"],
    }


def versions() -> Mapping[str, str]:
    """Return the versions of the software, and the platform."""
    import torch

    found = {"braind": __version__, "Python": platform.python_version()}
    found |= {name: version(name) for name in LIBRARIES}
    found["machine"] = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    if torch.cuda.is_available():
        found["GPU"] = torch.cuda.get_device_name()
    return found
