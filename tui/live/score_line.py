"""One row: the seen picture's rank among the candidates, and the score of its run so far."""

from rich.text import Text
from textual.widget import Widget

from ..connection import ordinal
from ..fitted import Part, fitted_row
from ..recent import DecodedVolume
from ..state.run_score import RunScore
from ..text_view import TextView


class ScoreLine(TextView):
    """The scores of the volume on show, and of its run."""

    COMPONENT_CLASSES = {"score-line--name", "score-line--value"}

    def show_scores(self, volume: DecodedVolume | None, score: RunScore | None) -> None:
        """Show the volume's rank and the score of its run so far."""
        parts = [] if volume is None else [*self._rank(volume), *self._run(score)]
        self.show(fitted_row(parts, self.size.width - 2))

    def _rank(self, volume: DecodedVolume) -> list[Part]:
        parts: list[Part] = []
        seen, n = volume.seen_candidate, volume.n_candidates
        so_far = "" if volume.is_final else "so far "
        if seen is not None and n:
            rank = ordinal(seen.rank)
            forms = f"{so_far}{rank} of {n} candidates", f"{so_far}{rank} of {n}", f"{seen.rank}/{n}"
            parts.append(Part(99, tuple(_named(self, "seen picture" if at == 0 else "seen", form)
                                        for at, form in enumerate(forms)), shortening=82))  # fmt: skip
        elif volume.has_pictures and volume.retrieved:
            forms = "rank unknown, no candidate is known to be the seen picture", "seen: rank unknown"
            parts.append(Part(72, tuple(_styled(self, form, "name") for form in forms), shortening=40))
        if volume.uncertainty is not None and not volume.is_final:
            percent = f"{100 * volume.uncertainty:.0f} %"
            forms = f"{percent} of the response not known yet", f"{percent} not known yet"
            parts.append(Part(75, tuple(_styled(self, form, "value") for form in forms), shortening=45))
        return parts

    def _run(self, score: RunScore | None) -> list[Part]:
        if score is None:
            forms = "run's score unknown: no final trial names a candidate", "run's score unknown"
            return [Part(60, tuple(_styled(self, form, "name") for form in forms), shortening=35)]
        if score.n_pictures is None:
            what, trials = "right", _counted(score.n_trials, "trial")
        else:
            of_pictures = "" if score.n_pictures == score.n_trials else f" of {_counted(score.n_pictures, 'picture')}"
            what, trials = "two-way", _counted(score.n_trials, "trial") + of_pictures
        mean, interval = f"{score.mean:.2f}", f"{score.low:.2f}–{score.high:.2f}"
        forms = (
            f"{mean} (95 % {interval}), {trials}",
            f"{mean} ({interval}), n {score.n_trials}",
            f"{mean}, n {score.n_trials}",
        )
        return [
            Part(98, tuple(_named(self, f"run {what}", form) for form in forms), shortening=80),
            Part(78, (_named(self, "chance", f"{score.chance:.2f}"),)),
        ]


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _named(widget: Widget, name: str, value: str) -> Text:
    return Text.assemble(_styled(widget, f"{name} ", "name"), _styled(widget, value, "value"))


def _styled(widget: Widget, words: str, style: str) -> Text:
    return Text(words, widget.get_component_rich_style(f"score-line--{style}", partial=True))
