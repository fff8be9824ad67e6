"""Numbers of BIDS labels: the protocol and the weights know subjects and sessions by number, files by label."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from zlib import crc32

from ..data_set import parse_numbers
from .files import BidsError, subject_folders

FIRST_UNNUMBERED = 100_000
"""Labels without a number of their own get a number from here on, computed from the label alone."""


def numbered(labels: Iterable[str], entity: str) -> dict[int, str]:
    """Return the labels of an entity by their numbers.

    A label that is a number means this number. If no label is a number, a label such as S03 has the number at its end,
    unless another label ends in the same number. Every other label gets a six-digit number that depends on nothing
    but the label, so that a label added later never moves the number to another subject.

    Parameters
    ----------
    entity : "sub", "ses" or "run", for the error

    Raises
    ------
    BidsError
        Two labels mean the same number.
    """
    labels = sorted(set(labels))
    if labels == [""]:
        return {1: ""}
    ends = {label: int(match[1]) for label in labels if (match := re.search(r"(\d+)$", label, re.ASCII))}
    are_numbers = [label for label in labels if _is_number(label)]
    owners = are_numbers or [label for label in ends if list(ends.values()).count(ends[label]) == 1]
    found: dict[int, str] = {}
    for label in labels:
        number = ends[label] if label in owners else FIRST_UNNUMBERED + crc32(label.encode()) % (9 * FIRST_UNNUMBERED)
        if number in found:
            raise BidsError(
                f"{entity}-{found[number]} and {entity}-{label} both mean the number {number}: rename one of them"
            )
        found[number] = label
    return found


def number_of(text: str, labels: Mapping[int, str], entity: str, where: str) -> int:
    """Return the number of a label, or of a number, that a user gave: "pil03", "sub-pil03", "03" or "3".

    Parameters
    ----------
    labels : the labels that are there, by their numbers
    entity : "sub" or "ses"
    where : the folder or the subject, for the error

    Raises
    ------
    BidsError
        Nothing has this label or number; the sentence names all labels.
    """
    name = text.strip().removeprefix(f"{entity}-")
    for number, label in labels.items():
        if label == name:
            return number
    if _is_number(name) and int(name) in labels:
        return int(name)
    there = ", ".join(f"{entity}-{label}" for label in sorted(labels.values())) or f"no folder {entity}-…"
    raise BidsError(f"{where} has no {entity}-{name}; it has {there}: give one of these labels", code="option")


def subjects_of(roots: list[Path]) -> dict[int, str]:
    """Return the labels of the subjects that have files, by number."""
    return numbered(subject_folders(roots), "sub")


def parse_choice(text: str, what: str) -> list[str] | None:
    """Return the labels and numbers of "1-12,14,post"; a range becomes its numbers. None for "".

    Raises
    ------
    DataSetError
        A part is neither a label nor a range.
    """
    if not text:
        return None
    chosen: list[str] = []
    for part in (part.strip() for part in text.split(",")):
        if re.fullmatch(r"(ses-)?[0-9]*[A-Za-z][A-Za-z0-9]*", part):
            chosen.append(part)
        else:
            chosen += [str(number) for number in parse_numbers(part or " ", what) or []]
    return chosen


def _is_number(label: str) -> bool:
    return label.isascii() and label.isdecimal()
