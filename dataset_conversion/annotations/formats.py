"""The table of annotation formats, and one `read` for all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from dataset_conversion.annotations import coco, dicom_seg, labelme, masks
from dataset_conversion.annotations.json_file import read_json
from dataset_conversion.annotations.outline import ViewAnnotation
from dataset_conversion.errors import ConversionError, SkippedFile
from dataset_conversion.readers.dicom_file import DICOM_SUFFIXES, has_preamble


class JsonFormat(NamedTuple):
    """A format told by the keys of its JSON; `parse` takes the content and the path for error messages."""

    name: str
    is_ours: Callable[[Any], bool]
    parse: Callable[[Any, Path], list[ViewAnnotation]]


# Tried in this order; the first that knows the content reads it.
JSON_FORMATS = (
    JsonFormat("LabelMe", labelme.is_labelme, labelme.parse),
    JsonFormat("COCO", coco.is_coco, coco.parse),
)
# What every other annotation tool can export, for the end of an error message.
READABLE = "LabelMe JSON, COCO JSON, DICOM SEG or a mask image (" + ", ".join(masks.MASK_SUFFIXES) + ")"


def read(path: Path) -> list[ViewAnnotation]:
    """Read any annotation file, one entry a view it annotates.

    JSON is told by its keys, DICOM by its magic word or suffix, mask images by their suffix. Raises SkippedFile for JSON and
    DICOM of another kind, ConversionError for everything else that is no annotation or is damaged; never another exception.
    """
    try:
        return _reader(path)(path)
    except ConversionError:
        raise
    except OSError as error:
        raise ConversionError(f"{path}: cannot be read ({error.strerror or type(error).__name__}).") from error
    except Exception as error:  # damage that no reader foresaw must not end the run, nor go unnamed
        raise ConversionError(f"{path}: is damaged ({type(error).__name__}); export the annotations again.") from error


def _reader(path: Path) -> Callable[[Path], list[ViewAnnotation]]:
    name = path.name.lower()
    with path.open("rb") as file:
        head = file.read(256)
    if has_preamble(head) or name.endswith(DICOM_SUFFIXES):
        return dicom_seg.read
    if name.endswith(".json"):
        return _read_json
    if name.endswith(masks.MASK_SUFFIXES):
        return masks.read
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return _read_json
    raise ConversionError(f"{path}: is in no annotation format that is read; export it as {READABLE}.")


def _read_json(path: Path) -> list[ViewAnnotation]:
    content = read_json(path)
    for known in JSON_FORMATS:
        if known.is_ours(content):
            return known.parse(content, path)
    raise SkippedFile(
        f"{path}: is JSON but of no annotation format: expected"
        ' "shapes" (LabelMe) or "images" and "annotations" (COCO); export it as one of them.'
    )
