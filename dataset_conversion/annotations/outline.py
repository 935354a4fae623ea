"""What every annotation format is read into: labelled outlines in the pixel frame of one view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LesionOutline:
    """One closed outline.

    label: the class name as the reader typed it.
    points: (n, 2) float, x then y in px, with pixel *edges* at integers: the centre of the top-left pixel is (0.5, 0.5).
    group: outlines of one lesion share a group number; None where the format has none.
    """

    label: str
    points: np.ndarray
    group: int | None = None


@dataclass(frozen=True)
class AnnotatedView:
    """All outlines one reader drew on one view of shape (height, width) px."""

    outlines: tuple[LesionOutline, ...]
    height: int
    width: int
