"""COCO JSON (as CVAT's "COCO 1.0" exports it) -> outlines and regions; every image of the file is one view.

COCO's polygons have pixel edges at integers, as ours do: pycocotools fills [0, 0, 2, 0, 2, 2, 0, 2] with 2 x 2 pixels. Nothing
is shifted. It draws on a grid of fifths of a pixel, so along the line single pixels may differ from the rule "centre".
Run lengths are decoded here, within bounds: pycocotools ends the whole process on some damaged ones.
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np

from dataset_conversion.annotations.json_file import bare_name, is_number, is_whole, read_json, shown, side
from dataset_conversion.annotations.outline import AnnotatedView, LesionOutline, LesionRegion, ViewAnnotation
from dataset_conversion.annotations.regions import region
from dataset_conversion.errors import ConversionError
from dataset_conversion.readers.pixels import MOST_PIXELS

# A run length is a number in base 32, lowest digit first, one character a digit: character code - 48 is the digit, plus 32
# where more follow; bit 16 of the last digit is the sign (maskApi.c, rleToString, of the COCO API).
_FIRST_CHARACTER, _MORE, _SIGN, _BITS = 48, 32, 16, 5
# 7 digits hold any run of an image that is read.
_MOST_DIGITS = 7


def read(path: Path) -> list[ViewAnnotation]:
    """Read one COCO file, one entry an image in the file's order; an image without annotations is declared free of lesions.

    A polygon of several parts becomes outlines of one group, which are united; run lengths (compressed or not) become a region.
    `iscrowd` is not looked at: CVAT sets it on every brushed mask. The label is the category's name, the image's name is
    `file_name` without folders. Raises ConversionError for what is no COCO JSON, for references to images or categories that
    are not there, and for annotations with neither polygons nor run lengths (boxes, key points).
    """
    return parse(read_json(path), path)


def is_coco(content: Any) -> bool:
    """Tell COCO's JSON from other JSON by its lists of images and annotations."""
    return isinstance(content, dict) and all(isinstance(content.get(key), list) for key in ("images", "annotations"))


def parse(content: Any, path: Path) -> list[ViewAnnotation]:
    """Read the content of one COCO file; see `read`. path: its name for error messages."""
    if not is_coco(content):
        raise ConversionError(f'{path}: is not a COCO file: expected an object with the lists "images" and "annotations".')
    names = _category_names(content.get("categories"), path)
    images = _by_id(content["images"], "image", path)
    sizes = {
        key: (side(image.get("height"), "height", where), side(image.get("width"), "width", where))
        for key, (image, where) in images.items()
    }
    outlines: dict[Hashable, list[LesionOutline | LesionRegion]] = {key: [] for key in images}
    for number, annotation in enumerate(content["annotations"], start=1):
        where = f"{path}: annotation {number}"
        if not isinstance(annotation, dict):
            raise ConversionError(f"{where} is {type(annotation).__name__}, expected an object with segmentation.")
        image, category = (_reference(annotation, key, where) for key in ("image_id", "category_id"))
        if image not in images:
            raise ConversionError(f"{where} belongs to image {shown(image)}, which is not listed; export it again.")
        if category not in names:
            raise ConversionError(f"{where} is of category {shown(category)}, which is not listed; export it again.")
        label = names[category]
        outlines[image] += _outlines(annotation.get("segmentation"), label, number, sizes[image], f"{where} ({shown(label)})")
    return [
        ViewAnnotation(AnnotatedView(tuple(outlines[key]), *sizes[key]), image_name=bare_name(image.get("file_name")))
        for key, (image, _) in images.items()
    ]


def _by_id(entries: Any, kind: str, path: Path) -> dict[Hashable, tuple[dict[str, Any], str]]:
    found: dict[Hashable, tuple[dict[str, Any], str]] = {}
    for number, entry in enumerate(entries if isinstance(entries, list) else [], start=1):
        where = f"{path}: {kind} {number}"
        if not isinstance(entry, dict):
            raise ConversionError(f"{where} is {type(entry).__name__}, expected an object with an id.")
        key = _reference(entry, "id", where)
        if key in found:
            raise ConversionError(f"{where} has the id {shown(key)} of an earlier one; export it again.")
        found[key] = (entry, where)
    return found


def _category_names(categories: Any, path: Path) -> dict[Hashable, str]:
    names: dict[Hashable, str] = {}
    for key, (category, where) in _by_id(categories, "category", path).items():
        name = category.get("name")
        if not isinstance(name, str) or not name.strip():
            raise ConversionError(f"{where} has no name (found {shown(name)}); name it in the annotation tool.")
        names[key] = name
    return names


def _reference(entry: dict[str, Any], key: str, where: str) -> Hashable:
    value = entry.get(key)
    if not is_whole(value) and not isinstance(value, str):
        raise ConversionError(f'{where}: "{key}" must be a whole number or text, found {shown(value)}.')
    return value


def _outlines(
    segmentation: Any, label: str, number: int, size: tuple[int, int], where: str
) -> list[LesionOutline | LesionRegion]:
    if isinstance(segmentation, dict):
        return [_region(segmentation, label, size, where)]
    if not isinstance(segmentation, list) or not segmentation:
        raise ConversionError(
            f"{where} has neither polygons nor run lengths (found {shown(segmentation)}), so at best a box: draw its outline."
        )
    group = number if len(segmentation) > 1 else None
    return [LesionOutline(label, _points(part, where), group) for part in segmentation]


def _points(part: Any, where: str) -> np.ndarray:
    if not isinstance(part, list) or len(part) < 6 or len(part) % 2:
        raise ConversionError(f"{where}: a polygon must be a list x1, y1, x2, y2, ... of 3 points or more: {shown(part)}.")
    wrong = [value for value in part if not is_number(value)]
    if wrong:
        raise ConversionError(f"{where}: every coordinate must be a finite number, found {shown(wrong[0])}.")
    return np.array(part, dtype=float).reshape(-1, 2)


def _region(segmentation: dict[str, Any], label: str, size: tuple[int, int], where: str) -> LesionRegion:
    height, width = size
    stated = segmentation.get("size")
    if stated != [height, width]:
        raise ConversionError(
            f"{where}: its run lengths have the size {shown(stated)}, the image [{height}, {width}]; export it again."
        )
    if height * width > MOST_PIXELS:
        raise ConversionError(f"{where}: its image of {height} x {width} px is no planar scan; export it again.")
    runs = _runs(segmentation.get("counts"), where)
    if not runs.size or runs.min() < 0 or runs.max() > height * width or int(runs.sum()) != height * width:
        raise ConversionError(f"{where}: its run lengths do not add up to the {height} x {width} px image; export it again.")
    # Runs of background and lesion take turns, background first, down the columns.
    found = region(np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T, label)
    if found is None:
        raise ConversionError(f"{where}: its run lengths hold no pixel; delete it.")
    return found


def _runs(counts: Any, where: str) -> np.ndarray:
    if isinstance(counts, str) and counts.isascii():
        return _decoded(np.frombuffer(counts.encode("ascii"), np.uint8).astype(np.int64), where)
    if isinstance(counts, list) and all(is_whole(count) and 0 <= count <= MOST_PIXELS for count in counts):
        return np.array(counts, dtype=np.int64)
    raise ConversionError(f'{where}: "counts" must be whole numbers or COCO\'s text form, found {shown(counts)}.')


def _decoded(characters: np.ndarray, where: str) -> np.ndarray:
    digits = characters - _FIRST_CHARACTER
    is_last = (digits & _MORE) == 0
    starts = np.flatnonzero(np.concatenate([[True], is_last[:-1]])) if digits.size else np.zeros(0, int)
    lengths = np.diff(starts, append=digits.size)
    if not digits.size or digits.min() < 0 or digits.max() >= 2 * _MORE or not is_last[-1] or lengths.max() > _MOST_DIGITS:
        raise ConversionError(f"{where}: its compressed run lengths are damaged; export it again.")
    place = _BITS * (np.arange(digits.size) - np.repeat(starts, lengths))
    values = np.add.reduceat((digits & (_MORE - 1)) << place, starts)
    is_negative = (digits[is_last] & _SIGN) != 0
    values -= np.where(is_negative, np.int64(1) << (_BITS * lengths), 0)
    # From the fourth run on, the difference to the run two before is stored.
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values
