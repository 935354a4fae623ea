from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydicom import config, uid
from pydicom.data import get_testdata_file
from pydicom.datadict import DicomDictionary, dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from dataset_conversion.annotations import dicom_seg, dicom_seg_writer
from dataset_conversion.annotations.dicom_seg_writer import write_seg
from dataset_conversion.annotations.outline import ViewAnnotation
from dataset_conversion.dicom_nm import stable_uid, write_study
from dataset_conversion.errors import ConversionError
from dataset_conversion.rasterise import rasterise
from dataset_conversion.scintigram import VIEWS, Scintigram

SHAPE = (48, 16)
LABELS = {"background": 0, "metastasis": 1, "benign": 2}
DESCRIPTION = "Bone metastases"


@pytest.fixture
def scan(tmp_path: Path, write_dicom: Callable[..., Path]) -> Path:
    return write_dicom(tmp_path / "scan.dcm")


def _masks() -> dict[int, np.ndarray]:
    """Another lesion in each view, far from every symmetry, and a benign one in the second view only."""
    masks = {frame: np.zeros(SHAPE, np.uint8) for frame in (1, 2)}
    masks[1][3:6, 2:9] = masks[1][5:9, 2] = masks[1][40, 11] = 1
    masks[2][30:33, 1:4] = 1
    masks[2][20:24, 10:15] = 2
    return masks


def _write(path: Path, source: Path, masks: dict[int, np.ndarray] | None = None, **options: Any) -> pydicom.FileDataset:
    arguments = {"labels": LABELS, "series_description": DESCRIPTION, **options}
    write_seg(path, source, _masks() if masks is None else masks, **arguments)
    return pydicom.dcmread(path)


def _drawn(annotation: ViewAnnotation) -> np.ndarray:
    shape = annotation.content.height, annotation.content.width
    mask = np.zeros(shape, np.uint8)
    for name, number in LABELS.items():
        mask[rasterise([o for o in annotation.content.outlines if o.label == name], shape)[0] > 0] = number
    return mask


def test_both_views_come_back_with_their_frame_and_classes(tmp_path: Path, scan: Path) -> None:
    _write(tmp_path / "seg.dcm", scan)
    views = dicom_seg.read(tmp_path / "seg.dcm")
    assert [view.frame for view in views] == [1, 2]
    assert {view.instance for view in views} == {pydicom.dcmread(scan).SOPInstanceUID}
    for view in views:
        assert np.array_equal(_drawn(view), _masks()[view.frame or 0])


def test_each_stored_frame_is_the_mask_of_the_segment_and_the_frame_it_names(tmp_path: Path, scan: Path) -> None:
    seg = _write(tmp_path / "seg.dcm", scan)
    named = []
    for pixels, group in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence, strict=True):
        (image,) = group.DerivationImageSequence[0].SourceImageSequence
        segment = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        assert image.ReferencedSOPClassUID == uid.NuclearMedicineImageStorage
        assert np.array_equal(pixels > 0, _masks()[image.ReferencedFrameNumber] == segment)
        named.append((segment, image.ReferencedFrameNumber))
    assert sorted(named) == list(itertools.product((1, 2), (1, 2)))
    indices = [tuple(g.FrameContentSequence[0].DimensionIndexValues) for g in seg.PerFrameFunctionalGroupsSequence]
    assert len(set(indices)) == 4


@settings(max_examples=25)
@given(st.data())
def test_masks_of_any_size_come_back_pixel_for_pixel(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Frames of 1 bit a pixel are packed without a gap, so a frame may begin within a byte."""
    shape = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    frames = data.draw(st.integers(1, 2))
    drawn = {f: data.draw(arrays(np.uint8, shape, elements=st.integers(0, 2))) for f in range(1, frames + 1)}
    folder = tmp_path_factory.getbasetemp()
    identity = stable_uid("study", str(frames)), stable_uid("instance", str(frames))
    views = [
        Scintigram(np.ones(shape, np.uint16), (2.0, 2.0), view, "P", *identity, frame, Path())
        for frame, view in enumerate(VIEWS[:frames], start=1)
    ]
    write_study(folder / "any.dcm", views, patient_name="A^B", patient_sex="", study_date="20200102", study_description="")
    seg = _write(folder / "any_seg.dcm", folder / "any.dcm", drawn)
    bits = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")[: seg.NumberOfFrames * np.prod(shape)]
    expected = [drawn[frame] == value for value, frame in itertools.product((1, 2), range(1, frames + 1))]
    assert np.array_equal(bits.reshape(-1, *shape), expected)


def test_views_without_lesions_have_empty_frames_and_are_read_as_lesion_free(tmp_path: Path, scan: Path) -> None:
    empty = {frame: np.zeros(SHAPE, bool) for frame in (1, 2)}
    seg = _write(tmp_path / "seg.dcm", scan, empty, labels={"background": 0, "metastasis": 1, "ignore": 2})
    assert (seg.NumberOfFrames, len(seg.SegmentSequence)) == (2, 1)
    assert [(view.frame, view.content.outlines) for view in dicom_seg.read(tmp_path / "seg.dcm")] == [(1, ()), (2, ())]


def test_one_view_of_two_may_be_written_alone(tmp_path: Path, scan: Path) -> None:
    _write(tmp_path / "seg.dcm", scan, {2: _masks()[2]})
    (view,) = dicom_seg.read(tmp_path / "seg.dcm")
    assert view.frame == 2
    assert np.array_equal(_drawn(view), _masks()[2])


def test_a_scan_of_one_frame_is_referred_to_as_a_whole(tmp_path: Path, write_dicom: Callable[..., Path]) -> None:
    scan = write_dicom(tmp_path / "scan.dcm", views=["posterior"])
    seg = _write(tmp_path / "seg.dcm", scan, {1: _masks()[2]})
    image = seg.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert "ReferencedFrameNumber" not in image
    (view,) = dicom_seg.read(tmp_path / "seg.dcm")
    assert np.array_equal(_drawn(view), _masks()[2])


def test_segments_are_coded_and_name_who_drew_them(tmp_path: Path, scan: Path) -> None:
    seg = _write(tmp_path / "seg.dcm", scan, algorithm="MSATrainer", algorithm_version="1.2.3")
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == ["metastasis", "benign"]
    for segment, (code, meaning) in zip(
        seg.SegmentSequence, [("14799000", "Neoplasm, Secondary"), ("52988006", "Lesion")], strict=True
    ):
        kind = segment.SegmentedPropertyTypeCodeSequence[0]
        assert (kind.CodeValue, kind.CodingSchemeDesignator, kind.CodeMeaning) == (code, "SCT", meaning)
        assert segment.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
        assert segment.SegmentAlgorithmType == "AUTOMATIC"
        assert segment.SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion == "1.2.3"
        assert segment.SegmentAlgorithmName == "MSATrainer"
    assert (seg.SeriesDescription, seg.Modality, seg.SegmentsOverlap) == (DESCRIPTION, "SEG", "NO")


def test_the_same_input_gives_the_same_bytes_and_another_mask_another_object(tmp_path: Path, scan: Path) -> None:
    first = _write(tmp_path / "1.dcm", scan)
    _write(tmp_path / "2.dcm", scan)
    assert (tmp_path / "1.dcm").read_bytes() == (tmp_path / "2.dcm").read_bytes()
    today = date.today().strftime("%Y%m%d").encode()
    assert today not in (tmp_path / "1.dcm").read_bytes()
    others = [{1: _masks()[1]}, {**_masks(), 2: _masks()[1]}]
    objects = [first, *(_write(tmp_path / "other.dcm", scan, masks) for masks in others)]
    objects.append(_write(tmp_path / "other.dcm", scan, algorithm_version="9"))
    assert len({seg.SOPInstanceUID for seg in objects}) == len({seg.SeriesInstanceUID for seg in objects}) == 4
    assert {seg.StudyInstanceUID for seg in objects} == {pydicom.dcmread(scan).StudyInstanceUID}


@pytest.mark.filterwarnings("ignore:The value length")
def test_it_keeps_whose_it_is_in_any_script_and_with_values_that_dicom_does_not_allow(
    tmp_path: Path, write_dicom: Callable[..., Path]
) -> None:
    def edit(dataset: Any) -> None:
        dataset.SpecificCharacterSet = "GB18030"
        dataset.PatientName, dataset.StudyDescription = "Wang^XiaoDong=王^小东", "骨扫描"
        for keyword, value in {"PatientBirthDate": "1.1.50", "AccessionNumber": "A" * 20, "StudyTime": "noon"}.items():
            vr = dictionary_VR(keyword)
            dataset[keyword] = DataElement(pydicom.tag.Tag(keyword), vr, value, validation_mode=config.IGNORE)
        dataset.PatientID, dataset.IssuerOfPatientID = "Z-1", "医院"

    source = write_dicom(tmp_path / "scan.dcm", edit)
    seg, scan = _write(tmp_path / "seg.dcm", source), pydicom.dcmread(source)
    for keyword in ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID",
                    "StudyDate", "StudyTime", "StudyID", "StudyDescription", "AccessionNumber"):  # fmt: skip
        assert seg[keyword].value == scan[keyword].value, keyword
    assert seg.PatientName.ideographic == "王^小东"
    assert (seg.SpecificCharacterSet, seg.ContentDate, seg.ContentTime) == ("ISO_IR 192", "20200102", "120000")


def test_class_names_and_descriptions_may_be_in_any_script(tmp_path: Path, scan: Path) -> None:
    seg = _write(tmp_path / "seg.dcm", scan, labels={"转移": 1, "dégénératif": 2}, series_description="骨转移")
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == ["转移", "dégénératif"]
    assert seg.SeriesDescription == "骨转移"


MARKER, NUMBER = "QZMARK", "918273645"
UID_ROOT = f"1.2.826.0.{NUMBER}."
VALUES = {
    "DS": NUMBER, "IS": NUMBER, "DA": "19181213", "TM": "131415.918273", "DT": "19181213131415.918273", "AS": "918Y",
    "UR": f"http://{MARKER}.example", "PN": f"{MARKER}^Person", "FD": float(NUMBER), "FL": 918273.0, "UL": int(NUMBER),
    "SL": int(NUMBER), "US": 9182, "SS": 9182, "UN": MARKER.encode(), "OB": MARKER.encode(),
    **dict.fromkeys(("AE", "LO", "LT", "SH", "ST", "UC", "UT", "CS"), MARKER),
}  # fmt: skip
# What describes pixels, or says how the file is read; the class is planted as its own test case.
NEEDED = {"SOPClassUID", "Rows", "Columns", "NumberOfFrames", "SpecificCharacterSet", "PixelData", "LossyImageCompression"}


def _planted(dataset: Dataset) -> None:
    """Put the marker into every attribute of the dictionary that takes it, private ones and items."""
    for tag, (vr, _, _, is_retired, keyword) in DicomDictionary.items():
        if keyword in NEEDED or tag >> 16 in (0x0000, 0x0002) or not keyword or (is_retired and vr not in VALUES):
            continue
        vr = dictionary_VR(tag)
        value = f"{UID_ROOT}{tag}" if vr == "UI" else VALUES.get(vr)
        if value is not None:
            dataset.add(DataElement(tag, vr, value, validation_mode=config.IGNORE))
    dataset.private_block(0x0099, MARKER, create=True).add_new(0x01, "LO", MARKER)
    item = Dataset()
    item.PatientID, item.ReferencedSOPInstanceUID = MARKER, UID_ROOT + "2"
    dataset.ReferencedImageSequence = dataset.OtherPatientIDsSequence = [item]
    dataset.LossyImageCompression = "01"
    dataset.file_meta.SourceApplicationEntityTitle = MARKER
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.preamble = MARKER.encode().ljust(128, b"\0")


def _own_class(dataset: Dataset) -> None:
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = UID_ROOT + "5"


@pytest.mark.parametrize("edit", [lambda dataset: None, _own_class])
def test_with_a_pseudonym_no_byte_tells_whose_it_is(
    tmp_path: Path, write_dicom: Callable[..., Path], edit: Callable[[Dataset], None]
) -> None:
    source = write_dicom(tmp_path / "scan.dcm", lambda dataset: (_planted(dataset), edit(dataset)))
    held = [e.keyword for e in pydicom.dcmread(source).iterall() if MARKER in str(e.value) or NUMBER in str(e.value)]
    assert len(held) > 1000
    seg = _write(tmp_path / "seg.dcm", source, anonymise_as="P1a2b3c", key=b"secret")
    content = (tmp_path / "seg.dcm").read_bytes().lower()
    for secret in (MARKER, NUMBER, "19181213", "131415", "918Y", "20200102"):
        assert secret.lower().encode() not in content, secret
    assert (str(seg.PatientID), str(seg.PatientName), seg.PatientIdentityRemoved) == ("P1a2b3c", "P1a2b3c", "YES")
    assert (seg.PatientBirthDate, seg.PatientSex, seg.StudyDate, seg.ContentDate) == ("", "", "", "19000101")
    assert seg.LossyImageCompression == "01"


def _uids(seg: Dataset) -> Iterator[str]:
    for element in seg.iterall():
        if element.VR == "UI" and str(element.value).startswith("2.25."):
            yield str(element.value)


def test_uids_made_anew_are_the_same_each_time_and_others_with_another_key(tmp_path: Path, scan: Path) -> None:
    kept = _write(tmp_path / "kept.dcm", scan)
    first, again, other = (_write(tmp_path / "seg.dcm", scan, anonymise_as="P1", key=key) for key in (b"a", b"a", b"b"))
    assert list(_uids(first)) == list(_uids(again))
    assert len(set(_uids(first))) == len(set(_uids(kept))) == 6
    assert not set(_uids(first)) & (set(_uids(other)) | set(_uids(kept)))
    assert first.StudyInstanceUID != first.SOPInstanceUID
    same_study = _write(tmp_path / "seg.dcm", scan, {1: _masks()[1]}, anonymise_as="P1", key=b"a")
    assert same_study.StudyInstanceUID == first.StudyInstanceUID


def test_a_scan_without_sop_class_is_taken_as_nuclear_medicine(tmp_path: Path, write_dicom: Callable[..., Path]) -> None:
    def edit(dataset: Any) -> None:
        del dataset.SOPClassUID, dataset.file_meta.MediaStorageSOPClassUID

    seg = _write(tmp_path / "seg.dcm", write_dicom(tmp_path / "scan.dcm", edit))
    assert (
        seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPClassUID == uid.NuclearMedicineImageStorage
    )


def test_the_real_scan_wrapped_as_secondary_capture_works(tmp_path: Path) -> None:
    source = Path(str(get_testdata_file("JPEG-LL.dcm")))
    mask = np.zeros((1024, 256), np.uint8)
    mask[300:310, 100:104] = 1
    seg = _write(tmp_path / "seg.dcm", source, {1: mask}, labels={"metastasis": 1})
    assert seg.SourceImageSequence[0].ReferencedSOPClassUID == uid.SecondaryCaptureImageStorage
    assert seg.SourceImageSequence[0].ReferencedSOPInstanceUID == pydicom.dcmread(source).SOPInstanceUID
    assert np.array_equal(seg.pixel_array, mask)
    assert "FrameOfReferenceUID" not in seg


def test_highdicom_reads_the_masks_by_frame(tmp_path: Path, scan: Path) -> None:
    _write(tmp_path / "seg.dcm", scan)
    seg = highdicom.seg.segread(tmp_path / "seg.dcm")
    for frame, mask in _masks().items():
        pixels = seg.get_pixels_by_source_frame(
            pydicom.dcmread(scan).SOPInstanceUID, [frame], combine_segments=True, dtype=np.uint8
        )
        assert np.array_equal(pixels[0], mask)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"masks": {}}, "scan.dcm: has 2 frames, the masks are of frames []"),
        ({"masks": {3: np.zeros(SHAPE, np.uint8)}}, "scan.dcm: has 2 frames, the masks are of frames [3]"),
        ({"masks": {1: np.zeros((16, 48), np.uint8)}}, "frame 1 has 48 x 16 px, its mask is uint8 of shape (16, 48)"),
        ({"masks": {1: np.zeros(SHAPE)}}, "its mask is float64"),
        ({"masks": {1: np.full(SHAPE, 3, np.uint8)}}, "the mask of frame 1 has values 3 to 3, expected 0 to 2"),
        ({"labels": {"background": 0, "metastasis": 1, "benign": 3}}, "seg.dcm: the classes are numbered [1, 3]"),
        ({"labels": {"background": 0}}, "seg.dcm: the classes are numbered []"),
        ({"labels": {"a\\b": 1, "benign": 2}}, "'a\\\\b' cannot be written into DICOM"),
        ({"series_description": "x" * 65}, "expected 1 to 64 printable characters"),
        ({"anonymise_as": " "}, "' ' cannot be written into DICOM"),
    ],
)
def test_what_cannot_be_written_is_refused_in_a_sentence(
    tmp_path: Path, scan: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConversionError) as raised:
        _write(tmp_path / "seg.dcm", scan, **options)
    assert words in str(raised.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scan.dcm"]


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_a_scan_that_nothing_can_refer_to_is_refused(tmp_path: Path, write_dicom: Callable[..., Path], keyword: str) -> None:
    source = write_dicom(tmp_path / "scan.dcm", lambda dataset: delattr(dataset, keyword))
    with pytest.raises(ConversionError, match=rf"scan\.dcm: has no usable {keyword}"):
        _write(tmp_path / "seg.dcm", source)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path, scan: Path) -> None:
    with pytest.raises(ConversionError, match=r"seg\.dcm: cannot be written \(No such file or directory\)"):
        _write(tmp_path / "missing" / "seg.dcm", scan)


def test_without_highdicom_the_message_names_the_extra(tmp_path: Path, scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "highdicom"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConversionError, match=r'needs highdicom: pip install "msa-trainer\[seg\]"'):
        _write(tmp_path / "seg.dcm", scan)


def _exchange_frames(seg: Dataset) -> None:
    for group in seg.PerFrameFunctionalGroupsSequence:
        image = group.DerivationImageSequence[0].SourceImageSequence[0]
        image.ReferencedFrameNumber = 3 - image.ReferencedFrameNumber


def _move_a_pixel(seg: Dataset) -> None:
    seg.PixelData = b"\1" + seg.PixelData[1:]


def _lose_frames(seg: Dataset) -> None:
    seg.NumberOfFrames = 3


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_exchange_frames, "the mask of frame 1 differs from what was written"),
        (_move_a_pixel, "the mask of frame 1 differs from what was written"),
        (_lose_frames, "cannot be read back (ConversionError)"),
    ],
)
def test_an_object_that_does_not_read_back_as_written_gets_no_name(
    tmp_path: Path, scan: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Dataset], None], words: str
) -> None:
    identify = dicom_seg_writer._set_identity
    monkeypatch.setattr(dicom_seg_writer, "_set_identity", lambda seg, *rest: (identify(seg, *rest), damage(seg)))
    with pytest.raises(ConversionError) as raised:
        _write(tmp_path / "seg.dcm", scan)
    assert str(raised.value).startswith(f"{tmp_path / 'seg.dcm'}: ")
    assert words in str(raised.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scan.dcm"]
