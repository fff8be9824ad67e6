"""A report from small stored inputs, with everything in it."""

import html
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from report_inputs import SETTINGS, journal_of, random_map, scores_with

from braind.cli import main
from braind.client.datasets.nsd.tree import NsdTree
from braind.config import load_config, weights_path
from braind.models.weights.roi import mask_sha256, union_index
from braind.models.weights.weights import Weights, WeightsCard
from braind.offline.decoding import SubjectDecoder


@pytest.fixture(scope="session")
def weights(small_data, files):
    tree = NsdTree(small_data / "nsd-simulated")
    voxel_index, z, c = union_index(tree.roi_mask(1, ["early"]), tree.roi_mask(1, ["ventral"]))
    card = WeightsCard(
        subject=1, shape=tree.shape(1), affine=tuple(map(tuple, tree.affine(1).tolist())), z_rois=("early",),
        c_rois=("ventral",), ldm=files.ldm.fingerprint, latent_shape=files.ldm.latent_shape,
        text_shape=files.ldm.text_shape, simulated=True, nsd="nsd-simulated", version="0.1.0", profile="live", folds=5,
        n_trials=700, n_pictures=650, alphas_z=(10.0, 1e4, 1e5), alphas_c=(10.0, 316.2, 1e5),
        mask_sha256=mask_sha256(voxel_index, tree.shape(1)), scores={"z_correlation": 0.42},
    )  # fmt: skip
    n = len(voxel_index)
    return Weights(
        voxel_index,
        np.zeros(n, np.float32),
        np.ones(n, np.float32),
        random_map(z, int(np.prod(files.ldm.latent_shape))),
        random_map(c, int(np.prod(files.ldm.text_shape))),
        card,
    )


@pytest.fixture(scope="session")
def config(small_data, weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report-data")
    config = load_config(None, {"paths": {"data": str(folder), "nsd": str(small_data / "nsd-simulated")}})
    weights.save(weights_path(config, 1))
    return config


@pytest.fixture(scope="session")
def provenance(config, small_data):
    paths = {"data": config.paths.data, "nsd": config.paths.nsd}
    changed = load_config(None, {"paths": paths, "decode": {"preset": "live-1", "engine": "torch"}})
    return SubjectDecoder.load(changed, 1).provenance()


@pytest.fixture(scope="session")
def scores_path(provenance, tmp_path_factory):
    path = tmp_path_factory.mktemp("scores") / "scores.json"
    path.write_text(json.dumps(scores_with(provenance)))
    return path


@pytest.fixture(scope="session")
def encoding_path(provenance, tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoding")
    Image.effect_noise((1560, 400), 60).save(folder / "figure-features.png")
    cell = {"mean": -0.25, "ci95": [-0.3, 0.2]}
    result = {
        "subject": 1,
        "provenance": {"ldm": provenance["ldm"]},
        "roi": {"early": {name: cell for name in ("z", "c", "zc", "z_minus_c")}},
        "n_voxels": {"early": 77},
        "n_pictures": {"training": 600, "held_out": 12},
        "parameters": {"strengths": [0.4, 0.8], "n_components": 30, "folds": 5, "fdr": 0.05, "n_draws": 1000},
        "figures": {"features": "figure-features.png"},
    }
    (folder / "encoding.json").write_text(json.dumps(result))
    return folder


@pytest.fixture(scope="session")
def report(config, scores_path, encoding_path, weights, tmp_path_factory):
    """A page with everything in it."""
    journal_of(config, "pilot", 1, made=5, weights=weights.fingerprint)
    (Path(config.paths.data) / "journals" / "broken.sqlite3").write_bytes(b"no database, and read as one" * 20)
    out = tmp_path_factory.mktemp("report") / "report.html"
    answer = CliRunner().invoke(
        main,
        ["report", "--data", config.paths.data, "--nsd", config.paths.nsd, *SETTINGS, "--scores", str(scores_path),
         "--encoding", str(encoding_path), "-o", str(out)],
    )  # fmt: skip
    assert answer.exit_code == 0, answer.output
    bibtex_path = out.with_name("report-references.bib")
    assert answer.stdout.split() == [str(out), str(bibtex_path)]
    text = out.read_text(encoding="utf-8")
    words = html.unescape(re.sub(r"<[^>]+>", "", without_styles(text)))
    return SimpleNamespace(
        path=out,
        text=text,
        words=re.sub(r"\s+", " ", words),
        words_with_breaks=words,
        bibtex=bibtex_path.read_text(encoding="ascii"),
    )


def without_styles(text):
    """Return a page without its styles and the paths of its drawings, which are full of hyphens."""
    return re.sub(r"<(style|svg)\b.*?</\1>", "", text, flags=re.DOTALL)
