"""How good weights of a new participant are after so many minutes, and how long their fit takes.

Writes results/calibration.json and docs/calibration.png.

The simulated subject stands for the participant. A daemon without weights records a replay, `--calibration`, which is
stopped after so many minutes, fitted on without regions (z and c from all recorded voxels), and gone on with. Held-out
are single trials of another session, of pictures that the calibration never shows. The last fit is done once more by
`braind fit --session`, timed from its start to its end. Give the kinds one at a time if the machine is wanted
meanwhile: their results are kept side by side.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image
from support.measuring import origin, write_result
from support.plots import draw_calibration

from braind.arrays import Array
from braind.client.datasets.nsd.tree import NsdTree
from braind.client.replays.runs import picture_file
from braind.config import load_config, nsd_path
from braind.models.scores.metrics import bootstrap_ci, identified_among_seen, mean_by_picture
from braind.models.weights.candidates import Candidates
from braind.models.weights.weights import Weights
from braind.offline.fit.bold import final_estimates
from braind.offline.fit.calibrate import SessionFit, ShownPictures, with_regions
from braind.offline.fit.targets import encode_targets
from braind.offline.from_settings import load_ldm

ROOT = Path(__file__).parent
SUBJECT, SESSION, OTHER_SESSION = 1, 16, 15
REGIONS = ("early", "ventral")
MINUTES = (2.5, 5, 10, 15, 20, 30, 40, 50, 60)
VOLUME_S = {"beta": 4.0, "bold": 4 / 3}


class UnshownTrials:
    """Trials of a session whose pictures the calibration never shows, and their pictures' z and c."""

    def __init__(self, tree: NsdTree, shown: Array) -> None:
        self._tree = NsdTree(tree.root, sessions=[OTHER_SESSION])
        trials = self._tree.trials(SUBJECT)
        (self._rows,) = np.nonzero(~np.isin(trials.nsd_id, shown))
        self.nsd_ids, self._pictures = np.unique(trials.nsd_id[self._rows], return_inverse=True)
        ldm = load_ldm(load_config())
        z, c = encode_targets(tree, ldm, self.nsd_ids, ldm.picture_px)
        self._candidates = Candidates(z, c, self.nsd_ids, [""] * len(self.nsd_ids))

    def two_way(self, weights: Weights) -> dict[str, Any]:
        """Score weights by the retrieval among the held-out pictures."""
        voxels, pictures = self._voxels(weights)
        z, c = weights.predict(voxels)
        likeness = np.stack([self._candidates.scores(*decoded) for decoded in zip(z, c, strict=True)])
        scores = mean_by_picture(identified_among_seen(likeness, pictures), pictures, len(self.nsd_ids))
        scores = scores[np.isfinite(scores)]
        return {"mean": round(float(scores.mean()), 4), "ci95": [round(end, 4) for end in bootstrap_ci(scores, 0)],
                "n_trials": len(voxels), "n_pictures": len(scores)}  # fmt: skip

    def _voxels(self, weights: Weights) -> tuple[Array, Array]:
        if weights.bold is None:
            betas = self._tree.masked_betas(SUBJECT, [OTHER_SESSION], weights.voxel_index)
            return betas[self._rows], self._pictures
        estimates = final_estimates(self._tree, SUBJECT, weights.voxel_index, weights.bold)
        wanted = np.isin(estimates.rows, self._rows)
        return estimates.voxels[wanted], self._pictures[np.searchsorted(self._rows, estimates.rows[wanted])]


def write_participant(tree: NsdTree, shown: Array, folder: Path) -> tuple[Path, dict[str, str]]:
    """Write what a laboratory has of a participant: the pictures shown, and masks; return folder and mask files."""
    stimuli = folder / "stimuli"
    stimuli.mkdir()
    for nsd_id in shown:
        Image.fromarray(tree.pictures([nsd_id])[0]).save(stimuli / picture_file(nsd_id), compress_level=1)
    masks = {region: str(folder / f"{region}.nii.gz") for region in REGIONS}
    for region, path in masks.items():
        nib.save(nib.Nifti1Image(tree.roi_mask(SUBJECT, [region]).astype(np.uint8), tree.affine(SUBJECT)), path)
    return stimuli, masks


def braind(*arguments: object) -> str:
    """Run a command to its end; return what it printed."""
    command = [sys.executable, "-m", "braind", *map(str, arguments)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return ran.stdout


@contextmanager
def recording(data: Path, kind: str, masks: dict[str, str]) -> Iterator[None]:
    """Run a daemon that has no weights."""
    options = [option for path in masks.values() for option in ("--mask", path)]
    ports = [option for name in ("ingest", "decodes", "control") for option in (f"--{name}-port", "0")]
    command = [sys.executable, "-m", "braind", "serve", "--data", data, "--subject", SUBJECT, "--kind", kind]
    daemon = subprocess.Popen([*map(str, command), *options, *ports], stdout=subprocess.PIPE, text=True)
    try:
        assert daemon.stdout is not None
        assert daemon.stdout.readline().startswith("ready")
        yield
    finally:
        daemon.terminate()
        daemon.wait()


def measure(tree: NsdTree, kind: str, folder: Path) -> dict[str, Any]:
    """Record, fit and score part by part."""
    trials = tree.trials(SUBJECT)
    last = int(MINUTES[-1] * 60 / VOLUME_S[kind])
    # betas come session after session, without the pauses that a session of BOLD has
    shown = np.unique(trials.nsd_id[:last] if kind == "beta" else trials.nsd_id[trials.session == SESSION])
    held_out = UnshownTrials(tree, shown)
    stimuli, masks = write_participant(tree, shown, folder)
    config = with_regions(load_config(None, {"paths": {"data": str(folder)}}), [], [])
    fit, rows = SessionFit(config, ShownPictures(stimuli)), []
    which = ["--session", SESSION, "--kind", kind] if kind == "bold" else []
    replay = ["replay", "--data", folder, "--nsd", tree.root, "--calibration", "--flat-out", "--session-id", "hour"]
    journal = folder
    with recording(folder, kind, masks):
        for minutes in MINUTES:
            braind(*replay, *which, "--max-volumes", round(minutes * 60 / VOLUME_S[kind]))
            (journal,) = (folder / "journals").glob("*.sqlite3")
            path, calibration = fit.fit([journal])
            told = {"mean": calibration.two_way, "ci95": [calibration.low, calibration.high]}
            rows.append(
                {"minutes": minutes, "n_trials": calibration.n_trials, "n_pictures": calibration.n_pictures,
                 "told": told, "held_out": held_out.two_way(Weights.load(path))}
            )  # fmt: skip
            print(json.dumps(rows[-1]), flush=True)
    return {"rows": rows, "fit_of_the_last": time_fit(folder, journal, stimuli)}


def time_fit(folder: Path, journal: Path, stimuli: Path) -> dict[str, Any]:
    """Time `braind fit --session`, from its start to its end."""
    began_s = time.perf_counter()
    path = braind("fit", "--data", folder, "--session", journal, "--stimuli", stimuli)
    taken_s = time.perf_counter() - began_s
    card = Weights.load(Path(path.strip())).card
    return {"seconds": round(taken_s, 1), "n_trials": card.n_trials, "n_pictures": card.n_pictures, "folds": card.folds,
            "n_voxels": int(len(Weights.load(Path(path.strip())).voxel_index))}  # fmt: skip


def main() -> None:
    """Measure, write and plot."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kind", action="append", choices=tuple(VOLUME_S), help="beta, bold; both if not given")
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    parser.add_argument("--plot", type=Path, default=ROOT.parent / "docs" / "calibration.png")
    options = parser.parse_args()
    tree = NsdTree(nsd_path(load_config()))
    results = options.out / "calibration.json"
    kept = json.loads(results.read_text())["kinds"] if results.is_file() else {}
    for kind in options.kind or VOLUME_S:
        where = origin()
        with tempfile.TemporaryDirectory() as folder:
            kept[kind] = {**where, **measure(tree, kind, Path(folder))}
        write_result(options.out, "calibration", {}, {"kinds": kept})
    draw_calibration(kept, options.plot)
    print(results)


if __name__ == "__main__":
    main()
