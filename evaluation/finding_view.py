"""One predicted view as findings are made of it: mask, counts, probability, and the part that was searched."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from evaluation.counts import body_mask
from evaluation.errors import UnusableInputError
from evaluation.lesions import connected_components


@dataclass(frozen=True, eq=False)
class FindingView:
    """One view of a scan in its whole frame of (H, W) pixels, head first.

    name: what the view is called, "anterior" for instance. mask: class numbers, 0 is background; or bool. probability: of any
    lesion in every pixel, None where it was not kept. counts: as acquired. spacing_mm: (row, column) pixel size. crop: (top,
    left, height, width) in px of the part that was searched, None for the whole view.

    Raises UnusableInputError where shapes, pixel size or the part searched do not fit together, or the mask lies outside it.
    """

    name: str
    mask: NDArray
    probability: NDArray[np.floating] | None
    counts: NDArray
    spacing_mm: tuple[float, float]
    crop: tuple[int, int, int, int] | None = None

    def __post_init__(self) -> None:
        shapes = {"mask": self.mask.shape, "counts": self.counts.shape}
        if self.probability is not None:
            shapes["probability"] = self.probability.shape
        if len(set(shapes.values())) != 1 or self.mask.ndim != 2:
            listed = ", ".join(f"{what} {shape}" for what, shape in shapes.items())
            raise UnusableInputError(f"{self.name} view: expected arrays of one shape (H, W), found {listed}.")
        if not all(np.isfinite(mm) and mm > 0 for mm in self.spacing_mm):
            raise UnusableInputError(f"{self.name} view: pixel size {self.spacing_mm} mm, expected two positive numbers.")
        height, width = self.mask.shape
        if self.crop is not None:
            top, left, tall, wide = self.crop
            if min(top, left) < 0 or min(tall, wide) < 1 or top + tall > height or left + wide > width:
                raise UnusableInputError(
                    f"{self.name} view: the part searched {self.crop} exceeds the view of {height} x {width} px."
                )
            if np.count_nonzero(self.mask[self.searched]) != np.count_nonzero(self.mask):
                raise UnusableInputError(f"{self.name} view: the mask has pixels outside of the part searched {self.crop}.")

    @property
    def searched(self) -> tuple[slice, slice]:
        """The part searched, as an index of arrays of the view."""
        top, left, tall, wide = self.crop or (0, 0, *self.mask.shape)
        return slice(top, top + tall), slice(left, left + wide)

    @cached_property
    def body(self) -> NDArray[np.bool_]:
        """The body (H, W) by `counts.body_mask`, with all lesions as part of it; empty where the counts show none."""
        body = body_mask(self.counts, self.spacing_mm)
        return body | (self.mask > 0) if body.any() else body

    @cached_property
    def components(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The lesions: (H, W) numbered from 1 in reading order of their first pixel, and the class number of each.

        A lesion is a connected part of one class, corners connect; parts of two classes that touch are two lesions.
        """
        numbered = np.zeros(self.mask.shape, np.int32)
        classes: list[int] = []
        for value in np.unique(self.mask[self.mask > 0]).tolist():
            labels, number = connected_components(self.mask == value)
            numbered += np.where(labels > 0, labels + len(classes), 0).astype(np.int32)
            classes += [value] * number
        first = np.unique(numbered[numbered > 0], return_index=True)[1]
        order = np.argsort(first)
        place = np.zeros(len(classes) + 1, np.int32)
        place[1 + order] = np.arange(1, len(classes) + 1)
        return place[numbered], np.array(classes, np.int64)[order]
