"""A BIDS folder of the slice of a person's brain, which lies beside the repository and not in it."""

import json
import shutil
from pathlib import Path

FUNC = Path(__file__).resolve().parents[2].parent / "shared/data/haxby-slice/func"


def haxby_folder(root, runs=range(1, 13)):
    """Write the raw runs with their events: no pictures, no derivatives."""
    (root / "sub-01/func").mkdir(parents=True)
    (root / "dataset_description.json").write_text(json.dumps({"Name": "haxby", "BIDSVersion": "1.10.0"}))
    for run in runs:
        for suffix in ("bold.nii.gz", "events.tsv"):
            name = f"sub-01_task-objects_run-{run:02d}_{suffix}"
            shutil.copyfile(FUNC / name, root / "sub-01/func" / name)
    return root
