"""Outlines and regions -> mask, in one documented pixel convention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageDraw
from skimage.draw import polygon

from dataset_conversion.annotations.outline import LesionOutline, LesionRegion
from dataset_conversion.errors import ConversionError

PixelRule = Literal["centre", "labelme"]
# A corner farther out is a damaged number, and beyond some 1e9 px the drawing routines overflow without a word.
FARTHEST_PX = 1e6
PIXEL_RULES: tuple[PixelRule, ...] = get_args(PixelRule)


def rasterise(
    outlines: Sequence[LesionOutline | LesionRegion], shape: tuple[int, int], rule: PixelRule = "centre"
) -> tuple[np.ndarray, int]:
    """Fill outlines into a (H, W) uint8 mask of 0 and 1; also return how many outlines were too small for a pixel and grown.

    rule "centre": a pixel belongs to a lesion when its centre lies inside the outline or on it, so areas are right on average.
    An outline that holds no pixel centre becomes the one pixel at the mean of its corners: a lesion never vanishes.
    rule "labelme": what LabelMe's own export draws (PIL, fill and border), for comparing with masks made that way; it makes
    small lesions too large, by 63 % at 2 px radius.
    Outlines are united. Within one self-crossing outline, what the line encloses an even number of times is outside, so a hole
    can be drawn by running to an inner ring and back. Regions are pixels already: no rule changes them. Parts beyond the image
    are cut off; raises ConversionError for an outline or a region that lies outside it altogether.
    """
    mask = np.zeros(shape, np.uint8)
    return mask, sum(draw(mask, outline, number, rule) for number, outline in enumerate(outlines, start=1))


def draw(mask: np.ndarray, outline: LesionOutline | LesionRegion, number: int, rule: PixelRule, value: int = 1) -> bool:
    """Write `value` into the pixels of one outline or region of a (H, W) uint8 mask; tell whether it was grown to a pixel.

    number: what to call it in an error message. See `rasterise` for the rules and errors.
    """
    if isinstance(outline, LesionRegion):
        _paste(mask, outline, number, value)
        return False
    points = outline.points
    _require_inside(outline, number, mask.shape)
    fill = _fill_labelme if rule == "labelme" else _fill_centres
    if fill(mask, points, value):
        return False
    column, row = np.clip(np.floor(points.mean(axis=0)).astype(int), 0, (mask.shape[1] - 1, mask.shape[0] - 1))
    mask[row, column] = value
    return True


def _require_inside(outline: LesionOutline, number: int, shape: tuple[int, ...]) -> None:
    (left, top), (right, bottom) = outline.points.min(axis=0), outline.points.max(axis=0)
    is_far = max(-left, -top, right, bottom) > FARTHEST_PX
    if is_far or right < 0 or bottom < 0 or left > shape[1] or top > shape[0]:  # LabelMe clips corners to the border itself
        raise ConversionError(
            f"outline {number} ({outline.label!r}) lies outside the image: x {left:g} to {right:g}, y {top:g} to {bottom:g} px,"
            f" the image is {shape[1]} px wide and {shape[0]} px high; delete it or draw it on its own scan."
        )


def _paste(mask: np.ndarray, region: LesionRegion, number: int, value: int) -> None:
    height, width = region.mask.shape
    top, left = max(region.top, 0), max(region.left, 0)
    bottom, right = max(min(region.top + height, mask.shape[0]), top), max(min(region.left + width, mask.shape[1]), left)
    visible = region.mask[top - region.top : bottom - region.top, left - region.left : right - region.left]
    if not visible.any():
        raise ConversionError(
            f"region {number} ({region.label!r}) has no pixel inside the image: it lies at x {region.left} to"
            f" {region.left + width}, y {region.top} to {region.top + height} px, the image is {mask.shape[1]} px wide and"
            f" {mask.shape[0]} px high; delete it or draw it on its own scan."
        )
    mask[top:bottom, left:right][visible] = value


def _fill_centres(mask: np.ndarray, points: np.ndarray, value: int) -> bool:
    # skimage has pixel centres at integers, outlines have pixel edges there.
    rows, columns = polygon(points[:, 1] - 0.5, points[:, 0] - 0.5, mask.shape)
    mask[rows, columns] = value
    return len(rows) > 0


def _fill_labelme(mask: np.ndarray, points: np.ndarray, value: int) -> bool:
    canvas = Image.new("L", (mask.shape[1], mask.shape[0]))
    ImageDraw.Draw(canvas).polygon([(float(x), float(y)) for x, y in points], outline=1, fill=1)
    drawn = np.asarray(canvas) > 0
    mask[drawn] = value
    return bool(drawn.any())
