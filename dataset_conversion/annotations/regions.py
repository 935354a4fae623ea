"""Masks -> regions: cropped to their pixels, so that thousands of them fit into memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage
from skimage.measure import label as equal_neighbours

from dataset_conversion.annotations.outline import LesionRegion


def region(mask: np.ndarray, label: str, group: int | None = None) -> LesionRegion | None:
    """Make one region of a view's (H, W) bool mask, cropped to its pixels; None where it has none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return None
    box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return LesionRegion(label, box.copy(), int(rows[0]), int(columns[0]), group)


def components(labels: np.ndarray, name: Callable[[int], str] = str) -> list[LesionRegion]:
    """Split a (H, W) array of whole numbers into its lesions: connected pixels (corners connect) of one number that is not 0.

    name: gives a number its label. The regions stand in the order of their first pixels.
    """
    numbered = equal_neighbours(labels, background=0, connectivity=2)
    found = []
    for number, box in enumerate(ndimage.find_objects(numbered), start=1):
        mask = numbered[box] == number
        found.append(LesionRegion(name(int(labels[box][mask][0])), mask, box[0].start, box[1].start))
    return found
