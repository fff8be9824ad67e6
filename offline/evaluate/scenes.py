"""The scenes of a simulated data set's pictures, and the judge that they allow."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from ...arrays import Array
from ...client.datasets.data_set import DataSet
from ...client.datasets.nsd.tree import NsdTree
from ...errors import BraindError

if TYPE_CHECKING:
    from ...models.demo.scenes import Scene
    from ...models.scores.scene_judge import SceneJudge

SCENES_NAME = "simulated_scenes.tsv"


class ScenesError(BraindError):
    """A simulated data set's table of scenes is missing or cannot be read."""

    code = "evaluate"


def scene_judge(tree: DataSet, pictures: Array, picture_ids: Array) -> "SceneJudge | None":
    """Return the judge of simulated pictures by attribute, or None for data other than a simulated NSD folder.

    Raises
    ------
    ScenesError
    """
    if not isinstance(tree, NsdTree) or not tree.is_simulated():
        return None
    from ...models.scores.clip import PictureClip
    from ...models.scores.scene_judge import SceneJudge

    return SceneJudge(pictures, read_scenes(tree.root / SCENES_NAME, picture_ids), PictureClip().embed)


def read_scenes(path: Path, picture_ids: Array) -> "list[Scene]":
    """Read pictures' scenes. The table lacks softness, light and tints; those of a plain background are taken.

    Raises
    ------
    ScenesError
        If the table is missing, lacks a picture or column, or cannot be read.
    """
    from ...models.demo.scenes import Scene

    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = {int(row["nsd_id"]): row for row in csv.DictReader(file, delimiter="\t")}
        chosen = [rows[picture_id] for picture_id in picture_ids.tolist()]
        return [
            Scene(
                kind=row["kind"],
                size=row["size"],
                place=row["place"],
                above=row["above"],
                below=row["below"],
                extent=float(row["extent"]),
                x=float(row["x"]),
                y=float(row["y"]),
                horizon=float(row["horizon"]),
                softness=0.07,
                light=0.0,
                tints=((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
            )
            for row in chosen
        ]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ScenesError(
            f"{path}: the held-out scenes cannot be read ({type(error).__name__}: {error}); write the folder again "
            "with braind simulate"
        ) from error
