"""Overlap measures, and the one rule for empty cases.

The rule, for every measure of evaluation:

* reference and prediction both empty: the measure is undefined (NaN), left out of means, and counted;
* one of them empty: the worst value: 0 for Dice, IoU, panoptic quality and the normalised surface Dice, the image diagonal in
  mm for HD95 and the average surface distance;
* what divides by the reference alone (recall, relative area difference) or the prediction alone (precision) is undefined
  (NaN), not 0, where that is empty: a lesion-free image does not lower recall.

The overlap measures below obey it by dividing: 0 / 0 is NaN. The others ask `empty_case_value`. What the rule does to a mean
over images is shown beside it: the mean over images with lesions only, and the mean with `empty_as_one`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class PixelCounts(NamedTuple):
    """Pixels in reference and prediction (tp), in the prediction alone (fp), in the reference alone (fn)."""

    tp: int
    fp: int
    fn: int


def empty_case_value(reference_empty: bool, prediction_empty: bool, worst: float) -> float | None:
    """Value that the empty-case rule sets, or None where neither mask is empty and the measure has to be computed."""
    if reference_empty and prediction_empty:
        return float("nan")
    return worst if reference_empty or prediction_empty else None


def pixel_counts(reference: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> PixelCounts:
    """Count true positive, false positive and false negative pixels of two masks of one shape."""
    tp = int(np.count_nonzero(reference & prediction))
    return PixelCounts(tp, int(np.count_nonzero(prediction)) - tp, int(np.count_nonzero(reference)) - tp)


def quotient(numerator: ArrayLike, denominator: ArrayLike) -> NDArray[np.float64]:
    """Divide element by element; NaN where the denominator is 0."""
    top, bottom = np.broadcast_arrays(np.asarray(numerator, float), np.asarray(denominator, float))
    result: NDArray[np.float64] = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom != 0)
    return result


def dice(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike) -> NDArray[np.float64]:
    """2 TP / (2 TP + FP + FN), also known as F1; scalars or arrays of counts, NaN where all three are 0."""
    double = 2 * np.asarray(tp, float)
    return quotient(double, double + np.asarray(fp) + np.asarray(fn))


def iou(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike) -> NDArray[np.float64]:
    """TP / (TP + FP + FN), the Jaccard index; NaN where all three are 0."""
    return quotient(tp, np.asarray(tp, float) + np.asarray(fp) + np.asarray(fn))


def precision(tp: ArrayLike, fp: ArrayLike) -> NDArray[np.float64]:
    """TP / (TP + FP); NaN where nothing was predicted."""
    return quotient(tp, np.asarray(tp, float) + np.asarray(fp))


def recall(tp: ArrayLike, fn: ArrayLike) -> NDArray[np.float64]:
    """TP / (TP + FN), also known as sensitivity; NaN where the reference is empty."""
    return quotient(tp, np.asarray(tp, float) + np.asarray(fn))


def relative_difference(reference: ArrayLike, prediction: ArrayLike) -> NDArray[np.float64]:
    """(prediction - reference) / reference, of areas for instance; NaN where the reference is 0."""
    return quotient(np.asarray(prediction, float) - np.asarray(reference, float), reference)


def empty_as_one(values: ArrayLike) -> NDArray[np.float64]:
    """Dice or IoU with 1 for empty against empty, the other rule in use, to show what the choice does."""
    values = np.asarray(values, float)
    return np.where(np.isnan(values), 1.0, values)


def panoptic_quality(
    iou_sum: ArrayLike, matches: ArrayLike, reference_lesions: ArrayLike, predicted_lesions: ArrayLike
) -> NDArray[np.float64]:
    """Sum of the matches' IoU / (TP + FP / 2 + FN / 2), Kirillov et al. 2019; NaN where there are no lesions at all.

    matches (TP): one-to-one pairs of lesions whose IoU exceeds 1/2. It is the product of segmentation quality (mean IoU of
    the matches) and recognition quality (their F1).
    """
    lesions = np.asarray(reference_lesions, float) + np.asarray(predicted_lesions, float)
    return quotient(iou_sum, lesions / 2)  # TP + (P - TP) / 2 + (R - TP) / 2


def lesion_f1(
    found: ArrayLike, reference_lesions: ArrayLike, matched: ArrayLike, predicted_lesions: ArrayLike
) -> NDArray[np.float64]:
    """Harmonic mean of lesion sensitivity (found / reference) and lesion precision (matched / predicted).

    With one-to-one matching it is 2 TP / (2 TP + FP + FN). 0 where lesions exist and none matches, NaN where there are no
    lesions at all. Any-overlap matching may find two reference lesions by one predicted one, so both hit counts are needed.
    """
    found, reference_lesions = np.asarray(found, float), np.asarray(reference_lesions, float)
    matched, predicted_lesions = np.asarray(matched, float), np.asarray(predicted_lesions, float)
    # 2PR / (P + R) with both fractions multiplied out: defined as soon as one lesion was found.
    score = quotient(2 * found * matched, found * predicted_lesions + matched * reference_lesions)
    return np.where(np.isnan(score) & (reference_lesions + predicted_lesions > 0), 0.0, score)
