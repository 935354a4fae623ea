from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.sr.codedict import codes

from dataset_conversion.dicom_nm_writer import stable_uid, write_study
from dataset_conversion.errors import ConversionError
from dataset_conversion.scintigram import Scintigram

WriteDicom = Callable[..., Path]


def test_the_same_study_gives_the_same_bytes_and_valid_identifiers(tmp_path: Path, write_dicom: WriteDicom) -> None:
    assert write_dicom(tmp_path / "a.dcm").read_bytes() == write_dicom(tmp_path / "b.dcm").read_bytes()
    assert uid.UID(stable_uid("a", "b")).is_valid
    assert stable_uid("a", "b") != stable_uid("a", "c")
    assert not list(tmp_path.glob(".*"))


def test_the_written_object_is_a_whole_body_nm_object(tmp_path: Path, write_dicom: WriteDicom) -> None:
    """What dciodvfy checked once, kept: the conditional attributes of PS3.3 A.5 for a whole-body acquisition."""
    dataset = pydicom.dcmread(write_dicom(tmp_path / "scan.dcm"))
    assert dataset.SOPClassUID == uid.NuclearMedicineImageStorage == dataset.file_meta.MediaStorageSOPClassUID
    assert list(dataset.ImageType) == ["ORIGINAL", "PRIMARY", "WHOLE BODY", "EMISSION"]
    assert [int(tag) for tag in dataset.FrameIncrementPointer] == [0x00540010, 0x00540020]
    assert dataset.NumberOfFrames == dataset.NumberOfDetectors == len(dataset.DetectorInformationSequence) == 2
    assert dataset.CountsAccumulated == int(dataset.pixel_array.sum())
    assert [item.ViewCodeSequence[0].CodeValue for item in dataset.DetectorInformationSequence] == [
        codes.cid26.AnteriorProjection.value,
        codes.cid26.PosteriorProjection.value,
    ]
    assert "PatientPosition" not in dataset  # forbidden beside Patient Orientation Code Sequence
    assert dataset.ScanLength == round(48 * 2.26)


def test_views_that_do_not_belong_together_are_not_written(tmp_path: Path, make_views: Callable[..., list[Scintigram]]) -> None:
    anterior, posterior = make_views()
    cases: list[tuple[Sequence[Scintigram], str]] = [
        ([anterior, replace(posterior, patient="another")], "differ in"),
        ([anterior, replace(posterior, view="anterior")], "same side"),
        ([replace(anterior, study="no uid")], "must be DICOM UIDs"),
        ([replace(anterior, counts=np.full((4, 4), 70_000))], "between 0 and 65535"),
    ]
    for views, words in cases:
        with pytest.raises(ConversionError, match=words):
            write_study(
                tmp_path / "x.dcm", views, patient_name="A", patient_sex="", study_date="20200101", study_description=""
            )
    assert not list(tmp_path.iterdir())
