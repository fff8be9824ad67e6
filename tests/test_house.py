"""The house's rules: what is in the wheel, and that the linter's contracts hold."""

import subprocess
import sys
import zipfile
from pathlib import Path

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
