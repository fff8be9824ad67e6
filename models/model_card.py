"""The model card: a description of weights in Markdown."""

from ..printable import printable
from .ridge.fit_maps import SCORE_WORDS
from .weights.card import WeightsCard
from .weights.weights import Weights

TAKAGI = """This profile is the published fit, without changes, and three of its choices make its scores low:

- It fits no intercept. Predictions lack the targets' mean, and explained variance counts the missing mean as error: a
  value such as −8716 says that a target's mean is large against its spread, and nothing about the brain.
- Its penalties are so small beside the voxels' variance that the fit is least squares. Least squares fits the noise of
  the training trials, and predictions of unseen trials are mostly this noise.
- It does not restore the scale of the predictions, which the latent diffusion model reads."""


def model_card(weights: Weights) -> str:
    """Return a description of weights, in Markdown."""
    card = weights.card
    lines = [
        f"# Decoder weights of subject {card.subject}",
        "",
        *(["**Simulated data**: no brain was scanned for these weights.", ""] if card.simulated else []),
        f"- file: schema {card.schema}, fingerprint `{weights.fingerprint}`, braind {card.version or 'unknown'}",
        f"- trained on: {card.n_trials} single trials"
        + (f" of {card.n_pictures} pictures" if weights.has_pictures else "")
        + f", {card.nsd or 'unnamed data'}",
        f"- responses: {card.estimates or 'unnamed'}, sessions {card.sessions or 'unnamed'}, "
        + ("as they are" if card.z_score == "none" else f"z-scored within the session ({card.z_score})"),
        *([f"- for BOLD, fitted on {card.fitted_on}"] if card.kind == "bold" and card.fitted_on else []),
        *([f"- captions written by {card.captioner}"] if card.captioner else []),
        *([f"- for runs of a TR of {card.tr_s:g} s"] if card.tr_s else []),
        *([f"- held out: runs {card.test_runs}"] if card.test_runs else []),
        f"- volume: {_times(card.shape)}, {len(weights.voxel_index)} voxels read",
        *_class_lines(card),
    ]
    if not weights.has_pictures:
        return "\n".join([*lines, "", "The weights decode classes and make no pictures.", ""])
    lines += [
        f"- profile: `{card.profile}`, {card.folds} folds",
        f"- {_c_decoders(weights)}",
        f"- LDM: `{card.ldm}`, z {_times(card.latent_shape)}, c {_times(card.text_shape)}",
        "",
        "| | z | c |",
        "|---|---|---|",
        f"| ROIs | {', '.join(card.z_rois)} | {', '.join(card.c_rois)} |",
        f"| voxels | {len(weights.z.positions)} | {len(weights.c.positions)} |",
        f"| penalties | {penalty_words(card.alphas_z)} | {penalty_words(card.alphas_c)} |",
        f"| rank | {card.rank_z} | {card.rank_c} |",
        f"| predicted variance lost to it | {card.discarded_z:.2%} | {card.discarded_c:.2%} |",
    ]
    for score, words in SCORE_WORDS.items():
        lines.append(f"| {words} | {card.scores[f'z_{score}']:.3f} | {card.scores[f'c_{score}']:.3f} |")
    lines += ["", "Scores are cross-validated on single trials, means over the targets that vary.", ""]
    if card.profile == "takagi":
        lines += [TAKAGI, ""]
    return "\n".join(lines)


def penalty_words(penalties: tuple[float, float, float]) -> str:
    """Describe the smallest, median and largest penalty of a map's targets."""
    if penalties[0] == penalties[2]:
        return f"the same for all targets: {penalties[0]:.3g}"
    return f"one for each target: {_numbers(penalties)} (smallest, median, largest)"


def _c_decoders(weights: Weights) -> str:
    if weights.prior is None:
        return "c decoder: `linear`, the map below"
    return (
        "c decoders: `linear`, the map below, is the default; `expected` (`--c-decoder expected`) is a classifier into "
        f"the captions of the {weights.card.n_pictures} training pictures, and cannot decode a kind of object that "
        "they lack"
    )


def _class_lines(card: WeightsCard) -> list[str]:
    if not card.labels:
        return []
    return [
        f"- classes: {', '.join(printable(label) for label in card.labels)}",
        f"- classes of left-out runs: top-1 {card.scores['labels_top1']:.3f}, "
        f"log loss {card.scores['labels_log_loss']:.3f} nats; a trial's estimates count together as one trial",
    ]


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(str(n) for n in shape)


def _numbers(numbers: tuple[float, ...]) -> str:
    return ", ".join(f"{number:.3g}" for number in numbers)
