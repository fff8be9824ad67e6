"""The weights file: what goes in comes out, and what is wrong with it is said."""

import subprocess
import sys
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load, save

from braind.models.fit import fit_weights
from braind.models.fit_profiles import FitSettings
from braind.models.weights.bold_prior import BoldPrior
from braind.models.weights.low_rank import TargetStatistics, low_rank_map
from braind.models.weights.roi import RoiError, check_finite, gather, union_index
from braind.models.weights.weights import Weights, WeightsError


@pytest.fixture(scope="module")
def weights(trials, blank_card):
    return fit_weights(trials, blank_card, FitSettings())


@pytest.fixture
def path(weights, tmp_path):
    path = tmp_path / "subj01" / "weights.safetensors"
    weights.save(path)
    return path


def rewrite(path, change=None, card=None):
    """Write the file again with other tensors or another card."""
    content = path.read_bytes()
    tensors = load(content)
    if change is not None:
        change(tensors)
    header = msgspec.json.decode(content[8 : 8 + int.from_bytes(content[:8], "little")])
    path.write_bytes(save(tensors, metadata={"card": header["__metadata__"]["card"] if card is None else card}))


def test_saved_weights_load_the_same(weights, path, trials):
    loaded = Weights.load(path)
    assert loaded.card == weights.card
    assert loaded.fingerprint == weights.fingerprint
    assert len(loaded.fingerprint) == 12
    for first, second in zip(loaded.predict(trials.voxels), weights.predict(trials.voxels), strict=True):
        assert np.array_equal(first, second)
    assert [file.name for file in path.parent.iterdir()] == ["weights.safetensors"]


def test_weights_keep_what_is_known_of_bold(weights, path):
    n_voxels = len(weights.voxel_index)
    rng = np.random.default_rng(0)
    prior = BoldPrior(
        rng.integers(0, 5, n_voxels), rng.normal(size=n_voxels).astype(np.float32), np.ones(n_voxels, np.float32),
        amplitude_variance=0.3, mean_signal=rng.normal(size=n_voxels).astype(np.float32), misaligned_below=0.9,
    )  # fmt: skip
    assert Weights.load(path).bold is None
    replace(weights, bold=prior, fingerprint="").save(path)
    loaded = Weights.load(path)
    assert loaded.fingerprint != weights.fingerprint
    assert loaded.bold is not None
    for name, tensor in prior.tensors().items():
        assert np.array_equal(loaded.bold.tensors()[name], tensor)
    rewrite(path, lambda tensors: tensors.update({"bold.hrf_of_voxel": np.full(n_voxels, 9)}))
    with pytest.raises(WeightsError, match="fit again with braind fit --kind bold"):
        Weights.load(path)


def test_predictions_have_the_shapes_and_dtype_of_the_card(weights, trials):
    z, c = weights.predict(trials.voxels[:7])
    assert z.shape == (7, 2, 3, 4)
    assert c.shape == (7, 4, 5)
    assert z.dtype == c.dtype == np.float32


def test_a_trial_is_predicted_alike_alone_and_among_others(weights, trials):
    together, alone = weights.predict(trials.voxels[:5])[0][3], weights.predict(trials.voxels[3:4])[0][0]
    assert alone == pytest.approx(together, abs=1e-5)


def test_half_precision_costs_less_than_a_thousandth_of_the_spread():
    rng = np.random.default_rng(0)
    left = rng.normal(size=(300, 40)) * np.logspace(-3, 3, 40) * rng.uniform(0.1, 30, 300)[:, None]
    right = rng.normal(size=(40, 200)) / np.logspace(-3, 3, 40)[:, None] * np.logspace(-4, 2, 200)
    mean, value = rng.normal(size=300), rng.normal(size=200)
    statistics = TargetStatistics(np.zeros(200), np.zeros(200), np.zeros(200))
    stored = low_rank_map(np.arange(300), left, right, mean, value, statistics)
    voxels = rng.normal(size=(50, 300)) + mean
    exact = (voxels - mean) @ left @ right + value
    error = np.abs(stored.predict(voxels.astype(np.float32)) - exact).max(axis=0) / exact.std(axis=0)
    assert stored.left.dtype == stored.right.dtype == np.float16
    assert np.median(error) < 1e-3


def test_voxels_of_another_mask_are_refused(weights, trials):
    with pytest.raises(WeightsError, match=r"\(n_trials, 90\)"):
        weights.predict(trials.voxels[:, 1:])


def test_the_right_volume_passes(weights):
    weights.check_volume(weights.card.shape, weights.card.affine)
    weights.check_subject(1)
    weights.check_ldm("0123456789ab")


def test_reversed_axes_are_named(weights):
    with pytest.raises(WeightsError, match="the axes are reversed: send X, Y, Z as NIfTI does") as refusal:
        weights.check_volume(weights.card.shape[::-1], weights.card.affine)
    assert refusal.value.code == "shape"


def test_turned_axes_are_named_by_where_they_point(weights):
    shape, affine = weights.card.shape, np.array(weights.card.affine)
    flips = np.diag([-1.0, -1.0, 1.0, 1.0])
    flips[:2, 3] = shape[0] - 1, shape[1] - 1
    with pytest.raises(WeightsError, match=r"axes are RPS, those of the weights' grid LAS: turn it") as refusal:
        weights.check_volume(shape, affine @ flips)  # the same place, other way round
    assert refusal.value.code == "affine"
    with pytest.raises(WeightsError, match="the axes are in another order: turn the volume") as refusal:
        weights.check_volume((shape[1], shape[0], shape[2]), affine)
    assert refusal.value.code == "shape"


@pytest.mark.parametrize("tr_s", [1.3333, 1.34, 4 / 3 * 1.0099])
def test_a_tr_that_a_header_rounded_is_the_same(weights, tr_s):
    of_bold = replace(weights, card=msgspec.structs.replace(weights.card, kind="bold", tr_s=4 / 3), fingerprint="")
    of_bold.check_tr(tr_s)


@pytest.mark.parametrize("tr_s", [1.0, 1.31, 2.0])
def test_another_tr_is_refused_with_both_and_what_to_do(weights, path, tr_s):
    replace(weights, card=msgspec.structs.replace(weights.card, kind="bold", tr_s=4 / 3), fingerprint="").save(path)
    with pytest.raises(
        WeightsError, match=f"a TR of {tr_s:g} s, but .* one of 1.33333 s: scan with that, or fit"
    ) as no:
        Weights.load(path).check_tr(tr_s)
    assert no.value.code == "tr"


def test_weights_that_say_no_tr_load_and_are_not_checked(weights, path):
    fields = msgspec.to_builtins(weights.card)
    del fields["tr_s"]  # as an older braind wrote them
    rewrite(path, card=msgspec.json.encode(fields).decode())
    loaded = Weights.load(path)
    assert loaded.card.tr_s is None
    loaded.check_tr(17.0)


def test_another_grid_is_refused_with_its_distance(weights):
    affine = np.array(weights.card.affine)
    affine[1, 3] += 3.4
    with pytest.raises(WeightsError, match=r"up to 3\.4 mm away") as refusal:
        weights.check_volume(weights.card.shape, affine)
    assert refusal.value.code == "affine"
    with pytest.raises(WeightsError, match="4 × 4 finite"):
        weights.check_volume(weights.card.shape, np.full((4, 4), np.nan))
    with pytest.raises(WeightsError, match="resample") as refusal:
        weights.check_volume((9, 10, 12), affine)
    assert refusal.value.code == "shape"


def test_another_subject_and_another_ldm_are_refused(weights):
    with pytest.raises(WeightsError, match="subject 2, but the weights are subject 1's"):
        weights.check_subject(2)
    with pytest.raises(WeightsError, match="fit again: braind fit --subject 1"):
        weights.check_ldm("ba9876543210")


def test_a_missing_file_says_how_to_make_it(tmp_path):
    with pytest.raises(WeightsError, match="make it with braind fit"):
        Weights.load(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\xff" * 64])
def test_what_is_no_safetensors_file_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="no readable safetensors file"):
        Weights.load(path)


def test_a_truncated_file_is_refused(path):
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="no readable safetensors file"):
        Weights.load(path)


def test_another_schema_is_refused(weights, path):
    card = msgspec.json.encode(msgspec.structs.replace(weights.card, schema=7)).decode()
    rewrite(path, card=card)
    with pytest.raises(WeightsError, match="weights of schema 7, this braind reads 2"):
        Weights.load(path)


@pytest.mark.parametrize("card", ["", "[]", "{", '{"schema": 1}'])
def test_a_broken_card_is_refused(path, card):
    rewrite(path, card=card)
    with pytest.raises(WeightsError, match="fit"):
        Weights.load(path)


def test_a_missing_tensor_is_named(path):
    rewrite(path, lambda tensors: tensors.pop("c.right"))
    with pytest.raises(WeightsError, match=r"holds no tensor 'c\.right'"):
        Weights.load(path)


@pytest.mark.parametrize("name", ["z.left", "c.intercept", "voxel_std"])
def test_numbers_that_are_not_finite_are_refused(path, name):
    def spoil(tensors):
        tensors[name] = tensors[name].copy()
        tensors[name].flat[0] = np.nan

    rewrite(path, spoil)
    with pytest.raises(WeightsError, match="not finite"):
        Weights.load(path)


def test_a_voxel_index_that_is_not_the_cards_is_refused(weights):
    with pytest.raises(WeightsError, match="not the mask that the card names"):
        replace(weights, voxel_index=weights.voxel_index + 1, fingerprint="")
    with pytest.raises(WeightsError, match="must rise"):
        replace(weights, voxel_index=weights.voxel_index[::-1], fingerprint="")
    with pytest.raises(WeightsError, match=r"z\.positions point outside"):
        replace(weights, z=replace(weights.z, positions=weights.z.positions + 89), fingerprint="")


def test_the_front_process_can_read_weights_without_torch_or_sklearn(path):
    program = (
        "import sys; from braind.models.weights.weights import Weights; "
        "from braind.models.weights.candidates import Candidates; "
        f"from pathlib import Path; Weights.load(Path({str(path)!r})); "
        "print([m for m in ('torch', 'sklearn', 'scipy', 'diffusers') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_gathered_voxels_are_those_of_the_masks_in_order():
    rng = np.random.default_rng(0)
    volume = rng.integers(-3000, 3000, (4, 5, 6)).astype(np.int16)
    z_mask, c_mask = rng.random((2, 4, 5, 6)) < 0.4
    voxel_index, z_positions, c_positions = union_index(z_mask, c_mask)
    voxels = gather(volume, voxel_index, 1 / 300)
    assert voxels.dtype == np.float32
    assert voxels[z_positions] == pytest.approx(volume[z_mask] / 300, abs=1e-5)
    assert voxels[c_positions] == pytest.approx(volume[c_mask] / 300, abs=1e-5)
    assert np.array_equal(gather(np.asfortranarray(volume), voxel_index), gather(volume, voxel_index))


def test_voxels_that_are_not_finite_are_counted():
    check_finite(np.ones(4, np.float32))
    with pytest.raises(RoiError, match="2 of the decoder's 4 voxels"):
        check_finite(np.array([1, np.nan, np.inf, 0], np.float32))


def test_an_empty_roi_is_named():
    mask = np.ones((2, 2, 2), bool)
    with pytest.raises(RoiError, match="ROIs for c hold no voxel"):
        union_index(mask, ~mask)
    with pytest.raises(RoiError, match="masks differ"):
        union_index(mask, mask[1:])
