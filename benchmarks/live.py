"""Recorded trials through the real daemon at four times NSD's pace: what is lost, and how late the pictures are."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.serving import Serving

N_VOLUMES, SPEED = 60, 4


def measure(daemon: Serving, nsd_path: Path, *, quick: bool) -> dict[str, Any]:
    """Replay single trials as `braind replay` does."""
    pace = ["--flat-out"] if quick else ["--speed", str(SPEED)]
    replayed = subprocess.run(
        [sys.executable, "-m", "braind", "replay", "--data", daemon.folder, "--nsd", nsd_path, *pace, "--json",
         "--max-volumes", str(3 if quick else N_VOLUMES)],
        capture_output=True, text=True,
    )  # fmt: skip
    if replayed.returncode:
        raise SystemExit(f"braind replay: {replayed.stderr}")
    return {"pace": " ".join(pace), **json.loads(replayed.stdout)}
