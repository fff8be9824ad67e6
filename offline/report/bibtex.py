"""A cited work, as a journal's text prints it and as BibTeX."""

from typing import NamedTuple

MOST_AUTHORS = 3
"""Of more authors the text prints the first one and "et al."; BibTeX has all authors."""
DOI, ARXIV = "https://doi.org/", "https://arxiv.org/abs/"
LATEX = {"’": "'", "–": "--", "&": r"\&", "á": r"{\'a}", "ö": r"{\"o}"}


class Reference(NamedTuple):
    """A cited work.

    Parameters
    ----------
    authors : str
        As in BibTeX: "Last, First and Last, First".
    title : str
        Only names and abbreviations have capitals.
    journal, conference : str
        The journal of an article, or the proceedings of a paper; a preprint has neither.
    volume, pages : str
        "" where the work has none.
    """

    authors: str
    year: int
    title: str
    url: str
    journal: str = ""
    conference: str = ""
    volume: str = ""
    pages: str = ""

    @property
    def short(self) -> str:
        """Return the citation in the text."""
        names = [author.split(",")[0] for author in self.authors.split(" and ")]
        return f"{names[0]} et al., {self.year}" if len(names) > 2 else f"{' & '.join(names)}, {self.year}"

    @property
    def full(self) -> str:
        """Return the entry in the list of references, without the URL."""
        venue = self.journal or self.conference or ("arXiv preprint" if self.url.startswith(ARXIV) else "")
        where = " ".join(part for part in (venue, self.volume) if part)
        where = ", ".join(part for part in (where, self.pages) if part)
        return f"{_printed(self.authors)} ({self.year}). {self.title}.{f' {where}.' if where else ''}"

    def bibtex(self, key: str) -> str:
        """Return the BibTeX entry, in ASCII."""
        kind = "article" if self.journal else "inproceedings" if self.conference else "misc"
        fields = {
            "author": self.authors,
            "title": _with_capitals(self.title),
            "journal": self.journal,
            "booktitle": self.conference,
            "volume": self.volume,
            "pages": self.pages,
            "year": str(self.year),
        }
        if self.url.startswith(DOI):
            fields["doi"] = self.url.removeprefix(DOI)
        elif self.url.startswith(ARXIV):
            fields |= {"eprint": self.url.removeprefix(ARXIV), "archiveprefix": "arXiv"}
        fields["url"] = self.url
        lines = [f"  {name} = {{{_latex(value)}}}," for name, value in fields.items() if value]
        return "\n".join([f"@{kind}{{{key},", *lines, "}"])


def bibtex(references: dict[str, Reference]) -> str:
    """Return references as the content of a BibTeX file."""
    return "".join(f"{reference.bibtex(key)}\n" for key, reference in references.items())


def _printed(authors: str) -> str:
    """Return "Last, F. M., & Last, F."."""
    printed = []
    for author in authors.split(" and "):
        last, first = author.split(", ")
        # A double name keeps its hyphen: T.-Y.
        initials = ["-".join(f"{part[0]}." for part in name.split("-")) for name in first.split()]
        printed.append(f"{last}, {' '.join(initials)}")
    if len(printed) > MOST_AUTHORS:
        return f"{printed[0]}, et al."
    return printed[0] if len(printed) == 1 else f"{', '.join(printed[:-1])}, & {printed[-1]}"


def _with_capitals(title: str) -> str:
    """Put braces around words with capitals, which BibTeX styles would make small letters."""
    words = title.split(" ")
    is_first = [True, *[False] * (len(words) - 1)]
    return " ".join(
        f"{{{word}}}" if any(letter.isupper() for letter in word[1 if first else 0 :]) else word
        for word, first in zip(words, is_first, strict=True)
    )


def _latex(text: str) -> str:
    return "".join(LATEX.get(letter, letter) for letter in text)
