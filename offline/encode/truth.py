"""Compares the encoding models of a simulated brain with the simulator's parameters."""

from typing import Any

import msgspec
import numpy as np

from ...arrays import Array
from ...client.datasets.nsd.tree import MARKER, NsdTree
from .maps import MapFolder
from .models import Models, Report


def ground_truth(tree: NsdTree, subject: int, maps: MapFolder, report: Report) -> Array:
    """Return the simulated share of early channels in each voxel: (n_voxels,), NaN outside visual cortex."""
    from ...models.demo.subject.ground_truth import look_shares

    report("computing the simulation's truth", 0, 1)
    marker = msgspec.json.decode((tree.root / MARKER).read_bytes())
    volume = look_shares(
        tree.shape(subject),
        tree.pictures,
        seed=marker["seed"],
        subject=subject,
        subjects=marker["subjects"],
        n_sessions=marker["n_sessions"],
        n_shared=len(tree.shared_ids()),
    )
    return volume.reshape(-1)[maps.voxel_index]


def preference(models: Models) -> Array:
    """Return each voxel's preference for z over c: r of z − r of c, (n_voxels,) float32."""
    return models["z"].correlation - models["c"].correlation


def compare_with_truth(models: Models, truth: Array) -> dict[str, Any]:
    """Correlate the voxels' preference for z over c with the simulated share of early channels."""
    from scipy.stats import spearmanr

    visual = np.isfinite(truth)
    groups = {"visual": visual, "higher": visual & (truth < 1)}
    found = preference(models)
    return {
        "truth": "share of the noise-free signal that early visual channels drive",
        "recovered": "r of z minus r of c",
        **{
            name: {
                "pearson": float(np.corrcoef(truth[group], found[group])[0, 1]),
                "spearman": float(np.asarray(spearmanr(truth[group], found[group]))[0]),
                "n_voxels": int(group.sum()),
            }
            for name, group in groups.items()
        },
    }
