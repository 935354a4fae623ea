"""Several raters' masks of one view: one mask they agree on, and how much each two of them agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import SimpleITK as sitk  # noqa: N813  its customary name
from scipy import ndimage

from dataset_conversion.errors import ConversionError

MAJORITY, STAPLE = "majority", "staple"
# Two raters without a pixel in common never converge; those who agree need fewer than 30 rounds.
STAPLE_ITERATIONS = 100
# Lesions are 8-connected components, as in the manifest.
CONNECTED = np.ones((3, 3), bool)


@dataclass(frozen=True)
class PairAgreement:
    """How two raters agree on one view.

    dice: 2 * pixels of one class in both / (pixels_a + pixels_b), over all classes; None where both masks are empty.
    pixels_a, pixels_b: lesion pixels of any class. lesions_a, lesions_b: 8-connected components of those.
    shared_a, shared_b: how many of a rater's lesions have a pixel in common with one of the other's, whatever its class.
    """

    rater_a: str
    rater_b: str
    dice: float | None
    pixels_a: int
    pixels_b: int
    lesions_a: int
    lesions_b: int
    shared_a: int
    shared_b: int


def consensus(masks: Mapping[str, np.ndarray], rule: str) -> np.ndarray:
    """One (H, W) uint8 label mask from the raters' (H, W) uint8 label masks, 0 for background.

    rule "majority": a pixel gets the class that more than half of the raters gave it, else background; so two raters keep what
    both drew, and a tie is background. rule "staple": the expectation maximisation of Warfield et al. 2004 over the whole view
    weighs raters by their estimated sensitivity and specificity (SimpleITK's STAPLE, once a class against the rest); a pixel
    gets the class of highest probability, the lowest of equals, where that is over 1/2; where an estimate is undefined the
    majority decides. A pixel on which all agree is what they say. Any other rule is a rater's name and gives that rater's mask.

    The raters' order does not matter. Raises ConversionError for no raters, for masks of different shape, and for a rule that
    is neither of these words nor a rater.
    """
    ordered = _require_comparable(masks)
    if rule not in (MAJORITY, STAPLE):
        if rule in masks:
            return masks[rule].copy()
        raise ConversionError(
            f"the rule for several raters is {rule!r}; expected {MAJORITY}, {STAPLE} or a rater ({', '.join(sorted(masks))})."
        )
    stack = np.stack(ordered)
    is_unanimous = (stack == ordered[0]).all(0)
    if is_unanimous.all():
        return ordered[0].copy()
    result = np.zeros_like(ordered[0])
    best = np.full(result.shape, 0.5)
    for label in (int(value) for value in np.unique(stack) if value):
        votes = stack == label
        probability = _staple(votes) if rule == STAPLE else votes.mean(0)
        is_better = probability > best
        result[is_better] = label
        best = np.where(is_better, probability, best)
    # STAPLE may hold a rater for worse than chance and then turn his background into lesion.
    result[is_unanimous] = ordered[0][is_unanimous]
    return result


def agreement(masks: Mapping[str, np.ndarray]) -> list[PairAgreement]:
    """Compare every two raters' (H, W) uint8 label masks of one view, in the order of their names.

    Raises ConversionError for no raters and for masks of different shape.
    """
    _require_comparable(masks)
    lesions = {rater: ndimage.label(mask, CONNECTED) for rater, mask in masks.items()}
    return [_pair(a, b, masks, lesions) for a, b in combinations(sorted(masks), 2)]


def _pair(a: str, b: str, masks: Mapping[str, np.ndarray], lesions: Mapping[str, tuple[np.ndarray, int]]) -> PairAgreement:
    (components_a, lesions_a), (components_b, lesions_b) = lesions[a], lesions[b]
    is_shared = (components_a > 0) & (components_b > 0)
    pixels_a, pixels_b = int(np.count_nonzero(masks[a])), int(np.count_nonzero(masks[b]))
    same = int(np.count_nonzero((masks[a] == masks[b]) & is_shared))
    return PairAgreement(
        rater_a=a,
        rater_b=b,
        dice=2 * same / (pixels_a + pixels_b) if pixels_a + pixels_b else None,
        pixels_a=pixels_a,
        pixels_b=pixels_b,
        lesions_a=int(lesions_a),
        lesions_b=int(lesions_b),
        shared_a=np.unique(components_a[is_shared]).size,
        shared_b=np.unique(components_b[is_shared]).size,
    )


def _staple(votes: np.ndarray) -> np.ndarray:
    """Probability of a class in every pixel, (H, W) float64, from who gave it, (raters, H, W) bool."""
    if (votes == votes[0]).all():
        alike: np.ndarray = votes[0].astype(np.float64)
        return alike
    staple = sitk.STAPLEImageFilter()
    staple.SetForegroundValue(1)
    staple.SetMaximumIterations(STAPLE_ITERATIONS)
    probability: np.ndarray = sitk.GetArrayFromImage(
        staple.Execute([sitk.GetImageFromArray(v.astype(np.uint8)) for v in votes])
    )
    return probability if np.isfinite(probability).all() else votes.mean(0)


def _require_comparable(masks: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The masks in the order of their raters' names."""
    if not masks:
        raise ConversionError("there is no rater's mask to agree on; expected at least one.")
    first, *others = sorted(masks)
    for other in others:
        if masks[other].shape != masks[first].shape:
            raise ConversionError(
                "the mask of rater {!r} has {} x {} px, that of {!r} {} x {} px; they were not drawn on the same view.".format(
                    first, *masks[first].shape, other, *masks[other].shape
                )
            )
    return [masks[rater] for rater in [first, *others]]
