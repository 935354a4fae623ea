from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.data import get_testdata_file

from dataset_conversion.annotations import dicom_seg
from dataset_conversion.annotations.outline import ViewAnnotation
from dataset_conversion.errors import ConversionError, SkippedFile
from dataset_conversion.rasterise import rasterise

SHAPE = (48, 16)
NAMES = ("metastasis", "benign")


@pytest.fixture
def scan(tmp_path: Path, write_dicom: Callable[..., Path]) -> Path:
    return write_dicom(tmp_path / "scan.dcm")


def _numbers() -> np.ndarray:
    """Two lesions of segment 1, one of them far from every symmetry, and one lesion of segment 2."""
    numbers = np.zeros(SHAPE, np.uint8)
    numbers[3:6, 2:9] = 1
    numbers[5:9, 2] = 1
    numbers[40, 11] = 1
    numbers[20:24, 10:15] = 2
    return numbers


def _drawn(annotation: ViewAnnotation, label: str) -> np.ndarray:
    content = annotation.content
    mask, grown = rasterise([o for o in content.outlines if o.label == label], (content.height, content.width))
    assert grown == 0
    return mask.astype(bool)


@pytest.mark.parametrize("frame", [1, 2])
@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_what_highdicom_writes_is_read_with_image_frame_and_labels(
    tmp_path: Path, scan: Path, write_seg: Callable[..., Path], kind: str, frame: int
) -> None:
    numbers = _numbers()
    (annotation,) = dicom_seg.read(write_seg(tmp_path / "seg.dcm", numbers, scan, frame, NAMES, kind))
    assert (annotation.instance, annotation.frame) == (pydicom.dcmread(scan).SOPInstanceUID, frame)
    assert (annotation.content.height, annotation.content.width) == SHAPE
    assert sorted(outline.label for outline in annotation.content.outlines) == ["benign", "metastasis", "metastasis"]
    for number, name in enumerate(NAMES, start=1):
        assert np.array_equal(_drawn(annotation, name), numbers == number)


def test_a_fractional_pixel_belongs_from_half_the_whole_on(tmp_path: Path, scan: Path, write_seg: Callable[..., Path]) -> None:
    fractions = np.zeros((1, *SHAPE, 1))
    fractions[0, 10, 2:7, 0] = [0.1, 0.49, 0.5, 0.51, 1.0]
    path = write_seg(tmp_path / "seg.dcm", fractions, scan, 1, ["metastasis"], "FRACTIONAL", max_fractional_value=100)
    mask = _drawn(dicom_seg.read(path)[0], "metastasis")
    assert np.flatnonzero(mask[10]).tolist() == [4, 5, 6]
    assert mask.sum() == 3


def test_an_empty_frame_is_a_lesion_free_view(tmp_path: Path, scan: Path, write_seg: Callable[..., Path]) -> None:
    path = write_seg(tmp_path / "seg.dcm", np.zeros(SHAPE, np.uint8), scan, 2, ["metastasis"], omit_empty_frames=False)
    (annotation,) = dicom_seg.read(path)
    assert annotation.content.outlines == ()
    assert annotation.frame == 2


def test_frames_of_both_views_in_one_object_stay_apart(tmp_path: Path, scan: Path, write_seg: Callable[..., Path]) -> None:
    path = write_seg(tmp_path / "seg.dcm", _numbers(), scan, 1, NAMES)

    def edit(seg: Any) -> None:  # segment 2 was drawn on the posterior view
        source = seg.PerFrameFunctionalGroupsSequence[1].DerivationImageSequence[0].SourceImageSequence[0]
        source.ReferencedFrameNumber = 2

    first, second = dicom_seg.read(_edited(path, edit))
    assert (first.frame, second.frame) == (1, 2)
    assert {outline.label for outline in first.content.outlines} == {"metastasis"}
    assert {outline.label for outline in second.content.outlines} == {"benign"}


@pytest.mark.parametrize("name", ["liver.dcm", "liver_expb.dcm"])
def test_the_public_liver_segmentation_has_the_pixels_pydicom_decodes(name: str) -> None:
    path = Path(str(get_testdata_file(name)))
    dataset = pydicom.dcmread(path)
    annotations = dicom_seg.read(path)
    images = [
        group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        for group in dataset.PerFrameFunctionalGroupsSequence
    ]
    assert [annotation.instance for annotation in annotations] == images
    for annotation, expected in zip(annotations, dataset.pixel_array, strict=True):
        assert annotation.frame is None
        assert np.array_equal(_drawn(annotation, "Liver"), expected.astype(bool))


def test_without_a_derivation_the_only_referenced_image_is_meant(
    tmp_path: Path, scan: Path, write_seg: Callable[..., Path]
) -> None:
    def edit(seg: Any) -> None:
        for group in seg.PerFrameFunctionalGroupsSequence:
            del group.DerivationImageSequence

    (annotation,) = dicom_seg.read(_edited(write_seg(tmp_path / "seg.dcm", _numbers(), scan, 1, NAMES), edit))
    assert (annotation.instance, annotation.frame) == (pydicom.dcmread(scan).SOPInstanceUID, None)


def _edited(path: Path, edit: Callable[[Any], None]) -> Path:
    seg = pydicom.dcmread(path)
    edit(seg)
    seg.save_as(path)
    return path


def _segment(seg: Any, **changes: Any) -> None:
    for key, value in changes.items():
        setattr(seg.SegmentSequence[0], key, value)


def _same_segment(seg: Any) -> None:
    for group in seg.PerFrameFunctionalGroupsSequence:
        group.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 1


def _source(seg: Any) -> Any:
    return seg.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence


def _two_images(seg: Any) -> None:
    other = pydicom.Dataset()
    other.ReferencedSOPInstanceUID = "1.2.3"
    _source(seg).append(other)


def _no_derivation_of_two(seg: Any) -> None:
    other = pydicom.Dataset()
    other.ReferencedSOPInstanceUID = "1.2.3"
    seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence.append(other)
    del seg.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda seg: setattr(seg, "Modality", "RTSTRUCT"), "is an RTSTRUCT: its contours are in mm"),
        (lambda seg: setattr(seg, "SegmentationType", "SURFACE"), "type SURFACE, expected BINARY, FRACTIONAL, LABELMAP"),
        (lambda seg: delattr(seg, "PixelData"), "without pixels"),
        (lambda seg: setattr(seg, "PixelData", b"\0\0"), "has 2 bytes for"),
        (lambda seg: setattr(seg, "Rows", 60000), "60000 x 16 pixels"),
        (lambda seg: setattr(seg, "NumberOfFrames", 1), "describes 2 frames, holds 1"),
        (lambda seg: delattr(seg, "PerFrameFunctionalGroupsSequence"), "describes 0 frames"),
        (lambda seg: _segment(seg, SegmentLabel=""), "segment 1 has no number or label"),
        (lambda seg: _segment(seg, SegmentNumber=2), "segment 2 has no number or label of its own"),
        (lambda seg: _segment(seg, SegmentNumber=9), "frame 1 is of a segment that is not described"),
        (_same_segment, "frame 2 is a second one of 'metastasis' on the same image"),
        (_two_images, "frame 1 was drawn on 2 images at once"),
        (_no_derivation_of_two, "frame 1 does not say which of 2 images"),
        (lambda seg: setattr(_source(seg)[0], "ReferencedFrameNumber", [1, 2]), "frames [1, 2] at once"),
    ],
)
def test_a_segmentation_that_cannot_be_trusted_is_refused_with_its_name(
    tmp_path: Path, scan: Path, write_seg: Callable[..., Path], edit: Callable[[Any], None], words: str
) -> None:
    path = _edited(write_seg(tmp_path / "seg.dcm", _numbers(), scan, 1, NAMES), edit)
    with pytest.raises(ConversionError) as raised:
        dicom_seg.read(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert words in str(raised.value)


def test_a_label_map_with_an_undescribed_value_is_refused(tmp_path: Path, scan: Path, write_seg: Callable[..., Path]) -> None:
    path = write_seg(tmp_path / "seg.dcm", _numbers(), scan, 1, NAMES, "LABELMAP")

    def edit(seg: Any) -> None:
        pixels = bytearray(seg.PixelData)
        pixels[0] = 77
        seg.PixelData = bytes(pixels)

    with pytest.raises(ConversionError, match="frame 1 has pixels of segment 77"):
        dicom_seg.read(_edited(path, edit))


def test_a_segmentation_compressed_without_loss_has_the_same_pixels(
    tmp_path: Path, scan: Path, write_seg: Callable[..., Path]
) -> None:
    path = write_seg(tmp_path / "s.dcm", _numbers(), scan, 1, NAMES, "FRACTIONAL", transfer_syntax_uid=uid.RLELossless)
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == uid.RLELossless
    (annotation,) = dicom_seg.read(path)
    assert np.array_equal(_drawn(annotation, "metastasis"), _numbers() == 1)


def test_a_scan_is_no_segmentation(scan: Path) -> None:
    with pytest.raises(SkippedFile, match="its modality is NM, expected SEG"):
        dicom_seg.read(scan)
