"""What every annotation format is read into: labelled outlines or regions in the pixel frame of one view."""

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
class LesionRegion:
    """Pixels of one lesion, from formats that store pixels instead of a line.

    mask: (h, w) bool. top, left: row and column of the view where the mask's first pixel lies.
    """

    label: str
    mask: np.ndarray
    top: int
    left: int
    group: int | None = None


@dataclass(frozen=True)
class AnnotatedView:
    """All outlines and regions one reader drew on one view of shape (height, width) px; none: declared free of lesions."""

    outlines: tuple[LesionOutline | LesionRegion, ...]
    height: int
    width: int


@dataclass(frozen=True)
class ViewAnnotation:
    """One view's annotation as a file holds it, with what the file says of the image it was drawn on.

    image_name: the image's file name without folders, as LabelMe and COCO state it. instance, frame: SOP Instance UID and
    1-based frame number, as DICOM SEG states them. None where the format does not say.
    """

    content: AnnotatedView
    image_name: str | None = None
    instance: str | None = None
    frame: int | None = None
