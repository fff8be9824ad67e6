"""Names and captions from the wire, made to fit a screen."""

from rich.cells import cell_len, chop_cells

from ..printable import printable


def shortened(text: str, n_cells: int) -> str:
    """Return the printable text in at most `n_cells` cells; "…" replaces the part that is cut."""
    text = printable(text)
    if cell_len(text) <= n_cells:
        return text
    if n_cells < 2:
        return "…"[:n_cells]
    return chop_cells(text, n_cells - 1)[0].rstrip() + "…"


def run_within(session: str, run: str) -> str:
    """Return a run's name without its session's name: `run-03` for `sub-01_ses-02_run-03`."""
    return run.removeprefix(session).lstrip("_-. ") or run
