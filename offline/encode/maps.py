"""Writes encoding maps as NIfTI files with BIDS-derivative names and the subject's affine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from ... import __version__
from ...arrays import Array
from ...client.datasets.data_set import BrainDataSet
from ...models.encoding.unet_features import MOMENTS
from ...models.encoding.voxel_models import is_significant, p_values
from ..bids_tables import write_json
from .analyses import layer_labels
from .models import Models

# BIDS has no names for statistical maps and reports yet.
BIDS_IGNORE = "*_statmap.nii.gz\nfigure-*.png\nencoding.json\n"


@dataclass(frozen=True, eq=False)
class MapFolder:
    """A BIDS derivative of one subject's maps, below `out`.

    Parameters
    ----------
    label : str
        The subject's label in file names.
    voxel_index : array of shape (n_voxels,), int64
        Into the C-order flattened volume.
    """

    out: Path
    label: str
    task: str
    space: str
    voxel_index: Array
    shape: tuple[int, int, int]
    affine: Array

    @classmethod
    def create(cls, out: Path, data: BrainDataSet, subject: int) -> "MapFolder":
        """Make the folder for a subject's whole brain, with a description of the data set."""
        voxel_index = np.flatnonzero(data.brainmask(subject))
        grid = voxel_index, data.shape(subject), data.affine(subject)
        folder = cls(out, data.label(subject), data.task, data.space, *grid)
        folder.maps_path.mkdir(parents=True, exist_ok=True)
        description = {
            "Name": "Encoding analysis" + (" of SIMULATED data" if data.is_simulated() else ""),
            "BIDSVersion": "1.10.0",
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "braind", "Version": __version__}],
        }
        write_json(out / "dataset_description.json", description)
        reference = {"SpatialReference": str(data.brainmask_path(subject).relative_to(data.root))}
        for suffix in ("mask", "dseg"):
            write_json(out / f"{folder._entities}_{suffix}.json", reference)
        (out / ".bidsignore").write_text(BIDS_IGNORE)
        return folder

    @property
    def maps_path(self) -> Path:
        """Return the folder of the NIfTI files."""
        return self.out / f"sub-{self.label}" / "func"

    @property
    def _entities(self) -> str:
        return f"task-{self.task}" + (f"_space-{self.space}" if self.space else "")

    def image(self, values: Array) -> Any:
        """Return voxels' values, (n_voxels,), as an image; 0 outside the brain."""
        volume = np.zeros(int(np.prod(self.shape)), values.dtype)
        volume[self.voxel_index] = values
        return nib.Nifti1Image(volume.reshape(self.shape), self.affine)  # pyright: ignore[reportPrivateImportUsage]

    def write(self, values: Array, description: str, suffix: str) -> Path:
        """Write voxels' values, (n_voxels,).

        Parameters
        ----------
        description : str
            Letters and digits for `desc-` in the file name.
        suffix : str
            End of the file name, such as `stat-r_statmap`.
        """
        path = self.maps_path / f"sub-{self.label}_{self._entities}_desc-{description}_{suffix}.nii.gz"
        nib.save(self.image(values), path)  # pyright: ignore[reportPrivateImportUsage]
        return path


def write_maps(maps: MapFolder, models: Models, analyses: dict[str, Any]) -> list[Path]:
    """Write r, p and FDR masks of every single model, unique variances, and best layers."""
    paths = []
    for name, scores in models.scores.items():
        if " + " in name:
            zc = name.removeprefix("z + ")
            paths.append(maps.write(models.unique_map(zc, "z"), f"{_camel(zc)}UniqueBesideZ", "stat-r2_statmap"))
            paths.append(maps.write(models.unique_map("z", zc), f"zUniqueBeside{_camel(zc, True)}", "stat-r2_statmap"))
            continue
        p = p_values(scores.correlation, models.n_held_out).astype(np.float32)
        significant = is_significant(scores.correlation, models.n_held_out)
        paths.append(maps.write(scores.correlation, _camel(name), "stat-r_statmap"))
        paths.append(maps.write(p, _camel(name), "stat-p_statmap"))
        paths.append(maps.write(significant.astype(np.uint8), f"{_camel(name)}Fdr", "mask"))
    layers = analyses["layers"]["layers"]
    for moment in MOMENTS:
        path = maps.write(layer_labels(models, layers, moment), f"bestLayer{moment.title()}", "dseg")
        rows = [f"{number}\t{layer}" for number, layer in enumerate(layers, start=1)]
        table = path.with_name(path.name.replace(".nii.gz", ".tsv"))
        table.write_text("\n".join(["index\tname", *rows]) + "\n")
        paths += [path, table]
    return paths


def _camel(name: str, capital: bool = False) -> str:
    """Turn a feature's name into letters and digits: "zc_strength-0.8" → "zcStrength08"."""
    words = "".join(letter if letter.isalnum() else " " for letter in name.replace(".", "")).split()
    camel = words[0] + "".join(word.title() for word in words[1:])
    return camel[0].upper() + camel[1:] if capital else camel
