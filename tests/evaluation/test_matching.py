from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from evaluation.lesions import connected_components
from evaluation.matching import (
    MATCH_RULES,
    best_partner,
    lesion_status,
    match_lesions,
    merged_and_split,
    panoptic_matches,
    partner_names,
)


def pixel_sets(labels: NDArray) -> list[set[int]]:
    return [set(np.flatnonzero(labels == i + 1).tolist()) for i in range(int(labels.max()))]


def iou(a: set[int], b: set[int]) -> float:
    return len(a & b) / len(a | b)


@pytest.fixture
def pairs(blobs: Callable[..., NDArray]) -> list[tuple[NDArray, NDArray]]:
    rng = np.random.default_rng(5)
    made = []
    for _ in range(25):
        reference = blobs(rng, (26, 22), 5)
        prediction = np.roll(reference, int(rng.integers(0, 3)), axis=1) & (rng.random(reference.shape) < 0.95)
        made.append((reference, prediction | blobs(rng, (26, 22), 1)))
    return [(connected_components(a)[0], connected_components(b)[0]) for a, b in made]


def test_overlap_and_iou_equal_a_loop_over_all_pairs(pairs: list[tuple[NDArray, NDArray]]) -> None:
    for reference, prediction in pairs:
        left, right = pixel_sets(reference), pixel_sets(prediction)
        for rule, hit in (("overlap", lambda a, b: bool(a & b)), ("iou", lambda a, b: iou(a, b) >= 0.3)):
            match = match_lesions(reference, prediction, rule, iou_threshold=0.3)
            assert match.found.tolist() == [any(hit(a, b) for b in right) for a in left]
            assert match.spurious.tolist() == [not any(hit(a, b) for a in left) for b in right]
            for a, dice in zip(left, match.dice, strict=True):
                partners = set().union(*[b for b in right if hit(a, b)])
                expected = 2 * len(a & partners) / (len(a) + len(partners)) if partners else np.nan
                assert dice == pytest.approx(expected, nan_ok=True)


def test_optimal_reaches_the_best_total_iou_of_all_assignments(pairs: list[tuple[NDArray, NDArray]]) -> None:
    checked = 0
    for reference, prediction in pairs:
        left, right = pixel_sets(reference), pixel_sets(prediction)
        match = match_lesions(reference, prediction, "optimal")
        assert match.found.sum() == (~match.spurious).sum()
        if max(len(left), len(right)) > 6:
            continue
        short, long = sorted((left, right), key=len)
        best = max(sum(map(iou, short, order)) for order in permutations(long, len(short)))
        # Dice d and IoU j of a pair are linked by j = d / (2 - d).
        assert np.nansum(match.dice / (2 - match.dice)) == pytest.approx(best)
        checked += 1
    assert checked > 5


def test_one_prediction_over_two_lesions_finds_both_by_overlap_and_one_by_assignment() -> None:
    reference, prediction = np.zeros((2, 3, 12), np.int32)
    reference[1, 1:5], reference[1, 7:10] = 1, 2
    prediction[1, 1:10] = 1
    assert match_lesions(reference, prediction, "overlap").found.tolist() == [True, True]
    assert match_lesions(reference, prediction, "optimal").found.tolist() == [True, False]
    assert match_lesions(reference, prediction, "iou", 0.4).found.tolist() == [True, False]


@pytest.mark.parametrize("rule", MATCH_RULES)
def test_without_predictions_every_lesion_is_missed_and_without_lesions_every_prediction_spurious(rule: str) -> None:
    empty, one = np.zeros((4, 4), np.int32), np.eye(4, dtype=np.int32)
    assert match_lesions(one, empty, rule).found.tolist() == [False]
    assert match_lesions(empty, one, rule).spurious.tolist() == [True]
    nothing = match_lesions(empty, empty, rule)
    assert nothing.found.size == nothing.spurious.size == nothing.dice.size == 0


@settings(max_examples=30, deadline=None)
@given(arrays(bool, (9, 8)), arrays(bool, (9, 8)), st.randoms(use_true_random=False))
def test_relabelling_only_reorders_the_result(reference: NDArray, prediction: NDArray, random) -> None:
    left, right = connected_components(reference)[0], connected_components(prediction)[0]
    order = list(range(1, int(left.max()) + 1))
    random.shuffle(order)
    renamed = np.array([0, *order], dtype=np.int32)[left]
    for rule in ("overlap", "iou"):
        before, after = match_lesions(left, right, rule), match_lesions(renamed, right, rule)
        assert after.found[np.array(order, int) - 1].tolist() == before.found.tolist()
        assert after.spurious.tolist() == before.spurious.tolist()


@settings(max_examples=30, deadline=None)
@given(arrays(bool, (9, 8)), arrays(bool, (9, 8)), arrays(bool, (9, 8)))
def test_more_predicted_pixels_never_lower_the_sensitivity_by_overlap(
    reference: NDArray, prediction: NDArray, more: NDArray
) -> None:
    labels = connected_components(reference)[0]
    fewer = match_lesions(labels, connected_components(prediction)[0]).found
    larger = match_lesions(labels, connected_components(prediction | more)[0]).found
    assert (larger >= fewer).all()


def test_every_lesion_has_one_word_for_what_became_of_it() -> None:
    reference, prediction = np.zeros((2, 11, 12), np.int32)
    reference[1, 0:4] = 1  # found by one
    reference[3, 0:9] = 2  # found by two: split
    reference[5, 0:3], reference[5, 5:8] = 3, 4  # one prediction over both: merged
    reference[7, 0:3] = 5  # missed
    prediction[1, 1:4] = 1
    prediction[3, 0:3], prediction[3, 5:8] = 2, 3
    prediction[5, 0:8] = 4
    prediction[9, 0:3] = 5  # spurious
    match = match_lesions(reference, prediction)
    assert lesion_status(match) == (
        ["matched", "split", "merged", "merged", "missed"],
        ["matched", "split", "split", "merged", "spurious"],
    )
    assert partner_names(match) == (["1", "2;3", "4", "4", ""], ["1", "2", "2", "3;4", ""])
    assert merged_and_split(match) == (1, 1)
    one_to_one = match_lesions(reference, prediction, "optimal")
    assert set(lesion_status(one_to_one)[0]) == {"matched", "missed"}
    assert merged_and_split(one_to_one) == (1, 1)  # still to be seen in the overlaps
    assert match.predicted_dice[3] == pytest.approx(2 * 6 / (8 + 6))
    assert np.isnan(match.predicted_dice[4])


def test_a_chain_of_lesions_is_split_first_in_the_reference_and_merged_first_in_the_prediction() -> None:
    reference, prediction = np.zeros((2, 3, 20), np.int32)
    reference[1, 0:9], reference[1, 10:19] = 1, 2
    prediction[1, 1:3], prediction[1, 5:14] = 1, 2
    assert lesion_status(match_lesions(reference, prediction)) == (["split", "merged"], ["split", "merged"])


def test_panoptic_matches_equal_a_loop_and_are_one_to_one(pairs: list[tuple[NDArray, NDArray]]) -> None:
    for reference, prediction in pairs:
        left, right = pixel_sets(reference), pixel_sets(prediction)
        above = [(i, j, iou(a, b)) for i, a in enumerate(left) for j, b in enumerate(right) if iou(a, b) > 0.5]
        for rule in MATCH_RULES:
            number, total = panoptic_matches(match_lesions(reference, prediction, rule))
            assert number == len(above) == len({i for i, _, _ in above}) == len({j for _, j, _ in above})
            assert total == pytest.approx(sum(value for _, _, value in above))


def test_the_best_partner_is_the_surest_of_several() -> None:
    reference, prediction = np.zeros((2, 3, 12), np.int32)
    reference[1, 0:9], reference[2, 11] = 1, 2
    prediction[1, 0:2], prediction[1, 4:6], prediction[0, 11] = 1, 2, 3
    scores = best_partner(match_lesions(reference, prediction), np.array([0.4, 0.9, 0.99]))
    assert scores.tolist() == [0.9, -np.inf]


@settings(max_examples=30, deadline=None)
@given(arrays(bool, (9, 8)), arrays(bool, (9, 8)))
def test_exchanging_reference_and_prediction_exchanges_the_result(reference: NDArray, prediction: NDArray) -> None:
    left, right = connected_components(reference)[0], connected_components(prediction)[0]
    for rule in ("overlap", "iou"):
        forth, back = match_lesions(left, right, rule), match_lesions(right, left, rule)
        assert forth.found.tolist() == (~back.spurious).tolist()
        np.testing.assert_allclose(forth.dice, back.predicted_dice)
        assert merged_and_split(forth) == merged_and_split(back)[::-1]
        assert panoptic_matches(forth) == pytest.approx(panoptic_matches(back))


@settings(max_examples=30, deadline=None)
@given(arrays(bool, (9, 8)), arrays(bool, (9, 8)))
def test_a_higher_iou_threshold_never_finds_more(reference: NDArray, prediction: NDArray) -> None:
    left, right = connected_components(reference)[0], connected_components(prediction)[0]
    found = [match_lesions(left, right, "iou", threshold).found.sum() for threshold in (0.1, 0.3, 0.5, 0.9)]
    assert found == sorted(found, reverse=True)
    assert found[0] <= match_lesions(left, right).found.sum()
