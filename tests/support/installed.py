"""braind as people install it: built from a clean checkout, in environments of its own, run from another folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


def tracked_files() -> list[Path]:
    """Return the checkout's files that git tracks or would track, relative to its root."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return sorted(Path(name) for name in set(names) if name and (ROOT / name).is_file())


class Built(NamedTuple):
    """The packages, as they are published."""

    sdist: Path
    wheel: Path


def build(folder: Path) -> Built:
    """Build the sdist from a clean checkout and the wheel from the sdist."""
    for path in tracked_files():
        (folder / "checkout" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, folder / "checkout" / path)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", folder / "checkout"]
    subprocess.run(command, check=True, capture_output=True, env=_environment(folder))
    (sdist,), (wheel,) = (folder / "dist").glob("*.tar.gz"), (folder / "dist").glob("*.whl")
    return Built(sdist, wheel)


class Installed:
    """A fresh environment with a wheel of braind, such extras as `[decode]`, and the wheels that these ask for.

    With `borrowed`, the libraries are those of the environment that runs the tests: torch takes minutes to install. The
    wheel's braind goes before the braind there.
    """

    def __init__(self, folder: Path, wheel: Path, extras: str = "", *, borrowed: bool = False) -> None:
        self._folder = folder
        self._bin = folder / "venv" / "bin"
        self.elsewhere = folder / "elsewhere"
        self.elsewhere.mkdir()
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
        command = [sys.executable, "-m", "pip", "--python", self._bin / "python", "install", "-q", "--no-compile"]
        options = ["--no-deps"] if borrowed else ["-c", ROOT / "constraints.txt"]
        subprocess.run([*command, *options, f"{wheel}{extras}"], check=True, env=_environment(folder))
        (self.packages,) = (folder / "venv").glob("lib/python*/site-packages")
        if borrowed:
            (self.packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def braind(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run a command to its end in a folder without a checkout."""
        return self._run(self._bin / "braind", *arguments)

    def n_bytes(self) -> int:
        """Return the size of the wheels' files. pip also compiles them, which takes a quarter more."""
        files = (path for path in self.packages.rglob("*") if path.is_file() and path.suffix != ".pyc")
        return sum(path.stat().st_size for path in files)

    def python(self, code: str) -> str:
        """Run code; return what it prints."""
        ran = self._run(self._bin / "python", "-c", code)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def _run(self, *command: object) -> subprocess.CompletedProcess[str]:
        words, environment = list(map(str, command)), _environment(self._folder)
        return subprocess.run(words, cwd=self.elsewhere, capture_output=True, text=True, timeout=1800, env=environment)


def _environment(home: Path) -> dict[str, str]:
    """Return an environment that leads to no checkout and to no settings of the user."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return {**kept, **{f"XDG_{kind}_HOME": str(home / kind) for kind in ("CONFIG", "DATA")}}
