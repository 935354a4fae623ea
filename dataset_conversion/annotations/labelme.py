"""LabelMe JSON (versions 4 to 7) <-> outlines; its points are in our frame (pixel edges at integers), nothing is shifted."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dataset_conversion.annotations.json_file import bare_name, is_number, is_whole, read_json, shown, side
from dataset_conversion.annotations.masks import picture_labels
from dataset_conversion.annotations.outline import AnnotatedView, LesionOutline, LesionRegion, ViewAnnotation
from dataset_conversion.errors import ConversionError

# How many points each kind of shape has in LabelMe; other kinds (point, points, line, linestrip) enclose nothing.
POINTS: dict[str, tuple[int, ...]] = {"rectangle": (2, 4), "oriented_rectangle": (4,), "circle": (2,), "mask": (2,)}
SUPPORTED_SHAPES = ("polygon", *POINTS)
# A regular polygon of n corners inside a circle misses (2 pi / n)^2 / 6 of its area: 0.04 %, a pixel at 28 px radius.
CIRCLE_CORNERS = 128
# The JSON layout written, which LabelMe 5.2 and later reads whole: 5.2 brought the shape "mask".
LABELME_VERSION = "5.5.0"


def read(path: Path) -> list[ViewAnnotation]:
    """Read one LabelMe file, which holds one view; no shapes mean that the reader declared it free of lesions.

    Polygons, rectangles (two opposite corners, or four in order), oriented rectangles and circles (centre and a point of the
    rim) become closed outlines in px, masks become regions. `imageData` is not read, `imagePath` gives the image's bare name.
    Raises ConversionError where the file is no LabelMe JSON, and for a shape of another type, one that has a wrong number of
    points, a coordinate that is no finite number or a mask that does not fit its points.
    """
    return parse(read_json(path), path)


def is_labelme(content: Any) -> bool:
    """Tell LabelMe's JSON from other JSON by its list of shapes."""
    return isinstance(content, dict) and isinstance(content.get("shapes"), list)


def parse(content: Any, path: Path) -> list[ViewAnnotation]:
    """Read the content of one LabelMe file; see `read`. path: its name for error messages."""
    if not is_labelme(content):
        raise ConversionError(f'{path}: is not a LabelMe file: expected an object with a list "shapes".')
    height, width = (side(content.get(key), f'"{key}"', str(path)) for key in ("imageHeight", "imageWidth"))
    outlines = tuple(_shape(shape, index, path) for index, shape in enumerate(content["shapes"], start=1))
    return [ViewAnnotation(AnnotatedView(outlines, height, width), image_name=bare_name(content.get("imagePath")))]


def write(path: Path, view: AnnotatedView, image_name: str) -> None:
    """Write one view as LabelMe JSON, outlines as polygons and regions as masks; pixels of the image are not embedded.

    image_name: becomes `imagePath`, so the image is looked for beside the file or along that relative path.
    """
    content: dict[str, Any] = {
        "version": LABELME_VERSION,
        "flags": {},
        "shapes": [_written(outline) for outline in view.outlines],
        "imagePath": image_name,
        "imageData": None,
        "imageHeight": view.height,
        "imageWidth": view.width,
    }
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(path)


def _written(outline: LesionOutline | LesionRegion) -> dict[str, Any]:
    is_region = isinstance(outline, LesionRegion)
    if isinstance(outline, LesionRegion):
        # LabelMe counts the last row and column as part of the box.
        bottom, right = outline.top + outline.mask.shape[0] - 1, outline.left + outline.mask.shape[1] - 1
        points = [[float(outline.left), float(outline.top)], [float(right), float(bottom)]]
    else:
        points = [[float(x), float(y)] for x, y in outline.points]
    return {
        "label": outline.label,
        "points": points,
        "group_id": outline.group,
        "description": "",
        "shape_type": "mask" if is_region else "polygon",
        "flags": {},
        "mask": _encoded(outline.mask) if isinstance(outline, LesionRegion) else None,
    }


def _encoded(mask: np.ndarray) -> str:
    picture = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8)).save(picture, format="PNG")
    return base64.b64encode(picture.getvalue()).decode("ascii")


def _shape(shape: Any, index: int, path: Path) -> LesionOutline | LesionRegion:
    if not isinstance(shape, dict):
        raise ConversionError(f"{path}: shape {index} is {type(shape).__name__}, expected an object with label and points.")
    label = shape.get("label")
    if not isinstance(label, str) or not label.strip():
        raise ConversionError(f"{path}: shape {index} has no label (found {shown(label)}); name what it outlines in LabelMe.")
    where = f"{path}: shape {index} ({shown(label)})"
    kind = shape.get("shape_type", "polygon")  # LabelMe before 3.0 wrote polygons only and no shape_type
    if kind not in SUPPORTED_SHAPES:
        raise ConversionError(
            f"{where} is of type {shown(kind)}; only {', '.join(SUPPORTED_SHAPES)} are read: redraw it as a polygon."
        )
    group = shape.get("group_id")
    if group is not None and not is_whole(group):
        raise ConversionError(f'{where}: "group_id" must be a whole number or null, found {shown(group)}.')
    points = _points(shape, kind, where)
    if kind == "mask":
        return _region(shape, label, points, group, where)
    return LesionOutline(label, _closed(kind, points), group)


def _points(shape: dict[str, Any], kind: str, where: str) -> np.ndarray:
    points = shape.get("points")
    if not isinstance(points, list):
        raise ConversionError(f'{where} has no list of "points" (found {type(points).__name__}).')
    for number, point in enumerate(points, start=1):
        if not (isinstance(point, list) and len(point) == 2 and is_number(point[0]) and is_number(point[1])):
            raise ConversionError(f"{where}: point {number} must be two finite numbers [x, y], found {shown(point)}.")
    if kind == "polygon" and len(points) < 3:
        raise ConversionError(f"{where}: a polygon needs at least 3 points, found {len(points)}; redraw or delete it.")
    if kind in POINTS and len(points) not in POINTS[kind]:
        expected = " or ".join(str(n) for n in POINTS[kind])
        raise ConversionError(f"{where}: a {kind} needs {expected} points, found {len(points)}; redraw or delete it.")
    return np.array(points, dtype=float).reshape(-1, 2)


def _closed(kind: str, points: np.ndarray) -> np.ndarray:
    if kind == "circle":
        centre, rim = points
        angle = np.arange(CIRCLE_CORNERS) * (2 * np.pi / CIRCLE_CORNERS)
        outline: np.ndarray = centre + np.hypot(*(rim - centre)) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return outline
    if len(points) == 2:
        (left, top), (right, bottom) = points
        return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    return points


def _region(shape: dict[str, Any], label: str, points: np.ndarray, group: int | None, where: str) -> LesionRegion:
    """A mask's points are its first and its last pixel, both part of it; LabelMe cuts fractions off, and so is done here."""
    if np.abs(points).max() > np.iinfo(np.int32).max:
        raise ConversionError(f"{where}: its mask lies at {points.tolist()}, far outside any image; redraw or delete it.")
    (left, top), (right, bottom) = np.trunc(points).astype(int).tolist()
    mask = shape.get("mask")
    if not isinstance(mask, str):
        raise ConversionError(f'{where}: its "mask" must be a PNG picture as base64 text, found {shown(mask)}.')
    try:
        picture = base64.b64decode(mask)
    except ValueError as error:
        raise ConversionError(f'{where}: its "mask" is not base64 text; save the file again in LabelMe.') from error
    pixels = picture_labels(io.BytesIO(picture), where) != 0
    # A mask dragged to fractions of a pixel can get corners that are cut off one pixel apart.
    if abs(bottom - top + 1 - pixels.shape[0]) > 1 or abs(right - left + 1 - pixels.shape[1]) > 1:
        raise ConversionError(
            f"{where}: its mask has {pixels.shape[0]} x {pixels.shape[1]} px but its points span {bottom - top + 1} x"
            f" {right - left + 1}; redraw it."
        )
    if not pixels.any():
        raise ConversionError(f"{where}: its mask holds no pixel; redraw or delete it.")
    return LesionRegion(label, pixels, top, left, group)
