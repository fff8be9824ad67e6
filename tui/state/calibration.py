"""A calibration so far in words, and the curve of its score as lines of text."""

from collections.abc import Iterable

from ...client.wire import Calibration, Recorded

CHANCE = 0.5
LOWEST, HIGHEST = 0.4, 1.0
AXIS_CELLS = 5
POINT, INTERVAL, CHANCE_LINE = "●", "│", "┄"


def recorded_words(recorded: Recorded) -> list[str]:
    """Return what was recorded so far, the most important first."""
    if not recorded.session:
        return ["no session was opened yet: the sender's first run opens it"]
    words = [f"{_count(recorded.n_trials, 'trial')} of {_count(recorded.n_pictures, 'picture')}"]
    words.append(f"{recorded.minutes:.1f} minutes")
    if recorded.n_unnamed and not recorded.n_trials:
        return [f"none of {_count(recorded.n_unnamed, 'trial')} names its picture: no fit takes their runs"]
    if recorded.n_unnamed:
        words.append(f"{_count(recorded.n_unnamed, 'trial')} without a picture's name: no fit takes their runs")
    return words


def score_words(calibrations: Iterable[Calibration]) -> str:
    """Return the newest score in a sentence."""
    newest = max(calibrations, key=lambda one: one.minutes, default=None)
    if newest is None:
        return "no score yet: `braind calibrate` fits after each run that ends, and sends the score"
    return (
        f"two-way {newest.two_way:.2f} ({newest.low:.2f}–{newest.high:.2f}), chance {CHANCE:.2f}: fitted on "
        f"{_count(newest.n_trials, 'trial')} of {_count(newest.n_pictures, 'picture')}, {newest.minutes:.1f} minutes"
    )


def newest_words(recorded: Recorded) -> str:
    """Return the newest trial in words; "" before the first."""
    if recorded.event is None and recorded.index is None:
        return ""
    number = f"volume {recorded.index}" if recorded.event is None else f"event {recorded.event}"
    named = recorded.stimulus or "no picture named"
    return f"{number}: {named}" + (f", class {recorded.label}" if recorded.label else "")


def curve_lines(calibrations: Iterable[Calibration], n_columns: int, n_rows: int) -> list[str]:
    """Return the score over minutes as `n_rows` lines of at most `n_columns` cells, with 95 % intervals.

    The left axis is the two-way score from 0.4 to 1; a dashed line is chance. A lower score stands at the bottom.
    """
    points = sorted(calibrations, key=lambda one: one.minutes)
    n_plot, n_curve = n_columns - AXIS_CELLS, n_rows - 1
    if n_plot < 2 or n_curve < 2 or not points:
        return []
    cells = [[" "] * n_plot for _ in range(n_curve)]
    cells[_row(CHANCE, n_curve)] = [CHANCE_LINE] * n_plot
    longest = max(points[-1].minutes, 1e-9)
    for point in points:
        column = min(round(point.minutes / longest * (n_plot - 1)), n_plot - 1)
        for row in range(_row(point.high, n_curve), _row(point.low, n_curve) + 1):
            if cells[row][column] != POINT:
                cells[row][column] = INTERVAL
        cells[_row(point.two_way, n_curve)][column] = POINT
    axis = {_row(value, n_curve): f"{value:.2f} " for value in (HIGHEST, CHANCE)}
    lines = [f"{axis.get(row, ''):<{AXIS_CELLS}}{''.join(line)}" for row, line in enumerate(cells)]
    end = f"{longest:.1f} min"
    return [*lines, f"{'':<{AXIS_CELLS}}0{end:>{n_plot - 1}}" if len(end) < n_plot else ""]


def _row(score: float, n_rows: int) -> int:
    share = (min(max(score, LOWEST), HIGHEST) - LOWEST) / (HIGHEST - LOWEST)
    return round((1 - share) * (n_rows - 1))


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
