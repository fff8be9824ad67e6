"""Make text from the wire safe for one terminal line: senders choose names and captions freely."""

from rich.cells import cell_len, chop_cells


def printable(text: str) -> str:
    """Return the text with every control character and line break replaced by a space."""
    return "".join(character if character.isprintable() else " " for character in text)


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
