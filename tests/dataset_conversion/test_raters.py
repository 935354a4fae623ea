from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.measure import label as skimage_label
from sklearn.metrics import f1_score

from dataset_conversion.errors import ConversionError
from dataset_conversion.raters import MAJORITY, STAPLE, agreement, consensus

NAMES = ("ann", "bob", "cem", "dora", "eve")


@st.composite
def _raters(draw: st.DrawFn, classes: int = 2) -> dict[str, np.ndarray]:
    shape = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    number = draw(st.integers(1, len(NAMES)))
    mask = arrays(np.uint8, shape, elements=st.integers(0, classes), fill=st.just(0))
    return {name: draw(mask) for name in NAMES[:number]}


def _disc(row: int, column: int, radius: float, label: int = 1) -> np.ndarray:
    y, x = np.mgrid[:40, :30]
    return (label * ((y - row) ** 2 + (x - column) ** 2 <= radius**2)).astype(np.uint8)


def _staple_by_hand(votes: np.ndarray) -> np.ndarray:
    """Warfield et al. 2004, equations 14 to 19, pixel by pixel in the plain form of the paper."""
    sensitivity = specificity = np.full(len(votes), 0.99999)
    prior = votes.mean()
    for _ in range(500):
        lesion, background = np.full(votes[0].shape, prior), np.full(votes[0].shape, 1 - prior)
        for vote, p, q in zip(votes, sensitivity, specificity, strict=True):
            lesion = lesion * np.where(vote, p, 1 - p)
            background = background * np.where(vote, 1 - q, q)
        weight = lesion / (lesion + background)
        sensitivity = np.array([weight[vote].sum() / weight.sum() for vote in votes])
        specificity = np.array([(1 - weight)[~vote].sum() / (1 - weight).sum() for vote in votes])
    return weight


@given(_raters())
def test_the_majority_is_what_more_than_half_of_the_raters_gave(masks: dict[str, np.ndarray]) -> None:
    result = consensus(masks, MAJORITY)
    assert result.dtype == np.uint8
    for place in np.ndindex(result.shape):
        label, votes = Counter(int(mask[place]) for mask in masks.values()).most_common(1)[0]
        assert result[place] == (label if 2 * votes > len(masks) else 0)


def test_two_raters_keep_what_both_drew_and_three_different_classes_are_background() -> None:
    assert np.array_equal(consensus({"a": np.uint8([[1, 1, 0]]), "b": np.uint8([[1, 0, 0]])}, MAJORITY), [[1, 0, 0]])
    assert np.array_equal(
        consensus({"a": np.uint8([[1, 2]]), "b": np.uint8([[2, 2]]), "c": np.uint8([[3, 1]])}, MAJORITY), [[0, 2]]
    )


def test_staple_is_the_published_estimate() -> None:
    rng = np.random.default_rng(0)
    truth = _disc(20, 15, 8) > 0
    # Careful, bold and timid raters: they miss and invent at different rates.
    votes = np.array([np.where(rng.random(truth.shape) < miss, False, truth) for miss in (0.05, 0.1, 0.6)])
    votes |= rng.random(votes.shape) < np.array([0.02, 0.3, 0.01])[:, None, None]
    expected = _staple_by_hand(votes)
    assert (np.abs(expected - 0.5) > 0.05).all()
    result = consensus({name: vote.astype(np.uint8) for name, vote in zip(NAMES, votes, strict=False)}, STAPLE)
    assert np.array_equal(result, expected > 0.5)
    assert not np.array_equal(result, votes.sum(0) >= 2)  # it is not the majority


def test_staple_of_several_classes_is_that_of_each_where_they_do_not_touch() -> None:
    masks = {
        "a": _disc(10, 10, 5) + _disc(30, 20, 4, 2),
        "b": _disc(11, 10, 5) + _disc(30, 21, 4, 2),
        "c": _disc(10, 11, 6) + _disc(29, 20, 5, 2),
    }
    result = consensus(masks, STAPLE)
    for label in (1, 2):
        votes = np.array([mask == label for mask in masks.values()])
        assert np.array_equal(result == label, _staple_by_hand(votes) > 0.5)


@given(_raters(), st.sampled_from([MAJORITY, STAPLE]))
def test_no_rule_overrules_all_raters_or_depends_on_their_order(masks: dict[str, np.ndarray], rule: str) -> None:
    result = consensus(masks, rule)
    given_labels = np.stack(list(masks.values()))
    assert (result == given_labels).any(0)[result > 0].all()
    is_unanimous = (given_labels == given_labels[0]).all(0)
    assert np.array_equal(result[is_unanimous], given_labels[0][is_unanimous])
    assert np.array_equal(consensus(dict(reversed(masks.items())), rule), result)


@pytest.mark.parametrize("rule", [MAJORITY, STAPLE])
@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("mask", [_disc(20, 15, 6), np.zeros((40, 30), np.uint8), np.ones((40, 30), np.uint8)])
def test_raters_who_all_agree_are_believed(rule: str, number: int, mask: np.ndarray) -> None:
    result = consensus(dict.fromkeys(NAMES[:number], mask), rule)
    assert np.array_equal(result, mask)
    assert not np.shares_memory(result, mask)


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        ([1, 0], 0), ([1, 0, 0], 0), ([1, 1, 0], 1), ([1, 1, 0, 0], 0), ([1, 1, 1, 0, 0], 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mask", [_disc(20, 15, 6), np.ones((40, 30), np.uint8)], ids=["lesion", "whole view"])
def test_one_lesion_drawn_by_some_and_not_by_others_is_safe_with_staple(
    drawn: list[int], expected: int, mask: np.ndarray
) -> None:
    result = consensus({name: mask * np.uint8(d) for name, d in zip(NAMES, drawn, strict=False)}, STAPLE)
    assert set(np.unique(result[mask > 0])) <= {0, 1}
    if len(drawn) % 2:
        assert np.array_equal(result, mask * np.uint8(expected))


def test_a_named_rater_is_followed_alone() -> None:
    masks = {"a": _disc(10, 10, 5), "b": _disc(20, 10, 5, 2)}
    result = consensus(masks, "b")
    assert np.array_equal(result, masks["b"])
    assert not np.shares_memory(result, masks["b"])


def test_unknown_rules_no_raters_and_other_views_are_refused_by_name() -> None:
    masks = {"b": _disc(10, 10, 5), "a": _disc(10, 10, 5)}
    with pytest.raises(ConversionError, match=r"'mean'; expected majority, staple or a rater \(a, b\)"):
        consensus(masks, "mean")
    for call in (agreement, lambda m: consensus(m, MAJORITY)):
        with pytest.raises(ConversionError, match="no rater's mask"):
            call({})
        with pytest.raises(ConversionError, match="rater 'a' has 40 x 30 px, that of 'c' 4 x 3 px"):
            call({"c": np.zeros((4, 3), np.uint8), "a": masks["a"]})


def test_staple_does_not_turn_what_nobody_drew_into_a_lesion() -> None:
    votes = np.uint8([[[1, 1, 0], [0, 1, 1]], [[0, 1, 1], [0, 0, 1]], [[0, 0, 1], [0, 1, 0]]])
    # Such raters it holds for worse than chance.
    assert sitk.GetArrayFromImage(sitk.STAPLE([sitk.GetImageFromArray(vote) for vote in votes]))[1, 0] > 0.9
    assert consensus(dict(zip(NAMES, votes, strict=False)), STAPLE)[1, 0] == 0


@given(_raters())
def test_agreement_counts_pixels_lesions_and_shared_lesions_of_every_pair(masks: dict[str, np.ndarray]) -> None:
    pairs = agreement(dict(reversed(masks.items())))
    assert len(pairs) == len(masks) * (len(masks) - 1) // 2
    for pair in pairs:
        assert pair.rater_a < pair.rater_b
        a, b = masks[pair.rater_a], masks[pair.rater_b]
        if a.any() or b.any():
            assert pair.dice == pytest.approx(f1_score(a.ravel(), b.ravel(), labels=[1, 2], average="micro", zero_division=0))
        else:
            assert pair.dice is None
        components = [skimage_label(mask > 0, connectivity=2) for mask in (a, b)]
        assert (pair.pixels_a, pair.pixels_b) == ((a > 0).sum(), (b > 0).sum())
        assert (pair.lesions_a, pair.lesions_b) == tuple(c.max() for c in components)
        for shared, own, other in ((pair.shared_a, components[0], b), (pair.shared_b, components[1], a)):
            assert shared == sum(bool(other[own == number].any()) for number in range(1, own.max() + 1))


def test_one_rater_makes_no_pair() -> None:
    assert agreement({"a": _disc(10, 10, 5)}) == []
