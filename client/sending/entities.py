"""What an image is: its echo, its part of the complex signal, its series' description."""

import re
from dataclasses import dataclass
from typing import Any, Literal

Part = Literal["magnitude", "phase", "real", "imaginary"]
PARTS_OF_GE: dict[int, Part] = {1: "phase", 2: "real", 3: "imaginary"}
PART_OF_GE = (0x0043, 0x102F)
SAME_ECHO_MS = 0.05
"""Echo times that differ by less belong to one echo."""
REFERENCE = re.compile(r"sb[-_ ]?ref|single[-_ ]?band ref", re.IGNORECASE)
ECHO_IN_NAME = re.compile(r"_echo-(\d+)|_e(\d+)$")
PARTS_IN_NAME: tuple[tuple[Part, re.Pattern[str]], ...] = (
    ("phase", re.compile(r"_part-phase|_ph(?:ase)?$")),
    ("real", re.compile(r"_part-real|_real$")),
    ("imaginary", re.compile(r"_part-imag|_imaginary$")),
)


@dataclass(frozen=True)
class Entities:
    """What an image is, by its header or its file's name.

    Parameters
    ----------
    description : the series' description; a file's name without its number, for NIfTI
    echo : number of the echo, from 1, or None if nothing says it
    echo_time_ms : the echo time, or None if nothing says it
    part : part of the complex signal
    is_reference : the image is a single-band reference
    is_alone : its series has one volume
    counts_volumes : its index counts volumes; an index that counts files counts every echo and part
    """

    description: str = ""
    echo: int | None = None
    echo_time_ms: float | None = None
    part: Part = "magnitude"
    is_reference: bool = False
    is_alone: bool = False
    counts_volumes: bool = False

    def is_beside(self, other: "Entities") -> bool:
        """Return whether the other image is another echo or part of the same volume."""
        if self.part != other.part:
            return True
        if self.echo_time_ms is not None and other.echo_time_ms is not None:
            return abs(self.echo_time_ms - other.echo_time_ms) > SAME_ECHO_MS
        return self.echo != other.echo

    def __str__(self) -> str:
        number = "" if self.echo is None else f" {self.echo}"
        time = "" if self.echo_time_ms is None else f" of {self.echo_time_ms:g} ms"
        return f"{self.part} images, echo{number}{time}" if number or time else f"{self.part} images"


def entities_of_name(stem: str, echo: int | None = None) -> Entities:
    """Return what a NIfTI file's name says, as BIDS and dcm2niix write names.

    Parameters
    ----------
    stem : the name without its extension
    echo : the echo's number, if the caller has found it
    """
    found = ECHO_IN_NAME.search(stem)
    if echo is None and found:
        echo = int(found[1] or found[2])
    parts: list[Part] = [part for part, pattern in PARTS_IN_NAME if pattern.search(stem)]
    return Entities(
        stem,
        echo,
        None,
        parts[0] if parts else "magnitude",
        is_reference=bool(REFERENCE.search(stem)),
        counts_volumes=True,
    )


def entities_of_dicom(dataset: Any, *, counts_volumes: bool) -> Entities:
    """Return what a DICOM file's header says; enhanced files say more for each frame."""
    number, time_ms = dataset.get("EchoNumbers"), dataset.get("EchoTime")
    position, n_positions = dataset.get("TemporalPositionIdentifier"), dataset.get("NumberOfTemporalPositions")
    description = str(dataset.get("SeriesDescription") or dataset.get("ProtocolName") or "")
    words = [description, str(dataset.get("ImageComments", "")), *map(str, dataset.get("ImageType") or [])]
    return Entities(
        description=description,
        echo=int(number) if isinstance(number, int) and number > 0 else None,
        echo_time_ms=float(time_ms) if time_ms else None,
        part=part_of_dicom(dataset, "ImageType"),
        is_reference=any(REFERENCE.search(word) for word in words),
        is_alone=(position, n_positions) == (1, 1),
        counts_volumes=counts_volumes,
    )


def part_of_dicom(dataset: Any, type_name: str) -> Part:
    """Return the part of the complex signal.

    Parameters
    ----------
    type_name : element of the image type: ImageType, or FrameType of an enhanced file's frame
    """
    component = str(dataset.get("ComplexImageComponent", "")).lower()
    if component in ("magnitude", "phase", "real", "imaginary"):
        return component
    if PART_OF_GE in dataset:
        return PARTS_OF_GE.get(int(dataset[PART_OF_GE].value), "magnitude")
    for word in [str(word).upper() for word in dataset.get(type_name) or []][2:]:
        if word in ("M", "MAGNITUDE") or word.startswith("M_"):
            return "magnitude"
        if word == "P" or word.startswith("P_") or word.startswith("PHASE"):
            return "phase"
        if word in ("R", "REAL") or word.startswith("R_"):
            return "real"
        if word in ("I", "IMAGINARY") or word.startswith("I_"):
            return "imaginary"
    return "magnitude"
