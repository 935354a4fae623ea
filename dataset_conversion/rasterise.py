"""Outlines -> mask, in one documented pixel convention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageDraw
from skimage.draw import polygon

from dataset_conversion.annotations.outline import LesionOutline
from dataset_conversion.errors import ConversionError

PixelRule = Literal["centre", "labelme"]
# A corner farther out is a damaged number, and beyond some 1e9 px the drawing routines overflow without a word.
FARTHEST_PX = 1e6
PIXEL_RULES: tuple[PixelRule, ...] = get_args(PixelRule)


def rasterise(outlines: Sequence[LesionOutline], shape: tuple[int, int], rule: PixelRule = "centre") -> tuple[np.ndarray, int]:
    """Fill outlines into a (H, W) uint8 mask of 0 and 1; also return how many outlines were too small for a pixel and grown.

    rule "centre": a pixel belongs to a lesion when its centre lies inside the outline or on it, so areas are right on average.
    An outline that holds no pixel centre becomes the one pixel at the mean of its corners: a lesion never vanishes.
    rule "labelme": what LabelMe's own export draws (PIL, fill and border), for comparing with masks made that way; it makes
    small lesions too large, by 63 % at 2 px radius.
    Outlines are united. Within one self-crossing outline, what the line encloses an even number of times is outside. Parts
    beyond the image are cut off; raises ConversionError for an outline that lies outside it altogether.
    """
    mask = np.zeros(shape, np.uint8)
    fill = _fill_labelme if rule == "labelme" else _fill_centres
    n_grown = 0
    for number, outline in enumerate(outlines, start=1):
        _require_inside(outline, number, shape)
        if not fill(mask, outline.points):
            column, row = np.clip(np.floor(outline.points.mean(axis=0)).astype(int), 0, (shape[1] - 1, shape[0] - 1))
            mask[row, column] = 1
            n_grown += 1
    return mask, n_grown


def _require_inside(outline: LesionOutline, number: int, shape: tuple[int, int]) -> None:
    (left, top), (right, bottom) = outline.points.min(axis=0), outline.points.max(axis=0)
    is_far = max(-left, -top, right, bottom) > FARTHEST_PX
    if is_far or right < 0 or bottom < 0 or left > shape[1] or top > shape[0]:  # LabelMe clips corners to the border itself
        raise ConversionError(
            f"outline {number} ({outline.label!r}) lies outside the image: x {left:g} to {right:g}, y {top:g} to {bottom:g} px,"
            f" the image is {shape[1]} px wide and {shape[0]} px high; delete it or draw it on its own scan."
        )


def _fill_centres(mask: np.ndarray, points: np.ndarray) -> bool:
    # skimage has pixel centres at integers, outlines have pixel edges there.
    rows, columns = polygon(points[:, 1] - 0.5, points[:, 0] - 0.5, mask.shape)
    mask[rows, columns] = 1
    return len(rows) > 0


def _fill_labelme(mask: np.ndarray, points: np.ndarray) -> bool:
    canvas = Image.new("L", (mask.shape[1], mask.shape[0]))
    ImageDraw.Draw(canvas).polygon([(float(x), float(y)) for x, y in points], outline=1, fill=1)
    drawn = np.asarray(canvas)
    mask |= drawn
    return bool(drawn.any())
