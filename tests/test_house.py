"""The house's rules: what is in the wheel, and that the linter's contracts hold."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_the_wheel_holds_every_room_and_no_tests(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT],
        check=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in ROOT.rglob("__init__.py"):
        room = path.relative_to(ROOT)
        if room.parts[0] in ("client", "commands", "daemon", "models", "offline", "tui"):
            assert f"braind/{room}" in names
    assert {"braind/config.toml", "braind/py.typed", "braind/models/demo/model_index.json"} <= names
    assert "braind/models/demo/sprites.webp" in names
    for part in ("vae", "unet", "text_encoder", "clip"):
        assert any(name.startswith(f"braind/models/demo/{part}/") and name.endswith(".safetensors") for name in names)
    assert not any("tests/" in name for name in names)


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
