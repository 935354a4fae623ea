from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from dataset_conversion.dicom_nm import read_views
from dataset_conversion.errors import ConversionError, SkippedFile
from dataset_conversion.readers.options import ReadOptions
from dataset_conversion.scintigram import Scintigram

WriteDicom = Callable[..., Path]


def _sample(name: str) -> Path:
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    return Path(path)


@pytest.mark.parametrize(
    ("name", "reason"), [("CT_small.dcm", "modality is CT"), ("rtstruct.dcm", "RTSTRUCT"), ("liver.dcm", "SEG")]
)
def test_other_objects_are_skipped_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(SkippedFile, match=reason):
        read_views(_sample(name))


def test_what_is_written_is_read_back(
    tmp_path: Path, write_dicom: WriteDicom, make_views: Callable[..., list[Scintigram]]
) -> None:
    path = write_dicom(tmp_path / "scan.dcm")
    views = read_views(path)
    assert [view.view for view in views] == ["anterior", "posterior"]
    for ours, theirs in zip(views, make_views(), strict=True):
        assert np.array_equal(ours.counts, theirs.counts)
        assert ours.source == path
        assert replace(ours, counts=theirs.counts, source=theirs.source, person="") == theirs


def test_frames_follow_their_view_codes_not_their_order(
    tmp_path: Path, write_dicom: WriteDicom, make_views: Callable[..., list[Scintigram]]
) -> None:
    views = make_views(views=("posterior", "anterior"))
    read = read_views(write_dicom(tmp_path / "scan.dcm", views=("posterior", "anterior")))
    assert [(view.view, view.frame) for view in read] == [("anterior", 2), ("posterior", 1)]
    assert np.array_equal(read[0].counts, views[1].counts)


def test_frames_follow_the_detector_vector(tmp_path: Path, write_dicom: WriteDicom) -> None:
    def swap(dataset: Dataset) -> None:
        dataset.DetectorVector = [2, 1]

    read = read_views(write_dicom(tmp_path / "scan.dcm", swap))
    assert [(view.view, view.frame) for view in read] == [("anterior", 2), ("posterior", 1)]


@pytest.mark.parametrize(
    ("value", "scheme", "meaning"),
    [
        (codes.cid26.PosteriorProjection.value, "SCT", ""),
        ("G-5216", "SRT", ""),
        ("R-10214", "SNM3", "Posterior"),
        ("272479007", "SCT", "postero-anterior"),
        ("XYZ", "99VENDOR", "POST"),
    ],
)
def test_the_codes_scanners_write_for_posterior_are_known(
    tmp_path: Path, write_dicom: WriteDicom, value: str, scheme: str, meaning: str
) -> None:
    def edit(dataset: Dataset) -> None:
        item = dataset.DetectorInformationSequence[0].ViewCodeSequence[0]
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning

    (view,) = read_views(write_dicom(tmp_path / "scan.dcm", edit, views=("anterior",)))
    assert view.view == "posterior"


@pytest.mark.parametrize("keyword", ["ImageType", "ImageID", "SeriesDescription"])
def test_a_one_frame_file_without_codes_is_known_by_its_words(tmp_path: Path, write_dicom: WriteDicom, keyword: str) -> None:
    def edit(dataset: Dataset) -> None:
        del dataset.DetectorInformationSequence
        words: Any = ["ORIGINAL", "PRIMARY", "WHOLE BODY", "EMISSION", "POST"] if keyword == "ImageType" else "WB_POST 3h"
        setattr(dataset, keyword, words)

    (view,) = read_views(write_dicom(tmp_path / "scan.dcm", edit, views=("anterior",)))
    assert view.view == "posterior"


def test_frames_without_any_view_are_taken_in_order_with_a_warning(tmp_path: Path, write_dicom: WriteDicom) -> None:
    def edit(dataset: Dataset) -> None:
        del dataset.DetectorInformationSequence

    path = write_dicom(tmp_path / "scan.dcm", edit)
    with pytest.warns(UserWarning, match="taken as") as caught:
        views = read_views(path)
    assert [(view.view, view.frame) for view in views] == [("anterior", 1), ("posterior", 2)]
    assert len(caught) == 2


def _set(**values: Any) -> Callable[[Dataset], None]:
    def edit(dataset: Dataset) -> None:
        for keyword, value in values.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)

    return edit


def _same_view(dataset: Dataset) -> None:
    dataset.DetectorVector = [1, 1]


def _one_value(dataset: Dataset) -> None:
    dataset.PixelData = bytes(len(dataset.PixelData))
    dataset.CountsAccumulated = 0


def _cut_pixels(dataset: Dataset) -> None:
    dataset.PixelData = dataset.PixelData[:100]


def _negative(dataset: Dataset) -> None:
    dataset.PixelRepresentation = 1
    dataset.PixelData = b"\xff\xff" + dataset.PixelData[2:]


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (_set(PixelSpacing=None), "no usable Pixel Spacing"),
        (_set(PixelSpacing=["0", "2.26"]), "expected two positive numbers"),
        (_set(PatientID="", PatientName=""), "neither Patient ID nor"),
        (_set(LossyImageCompression="01"), "compressed with loss"),
        (_set(CountsAccumulated=5_000_000), "Counts Accumulated is 5000000"),
        (_set(RescaleSlope="0.5", RescaleIntercept="0"), "rescaled values"),
        (_set(PixelData=None), "without pixels"),
        (_set(SOPClassUID=uid.SecondaryCaptureImageStorage, Modality=None), "does not state its modality"),
        (_set(BitsStored=4), "stores 4 of 16 bits"),
        (_set(Rows=5000), "states 2 frames of 5000 x 16 pixels"),
        (_set(NumberOfFrames=-2), "states -2 frames"),
        (_set(NumberOfFrames=1, CountsAccumulated=None), "states 1 frames, holds 2"),
        (_same_view, "frames 1 and 2 are both anterior"),
        (_one_value, "frame 1 holds a single value"),
        (_cut_pixels, "cannot be decoded"),
        (_negative, r"frame 1 holds negative counts \(down to -1\)"),
    ],
)
def test_a_scan_that_cannot_be_trusted_is_refused(
    tmp_path: Path, write_dicom: WriteDicom, edit: Callable[[Dataset], None], words: str
) -> None:
    with pytest.raises(ConversionError, match=words) as raised:
        read_views(write_dicom(tmp_path / "scan.dcm", edit))
    assert not isinstance(raised.value, SkippedFile)
    assert str(raised.value).startswith(f"{tmp_path / 'scan.dcm'}: ")


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (_set(ImageType=["ORIGINAL", "PRIMARY", "TOMO", "EMISSION"]), "SPECT projections .Image Type 'TOMO'"),
        (_set(ImageType=["DERIVED", "PRIMARY", "RECON TOMO", "EMISSION"]), "a SPECT volume"),
        (_set(ImageType=["ORIGINAL", "PRIMARY", "GATED", "EMISSION"]), "a gated series"),
        (_set(ImageType=["ORIGINAL", "PRIMARY", "DYNAMIC", "EMISSION"]), "a dynamic series"),
        (_set(ImageType=None, FrameIncrementPointer=0x00540080), "over slices, angles or time"),
        (_set(Modality="CT"), "modality is CT"),
        (_set(ImageType=["ORIGINAL", "PRIMARY", "WHOLE BODY", "TRANSMISSION"]), "transmission"),
        (_set(SOPClassUID=uid.PositronEmissionTomographyImageStorage), "Positron Emission"),
        (_set(SOPClassUID=uid.SecondaryCaptureImageStorage, ImageType=["DERIVED", "SECONDARY"]), "Secondary Capture"),
        (_set(SamplesPerPixel=3), "colour"),
    ],
)
def test_what_is_no_planar_emission_scan_is_skipped(
    tmp_path: Path, write_dicom: WriteDicom, edit: Callable[[Dataset], None], words: str
) -> None:
    with pytest.raises(SkippedFile, match=words):
        read_views(write_dicom(tmp_path / "scan.dcm", edit))


def test_counts_that_nearly_match_are_told(tmp_path: Path, write_dicom: WriteDicom) -> None:
    def edit(dataset: Dataset) -> None:
        dataset.CountsAccumulated += 3

    path = write_dicom(tmp_path / "scan.dcm", edit)
    with pytest.warns(UserWarning, match="Counts Accumulated is"):
        assert len(read_views(path)) == 2


def test_counts_of_one_frame_are_an_accepted_reading_of_the_tag(tmp_path: Path, write_dicom: WriteDicom) -> None:
    def edit(dataset: Dataset) -> None:
        dataset.CountsAccumulated = int(dataset.pixel_array[0].sum())

    assert len(read_views(write_dicom(tmp_path / "scan.dcm", edit))) == 2


def test_other_projections_are_left_out_with_a_warning(tmp_path: Path, write_dicom: WriteDicom) -> None:
    def edit(dataset: Dataset) -> None:
        dataset.DetectorInformationSequence[1].ViewCodeSequence[0].CodeValue = "399118008"
        dataset.DetectorInformationSequence[1].ViewCodeSequence[0].CodeMeaning = "Left lateral projection"

    path = write_dicom(tmp_path / "scan.dcm", edit)
    with pytest.warns(UserWarning, match="left out frame 2 \\(Left lateral"):
        assert [view.view for view in read_views(path)] == ["anterior"]


@pytest.mark.parametrize("keyword", ["SOPClassUID", "ImageType", "Manufacturer", "StudyInstanceUID", "CountsAccumulated"])
def test_attributes_that_archives_lack_are_not_needed(tmp_path: Path, write_dicom: WriteDicom, keyword: str) -> None:
    def strip(dataset: Dataset) -> None:
        delattr(dataset, keyword)
        dataset.file_meta.MediaStorageSOPClassUID = uid.NuclearMedicineImageStorage

    assert len(read_views(write_dicom(tmp_path / "scan.dcm", strip))) == 2


def test_a_bare_data_set_without_preamble_and_file_meta_is_read(tmp_path: Path, write_dicom: WriteDicom) -> None:
    dataset = pydicom.dcmread(write_dicom(tmp_path / "scan.dcm"))
    del dataset.file_meta
    dataset.preamble = None
    for implicit in (True, False):
        bare = tmp_path / f"bare{implicit}.dcm"
        pydicom.dcmwrite(bare, dataset, implicit_vr=implicit, little_endian=True)
        assert bare.read_bytes()[128:132] != b"DICM"
        assert len(read_views(bare)) == 2


@pytest.mark.parametrize("content", [b"", b"no DICOM at all, just text. " * 20, bytes(range(256)) * 4])
def test_a_file_that_is_no_dicom_is_skipped_unless_it_is_named_like_one(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "notes.txt").write_bytes(content)
    with pytest.raises(SkippedFile, match="not a DICOM file"):
        read_views(tmp_path / "notes.txt")
    (tmp_path / "scan.dcm").write_bytes(content)
    with pytest.raises(ConversionError, match="named like a DICOM file"):
        read_views(tmp_path / "scan.dcm")


def test_a_view_that_is_not_known_stays_unknown_whatever_is_allowed(tmp_path: Path, write_dicom: WriteDicom) -> None:
    def edit(dataset: Dataset) -> None:
        item = dataset.DetectorInformationSequence[0].ViewCodeSequence[0]
        item.CodeValue, item.CodeMeaning = "XYZ", ""

    path = write_dicom(tmp_path / "scan.dcm", edit, views=("anterior",))
    with pytest.raises(SkippedFile, match="neither an anterior nor a posterior view but frame 1"):
        read_views(path, ReadOptions(allow_lossy=True, spacing_mm=(2.0, 2.0)))


def test_two_instances_of_one_frame_belong_to_one_study(tmp_path: Path, write_dicom: WriteDicom) -> None:
    read = [read_views(write_dicom(tmp_path / f"{view}.dcm", views=(view,))) for view in ("anterior", "posterior")]
    (anterior,), (posterior,) = read
    assert (anterior.view, posterior.view) == ("anterior", "posterior")
    assert (anterior.patient, anterior.study) == (posterior.patient, posterior.study)
    assert anterior.instance != posterior.instance


def test_a_technique_of_two_values_is_read(tmp_path: Path, write_dicom: WriteDicom) -> None:
    path = write_dicom(tmp_path / "scan.dcm", _set(WholeBodyTechnique=["1PS", "PCN"]))
    assert [int(v) for v in pydicom.dcmread(path).FrameIncrementPointer] == [0x00540010, 0x00540020]
    assert len(read_views(path)) == 2


def test_a_static_view_of_the_retired_class_without_modality_is_read(tmp_path: Path, write_dicom: WriteDicom) -> None:
    old = _set(
        SOPClassUID=uid.UID("1.2.840.10008.5.1.4.1.1.5"), Modality=None, ImageType=["ORIGINAL", "PRIMARY", "STATIC", "EMISSION"]
    )
    assert len(read_views(write_dicom(tmp_path / "scan.dcm", old))) == 2


def test_a_missing_pixel_size_can_be_stated(tmp_path: Path, write_dicom: WriteDicom) -> None:
    path = write_dicom(tmp_path / "scan.dcm", _set(PixelSpacing=None))
    with pytest.warns(UserWarning, match="taken as 2.4 x 2.5 mm as told"):
        views = read_views(path, ReadOptions(spacing_mm=(2.4, 2.5)))
    assert {view.spacing_mm for view in views} == {(2.4, 2.5)}
    stated = write_dicom(tmp_path / "stated.dcm")
    assert {view.spacing_mm for view in read_views(stated, ReadOptions(spacing_mm=(9.0, 9.0)))} == {(2.26, 2.5)}


@pytest.mark.parametrize(
    ("name", "birth", "person"),
    [
        ("Doe^Jane", "19500203", "doe jane 19500203"),
        ("DOE^JANE^^", "19500203", "doe jane 19500203"),
        ("Doe^Jane", "", ""),
        ("", "19500203", ""),
    ],
)
def test_a_person_is_a_name_and_a_birth_date_however_spelled(
    tmp_path: Path, write_dicom: WriteDicom, name: str, birth: str, person: str
) -> None:
    path = write_dicom(tmp_path / "scan.dcm", _set(PatientName=name, PatientBirthDate=birth))
    assert {view.person for view in read_views(path)} == {person}


def test_text_burned_into_the_pixels_is_told(tmp_path: Path, write_dicom: WriteDicom) -> None:
    for value, burned_in in (("YES", True), ("NO", False), (None, False)):
        edit = None if value is None else _set(BurnedInAnnotation=value)
        assert {view.burned_in for view in read_views(write_dicom(tmp_path / "scan.dcm", edit))} == {burned_in}


@pytest.mark.parametrize(("keyword", "value"), [("CountsAccumulated", 12345678), ("StudyInstanceUID", "1.2.3.45")])
def test_header_values_that_pydicom_would_quote_stay_secret(
    tmp_path: Path, write_dicom: WriteDicom, keyword: str, value: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """Here a name stands where damage or a careless export put it."""
    path = write_dicom(tmp_path / "scan.dcm", _set(**{keyword: value}))
    assert path.read_bytes().count(str(value).encode()) == 1
    path.write_bytes(path.read_bytes().replace(str(value).encode(), b"Doe John"))
    assert "Doe" in _said_by(lambda: pydicom.dcmread(path)[keyword])
    assert "Doe" not in _said_by(lambda: read_views(path))
    captured = capfd.readouterr()
    assert "Doe" not in captured.out + captured.err


def _said_by(action: Callable[[], object]) -> str:
    """The warnings of an action, and what it says when it fails."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            action()
        except Exception as error:
            return " ".join([str(error), *(str(warning.message) for warning in caught)])
    return " ".join(str(warning.message) for warning in caught)
