"""`braind encode` on a small simulated subject: maps, figures, one JSON, and going on where it was interrupted."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib.image
import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner
from nilearn.surface import InMemoryMesh

from braind.cli import main
from braind.client.datasets.nsd.tree import NsdTree
from braind.config import load_config
from braind.models.demo.subject.anatomy import STREAMS
from braind.models.demo.subject.ground_truth import look_shares
from braind.models.demo.subject.nsd_tree import TreeSize, simulate
from braind.models.encoding.unet_features import FeatureError, FeatureSettings
from braind.models.encoding.voxel_models import EncodingError
from braind.offline.encode.encode import EncodeSettings, chosen_pictures, encode_subject, parse_strengths
from braind.offline.encode.features import extract_features
from braind.offline.encode.responses import mean_responses, write_mean_responses

SHAPE = (8, 9, 8)
SETTINGS = EncodeSettings(n_components=30, max_pictures=40, strengths=(0.4, 0.8), n_calls=3)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("encode") / "nsd-simulated"
    simulate(root, [1], n_sessions=1, size=TreeSize(shapes=(SHAPE,), n_shared=40, n_bold_sessions=0))
    return NsdTree(root)


@pytest.fixture(scope="module")
def config(tree):
    return load_config(None, {"paths": {"data": str(tree.root.parent)}})


@pytest.fixture(scope="module")
def sphere(tmp_path_factory, tree):
    """A surface inside the small brain, in its own mm."""
    angle, height = np.meshgrid(np.linspace(0, 2 * np.pi, 12, endpoint=False), np.linspace(-0.9, 0.9, 8))
    radius = np.sqrt(1 - height**2)
    around = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], -1).reshape(-1, 3)
    centre = tree.affine(1) @ [*((np.array(SHAPE) - 1) / 2), 1]
    corners = np.arange(7 * 12).reshape(7, 12)
    following = np.roll(corners, -1, axis=1)
    faces = np.concatenate(
        [np.stack(f, -1).reshape(-1, 3) for f in
         ((corners, following, corners + 12), (following, following + 12, corners + 12))]
    )  # fmt: skip
    path = tmp_path_factory.mktemp("surface") / "both.surf.gii"
    InMemoryMesh(around * 4 + centre[:3], faces).to_gifti(path)
    return path


@pytest.fixture(scope="module")
def encoded(config, tmp_path_factory, sphere):
    out = tmp_path_factory.mktemp("encoded")
    settings = EncodeSettings(**{**SETTINGS.__dict__, "surfaces": (sphere, sphere)})
    return SimpleNamespace(out=out, result=encode_subject(config, 1, out, settings))


def test_the_json_holds_every_analysis_with_intervals(encoded):
    result = encoded.result
    assert json.loads((encoded.out / "encoding.json").read_text()) == json.loads(json.dumps(result))
    assert set(result["roi"]) >= {*STREAMS, "V1", "V2", "V3"}
    for row in result["roi"].values():
        for name in ("z", "c", "zc", "z_minus_c"):
            low, high = row[name]["ci95"]
            assert -1 <= low <= high <= 1
            assert np.isfinite(row[name]["mean"])
    gain = result["roi"]["early"]
    assert gain["z_minus_c"]["mean"] == pytest.approx(gain["z"]["mean"] - gain["c"]["mean"], abs=1e-6)
    assert result["noise"]["strengths"] == [0.4, 0.8]
    assert [len(result["noise"]["roi"]["ventral"][name]) for name in ("z", "zc")] == [2, 2]
    assert [len(result["steps"]["roi"]["early"][name]) for name in ("z", "zc")] == [3, 3]
    # zc at the late step is zc
    assert result["steps"]["roi"]["early"]["zc_correlation"][2] == result["roi"]["early"]["zc"]
    assert len(result["layers"]["layers"]) == 5
    for shares in result["layers"]["best"]["early"].values():
        assert sum(shares.values()) == pytest.approx(1) or sum(shares.values()) == 0
    assert result["simulated"]
    assert result["n_pictures"]["training"] == 40
    assert -1 <= result["truth"]["higher"]["spearman"] <= 1


def test_maps_have_the_subjects_affine_and_bids_names_and_hold_what_the_table_averages(encoded, tree):
    paths = {path.name: path for path in (encoded.out / "sub-01" / "func").iterdir()}
    assert {f"sub-01/func/{name}" for name in paths} == set(encoded.result["maps"])
    image = nib.load(paths["sub-01_task-nsdcore_space-func1pt8mm_desc-z_stat-r_statmap.nii.gz"])
    assert image.shape == SHAPE
    assert np.allclose(image.affine, tree.affine(1))
    r = image.get_fdata()
    assert (r[~tree.brainmask(1)] == 0).all()
    for region in ("early", "ventral"):
        mean = r[tree.roi_mask(1, [f"streams:{region}"])].mean()
        assert mean == pytest.approx(encoded.result["roi"][region]["z"]["mean"], abs=1e-6)
    labels = nib.load(paths["sub-01_task-nsdcore_space-func1pt8mm_desc-bestLayerLate_dseg.nii.gz"]).get_fdata()
    assert set(np.unique(labels)) <= set(range(6))
    assert json.loads((encoded.out / "dataset_description.json").read_text())["DatasetType"] == "derivative"


def test_the_bids_validator_finds_no_error(encoded):
    validator = Path(sys.executable).with_name("bids-validator-deno")
    answer = subprocess.run([validator, "--json", encoded.out], capture_output=True, text=True)
    issues = json.loads(answer.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []


def test_every_analysis_has_a_figure_in_slices_and_on_the_surface(encoded):
    names = {"features", "noise", "steps", "layers", "truth"}
    assert set(encoded.result["figures"]) == names | {f"{name}-surface" for name in names}
    for path in encoded.result["figures"].values():
        picture = matplotlib.image.imread(encoded.out / path)
        assert picture.shape[1] == 1560
        assert picture[..., :3].std() > 0.02


def test_an_interrupted_extraction_goes_on_where_it_was(config, tree, ldm, tmp_path, monkeypatch):
    ids = chosen_pictures(tree.trials(1).nsd_id, tree.shared_ids(), SETTINGS)[:6]
    settings = FeatureSettings(strengths=(0.8,), n_calls=3, n_projected=100)
    monkeypatch.setattr("braind.offline.encode.features.LATENT_PIXELS_AT_ONCE", 2 * 16 * 16)
    monkeypatch.setattr("braind.offline.encode.features.SAVED_EVERY", 2)

    def interrupt(_words, done, _total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_features(config, tree, ldm, 1, ids, settings, interrupt)
    done: list[int] = []
    files = extract_features(config, tree, ldm, 1, ids, settings, lambda _words, n, _total: done.append(n))
    assert done == [4, 6]
    resumed = {name: np.array(files.read(name)) for name in files.names()}
    whole_config = load_config(None, {"paths": {"data": str(tmp_path), "nsd": str(tree.root)}})
    whole = extract_features(whole_config, tree, ldm, 1, ids, settings, lambda *_: None)
    assert whole.names() == files.names()
    for name, rows in resumed.items():
        assert rows.shape[0] == 6
        assert rows.shape[1] <= 100
        assert (rows == whole.read(name)).all()


def test_responses_are_means_over_each_pictures_trials(tree, tmp_path):
    voxel_index = np.flatnonzero(tree.brainmask(1))[::7]
    trials = tree.trials(1)
    ids = np.unique(trials.nsd_id)[10:50]
    write_mean_responses(tmp_path / "r", tree, 1, ids, voxel_index, lambda *_: None)
    means = mean_responses(tmp_path / "r", len(ids))
    betas = tree.masked_betas(1, [1], voxel_index)
    expected = np.stack([betas[trials.nsd_id == nsd_id].mean(axis=0) for nsd_id in ids])
    assert means == pytest.approx(expected, abs=1e-5)


def test_the_truth_is_all_look_in_early_cortex_and_little_in_ventral(tree):
    shares = look_shares(
        SHAPE, tree.pictures, seed=2017, subject=1, subjects=[1], n_sessions=1, n_shared=len(tree.shared_ids())
    )
    assert (shares[tree.roi_mask(1, ["streams:early"])] == 1).all()
    assert np.isnan(shares[~tree.brainmask(1)]).all()
    ventral, midventral = (shares[tree.roi_mask(1, [f"streams:{name}"])] for name in ("ventral", "midventral"))
    assert 0 < ventral.mean() < midventral.mean() < 1


def test_only_seen_pictures_are_encoded_and_all_held_out_ones():
    seen, shared = np.array([5, 3, 3, 9, 9, 9, 20, 21, 22]), np.array([3, 9, 40])
    assert chosen_pictures(seen, shared, EncodeSettings()).tolist() == [3, 5, 9, 20, 21, 22]
    some = chosen_pictures(seen, shared, EncodeSettings(max_pictures=2))
    assert len(some) == 4
    assert {3, 9} < set(some.tolist())
    with pytest.raises(EncodingError, match="held out"):
        chosen_pictures(seen, np.array([40]), EncodeSettings())


def test_strengths_are_numbers():
    assert parse_strengths("0.8,0.2,1") == (0.2, 0.8, 1.0)
    with pytest.raises(FeatureError, match=r"0\.2,0\.8,1"):
        parse_strengths("some")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--surface-left", "lh.gii"], "both"),
        (["--surface-left", "lh.gii", "--surface-right", "rh.gii"], "lh.gii is no cortical surface"),
        (["--strengths", "0.5"], "0.8 among them"),
        (["--strengths", "much"], "0.2,0.8,1"),
    ],
)
def test_what_cannot_be_done_is_refused_at_the_start(options, words, tree):
    answer = CliRunner().invoke(main, ["encode", "--data", str(tree.root.parent), *options])
    assert answer.exit_code == 2
    assert words in answer.output
