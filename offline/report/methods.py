"""The methods paragraphs of a report, from what was really run, and the works that they cite."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...models.fit_profiles import PROFILES
from ...models.scores.protocols import PROTOCOLS
from .inputs import STEPS, Encoding, Session

if TYPE_CHECKING:
    from ...models.presets import Preset
    from ...models.weights.weights import Weights


class Reference(NamedTuple):
    """A work as it is cited: in the text, in the list, and where it is found."""

    short: str
    full: str
    url: str


REFERENCES = {
    "allen2022": Reference(
        "Allen et al., 2022",
        "Allen, E. J., et al. (2022). A massive 7T fMRI dataset to bridge cognitive neuroscience and artificial "
        "intelligence. Nature Neuroscience 25, 116–126.",
        "https://doi.org/10.1038/s41593-021-00962-x",
    ),
    "benjamini1995": Reference(
        "Benjamini & Hochberg, 1995",
        "Benjamini, Y., & Hochberg, Y. (1995). Controlling the false discovery rate: a practical and powerful approach "
        "to multiple testing. Journal of the Royal Statistical Society B 57, 289–300.",
        "https://doi.org/10.1111/j.2517-6161.1995.tb02031.x",
    ),
    "caron2020": Reference(
        "Caron et al., 2020",
        "Caron, M., et al. (2020). Unsupervised learning of visual features by contrasting cluster assignments. "
        "NeurIPS.",
        "https://arxiv.org/abs/2006.09882",
    ),
    "ho2022": Reference(
        "Ho & Salimans, 2022",
        "Ho, J., & Salimans, T. (2022). Classifier-free diffusion guidance.",
        "https://arxiv.org/abs/2207.12598",
    ),
    "hoerl1970": Reference(
        "Hoerl & Kennard, 1970",
        "Hoerl, A. E., & Kennard, R. W. (1970). Ridge regression: biased estimation for nonorthogonal problems. "
        "Technometrics 12, 55–67.",
        "https://doi.org/10.1080/00401706.1970.10488634",
    ),
    "krizhevsky2012": Reference(
        "Krizhevsky et al., 2012",
        "Krizhevsky, A., Sutskever, I., & Hinton, G. E. (2012). ImageNet classification with deep convolutional neural "
        "networks. NeurIPS.",
        "https://doi.org/10.1145/3065386",
    ),
    "lin2014": Reference(
        "Lin et al., 2014",
        "Lin, T.-Y., et al. (2014). Microsoft COCO: common objects in context. ECCV.",
        "https://arxiv.org/abs/1405.0312",
    ),
    "lu2022": Reference(
        "Lu et al., 2022",
        "Lu, C., et al. (2022). DPM-Solver++: fast solver for guided sampling of diffusion probabilistic models.",
        "https://arxiv.org/abs/2211.01095",
    ),
    "luo2023": Reference(
        "Luo et al., 2023",
        "Luo, S., et al. (2023). Latent consistency models: synthesizing high-resolution images with few-step "
        "inference.",
        "https://arxiv.org/abs/2310.04378",
    ),
    "naselaris2009": Reference(
        "Naselaris et al., 2009",
        "Naselaris, T., et al. (2009). Bayesian reconstruction of natural images from human brain activity. Neuron 63, "
        "902–915.",
        "https://doi.org/10.1016/j.neuron.2009.09.006",
    ),
    "prince2022": Reference(
        "Prince et al., 2022",
        "Prince, J. S., et al. (2022). Improving the accuracy of single-trial fMRI response estimates using GLMsingle. "
        "eLife 11, e77599.",
        "https://doi.org/10.7554/eLife.77599",
    ),
    "radford2021": Reference(
        "Radford et al., 2021",
        "Radford, A., et al. (2021). Learning transferable visual models from natural language supervision. ICML.",
        "https://arxiv.org/abs/2103.00020",
    ),
    "rombach2022": Reference(
        "Rombach et al., 2022",
        "Rombach, R., et al. (2022). High-resolution image synthesis with latent diffusion models. CVPR, 10684–10695.",
        "https://doi.org/10.1109/CVPR52688.2022.01042",
    ),
    "scotti2023": Reference(
        "Scotti et al., 2023",
        "Scotti, P. S., et al. (2023). Reconstructing the mind’s eye: fMRI-to-image with contrastive learning and "
        "diffusion priors. NeurIPS.",
        "https://arxiv.org/abs/2305.18274",
    ),
    "song2021": Reference(
        "Song et al., 2021",
        "Song, J., Meng, C., & Ermon, S. (2021). Denoising diffusion implicit models. ICLR.",
        "https://arxiv.org/abs/2010.02502",
    ),
    "szegedy2016": Reference(
        "Szegedy et al., 2016",
        "Szegedy, C., et al. (2016). Rethinking the Inception architecture for computer vision. CVPR.",
        "https://arxiv.org/abs/1512.00567",
    ),
    "takagi2023": Reference(
        "Takagi & Nishimoto, 2023",
        "Takagi, Y., & Nishimoto, S. (2023). High-resolution image reconstruction with latent diffusion models from "
        "human brain activity. CVPR, 14453–14463.",
        "https://doi.org/10.1109/CVPR52729.2023.01389",
    ),
    "tan2019": Reference(
        "Tan & Le, 2019",
        "Tan, M., & Le, Q. V. (2019). EfficientNet: rethinking model scaling for convolutional neural networks. ICML.",
        "https://arxiv.org/abs/1905.11946",
    ),
    "wang2004": Reference(
        "Wang et al., 2004",
        "Wang, Z., et al. (2004). Image quality assessment: from error visibility to structural similarity. IEEE "
        "Transactions on Image Processing 13, 600–612.",
        "https://doi.org/10.1109/TIP.2003.819861",
    ),
    "zheng2024": Reference(
        "Zheng et al., 2024",
        "Zheng, J., et al. (2024). Trajectory consistency distillation.",
        "https://arxiv.org/abs/2402.19159",
    ),
}

RULES = {
    "ddim": "DDIM (eta 0) {song2021}",
    "dpm++": "DPM-Solver++ 2M {lu2022}",
    "lcm": "the latent consistency rule {luo2023}",
    "tcd": "the trajectory consistency rule {zheng2024}",
}
GUIDANCE = {"full": "at every call", "first": "at the first call only"}
# whose network a measure looks through, by how the measure's name begins
NETWORKS = {
    "ssim": "wang2004", "alexnet": "krizhevsky2012", "inception": "szegedy2016", "efficientnet": "tan2019",
    "swav": "caron2020", "clip": "radford2021",
}  # fmt: skip


@dataclass(frozen=True)
class Data:
    """What was recorded: `estimates` is the version of the single-trial responses, `bids` a BIDS folder's name."""

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
    """The latent diffusion model: names of its folder ("" is the embedded demo) and of a fused LoRA; its networks."""

    name: str
    lora: str
    latent_shape: tuple[int, ...]
    picture_px: int
    is_few_step: bool
    is_tiny: bool


@dataclass(frozen=True)
class Facts:
    """Everything that the methods are told from."""

    version: str
    data: Data
    weights: "Weights"
    model: Model
    preset: "Preset"
    seed: int
    engine: str
    scores: dict[str, Any]
    session: Session | None
    encoding: Encoding | None


Segment = tuple[str, str]  # words, or "" and the key of a reference


def paragraphs(facts: Facts) -> list[tuple[str, list[Segment]]]:
    """Return the titles and the paragraphs, in segments of words and references."""
    parts = {
        "Data": _data(facts.data, facts.weights),
        "Decoding": _decoding(facts.weights),
        "Pictures": _pictures(facts),
        "Scores": _scores(facts.scores),
        "Live session": _live(facts.session) if facts.session else "",
        "Encoding analysis": _encoding(facts.encoding.result) if facts.encoding else "",
        "Software": f"All of it was done with braind {facts.version}; versions of its libraries are listed below.",
    }
    return [(title, segments(text)) for title, text in parts.items() if text]


def segments(text: str) -> list[Segment]:
    """Split "words {key} words" into segments; several keys in one pair of braces are parted by commas.

    Raises
    ------
    KeyError
        If a key is no reference's.
    """
    found: list[Segment] = []
    for part in re.split(r"(\{[a-z]+\d{4}(?:,[a-z]+\d{4})*\})", text):
        if part.startswith("{") and part.endswith("}"):
            for n, key in enumerate(part[1:-1].split(",")):
                found += [("; " if n else "(", ""), ("", key)]
                REFERENCES[key]
            found.append((")", ""))
        elif part:
            found.append((part, ""))
    return found


def cited(texts: list[tuple[str, list[Segment]]]) -> dict[str, Reference]:
    """Return the references that paragraphs cite, in the list's order."""
    keys = {key for _, parts in texts for _, key in parts}
    return {key: reference for key, reference in REFERENCES.items() if key in keys}


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


def _decoding(weights: "Weights") -> str:
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
        grid = f"{len(tried)} penalties from {number(min(tried))} to {number(max(tried))}"
        folds = "all repeats of a picture in one fold" if profile.grouped else "without regard to repeats, as published"
        words.append(
            f"Each target’s penalty was chosen among {grid} by {card.folds}-fold cross-validation, {folds}; the "
            f"medians chosen were {number(card.alphas_z[1])} for z and {number(card.alphas_c[1])} for c."
        )
        if not profile.intercept:
            words.append("As in the published code, no intercept was fitted.")
        if profile.restore_scale:
            words.append("Predictions were given their targets’ spread again, per channel of z and token of c.")
    if weights.prior:
        words.append(
            "c was then replaced by its expected value, given that it describes a picture like the training ones: "
            "their mean, weighted by a Gaussian likelihood {naselaris2009}."
        )
    words.append(
        f"The maps were stored at rank {card.rank_z} (z) and {card.rank_c} (c), losing {card.discarded_z:.2%} and "
        f"{card.discarded_c:.2%} of the predicted variance."
    )
    return " ".join(words)


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
    source = {"mindeye": "{scotti2023}", "takagi": "{takagi2023}"}[protocol.name]
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
        f"({scores['n_bootstrap']:,} draws), p values two-sided, from {scores['n_permutations']:,} sign flips of "
        "paired differences over pictures, uncorrected."
    )
    if scores["n_samples"] > 1:
        words.append(f"{scores['n_samples']} samples of each decode were made and their correlations averaged.")
    return " ".join(words)


def _live(session: Session) -> str:
    kind = "single-trial response estimates" if session.hello.kind == "beta" else "preprocessed BOLD volumes"
    presets = _list(sorted({provenance.preset for provenance in session.provenances})) or "none"
    step = session.final_step
    words = (
        f"In a live session {session.counts.get('decoded', 0):,} of {sum(session.counts.values()):,} volumes ({kind}, "
        f"one every {session.hello.tr_s:g} s) were decoded as they came, with preset {presets}."
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
    """Return the names of ROIs: labels as they are, mask files without their folders."""
    return [Path(roi).name if roi.endswith((".nii", ".nii.gz")) else roi for roi in rois]


def number(value: float) -> str:
    """Write a number with its power of ten, where it has one."""
    if value >= 1000 or (value and value < 1e-3):
        mantissa, exponent = f"{value:.1e}".split("e")
        digits = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"10{digits}" if np.isclose(float(mantissa), 1) else f"{mantissa} × 10{digits}"
    return f"{value:g}"
