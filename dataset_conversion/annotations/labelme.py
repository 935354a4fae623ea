"""LabelMe JSON <-> outlines; its points already are in our frame (pixel edges at integers), so nothing is shifted."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from dataset_conversion.annotations.outline import AnnotatedView, LesionOutline
from dataset_conversion.errors import ConversionError

SUPPORTED_SHAPES = ("polygon", "rectangle", "circle")
# A regular polygon of n corners inside a circle misses (2 pi / n)^2 / 6 of its area: 0.04 %, a pixel at 28 px radius.
CIRCLE_CORNERS = 128
# The JSON layout written; LabelMe opens files of older versions silently.
LABELME_VERSION = "5.5.0"


def read(path: Path) -> AnnotatedView:
    """Read one LabelMe file; no shapes mean that the reader declared the view free of lesions.

    Polygons, rectangles (two opposite corners, or four corners) and circles (centre and a point of the rim) become closed
    outlines in px with pixel edges at integers; `imageData` is not read. Raises ConversionError where the file is no LabelMe
    JSON, where a shape is of another type, has too few points or a coordinate that is no finite number.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConversionError(f"{path}: cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        raise ConversionError(f"{path}: is not valid JSON ({error}); save it again in LabelMe.") from error
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise ConversionError(f'{path}: is not a LabelMe file: expected an object with a list "shapes".')
    height, width = (_image_side(content, key, path) for key in ("imageHeight", "imageWidth"))
    outlines = tuple(_outline(shape, index, path) for index, shape in enumerate(content["shapes"], start=1))
    return AnnotatedView(outlines, height, width)


def write(path: Path, view: AnnotatedView, image_name: str) -> None:
    """Write the outlines of one view as LabelMe polygons; `image_name` becomes `imagePath`, pixels are not embedded."""
    content: dict[str, Any] = {
        "version": LABELME_VERSION,
        "flags": {},
        "shapes": [
            {
                "label": outline.label,
                "points": [[float(x), float(y)] for x, y in outline.points],
                "group_id": outline.group,
                "description": "",
                "shape_type": "polygon",
                "flags": {},
                "mask": None,
            }
            for outline in view.outlines
        ],
        "imagePath": image_name,
        "imageData": None,
        "imageHeight": view.height,
        "imageWidth": view.width,
    }
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(path)


def _image_side(content: dict[str, Any], key: str, path: Path) -> int:
    side = content.get(key)
    if isinstance(side, bool) or not isinstance(side, int) or side < 1:
        raise ConversionError(f'{path}: "{key}" must be the image size in px, found {side!r}; save the file again in LabelMe.')
    return side


def _outline(shape: Any, index: int, path: Path) -> LesionOutline:
    if not isinstance(shape, dict):
        raise ConversionError(f"{path}: shape {index} is {type(shape).__name__}, expected an object with label and points.")
    label = shape.get("label")
    if not isinstance(label, str) or not label.strip():
        raise ConversionError(f"{path}: shape {index} has no label (found {label!r}); name what it outlines in LabelMe.")
    where = f"{path}: shape {index} ({label!r})"
    kind = shape.get("shape_type", "polygon")  # LabelMe before 3.0 wrote polygons only and no shape_type
    if kind not in SUPPORTED_SHAPES:
        raise ConversionError(
            f"{where} is of type {kind!r}; only {', '.join(SUPPORTED_SHAPES)} are read: redraw it as a polygon."
        )
    group = shape.get("group_id")
    if isinstance(group, bool) or not isinstance(group, int | None):
        raise ConversionError(f'{where}: "group_id" must be a whole number or null, found {group!r}.')
    return LesionOutline(label, _closed(kind, _points(shape, where), where), group)


def _points(shape: dict[str, Any], where: str) -> np.ndarray:
    points = shape.get("points")
    if not isinstance(points, list):
        raise ConversionError(f'{where} has no list of "points" (found {type(points).__name__}).')
    for number, point in enumerate(points, start=1):
        if not (isinstance(point, list) and len(point) == 2 and all(_is_finite_number(value) for value in point)):
            raise ConversionError(f"{where}: point {number} must be two finite numbers [x, y], found {point!r}.")
    return np.array(points, dtype=float).reshape(-1, 2)


def _is_finite_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the range of a float
        return False


def _closed(kind: str, points: np.ndarray, where: str) -> np.ndarray:
    if kind == "circle":
        if len(points) != 2:
            raise ConversionError(f"{where}: a circle needs 2 points (centre and rim), found {len(points)}.")
        centre, rim = points
        angle = np.arange(CIRCLE_CORNERS) * (2 * np.pi / CIRCLE_CORNERS)
        outline: np.ndarray = centre + np.hypot(*(rim - centre)) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return outline
    if kind == "rectangle":
        if len(points) not in (2, 4):
            raise ConversionError(f"{where}: a rectangle needs 2 or 4 points, found {len(points)}.")
        if len(points) == 2:
            (left, top), (right, bottom) = points
            return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
        return points
    if len(points) < 3:
        raise ConversionError(f"{where}: a polygon needs at least 3 points, found {len(points)}; redraw or delete it.")
    return points
