"""The house's rules: the size of what is shipped, and what the pages name."""

import re
import tomllib
from pathlib import Path

import pytest

from braind import __version__

ROOT = Path(__file__).parent.parent
LICENCES = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license-files"]


def test_every_bundled_parts_notice_and_the_release_are_named():
    assert set(LICENCES) == {"LICENSE", *(str(p.relative_to(ROOT)) for p in ROOT.glob("models/**/*LICENCE*"))}
    assert f"version: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {__version__}, " in (ROOT / "CHANGELOG.md").read_text()


def test_the_embedded_model_is_small_enough_to_ship():
    files = [
        path for path in (ROOT / "models" / "demo").rglob("*") if path.suffix in (".safetensors", ".json", ".webp")
    ]
    assert sum(path.stat().st_size for path in files) < 40e6


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))]
)
def test_every_file_that_a_page_names_exists(page):
    """The drawings of `docs/architecture.md` name the rooms' own files: a move that forgets them fails here."""
    text = (ROOT / page).read_text()
    rooms = r"(?:client|commands|daemon|models|offline|tui|tests|benchmarks|examples|docs)"
    named = set(re.findall(rf"\b({rooms}/[\w./-]*\w\.(?:py|md|c|m|png|j2))\b", text))
    assert {path for path in named if "NAME" not in path and not (ROOT / path).exists()} == set()


def test_the_steps_of_a_volume_stand_in_the_code_where_the_drawing_puts_them():
    drawing = (ROOT / "docs" / "architecture.md").read_text()
    for path, step in re.findall(r"(\w[\w/]*\.py)\s+([1-9])  ", drawing):
        assert re.search(rf"# {step}\. ", (ROOT / path).read_text()), f"{path}: step {step}"
