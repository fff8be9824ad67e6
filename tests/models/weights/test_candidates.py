"""Retrieval from a candidate set."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save

from braind.models.weights.candidate_names import CandidateNames
from braind.models.weights.candidates import Candidates, CandidatesError, best_first


def make_candidates(n=50, seed=0):
    rng = np.random.default_rng(seed)
    c = rng.normal(size=(n, 6, 8)).astype(np.float32) + 20
    c[:, 0] = 3.0
    return Candidates(
        z=rng.normal(size=(n, 4, 5, 5)).astype(np.float32),
        c=c,
        nsd_id=np.arange(n) * 7,
        labels=[f"caption {position}" for position in range(n)],
    )


def test_a_set_with_labels_and_files_is_the_same_bytes_in_every_process(tmp_path):
    def header(files):
        path = tmp_path / "set.safetensors"
        replace(make_candidates(), files=files).save(path)
        content = path.read_bytes()
        found = Candidates.load(path)
        assert (found.labels, found.files) == (make_candidates().labels, files)
        return json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]

    # several keys stand in the header in an order that each process draws anew
    assert [len(header(files)) for files in (None, [f"{n}.png" for n in range(50)])] == [1, 1]


def test_labels_and_files_of_an_earlier_version_are_read(tmp_path):
    candidates = make_candidates(n=2)
    tensors = {"z": candidates.z, "c": candidates.c, "nsd_id": candidates.nsd_id}
    path = tmp_path / "set.safetensors"
    path.write_bytes(save(tensors, metadata={"labels": '["a", "b"]', "files": '["a.png", "b.png"]'}))
    assert (Candidates.load(path).labels, Candidates.load(path).files) == (["a", "b"], ["a.png", "b.png"])
    path.write_bytes(save(tensors, metadata={"labels": '["a", "b"]'}))
    assert (Candidates.load(path).labels, Candidates.load(path).files) == (["a", "b"], None)


def test_a_candidates_own_features_rank_it_first_with_score_one():
    candidates = make_candidates()
    scores = candidates.scores(candidates.z[17], candidates.c[17])
    best = best_first(scores)
    assert len(best) == 5
    assert best[0] == 17
    assert scores[17] == pytest.approx(1, abs=1e-5)
    assert list(scores[best]) == sorted(scores[best], reverse=True)


def test_noisy_shrunken_features_still_find_theirs():
    candidates = make_candidates()
    rng = np.random.default_rng(1)
    found = 0
    for position in range(50):
        z = 0.3 * candidates.z[position] + 0.5 * rng.normal(size=(4, 5, 5))
        c = 20 + 0.3 * (candidates.c[position] - 20) + 0.5 * rng.normal(size=(6, 8))
        found += best_first(candidates.scores(z, c), 1)[0] == position
    assert found > 40


def test_the_score_is_the_mean_of_zs_and_cs_correlation_over_standardised_features():
    candidates = make_candidates(12)
    rng = np.random.default_rng(2)
    z, c = rng.normal(size=(4, 5, 5)), rng.normal(size=(6, 8)) + 20
    wanted = np.zeros(12)
    for features, decoded in ((candidates.z, z), (candidates.c[:, 1:], c[1:])):
        rows = features.reshape(12, -1).astype(np.float64)
        mean, std = rows.mean(0), rows.std(0)
        for position, row in enumerate(rows):
            wanted[position] += np.corrcoef((row - mean) / std, (decoded.ravel() - mean) / std)[0, 1] / 2
    assert candidates.scores(z, c) == pytest.approx(wanted, abs=1e-5)


def test_of_two_candidates_the_one_whose_c_is_nearer_is_preferred_by_the_difference_of_their_cosines():
    candidates = make_candidates(12)
    c = 0.7 * candidates.c[4] + 0.3 * candidates.c[9]
    rows = candidates.c[:, 1:].reshape(12, -1).astype(np.float64)
    standard = (rows - rows.mean(0)) / rows.std(0)
    decoded = (c[1:].reshape(-1) - rows.mean(0)) / rows.std(0)
    cosines = [np.corrcoef(row, decoded)[0, 1] for row in standard]
    assert candidates.preference(c, 4, 9) == pytest.approx(cosines[4] - cosines[9], abs=1e-5)
    assert candidates.preference(c, 4, 9) == -candidates.preference(c, 9, 4) > 0
    assert candidates.preference(c, 3, 3) == 0


def test_a_preference_is_a_number_even_where_nothing_tells_candidates_apart():
    candidates = make_candidates(12)
    for c in (candidates.c.mean(0), np.zeros_like(candidates.c[0])):
        assert np.isfinite(candidates.preference(c, 1, 2))
    alike = Candidates(candidates.z, np.ones_like(candidates.c), candidates.nsd_id, candidates.labels)
    assert alike.preference(candidates.c[3], 1, 2) == 0


def test_a_candidate_is_meant_by_its_id_or_by_a_label_that_no_other_has(tmp_path):
    candidates = make_candidates(4)
    candidates = Candidates(candidates.z, candidates.c, candidates.nsd_id, ["a crab", "a tulip", "a crab", "21"], ())
    candidates.save(tmp_path / "candidates.safetensors")
    names = CandidateNames.load(tmp_path / "candidates.safetensors")
    assert [names.position(name) for name in (21, "21", "a tulip", 0)] == [3, 3, 1, 0]
    for name, words in (
        ("a crab", "2 candidates are called 'a crab'"), ("a tulib", "is 'a tulip' meant?"),
        (22, "22 is no label or nsd_id of the weights' 4 candidates"), ("x" * 900, "name one of those pictures"),
    ):  # fmt: skip
        with pytest.raises(CandidatesError, match=words) as refused:
            names.position(name)
        assert refused.value.code == "candidate"
        assert len(str(refused.value)) < 200


def test_a_saved_set_ranks_alike(tmp_path):
    candidates = make_candidates()
    candidates.save(tmp_path / "candidates.safetensors")
    loaded = Candidates.load(tmp_path / "candidates.safetensors")
    z, c = candidates.z[3] + 0.1, candidates.c[3]
    assert best_first(loaded.scores(z, c)) == best_first(candidates.scores(z, c))
    assert np.array_equal(loaded.nsd_id, candidates.nsd_id)
    assert list(loaded.labels) == list(candidates.labels)


def test_a_trials_picture_is_found_by_nsds_id_only_in_a_set_of_nsds_pictures():
    of_nsd = replace(make_candidates(3), files=())
    assert of_nsd.seen_position(7, None) == 1
    assert of_nsd.seen_position(1, "picture-00007.png") is None
    assert of_nsd.seen_position(None, None) is None


def test_a_trials_picture_of_another_data_set_is_found_by_its_file_and_never_by_a_number():
    own = replace(make_candidates(4), files=["cat.png", "a/dog.jpg", "twice.png", "twice.jpg"])
    assert own.seen_position(7, "cat.png") == 0
    assert own.seen_position(None, "a/dog") == 1
    assert own.seen_position(7, None) is None
    assert own.seen_position(None, "twice") is None


def test_a_feedback_pair_of_another_data_set_is_named_by_files_or_labels_and_a_number_is_refused(tmp_path):
    own = replace(make_candidates(4), files=["cat.png", "a/dog.jpg", "twice.png", "twice.jpg"])
    own.save(tmp_path / "own.safetensors")
    names = CandidateNames.load(tmp_path / "own.safetensors")
    assert [names.position(name) for name in ("cat.png", "a/dog", own.labels[1])] == [0, 1, 1]
    for name, words in (
        (int(own.nsd_id[0]), "by its file, such as 'cat.png', or its label"), ("a/dig", "is 'a/dog' meant?"),
        ("twice", "2 candidates are called 'twice'; name the one that is meant by its file"),
    ):  # fmt: skip
        with pytest.raises(CandidatesError, match=words) as refused:
            names.position(name)
        assert refused.value.code == "candidate"


def test_a_number_names_no_picture_of_an_earlier_versions_set_which_may_be_of_any_data_set(tmp_path):
    make_candidates(4).save(tmp_path / "earlier.safetensors")
    names = CandidateNames.load(tmp_path / "earlier.safetensors")
    assert names.position("caption 2") == 2
    with pytest.raises(
        CandidatesError, match="7 is a number, and an earlier version .* by its label, or make"
    ) as refused:
        names.position(7)
    assert refused.value.code == "candidate"
    with pytest.raises(CandidatesError, match="'a dog' is no label of the weights' 4 candidates"):
        names.position("a dog")


def test_a_set_of_an_earlier_version_says_nothing_about_a_trials_picture(tmp_path):
    make_candidates().save(tmp_path / "earlier.safetensors")
    assert Candidates.load(tmp_path / "earlier.safetensors").seen_position(7, "cat.png") is None
    replace(make_candidates(), files=()).save(tmp_path / "new.safetensors")
    assert Candidates.load(tmp_path / "new.safetensors").seen_position(7, None) == 1


def test_transposed_features_are_saved_as_they_are_read(tmp_path):
    candidates = make_candidates()
    turned = Candidates(
        np.asfortranarray(candidates.z), np.asfortranarray(candidates.c), candidates.nsd_id, candidates.labels
    )
    turned.save(tmp_path / "candidates.safetensors")
    assert Candidates.load(tmp_path / "candidates.safetensors").z == pytest.approx(candidates.z, abs=0.01)


def test_one_candidate_and_fewer_than_asked_for_do_not_fail():
    one = make_candidates(1)
    assert one.scores(one.z[0], one.c[0]).tolist() == [0.0]
    assert best_first(one.scores(one.z[0], one.c[0])) == [0]
    assert len(best_first(make_candidates(3).scores(one.z[0], one.c[0]))) == 3


@pytest.mark.parametrize("content", [b"", b"junk that is no safetensors file"])
def test_a_broken_file_is_refused(tmp_path, content):
    path = tmp_path / "candidates.safetensors"
    with pytest.raises(CandidatesError, match="no such candidate set"):
        Candidates.load(path)
    path.write_bytes(content)
    with pytest.raises(CandidatesError, match="no readable candidate set"):
        Candidates.load(path)


def test_arrays_of_different_lengths_are_refused():
    candidates = make_candidates(4)
    with pytest.raises(CandidatesError, match="as many z"):
        Candidates(candidates.z, candidates.c[:3], candidates.nsd_id, candidates.labels)
    with pytest.raises(CandidatesError, match="at least one"):
        Candidates(candidates.z[:0], candidates.c[:0], candidates.nsd_id[:0], [])


def test_each_mode_ranks_by_what_it_reads():
    z, c = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)[[2, 0, 1]]
    candidates = Candidates(z, c, np.arange(3), ["a", "b", "c"])
    assert candidates.scores(z[0], c[0], "z").argmax() == 0
    assert candidates.scores(np.zeros(3), z[0], "c").argmax() == 1
    both = candidates.scores(z[0], z[1])
    assert both == pytest.approx((candidates.scores(z[0], z[1], "z") + candidates.scores(z[0], z[1], "c")) / 2)


def test_equal_scores_are_ranked_in_the_sets_order():
    features = np.array([[1.0, 0], [0, 1], [1, 0], [0, 1]], np.float32)
    candidates = Candidates(features, features, np.arange(4), ["a", "b", "c", "d"])
    assert best_first(candidates.scores(features[1], features[1]), 4) == [1, 3, 0, 2]


def test_a_set_whose_features_are_all_the_same_scores_0():
    candidates = Candidates(np.ones((3, 2)), np.full((3, 4), 7.0), np.arange(3), ["a", "b", "c"])
    assert candidates.scores(np.ones(2), np.ones(4)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("damage", ["truncated", "labels", "tensor"])
def test_a_damaged_set_is_refused_by_name(tmp_path, damage):
    path = tmp_path / "candidates.safetensors"
    make_candidates(3).save(path)
    tensors = {name: np.zeros(3, np.float32) for name in ("z", "c", "nsd_id")}
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-10])
    elif damage == "labels":
        path.write_bytes(save(tensors, metadata={"labels": '["a", 2]'}))
    else:
        path.write_bytes(save({"z": tensors["z"]}, metadata={"labels": '["a", "b", "c"]'}))
    with pytest.raises(CandidatesError, match=r"candidates.safetensors: no readable candidate set .* braind fit"):
        Candidates.load(path)


def test_features_that_are_not_finite_are_refused(tmp_path):
    path = tmp_path / "candidates.safetensors"
    candidates = make_candidates(3)
    candidates.c[1, 2, 3] = np.nan
    candidates.save(path)
    with pytest.raises(CandidatesError, match="not finite; make it again with braind fit"):
        Candidates.load(path)


def test_a_set_is_written_whole_beside_nothing_else(tmp_path):
    make_candidates(3).save(tmp_path / "new" / "candidates.safetensors")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["candidates.safetensors"]
