"""The methods paragraphs of a report, written from the settings and results of the run."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...models.fit_profiles import PROFILES
from ...models.scores.protocols import PROTOCOLS
from ..typography import percent, scientific
from .inputs import STEPS, Encoding, Session
from .references import Segment, segments

if TYPE_CHECKING:
    from ...models.presets import Preset
    from ...models.weights.weights import Weights


RULES = {
    "ddim": "DDIM (eta 0) {song2021}",
    "dpm++": "DPM-Solver++ 2M {lu2022}",
    "lcm": "the latent consistency rule {luo2023}",
    "tcd": "the trajectory consistency rule {zheng2024}",
}
GUIDANCE = {"full": "at every call", "first": "at the first call only"}
PROTOCOL_SOURCES = {"mindeye": "scotti2023", "brain-diffuser": "ozcelik2023", "takagi": "takagi2023"}
# reference of the network behind a measure, by the start of the measure's name
NETWORKS = {
    "ssim": "wang2004", "alexnet": "krizhevsky2012", "inception": "szegedy2016", "efficientnet": "tan2019",
    "swav": "caron2020", "clip": "radford2021",
}  # fmt: skip


@dataclass(frozen=True)
class Data:
    """The recorded data. `estimates`: version of the single-trial responses; `bids`: name of the BIDS folder."""

    subject: int
    simulated: bool
    estimates: str
    bids: str
    n_sessions: int
    n_trials: int
    n_held_out_trials: int
    n_held_out_pictures: int


@dataclass(frozen=True)
class Model:
    """The latent diffusion model. `name`: its folder, "" for the embedded demo; `lora`: file of the fused LoRA."""

    name: str
    lora: str
    latent_shape: tuple[int, ...]
    picture_px: int
    is_few_step: bool
    is_tiny: bool


@dataclass(frozen=True)
class Facts:
    """All inputs of the methods paragraphs. `rule`: the rule that chose the recorded session, as a sentence."""

    version: str
    data: Data
    weights: "Weights"
    model: Model
    preset: "Preset"
    seed: int
    engine: str
    scores: dict[str, Any]
    session: Session | None
    rule: str
    encoding: Encoding | None


def paragraphs(facts: Facts) -> list[tuple[str, list[Segment]]]:
    """Return titles and paragraphs; a paragraph is a list of segments, words or references."""
    parts = {
        "Data": _data(facts.data, facts.weights),
        "Decoding": decoding_words(facts.weights),
        "Pictures": _pictures(facts),
        "Scores": _scores(facts.scores),
        "Live session": _live(facts.session, facts.rule) if facts.session else "",
        "Encoding analysis": _encoding(facts.encoding.result) if facts.encoding else "",
        "Software": f"All of it was done with braind {facts.version}; versions of its libraries are listed below.",
    }
    return [(title, segments(text)) for title, text in parts.items() if text]


def _data(data: Data, weights: "Weights") -> str:
    card = weights.card
    shared = "" if data.bids else ", those that all subjects saw"
    if data.simulated:
        source = (
            "Responses were simulated; no brain was scanned. braind’s simulator drew single-trial responses of subject "
            f"{data.subject} to captioned synthetic scenes, and wrote them as the files of the Natural Scenes Dataset "
            "{allen2022} are written."
        )
    elif data.bids:
        source = f"Single-trial responses ({data.estimates}) of subject {data.subject} of {data.bids} were used."
    else:
        source = (
            f"Single-trial responses ({data.estimates}) of subject {data.subject} of the Natural Scenes Dataset "
            "{allen2022,prince2022} to photographs from COCO {lin2014} were used."
        )
    return (
        f"{source} {data.n_sessions} sessions held {data.n_trials:,} trials. {data.n_held_out_pictures:,} pictures "
        f"({data.n_held_out_trials:,} trials) were held out{shared}; the decoder was fitted on "
        f"{card.n_trials:,} single trials of {card.n_pictures:,} other pictures."
    )


def decoding_words(weights: "Weights") -> str:
    """Return the paragraph on the fit, and on how z and c are decoded."""
    card, profile = weights.card, PROFILES.get(weights.card.profile)
    n_z, n_c = f"{len(weights.z.positions):,}", f"{len(weights.c.positions):,}"
    scaled = "" if card.z_score == "none" else f" after z-scoring within each session ({card.z_score})"
    words = [
        "Decoding followed a published method {takagi2023}: z, the picture’s latent in the autoencoder of a latent "
        f"diffusion model {{rombach2022}}, was predicted from {n_z} voxels of {_list(labels(card.z_rois))}, and c, the "
        f"mean text embedding of its captions, from {n_c} voxels of {_list(labels(card.c_rois))}, by ridge regression "
        f"{{hoerl1970}} on voxels z-scored over the training trials{scaled}.",
    ]
    if profile:
        tried = profile.penalties
        grid = f"{len(tried)} penalties from {scientific(min(tried))} to {scientific(max(tried))}"
        folds = "all repeats of a picture in one fold" if profile.grouped else "without regard to repeats, as published"
        penalties = _list(_penalty(name, alphas) for name, alphas in (("z", card.alphas_z), ("c", card.alphas_c)))
        words.append(f"Penalties were chosen among {grid} by {card.folds}-fold cross-validation, {folds}: {penalties}.")
        if profile.penalty_for == "better":
            words.append("Whether all targets of a map share one penalty was cross-validated too.")
        if not profile.intercept:
            words.append("As in the published code, no intercept was fitted.")
        if profile.restore_scale:
            words.append("Predictions were given their targets’ spread again, per channel of z and token of c.")
    if weights.c_decoder == "expected":
        words.append(
            "c was then read against the training captions, a classifier into them: it was replaced by their mean, "
            "weighted by a Gaussian likelihood {naselaris2009}. It cannot decode a kind of object that training lacks."
        )
    words.append(
        f"The maps were stored at rank {card.rank_z} (z) and {card.rank_c} (c), losing {percent(card.discarded_z)} "
        f"and {percent(card.discarded_c)} of the predicted variance."
    )
    return " ".join(words)


def _penalty(name: str, alphas: tuple[float, float, float]) -> str:
    if alphas[0] == alphas[2]:
        return f"{scientific(alphas[0])} for all targets of {name}"
    return f"a penalty for each target of {name}, the median of which was {scientific(alphas[1])}"


def _pictures(facts: Facts) -> str:
    preset, model = facts.preset, facts.model
    name = f"the latent diffusion model {model.name}" if model.name else "the small latent diffusion model in braind"
    name += f" with the LoRA {model.lora} fused into its denoiser" if model.lora else ""
    reencoded = preset.latent_path == "reencode" or facts.weights.card.latent_shape != model.latent_shape
    start = "decoded into a picture, resized, encoded again and noised" if reencoded else "noised"
    calls = f"{preset.n_calls} denoiser call{'s' if preset.n_calls > 1 else ''}"
    grid = " on the published grid of 50 steps" if preset.published_grid else ""
    if model.is_few_step:
        guidance = ", with the model’s few-step denoiser, which has guidance in its weights"
    elif preset.guidance == "none" or preset.guidance_scale == 1:
        guidance = ", without guidance"
    else:
        scale, calls_guided = f"{preset.guidance_scale:g}", GUIDANCE[preset.guidance]
        guidance = f", with classifier-free guidance {{ho2022}} of scale {scale} {calls_guided}"
    decoder = "; the model’s tiny decoder made pictures of latents" if model.is_tiny else ""
    return (
        f"Pictures of {model.picture_px} px were made by {name}. Decoded z was {start} to timestep {preset.start} of "
        f"1000, and denoised under decoded c in {calls} by {RULES[preset.rule]}{grid}{guidance} (preset "
        f"{preset.name}){decoder}. Mode z shows the decoded z alone, mode c a picture from c and noise alone. Every "
        f"picture began from the same noise (seed {facts.seed}); the engine was {facts.engine}."
    )


def _scores(scores: dict[str, Any]) -> str:
    protocol = PROTOCOLS[scores["protocol"]]
    source = "{" + PROTOCOL_SOURCES[protocol.name] + "}"
    measured = {name: entry["title"] for name, entry in scores["measures"].items() if entry["status"] == "measured"}
    cites = sorted({key for name in measured for start, key in NETWORKS.items() if name.startswith(start)})
    if scores["provenance"]["simulated"] and not any(name in measured for name in ("clip", "clip_h6", "clip_h12")):
        cites = [key for key in cites if key != "radford2021"]
    others = "seen pictures" if protocol.identify == "among_seen" else "decodes"
    lacking = [entry["title"] for entry in scores["measures"].values() if entry["status"] != "measured"]
    words = [
        f"Decodes were scored by the protocol {protocol.name} {source} on {scores['n_pictures']} held-out pictures, "
        f"with {_list(list(measured.values()))}{' {' + ','.join(cites) + '}' if cites else ''}.",
        f"Two-way identification tells a decode’s picture from the other {others} (chance: 0.5).",
    ]
    if lacking:
        words.append(f"{_list(lacking)} were not measured.")
    words.append(
        "A picture’s decodes were averaged first; intervals are 95 % bootstrap intervals over pictures "
        f"({scores['n_bootstrap']:,} draws). p values are two-sided, from {scores['n_permutations']:,} random sign "
        "flips of paired differences over pictures. A p that no flip reached is written with “≤”: it is the least that "
        "so many flips can give. Each p stands beside its correction by Holm’s method for all tests of the same table "
        "{holm1979}."
    )
    if n_novel := scores["novel_kinds"].get("n_pictures"):
        words.append(f"{n_novel} more held-out pictures, of kinds that training lacks, were scored apart.")
    if scores["n_samples"] > 1:
        words.append(f"{scores['n_samples']} samples of each decode were made and their correlations averaged.")
    return " ".join(words)


def _live(session: Session, rule: str) -> str:
    kind = "single-trial response estimates" if session.hello.kind == "beta" else "preprocessed BOLD volumes"
    presets = _list(sorted({provenance.preset for provenance in session.provenances})) or "none"
    step = session.final_step
    words = (
        f"In the live session {session.name}, {session.counts.get('decoded', 0):,} of "
        f"{sum(session.counts.values()):,} volumes ({kind}, one every {session.hello.tr_s:g} s) were decoded as they "
        f"came, with preset {presets}. {rule}"
    )
    if step:
        n, statistics = len(session.times_s[step]), session.statistics_ms(step)
        words += (
            f" The {STEPS[step]} was ready {statistics['median']:,.0f} ms after its volume had arrived (median of "
            f"{n:,} decodes; 95th percentile {statistics['p95']:,.0f} ms)."
        )
    return words


def _encoding(result: dict[str, Any]) -> str:
    parameters, n = result["parameters"], result["n_pictures"]
    return (
        "Voxel-wise ridge regression predicted the whole brain’s mean responses to seen pictures from z, from c, and "
        f"from zc at strengths {_list(f'{strength:g}' for strength in parameters['strengths'])}, at early, middle and "
        "late denoising steps and from U-Net blocks {takagi2023}; features were reduced to at most "
        f"{parameters['n_components']:,} principal components of the training pictures. Models were fitted on "
        f"{n['training']:,} pictures ({parameters['folds']} folds) and scored by Pearson’s r on {n['held_out']:,} "
        f"held-out ones, with one-sided p values and a false discovery rate of {parameters['fdr']:g} "
        f"{{benjamini1995}}. Intervals are 95 % bootstrap intervals over held-out pictures "
        f"({parameters['n_draws']:,} draws)."
    )


def _list(words: Any) -> str:
    words = [str(word) for word in words]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def labels(rois: tuple[str, ...]) -> list[str]:
    """Return the names of ROIs: labels unchanged, mask files without folders."""
    return [Path(roi).name if roi.endswith((".nii", ".nii.gz")) else roi for roi in rois]
