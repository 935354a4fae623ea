"""Which predicted lesion is which reference lesion, and which are merged or split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

MatchRule = Literal["overlap", "iou", "optimal"]
MATCH_RULES: tuple[MatchRule, ...] = get_args(MatchRule)
# For the pages: what each rule means.
MATCH_RULE_TEXTS: dict[MatchRule, str] = {
    "overlap": "a reference lesion is found when it shares a pixel with the prediction",
    "iou": "lesions match when their intersection over union reaches {iou_threshold:g}",
    "optimal": "lesions that share a pixel are matched one to one, at the greatest total intersection over union",
}

# Above one half a pair is unique without any assignment: the threshold of panoptic quality (Kirillov et al. 2019).
IOU_THRESHOLD = 0.5


class Pairs(NamedTuple):
    """Pairs of a reference and a predicted lesion that share a pixel: the contingency table without its empty cells.

    reference, prediction: index of the two lesions (lesion i + 1). shared_px: pixels in both. iou: intersection over union.
    """

    reference: NDArray[np.int64]
    prediction: NDArray[np.int64]
    shared_px: NDArray[np.int64]
    iou: NDArray[np.float64]

    def where(self, kept: NDArray[np.bool_]) -> Pairs:
        """The pairs for which `kept` is true."""
        return Pairs(self.reference[kept], self.prediction[kept], self.shared_px[kept], self.iou[kept])


@dataclass(frozen=True)
class LesionMatch:
    """Result of matching R reference lesions with P predicted ones; index i stands for lesion i + 1.

    found: (R,) the reference lesion has a partner. spurious: (P,) the predicted lesion has none.
    dice, predicted_dice: (R,) and (P,) Dice of a lesion with its partner or partners, NaN where it has none.
    partners: pairs that the rule matched. overlaps: all pairs that share a pixel, whatever the rule.
    """

    found: NDArray[np.bool_]
    spurious: NDArray[np.bool_]
    dice: NDArray[np.float64]
    predicted_dice: NDArray[np.float64]
    partners: Pairs
    overlaps: Pairs


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
    where = np.flatnonzero((reference != 0) | (prediction != 0))
    first, second = reference.ravel()[where], prediction.ravel()[where]
    reference_px, predicted_px = np.bincount(first)[1:], np.bincount(second)[1:]
    both = (first > 0) & (second > 0)
    code = (first[both].astype(np.int64) - 1) * max(predicted_px.size, 1) + second[both] - 1
    pair, shared_px = np.unique(code, return_counts=True)
    left, right = np.divmod(pair, max(predicted_px.size, 1))
    overlaps = Pairs(left, right, shared_px, shared_px / (reference_px[left] + predicted_px[right] - shared_px))

    partners = overlaps
    if rule == "iou":
        partners = overlaps.where(overlaps.iou >= iou_threshold)
    elif rule == "optimal":
        partners = overlaps.where(_one_to_one(overlaps))
    dice = _dice(reference_px, predicted_px, partners.reference, partners.prediction, partners.shared_px)
    predicted_dice = _dice(predicted_px, reference_px, partners.prediction, partners.reference, partners.shared_px)
    return LesionMatch(~np.isnan(dice), np.isnan(predicted_dice), dice, predicted_dice, partners, overlaps)


def _dice(
    own_px: NDArray[np.int64],
    other_px: NDArray[np.int64],
    own: NDArray[np.int64],
    other: NDArray[np.int64],
    shared_px: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Dice of every lesion with all its partners together, NaN without any."""
    partner_px = np.bincount(own, weights=other_px[other], minlength=own_px.size)
    shared = np.bincount(own, weights=shared_px, minlength=own_px.size)
    return np.where(partner_px > 0, 2 * shared / (own_px + partner_px), np.nan)


def _one_to_one(pairs: Pairs) -> NDArray[np.bool_]:
    """Tell which of the overlapping pairs the assignment of greatest total IoU keeps."""
    rows, row = np.unique(pairs.reference, return_inverse=True)
    columns, column = np.unique(pairs.prediction, return_inverse=True)
    table = np.zeros((rows.size, columns.size))
    table[row, column] = pairs.iou
    chosen = np.zeros(table.shape, dtype=bool)
    chosen[linear_sum_assignment(table, maximize=True)] = True
    kept: NDArray[np.bool_] = chosen[row, column]
    return kept


def lesion_status(match: LesionMatch) -> tuple[list[str], list[str]]:
    """One word for every reference and every predicted lesion, by its partners.

    Reference: missed (no partner), split (several predicted lesions), merged (one, which it shares with another reference
    lesion), matched. Predicted: spurious (no partner), merged (it covers several reference lesions), split (it shares its one
    reference lesion with another prediction), matched. Lesions matched one to one are neither merged nor split; for those
    `merged_and_split` counts overlaps.
    """
    own = (
        _partner_number(match.partners.reference, match.found.size),
        _partner_number(match.partners.prediction, match.spurious.size),
    )
    theirs = (
        _most(match.partners.reference, own[1][match.partners.prediction], match.found.size),
        _most(match.partners.prediction, own[0][match.partners.reference], match.spurious.size),
    )
    words = (("missed", "split", "merged"), ("spurious", "merged", "split"))
    return tuple(  # type: ignore[return-value]
        [alone if not n else several if n > 1 else shared if m > 1 else "matched" for n, m in zip(counts, most, strict=True)]
        for (alone, several, shared), counts, most in zip(words, own, theirs, strict=True)
    )


def merged_and_split(match: LesionMatch) -> tuple[int, int]:
    """Count the predicted lesions that overlap several reference lesions and the reference lesions that overlap several
    predicted ones, whatever the matching rule."""
    reference, prediction = match.overlaps.reference, match.overlaps.prediction
    merged = int((_partner_number(prediction, match.spurious.size) > 1).sum())
    return merged, int((_partner_number(reference, match.found.size) > 1).sum())


def partner_names(match: LesionMatch) -> tuple[list[str], list[str]]:
    """Numbers of every lesion's partners, as in "2;3"; for the reference lesions and for the predicted ones."""
    names: tuple[list[list[str]], list[list[str]]] = ([[] for _ in match.found], [[] for _ in match.spurious])
    for first, second in zip(match.partners.reference.tolist(), match.partners.prediction.tolist(), strict=True):
        names[0][first].append(str(second + 1))
        names[1][second].append(str(first + 1))
    return [";".join(each) for each in names[0]], [";".join(each) for each in names[1]]


def panoptic_matches(match: LesionMatch) -> tuple[int, float]:
    """Number and total IoU of the pairs with an IoU above 1/2, which are one to one by themselves; whatever the rule."""
    iou = match.overlaps.iou[match.overlaps.iou > IOU_THRESHOLD]
    return iou.size, float(iou.sum())


def best_partner(match: LesionMatch, confidence: NDArray[np.float64]) -> NDArray[np.float64]:
    """Highest confidence of every reference lesion's partners, -inf for missed lesions; confidence: (P,)."""
    return _most(match.partners.reference, confidence[match.partners.prediction], match.found.size)


def _partner_number(lesion: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    return np.bincount(lesion, minlength=size)


def _most(lesion: NDArray[np.int64], values: NDArray, size: int) -> NDArray[np.float64]:
    most = np.full(size, -np.inf)
    np.maximum.at(most, lesion, values)
    return most
