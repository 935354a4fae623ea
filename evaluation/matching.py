"""Which predicted lesion is which reference lesion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

MatchRule = Literal["overlap", "iou", "optimal"]
MATCH_RULES: tuple[MatchRule, ...] = get_args(MatchRule)

# Above one half a pair is unique without any assignment: the threshold of panoptic quality (Kirillov et al. 2019).
IOU_THRESHOLD = 0.5


@dataclass(frozen=True)
class LesionMatch:
    """Result of matching R reference lesions with P predicted ones; index i stands for lesion i + 1.

    found: (R,) the reference lesion has a partner. spurious: (P,) the predicted lesion has none.
    dice: (R,) Dice of the reference lesion with its partner or partners, NaN where it was missed.
    """

    found: NDArray[np.bool_]
    spurious: NDArray[np.bool_]
    dice: NDArray[np.float64]


def match_lesions(
    reference: NDArray[np.int32],
    prediction: NDArray[np.int32],
    rule: MatchRule = "overlap",
    iou_threshold: float = IOU_THRESHOLD,
) -> LesionMatch:
    """Match the lesions of two label images (components numbered from 1, of one shape).

    overlap: every pair that shares a pixel; a lesion may have several partners, its Dice is with all of them together.
    iou: every pair whose intersection over union reaches `iou_threshold`.
    optimal: one to one; of the pairs that share a pixel, those with the greatest total intersection over union.
    """
    reference_px = np.bincount(reference.ravel())[1:]
    predicted_px = np.bincount(prediction.ravel())[1:]
    # The contingency table of the two label images without its empty cells: pair (first, second) shares `shared` pixels.
    both = (reference > 0) & (prediction > 0)
    code = (reference[both].astype(np.int64) - 1) * max(predicted_px.size, 1) + prediction[both] - 1
    pair, shared = np.unique(code, return_counts=True)
    first, second = np.divmod(pair, max(predicted_px.size, 1))
    iou = shared / (reference_px[first] + predicted_px[second] - shared)

    if rule == "iou":
        kept = iou >= iou_threshold
    elif rule == "optimal":
        kept = _one_to_one(first, second, iou)
    else:
        kept = np.ones(pair.size, dtype=bool)
    first, second, shared = first[kept], second[kept], shared[kept]

    partners = np.bincount(first, minlength=reference_px.size)
    partner_px = np.bincount(first, weights=predicted_px[second], minlength=reference_px.size)
    shared_px = np.bincount(first, weights=shared, minlength=reference_px.size)
    found = partners > 0
    return LesionMatch(
        found=found,
        spurious=np.bincount(second, minlength=predicted_px.size) == 0,
        dice=np.where(found, 2 * shared_px / (reference_px + partner_px), np.nan),
    )


def _one_to_one(first: NDArray[np.int64], second: NDArray[np.int64], iou: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which of the overlapping pairs (first, second) the assignment of greatest total IoU keeps."""
    rows, row = np.unique(first, return_inverse=True)
    columns, column = np.unique(second, return_inverse=True)
    table = np.zeros((rows.size, columns.size))
    table[row, column] = iou
    chosen = np.zeros(table.shape, dtype=bool)
    chosen[linear_sum_assignment(table, maximize=True)] = True
    kept: NDArray[np.bool_] = chosen[row, column]
    return kept
