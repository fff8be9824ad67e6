"""The label map in a weights file: the same bits after loading, and a damaged file is refused by name."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load, save

from braind.models.weights.blank import blank_weights
from braind.models.weights.bold_prior import SHARED_VALUES, BoldPrior
from braind.models.weights.label_map import LabelMap
from braind.models.weights.low_rank import TargetStatistics, low_rank_map
from braind.models.weights.weights import Weights, WeightsError

N_VOXELS, CLASSES = 24, ("cat", "chair", "façade", "house")
OLDER_SHARED = SHARED_VALUES[:5]


def label_map(n_voxels=N_VOXELS, n_classes=4, slope=7.3, seed=0):
    rng = np.random.default_rng(seed)
    return LabelMap(
        low_rank_map(
            np.arange(n_voxels), rng.normal(size=(n_voxels, n_classes)), np.eye(n_classes),
            rng.normal(size=n_voxels), np.full(n_classes, 1 / n_classes), TargetStatistics(*np.zeros((3, n_classes))),
        ),
        slope,
    )  # fmt: skip


@pytest.fixture(scope="module")
def weights():
    blank = blank_weights(1, np.ones((2, 3, 4), bool), np.eye(4), "bold")
    card = msgspec.structs.replace(blank.card, labels=CLASSES, tr_s=2.5)
    signal = np.arange(N_VOXELS, dtype=np.float32)
    prior = replace(BoldPrior.vague(N_VOXELS), mean_signal=signal, adaptation_rate=0.07, first_slope_variance=1e-6)
    return replace(blank, card=card, labels=label_map(), bold=prior, fingerprint="")


@pytest.fixture
def path(weights, tmp_path):
    path = tmp_path / "weights.safetensors"
    weights.save(path)
    return path


def rewrite(path, change=None, **card_fields):
    """Write the file again with other tensors, or other fields of the card."""
    content = path.read_bytes()
    tensors = load(content)
    if change:
        change(tensors)
    header = msgspec.json.decode(content[8 : 8 + int.from_bytes(content[:8], "little")])
    card = msgspec.json.decode(header["__metadata__"]["card"]) | card_fields
    path.write_bytes(save(tensors, metadata={"card": msgspec.json.encode(card).decode()}))


def test_probabilities_are_the_softmax_of_the_slope_times_the_scores():
    own = label_map()
    voxels = np.random.default_rng(1).normal(size=N_VOXELS).astype(np.float32)
    scores = np.exp(7.3 * own.scores.predict(voxels[None])[0].astype(np.float64))
    assert own.probabilities(voxels) == pytest.approx(scores / scores.sum())
    assert own.probabilities(voxels).dtype == np.float64


def test_extreme_voxels_give_probabilities():
    for size in (0.0, 1e6, -1e6, 1e30):
        probabilities = label_map(slope=1000.0).probabilities(np.full(N_VOXELS, size, np.float32))
        assert np.isfinite(probabilities).all()
        assert probabilities.sum() == pytest.approx(1)


@pytest.mark.parametrize("n_classes", [2, 300])
def test_loaded_weights_give_the_same_probabilities_bit_for_bit(weights, tmp_path, n_classes):
    own = label_map(n_classes=n_classes)
    card = msgspec.structs.replace(weights.card, labels=tuple(f"class-{number}" for number in range(n_classes)))
    own = replace(weights, card=card, labels=own, fingerprint="")
    own.save(tmp_path / "own.safetensors")
    loaded = Weights.load(tmp_path / "own.safetensors")
    assert loaded.labels.slope == own.labels.slope
    for seed in range(5):
        voxels = np.random.default_rng(seed).normal(size=N_VOXELS).astype(np.float32)
        assert loaded.labels.probabilities(voxels).tobytes() == own.labels.probabilities(voxels).tobytes()


def test_weights_of_classes_make_no_pictures_and_are_not_blank(path, weights):
    loaded = Weights.load(path)
    assert (loaded.has_pictures, loaded.is_blank) == (False, False)
    assert loaded.card == weights.card
    assert loaded.card.labels == CLASSES
    assert loaded.fingerprint == weights.fingerprint


def drop(name):
    return lambda tensors: tensors.pop(name)


def put(name, value):
    return lambda tensors: tensors.update({name: value})


def spoil(name, value):
    def change(tensors):
        tensor = tensors[name].copy()
        tensor.flat[0] = value
        tensors[name] = tensor

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (put("labels.slope", np.zeros(1)), "labels.slope must be one number above 0"),
        (put("labels.slope", np.array([-3.0])), "labels.slope must be one number above 0"),
        (put("labels.slope", np.array([np.inf])), "labels.slope must be one number above 0"),
        (put("labels.slope", np.array([np.nan])), "labels.slope must be one number above 0"),
        (put("labels.slope", np.ones(2)), "labels.slope must be one number above 0"),
        (put("labels.slope", np.array(1.0)), "labels.slope must be one number above 0"),
        (drop("labels.slope"), "the card's classes are not those of the label map"),
        (drop("labels.left"), "holds no tensor 'labels.left'"),
        (spoil("labels.left", np.nan), "labels.left holds numbers that are not finite"),
        (spoil("labels.intercept", np.inf), "labels.intercept holds numbers that are not finite"),
        (spoil("labels.positions", N_VOXELS), "labels.positions point outside the 24 columns"),
        (spoil("labels.positions", -1), "labels.positions point outside the 24 columns"),
        (put("labels.positions", np.arange(N_VOXELS, dtype=np.float32)), "labels.positions holds float32"),
        (put("labels.positions", np.arange(3)), "labels.left and labels.right do not make a map from 3 voxels"),
        (put("labels.right", np.zeros((4, 3), np.float16)), "labels.left and labels.right do not make a map"),
        (put("labels.intercept", np.zeros(5, np.float32)), r"labels.intercept has shape \(5,\), expected \(4,\)"),
        (put("labels.surplus", np.zeros(1)), "labels.surplus"),
    ],
)
def test_a_damaged_label_map_is_refused_by_the_tensors_name(path, change, sentence):
    rewrite(path, change)
    with pytest.raises(WeightsError, match=f"weights.safetensors: .*{sentence}"):
        Weights.load(path)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([], "the card's classes are not those of the label map"),
        (["cat", "cat", "chair", "house"], "the card's classes are not those of the label map"),
        (["", "cat", "chair", "house"], "the card's classes are not those of the label map"),
        (["cat", "chair", "house"], "do not make a map from 24 voxels to 3"),
        ([*CLASSES, "dog"], "do not make a map from 24 voxels to 5"),
        (["cat", 3, "chair", "house"], "holds no card of braind weights"),
    ],
)
def test_a_card_with_other_classes_than_the_map_is_refused(path, names, sentence):
    rewrite(path, labels=names)
    with pytest.raises(WeightsError, match=f"weights.safetensors: .*{sentence}"):
        Weights.load(path)


def test_the_prior_keeps_its_adaptation_and_slope(path):
    assert Weights.load(path).bold.adaptation_rate == 0.07
    assert Weights.load(path).bold.first_slope_variance == 1e-6


def test_a_prior_of_a_file_from_before_adaptation_loads_with_the_defaults(path):
    rewrite(path, lambda tensors: tensors.update({"bold.shared": tensors["bold.shared"][: len(OLDER_SHARED)]}))
    prior, vague = Weights.load(path).bold, BoldPrior.vague(N_VOXELS)
    assert (prior.adaptation_rate, prior.first_slope_variance) == (vague.adaptation_rate, vague.first_slope_variance)
    assert prior.amplitude_variance == 100.0


@pytest.mark.parametrize("n", [0, 1, 4, 6, 8])
def test_a_prior_with_another_number_of_shared_values_is_refused(path, n):
    rewrite(path, put("bold.shared", np.full(n, 0.5)))
    with pytest.raises(WeightsError, match="weights.safetensors: .*bold.shared"):
        Weights.load(path)


@pytest.mark.parametrize("rate", [-0.1, 1.0, np.nan, np.inf])
def test_an_adaptation_that_is_no_share_is_refused(path, rate):
    def change(tensors):
        shared = tensors["bold.shared"].copy()
        shared[SHARED_VALUES.index("adaptation_rate")] = rate
        tensors["bold.shared"] = shared

    rewrite(path, change)
    with pytest.raises(WeightsError, match=r"weights.safetensors: bold.shared"):
        Weights.load(path)
