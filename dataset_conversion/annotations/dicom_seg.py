"""DICOM Segmentation (SEG) -> regions: binary, fractional and label maps, each frame on the image frame it was drawn on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels.utils import pixel_array

from dataset_conversion.annotations.outline import AnnotatedView, LesionRegion, ViewAnnotation
from dataset_conversion.annotations.regions import components
from dataset_conversion.errors import ConversionError, SkippedFile
from dataset_conversion.readers.dicom_file import open_dicom, quiet
from dataset_conversion.readers.pixels import image_size, stored_frames

# The only attributes taken from a file; nothing of the patient is among them.
ATTRIBUTES = (
    "SOPClassUID", "Modality", "ReferencedSeriesSequence", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames",
    "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue",
    "SegmentationType", "SegmentSequence", "MaximumFractionalValue", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", "PixelData",
)  # fmt: skip
SEGMENTATION_TYPES = ("BINARY", "FRACTIONAL", "LABELMAP")
# Characters of a Segment Label (VR LO).
LONGEST_LABEL = 64
NO_CONTOURS = (
    "is an RTSTRUCT: its contours are in mm of a volume's patient frame, which a planar scan does not have;"
    " export the outlines as LabelMe, COCO, a mask image or DICOM SEG."
)


class _Source(NamedTuple):
    """The image frame that was drawn on; None where the file does not say."""

    instance: str | None
    frame: int | None


def read(path: Path) -> list[ViewAnnotation]:
    """Read one SEG object, one entry an image frame in the order they first appear; labels are the Segment Labels.

    Connected pixels of a segment (corners connect) become one region. A fractional pixel belongs to its segment from half the
    Maximum Fractional Value on. A frame's image is the one its Derivation Image Sequence names (with Referenced Frame Number);
    without that, the only instance that the object refers to. Writers leave out empty frames, so a view without a frame is not
    declared free of lesions.

    Raises SkippedFile for DICOM that is no SEG, ConversionError for RTSTRUCT, damage, encodings that cannot be decoded, and
    frames whose image or segment cannot be told.
    """
    dataset = open_dicom(path, ATTRIBUTES)
    modality = _code(dataset, "Modality")
    if modality == "RTSTRUCT":
        raise ConversionError(f"{path}: {NO_CONTOURS}")
    if modality != "SEG":
        raise SkippedFile(f"{path}: its modality is {modality or 'not stated'}, expected SEG.")
    try:
        with quiet():
            return _views(dataset, path)
    except ConversionError:
        raise
    except Exception as error:  # pydicom converts values when they are asked for; its words may quote the header
        raise ConversionError(f"{path}: its header cannot be read ({type(error).__name__}); export it again.") from error


def _views(dataset: Dataset, path: Path) -> list[ViewAnnotation]:
    kind = _code(dataset, "SegmentationType")
    if kind not in SEGMENTATION_TYPES or "PixelData" not in dataset:
        raise ConversionError(
            f"{path}: is a segmentation of type {kind or 'not stated'}{'' if 'PixelData' in dataset else ' without pixels'},"
            f" expected {', '.join(SEGMENTATION_TYPES)}; export it as one of them."
        )
    names = _segment_names(dataset, path)
    groups = list(dataset.get("PerFrameFunctionalGroupsSequence") or [])
    n_frames, *size = image_size(dataset, path)
    if len(groups) != n_frames:
        raise ConversionError(f"{path}: describes {len(groups)} frames, holds {n_frames}; export it again.")
    frames = _frames(dataset, kind, path)
    regions: dict[_Source, list[LesionRegion]] = {}
    met: set[tuple[_Source, int]] = set()
    for number, (frame, source) in enumerate(zip(frames, _sources(dataset, groups, path), strict=True), start=1):
        segment = 0 if kind == "LABELMAP" else _segment(dataset, groups[number - 1], names, f"{path}: frame {number}")
        if (source, segment) in met:
            raise ConversionError(
                f"{path}: frame {number} is a second one of {names.get(segment, 'the label map')!r} on the same image, whose"
                " frame number it does not state; export one file a view."
            )
        met.add((source, segment))
        labels = _labels(frame, dataset, kind, segment, names, f"{path}: frame {number}")
        regions.setdefault(source, []).extend(components(labels, names.__getitem__))
    return [
        ViewAnnotation(AnnotatedView(tuple(found), *size), instance=source.instance, frame=source.frame)
        for source, found in regions.items()
    ]


def _code(dataset: Dataset, keyword: str) -> str:
    """A value of VR CS; "" where it is none: damage can make any part of the header the value, and it would be shown."""
    value = dataset.get(keyword)
    return value if isinstance(value, str) and re.fullmatch("[A-Z0-9_ ]{1,16}", value) else ""


def _segment_names(dataset: Dataset, path: Path) -> dict[int, str]:
    names: dict[int, str] = {}
    for item in dataset.get("SegmentSequence") or []:
        number, name = int(item.get("SegmentNumber", -1)), item.get("SegmentLabel")
        is_name = isinstance(name, str) and name.strip() and name.isprintable() and len(name) <= LONGEST_LABEL
        if number < 0 or number in names or not is_name:
            raise ConversionError(f"{path}: segment {number} has no number or label of its own; name its segments.")
        names[number] = name.strip()
    return names


def _frames(dataset: Dataset, kind: str, path: Path) -> np.ndarray:
    """Decode into (frames, rows, columns) unsigned."""
    if kind != "BINARY" or int(dataset.get("BitsAllocated") or 0) != 1:
        return stored_frames(dataset, path)
    n, rows, columns = image_size(dataset, path)
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        raise ConversionError(f"{path}: is compressed at one bit a pixel; export it uncompressed.")
    if 8 * len(dataset.PixelData) < n * rows * columns:
        raise ConversionError(f"{path}: has {len(dataset.PixelData)} bytes for {n * rows * columns} bits; export it again.")
    return np.asarray(pixel_array(dataset, allow_excess_frames=False)).reshape(n, rows, columns)


def _sources(dataset: Dataset, groups: list[Dataset], path: Path) -> Iterator[_Source]:
    shared = next(iter(dataset.get("SharedFunctionalGroupsSequence") or []), Dataset())
    referenced = {
        str(item.get("ReferencedSOPInstanceUID") or "")
        for series in dataset.get("ReferencedSeriesSequence") or []
        for item in series.get("ReferencedInstanceSequence") or []
    } - {""}
    only = _Source(next(iter(referenced)) if len(referenced) == 1 else None, None)
    for number, group in enumerate(groups, start=1):
        stated = {
            _Source(str(item.ReferencedSOPInstanceUID), _frame_number(item, f"{path}: frame {number}"))
            for derivation in group.get("DerivationImageSequence") or shared.get("DerivationImageSequence") or []
            for item in derivation.get("SourceImageSequence") or []
            if item.get("ReferencedSOPInstanceUID")
        }
        if len(stated) > 1:
            raise ConversionError(f"{path}: frame {number} was drawn on {len(stated)} images at once; export one file a view.")
        if not stated and len(referenced) > 1:
            raise ConversionError(f"{path}: frame {number} does not say which of {len(referenced)} images it was drawn on.")
        yield next(iter(stated), only)


def _frame_number(item: Dataset, where: str) -> int | None:
    number = item.get("ReferencedFrameNumber")
    if number is None or number == "":
        return None
    if isinstance(number, MultiValue | list) and len(number) != 1:
        raise ConversionError(f"{where} was drawn on the frames {list(map(int, number))} at once; export one file a view.")
    return int(number[0] if isinstance(number, MultiValue | list) else number)


def _segment(dataset: Dataset, group: Dataset, names: dict[int, str], where: str) -> int:
    shared = next(iter(dataset.get("SharedFunctionalGroupsSequence") or []), Dataset())
    items = group.get("SegmentIdentificationSequence") or shared.get("SegmentIdentificationSequence") or []
    number = int(items[0].get("ReferencedSegmentNumber", -1)) if items else -1
    if number not in names:
        raise ConversionError(f"{where} is of a segment that is not described; export it again.")
    return number


def _labels(frame: np.ndarray, dataset: Dataset, kind: str, segment: int, names: dict[int, str], where: str) -> np.ndarray:
    """The frame as (H, W) segment numbers, 0 where there is none (DICOM numbers segments from 1)."""
    if kind == "LABELMAP":
        background = int(dataset.get("PixelPaddingValue") or 0)
        unknown = [value for value in np.unique(frame).tolist() if value != background and value not in names]
        if unknown:
            raise ConversionError(f"{where} has pixels of segment {unknown[0]}, which is not described; export it again.")
        return np.where(frame == background, 0, frame)
    if kind == "BINARY":
        return np.where(frame != 0, segment, 0)
    highest = int(dataset.get("MaximumFractionalValue") or 0)
    if highest < 1:
        raise ConversionError(f"{where} has fractions of an unknown whole (Maximum Fractional Value); export it again.")
    return np.where(2 * frame.astype(np.int64) >= highest, segment, 0)
