"""Runs that are held out change nothing that a fit makes, also when training runs show the same pictures."""

import nibabel as nib
import numpy as np
import pytest
from bids_study import events, study, table
from safetensors import safe_open

from braind.config import load_config
from braind.models.weights.weights import Weights
from braind.offline.fit.subject import fit_subject

WORDS = ("cat", "dog", "house", "tree", "car", "bird", "fish", "boat")


def spoil(root, subject, run):
    """Replace all that a run recorded, and the pictures that it showed."""
    rng = np.random.default_rng(99)
    for path in (root / f"derivatives/fmriprep/sub-S0{subject}").rglob(f"*_run-{run}_*.nii.gz"):
        image = nib.load(path)
        nib.save(nib.Nifti1Image(rng.normal(300, 99, image.shape).astype(np.float32), image.affine, image.header), path)
    for path in root.rglob(f"sub-S0{subject}_*_run-{run}_events.tsv"):
        events(path, [f"set/p{n}.jpg" for n in (7, 6, 7, 6, 7, 6)])


def tensors(path):
    with safe_open(path, "np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@pytest.mark.parametrize(("subject", "betas", "z_score"), [(2, "bold", "none"), (1, "", "full"), (1, "", "causal")])
def test_what_a_held_out_run_recorded_changes_no_weight(tmp_path, subject, betas, z_score):
    root = study(tmp_path)
    captions = [(f"set/p{n}.jpg", word) for n, word in enumerate(WORDS)]
    table(root / "stimuli/captions.tsv", ("stim_file", "caption"), *captions)

    def fit(name, test_runs):
        sections = {
            "paths": {"data": str(tmp_path / name), "bids": str(root)},
            "dataset": {"task": "look", "space": "MNI", "betas": betas, "test_runs": test_runs},
            "fit": {"z_rois": ["early"], "c_rois": ["EVC"], "folds": 3, "z_score": z_score},
        }
        return fit_subject(load_config(None, sections), subject)

    before, of_others = fit("before", "1"), fit("other", "2")
    spoil(root, subject, 1)
    after = fit("after", "1")
    one, other = tensors(before), tensors(after)
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert np.array_equal(tensor, other[name]), name
    assert Weights.load(before).card == Weights.load(after).card
    assert not np.array_equal(one["voxel_mean"], tensors(of_others)["voxel_mean"])
    assert Weights.load(before).card.test_runs == "1"
    assert all(run == 2 for _, run in Weights.load(before).card.prior_runs)
