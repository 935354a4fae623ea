from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score

from evaluation import metrics

masks = arrays(bool, (9, 7))


@settings(max_examples=40, deadline=None)
@given(masks, masks)
def test_overlap_measures_agree_with_scikit_learn(reference: NDArray, prediction: NDArray) -> None:
    tp, fp, fn = metrics.pixel_counts(reference, prediction)
    pair = reference.ravel(), prediction.ravel()
    nan = {"zero_division": np.nan}
    assert metrics.dice(tp, fp, fn) == pytest.approx(f1_score(*pair, **nan), nan_ok=True)
    assert metrics.precision(tp, fp) == pytest.approx(precision_score(*pair, **nan), nan_ok=True)
    assert metrics.recall(tp, fn) == pytest.approx(recall_score(*pair, **nan), nan_ok=True)
    if tp + fp + fn:  # scikit-learn's Jaccard index knows no NaN
        assert metrics.iou(tp, fp, fn) == pytest.approx(jaccard_score(*pair))


@settings(max_examples=40, deadline=None)
@given(masks, masks)
def test_dice_is_symmetric_and_unmoved_by_flips(reference: NDArray, prediction: NDArray) -> None:
    forth = metrics.dice(*metrics.pixel_counts(reference, prediction))
    back = metrics.dice(*metrics.pixel_counts(prediction, reference))
    flipped = metrics.dice(*metrics.pixel_counts(reference[::-1, ::-1], prediction[::-1, ::-1]))
    np.testing.assert_equal(forth, back)
    np.testing.assert_equal(forth, flipped)


def test_the_empty_case_rule_holds_for_every_overlap_measure() -> None:
    empty, lesion = np.zeros((4, 4), bool), np.eye(4, dtype=bool)
    assert np.isnan(metrics.dice(*metrics.pixel_counts(empty, empty)))
    assert np.isnan(metrics.iou(*metrics.pixel_counts(empty, empty)))
    assert metrics.dice(*metrics.pixel_counts(lesion, empty)) == 0
    assert metrics.dice(*metrics.pixel_counts(empty, lesion)) == 0
    assert np.isnan(metrics.precision(0, 0))
    assert np.isnan(metrics.recall(0, 0))
    assert metrics.recall(0, 4) == 0
    assert np.isnan(metrics.empty_case_value(True, True, worst=7.0) or 0)
    assert metrics.empty_case_value(True, False, worst=7.0) == 7.0
    assert metrics.empty_case_value(False, True, worst=7.0) == 7.0
    assert metrics.empty_case_value(False, False, worst=7.0) is None


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_lesion_f1_of_one_to_one_matching_is_the_usual_f1(tp: int, fp: int, fn: int) -> None:
    ours = metrics.lesion_f1(tp, tp + fn, tp, tp + fp)
    assert ours == pytest.approx(2 * tp / (2 * tp + fp + fn) if tp + fp + fn else np.nan, nan_ok=True)


def test_lesion_f1_is_the_harmonic_mean_where_one_prediction_finds_two_lesions() -> None:
    # Both reference lesions found by one of two predicted ones: sensitivity 1, precision 1/2.
    assert metrics.lesion_f1(2, 2, 1, 2) == pytest.approx(2 * 1 * 0.5 / 1.5)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.floats(0.51, 1))
def test_panoptic_quality_is_segmentation_times_recognition_quality(tp: int, fp: int, fn: int, mean_iou: float) -> None:
    quality = metrics.panoptic_quality(tp * mean_iou, tp, tp + fn, tp + fp)
    if tp + fp + fn == 0:
        assert np.isnan(quality)
    else:
        assert quality == pytest.approx(mean_iou * tp / (tp + fp / 2 + fn / 2))


def test_relative_difference_is_signed_and_undefined_without_reference() -> None:
    assert metrics.relative_difference([4.0, 4.0, 0.0], [5.0, 0.0, 3.0]).tolist()[:2] == [0.25, -1.0]
    assert np.isnan(metrics.relative_difference(0, 3))


def test_counting_empty_as_one_changes_the_undefined_alone() -> None:
    assert metrics.empty_as_one([0.0, 0.5, np.nan]).tolist() == [0.0, 0.5, 1.0]
