"""Mask -> outlines a reader can correct: filled with the rule "centre" they give the mask back pixel for pixel."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage
from skimage.measure import find_contours

from dataset_conversion.annotations.outline import LesionOutline, LesionRegion

_CORNERS_CONNECT = np.ones((3, 3), int)


def trace(mask: np.ndarray, label: str) -> tuple[LesionOutline | LesionRegion, ...]:
    """Outline the lesions of a (H, W) bool mask, pixels that touch at a corner being one lesion.

    An outline runs half way between the centres of lesion and background pixels (the contour at 0.5 of the mask, without the
    corners on straight stretches), so it encloses exactly the lesion's pixel centres. Parts of a lesion that touch only at a
    corner get an outline each and share a group number. A lesion with a hole, which one outline cannot show, is returned as a
    region.
    """
    lesions, n_lesions = ndimage.label(mask, _CORNERS_CONNECT)
    traced: list[LesionOutline | LesionRegion] = []
    for number, box in zip(range(1, n_lesions + 1), ndimage.find_objects(lesions), strict=True):
        top, left = box[0].start, box[1].start
        lesion = lesions[box] == number
        n_parts = ndimage.label(lesion)[1]
        # Background pixels that touch at a corner belong together ("low"), so the parts do not.
        contours = find_contours(np.pad(lesion, 1).astype(float), 0.5, fully_connected="low")
        if len(contours) > n_parts:
            traced.append(LesionRegion(label, lesion, top, left))
            continue
        group = number if n_parts > 1 else None
        # (row, column) between pixel centres of the padded box -> (x, y) between pixel edges of the view.
        traced += [LesionOutline(label, _corners(line[:-1])[:, ::-1] + (left - 0.5, top - 0.5), group) for line in contours]
    return tuple(traced)


def trace_classes(mask: np.ndarray, labels: Mapping[str, int]) -> tuple[LesionOutline | LesionRegion, ...]:
    """Outline every class of a (H, W) mask of class numbers under its name, as `trace` does; background, 0, is passed over.

    Filled with the rule "centre" they give the mask back in any order: outlines of different classes share no pixel centre.
    """
    return tuple(outline for name, number in labels.items() if number for outline in trace(mask == number, name))


def _corners(points: np.ndarray) -> np.ndarray:
    """Leave out the points of a closed line where it goes straight on; exact, for the coordinates are halves."""
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    turns: np.ndarray = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    corners: np.ndarray = points[turns]
    return corners
