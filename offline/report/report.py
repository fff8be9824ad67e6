"""`braind report`: documents one subject's decoder in one self-contained HTML file."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

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
from ..typography import number
from .bibtex import bibtex
from .captions import encoding_caption, numbered
from .figures import file_uri, latency_figure, masks_figure, picture_uri, scores_figure
from .galleries import Gallery, make_galleries
from .inputs import STEPS, Encoding, FoundSessions, ReportError, Session, read_encoding, read_scores, read_session
from .methods import Data, Facts, Model, paragraphs
from .references import cited
from .settings_tables import parameters, provenance_rows, versions

PICTURE_PX, FIGURE_PX = 192, 1600
MOST_BYTES = 15_000_000
BIBTEX = "-references.bib"
"""Ends the name of the BibTeX file beside the report."""


def write_report(
    config: Config,
    subject: int,
    out: Path,
    *,
    scores_path: Path | None = None,
    encoding_path: Path | None = None,
    session_name: str | None = None,
    averaged: bool = False,
) -> list[Path]:
    """Write a subject's report, and its references as BibTeX beside it. Return the paths of both files.

    Parameters
    ----------
    scores_path : Path, optional
        Output of `braind evaluate --json`. By default, the decoder is scored here by the protocol mindeye.
    encoding_path : Path, optional
        Folder that `braind encode` wrote.
    session_name : str, optional
        A recorded session. By default the rule of `read_session` chooses.
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
    recorded = read_session(config, subject, decoder.weights.fingerprint, session_name)
    if scores is None:
        from ..evaluate.evaluate import evaluate_subject

        scores = evaluate_subject(config, subject)
    with progress_bar("decoding held-out pictures") as report:
        galleries = make_galleries(decoder, averaged, report)
    page = render(decoder, scores, galleries, recorded, encoding, averaged=averaged)
    written = {out: page.html, out.with_name(f"{out.stem}{BIBTEX}"): page.bibtex}
    for path, text in written.items():
        try:
            with write_whole(path) as unfinished_path:
                unfinished_path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ReportError(f"{path} cannot be written ({error.strerror}); give another -o") from error
    return list(written)


class Page(NamedTuple):
    """A report as HTML, and its references as BibTeX."""

    html: str
    bibtex: str


def render(
    decoder: SubjectDecoder,
    scores: dict[str, Any],
    galleries: list[Gallery],
    recorded: FoundSessions,
    encoding: Encoding | None,
    *,
    averaged: bool,
) -> Page:
    """Return the report and its references."""
    session = recorded.session
    methods = paragraphs(facts_of(decoder, scores, recorded, encoding))
    references = cited(methods)
    as_bibtex = bibtex(references)
    weights, tree = decoder.weights, decoder.tree
    of_parameters, of_scores = parameters(decoder), score_tables(scores)
    encoding_figures = encoding.figures if encoding else {}
    has_latencies = bool(session and session.final_step)
    has_classes = bool(session and session.classes and session.classes.n_compared)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["picture"] = lambda picture: picture_uri(picture, PICTURE_PX)
    environment.filters |= {"parts": cell_parts, "one_line": printable, "number": number}
    environment.filters["encoding_caption"] = encoding_caption
    html = environment.get_template("report.html.j2").render(
        subject=decoder.subject,
        simulated=weights.card.simulated,
        version=__version__,
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        summary=summary(scores, session),
        parameters=of_parameters,
        masks=masks_figure(tree.brainmask(decoder.subject), voxel_masks(decoder), tree.affine(decoder.subject)),
        scores=scores,
        score_tables=of_scores,
        not_measured=not_measured(scores),
        scores_figure=scores_figure(scores),
        galleries=galleries,
        averaged=averaged,
        session=session,
        rule=recorded.rule,
        damaged_sessions=recorded.damaged,
        steps={step: words for step, words in STEPS.items() if session and session.times_s[step]},
        latency_figure=latency_figure(session) if session and has_latencies else "",
        weights=weights.fingerprint,
        encoding=encoding.result if encoding else None,
        encoding_figures={name: file_uri(path, FIGURE_PX) for name, path in encoding_figures.items()},
        provenance=provenance_rows(decoder),
        versions=versions(),
        methods=methods,
        references=references,
        bibtex=as_bibtex,
        figures=numbered(
            ["masks", "scores", *(gallery.score for gallery in galleries), *["latency"] * has_latencies,
             *encoding_figures]
        ),
        tables=numbered(
            [*of_parameters, *(table.title for table in of_scores), *["latency"] * has_latencies,
             *["classes"] * has_classes, *["encoding"] * bool(encoding), "Provenance", "Software"]
        ),
    )  # fmt: skip
    return Page(html, as_bibtex)


def facts_of(
    decoder: SubjectDecoder, scores: dict[str, Any], recorded: FoundSessions, encoding: Encoding | None
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
        session=recorded.session,
        rule=recorded.rule,
        encoding=encoding,
    )  # fmt: skip


def cell_parts(cell: str) -> list[str]:
    """Split a table's cell into lines: a mean, its interval, its p and its corrected p."""
    return re.split(r" (?=\[)| \(|, (?=Holm)", cell.removesuffix(")"))


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
            interval = f"[{number(low, '.2f')}, {number(high, '.2f')}]"
            rows.append((number(score["mean"], ".2f"), f"{title}, {words} {interval}"))
    if session and session.final_step:
        median_ms = session.statistics_ms(session.final_step)["median"]
        rows.append((f"{median_ms:,.0f} ms", f"from volume to {STEPS[session.final_step]}, live (median)"))
    return rows
