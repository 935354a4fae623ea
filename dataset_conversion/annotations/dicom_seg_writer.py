"""Masks -> DICOM Segmentation (SEG) of one NM file, decoded again before it counts as written (reading: dicom_seg).

No library writes SEG for planar nuclear medicine: its frames have no position in a patient's frame of reference. highdicom
does it for one such frame, so it gets a stand-in of one frame, each view's mask of a class as a segment of its own, and the
segments, frames and references are put in order afterwards. Nothing is said of the pixel size: the frames are the scan's,
pixel for pixel, and viewers have to lay them over it by the reference to its frame.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from copy import deepcopy
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pack_bits
from pydicom.sr.codedict import codes

from dataset_conversion.annotations import dicom_seg
from dataset_conversion.annotations.dicom_seg_source import SegSource, read_source
from dataset_conversion.dicom_nm_writer import stable_uid
from dataset_conversion.errors import ConversionError
from dataset_conversion.labels import BACKGROUND, IGNORE
from dataset_conversion.rasterise import draw
from dataset_conversion.readers.dicom_file import quiet

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription

NAME = "msa-trainer"
# Names of a class of metastases; any other class is coded as a lesion of which nothing more is known.
METASTASES = ("metastasis", "metastases", "metastatic", "bone metastasis", "bone metastases")
# Far behind the numbers that scanners and workstations give their series.
SERIES_NUMBER = 900
# Characters of the VR LO.
LONGEST_TEXT = 64
REPORT = "Please report this with the versions of pydicom and highdicom."
_STACK_POSITION, _FRAME_CONTENT = 0x00209057, 0x00209111  # In-Stack Position Number, Frame Content Sequence


def write_seg(
    path: Path,
    source: Path,
    masks: Mapping[int, np.ndarray],
    *,
    labels: Mapping[str, int],
    series_description: str,
    algorithm: str = NAME,
    algorithm_version: str | None = None,
    anonymise_as: str | None = None,
    key: bytes = b"",
) -> None:
    """Write the masks of one DICOM NM file as one binary SEG object.

    masks: by 1-based frame number of the source, (H, W) whole numbers in its pixels: 0 or a class. labels: class names and
    their numbers 1..n, as in nnU-Net's dataset.json; background and ignore are passed over. Every class has a frame for every
    mask, empty ones too: that says the view was looked at, and the object is valid where no lesion was found.
    algorithm, algorithm_version: who drew the masks, by default this package.
    anonymise_as: pseudonym to write in place of the patient, see `dicom_seg_source.read_source`; key: secret from which the
    UIDs are then made, without which whoever has the scan's own UIDs can tell that they are meant.

    The bytes depend on the arguments and the source alone, so dates are the scan's. The object is read back by `dicom_seg.read`
    and by highdicom and must hold the masks pixel for pixel before it gets its name. Raises ConversionError for a source that
    cannot be referred to, masks that do not fit it, values without a class, missing highdicom, and where it cannot be written.
    """
    scan = read_source(source, None if anonymise_as is None else _text(anonymise_as, path), key)
    names = _class_names(labels, path)
    _require_fit(masks, scan, len(names), source)
    version = metadata.version(NAME) if algorithm_version is None else algorithm_version
    words = [_text(word, path) for word in (series_description, algorithm, version)]
    try:
        with quiet():
            seg = _arranged(_built(scan, masks, names, *words), scan, sorted(masks), names)
            _set_identity(seg, scan, _content_digest(masks, names, *words))
    except ImportError as error:
        raise ConversionError(f'{path}: writing DICOM SEG needs highdicom: pip install "msa-trainer[seg]".') from error
    except Exception as error:  # its words may quote the header
        raise ConversionError(f"{path}: no SEG can be made for {source} ({type(error).__name__}).") from error
    partial = path.with_name(f".{path.name}.partial")
    try:
        seg.save_as(partial, enforce_file_format=True)
        _require_equal(partial, path, scan, masks, dict(zip(names, range(1, len(names) + 1), strict=True)))
        partial.replace(path)
    except OSError as error:
        raise ConversionError(f"{path}: cannot be written ({error.strerror or type(error).__name__}).") from error
    finally:
        partial.unlink(missing_ok=True)


def _text(value: str, path: Path) -> str:
    if not value.strip() or not value.isprintable() or "\\" in value or len(value) > LONGEST_TEXT:
        raise ConversionError(
            f"{path}: {value[: LONGEST_TEXT + 1]!r} cannot be written into DICOM; expected 1 to {LONGEST_TEXT} printable"
            " characters without a backslash."
        )
    return value.strip()


def _class_names(labels: Mapping[str, int], path: Path) -> list[str]:
    """The classes in the order of their numbers."""
    classes = {_text(name, path): number for name, number in labels.items() if name not in (BACKGROUND, IGNORE)}
    if not classes or sorted(classes.values()) != list(range(1, len(classes) + 1)):
        raise ConversionError(f"{path}: the classes are numbered {sorted(classes.values())}, expected 1, 2, ... without a gap.")
    return sorted(classes, key=classes.__getitem__)


def _require_fit(masks: Mapping[int, np.ndarray], scan: SegSource, n_classes: int, source: Path) -> None:
    if not masks or not all(1 <= number <= scan.n_frames for number in masks):
        raise ConversionError(f"{source}: has {scan.n_frames} frames, the masks are of frames {sorted(masks)}.")
    for number, mask in masks.items():
        if mask.shape != (scan.height, scan.width) or mask.dtype.kind not in "iub":
            raise ConversionError(
                f"{source}: frame {number} has {scan.height} x {scan.width} px, its mask is {mask.dtype} of shape {mask.shape}."
            )
        if mask.min() < 0 or mask.max() > n_classes:
            raise ConversionError(
                f"{source}: the mask of frame {number} has values {mask.min()} to {mask.max()}, expected 0 to {n_classes}."
            )


def _built(
    scan: SegSource, masks: Mapping[int, np.ndarray], names: list[str], description: str, algorithm: str, version: str
) -> Segmentation:
    """What highdicom makes of it: segment k is class k // n of frame k % n, all drawn on one image of one frame."""
    from highdicom.seg import Segmentation, SegmentationTypeValues

    planes = np.stack([masks[number] == value for value in range(1, len(names) + 1) for number in sorted(masks)], axis=-1)
    segments = [
        _described(number, names[(number - 1) // len(masks)], algorithm, version) for number in range(1, planes.shape[-1] + 1)
    ]
    seg = Segmentation(
        source_images=[_stand_in(scan)],
        pixel_array=planes[None].astype(np.uint8),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=scan.series,
        series_number=SERIES_NUMBER,
        sop_instance_uid=scan.instance,
        instance_number=1,
        manufacturer=NAME,
        manufacturer_model_name=NAME,
        software_versions=version,
        device_serial_number="none",
        content_label="LESIONS",
        content_description="Research use only",
        series_description=description,
        omit_empty_frames=False,
    )
    seg.PixelData = pack_bits(np.moveaxis(planes, -1, 0).ravel())  # highdicom's own are wrong for frames under 8 pixels
    return seg


def _described(number: int, name: str, algorithm: str, version: str) -> SegmentDescription:
    import highdicom
    from highdicom.seg import SegmentAlgorithmTypeValues, SegmentDescription

    kind = codes.SCT.NeoplasmSecondary if name.casefold() in METASTASES else codes.SCT.Lesion
    return SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=kind,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=algorithm, family=codes.DCM.ArtificialIntelligence, version=version
        ),
        anatomic_regions=[codes.SCT.Bone],
    )


def _stand_in(scan: SegSource) -> Dataset:
    """An image of one frame without a frame of reference, for which highdicom asks for no positions."""
    image = Dataset()
    image.SOPClassUID = uid.SecondaryCaptureImageStorage
    image.SOPInstanceUID, image.SeriesInstanceUID, image.StudyInstanceUID = scan.instance, scan.series, scan.study
    image.Modality = "NM"
    image.Rows, image.Columns = scan.height, scan.width
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate"):
        setattr(image, keyword, "")
    image.StudyTime = image.ReferringPhysicianName = ""
    return image


def _arranged(seg: Segmentation, scan: SegSource, frames: list[int], names: list[str]) -> Segmentation:
    """Make of the segments one a class, and of each frame's reference the scan's frame it was drawn on."""
    seg.SegmentSequence = [seg.SegmentSequence[value * len(frames)] for value in range(len(names))]
    for number, segment in enumerate(seg.SegmentSequence, start=1):
        segment.SegmentNumber = number
    seg.SegmentsOverlap = "NO"
    seg.SharedFunctionalGroupsSequence[0].pop("SegmentIdentificationSequence", None)
    for index, group in enumerate(seg.PerFrameFunctionalGroupsSequence):
        value, place = divmod(index, len(frames))
        group.SegmentIdentificationSequence = [Dataset()]
        group.SegmentIdentificationSequence[0].ReferencedSegmentNumber = value + 1
        content = group.FrameContentSequence[0]
        content.StackID, content.InStackPositionNumber = "1", frames[place]
        content.DimensionIndexValues = [value + 1, place + 1]
        group.DerivationImageSequence = deepcopy(group.DerivationImageSequence)  # highdicom's frames share one
        image = group.DerivationImageSequence[0].SourceImageSequence[0]
        image.ReferencedSOPClassUID = scan.sop_class
        if scan.n_frames > 1:  # for images that have one frame, DICOM wants none named
            image.ReferencedFrameNumber = frames[place]
    for image in (*seg.get("SourceImageSequence", []), *seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence):
        image.ReferencedSOPClassUID = scan.sop_class
    return seg


def _set_identity(seg: Segmentation, scan: SegSource, content: str) -> None:
    """Put in whose it is, and UIDs and dates that are the same the next time."""
    seg.SpecificCharacterSet = "ISO_IR 192"  # UTF-8, whatever the scan's is
    seg.update(scan.identity)
    for part in ("Content", "Series"):
        setattr(seg, f"{part}Date", scan.date)
        setattr(seg, f"{part}Time", scan.time)
    seg.PatientOrientation = ""  # the views look from two sides
    seg.ContentCreatorName = ""
    instance = stable_uid(scan.instance, "segmentation", content)
    seg.SOPInstanceUID = seg.file_meta.MediaStorageSOPInstanceUID = uid.UID(instance)
    seg.SeriesInstanceUID = uid.UID(stable_uid(instance, "series"))
    position = Dataset()
    position.DimensionIndexPointer, position.FunctionalGroupPointer = _STACK_POSITION, _FRAME_CONTENT
    position.DimensionDescriptionLabel = "Frame of the scan"
    seg.DimensionIndexSequence.append(position)
    for item in (*seg.DimensionOrganizationSequence, *seg.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid.UID(stable_uid(instance, "dimensions"))
    del seg.InstanceCreationDate, seg.InstanceCreationTime
    for equipment in seg.get("ContributingEquipmentSequence", []):
        equipment.pop("ContributionDateTime", None)


def _content_digest(masks: Mapping[int, np.ndarray], names: list[str], *words: str) -> str:
    content = hashlib.sha256(repr((names, words)).encode())
    for number in sorted(masks):
        content.update(f"{number} {masks[number].shape}".encode() + masks[number].astype(np.uint8).tobytes())
    return content.hexdigest()


def _require_equal(
    partial: Path, path: Path, scan: SegSource, masks: Mapping[int, np.ndarray], values: Mapping[str, int]
) -> None:
    """Decode by two readers; the same pixels have the same centroids."""
    try:
        with quiet():
            decoded = (_as_converted(partial, scan, values), _as_highdicom_reads(partial, scan, sorted(masks)))
    except Exception as error:
        raise ConversionError(f"{path}: cannot be read back ({type(error).__name__}) and is not kept. {REPORT}") from error
    for found in decoded:
        for number, mask in masks.items():
            if number not in found or not np.array_equal(found[number], mask):
                raise ConversionError(
                    f"{path}: read back, the mask of frame {number} differs from what was written; it is not kept. {REPORT}"
                )


def _as_converted(partial: Path, scan: SegSource, values: Mapping[str, int]) -> dict[int, np.ndarray]:
    found = {}
    for view in dicom_seg.read(partial):
        mask = np.zeros((view.content.height, view.content.width), np.uint8)
        for number, outline in enumerate(view.content.outlines, start=1):
            draw(mask, outline, number, "centre", values[outline.label])
        if view.instance == scan.instance:
            found[view.frame or 1] = mask
    return found


def _as_highdicom_reads(partial: Path, scan: SegSource, frames: list[int]) -> dict[int, np.ndarray]:
    from highdicom.seg import segread

    seg = segread(partial)
    options: dict[str, Any] = {"combine_segments": True, "dtype": np.uint8}
    if scan.n_frames > 1:
        pixels = seg.get_pixels_by_source_frame(uid.UID(scan.instance), frames, **options)
    else:
        pixels = seg.get_pixels_by_source_instance([uid.UID(scan.instance)], **options)
    return dict(zip(frames, pixels, strict=True))
