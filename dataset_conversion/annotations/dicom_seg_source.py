"""What a DICOM SEG says of the scan it was drawn on: whose it is, or a pseudonym with UIDs made anew."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydicom import config, uid
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from dataset_conversion.dicom_nm_writer import stable_uid
from dataset_conversion.errors import ConversionError
from dataset_conversion.pseudonym import digest
from dataset_conversion.readers.dicom_file import open_dicom, quiet
from dataset_conversion.readers.pixels import image_size

# An archive files an object by these; they are the patient's and the study's, and must be what the scan says, typing errors
# included.
PATIENT_AND_STUDY = (
    "TimezoneOffsetFromUTC", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyDescription",
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID",
)  # fmt: skip
# Of those, what every object has to hold, with an empty value where nothing is known (type 2 in PS3.3).
ALWAYS_THERE = (
    "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "PatientName", "PatientID", "PatientBirthDate",
    "PatientSex", "StudyID",
)  # fmt: skip
UIDS = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
DATES = ("ContentDate", "AcquisitionDate", "SeriesDate", "StudyDate")
# All that is read of a scan (its pixels are not).
ATTRIBUTES = (
    *UIDS, *PATIENT_AND_STUDY, *DATES, *(date.replace("Date", "Time") for date in DATES), "SpecificCharacterSet", "SOPClassUID",
    "NumberOfFrames", "Rows", "Columns", "LossyImageCompression",
)  # fmt: skip
# Content Date may not be empty; this one is where none is known or may be told.
NO_DATE, NO_TIME = "19000101", "000000"


@dataclass(frozen=True)
class SegSource:
    """The scan a segmentation refers to.

    instance, study, series, sop_class: its UIDs, made anew for a pseudonym (all but the class). n_frames, height, width: of its
    pixels. identity: the elements that go into the segmentation as they are. date, time: when the scan was made.
    """

    instance: str
    study: str
    series: str
    sop_class: str
    n_frames: int
    height: int
    width: int
    identity: Dataset
    date: str
    time: str


def read_source(path: Path, anonymise_as: str | None, key: bytes) -> SegSource:
    """Read a DICOM NM file, or a Secondary Capture that wraps one, without its pixels.

    anonymise_as: the patient's name and identifier from now on; nothing else of the patient, the study or the dates is kept,
    and UIDs become HMAC-SHA256(key, UID). Raises ConversionError for damage and for a scan without UIDs, which nothing can
    refer to.
    """
    dataset = open_dicom(path, ATTRIBUTES)
    try:
        with quiet():
            n_frames, height, width = image_size(dataset, path)
            uids = [str(dataset.get(keyword) or "") for keyword in UIDS]
            sop_class = uid.UID(dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID") or "")
            identity = _kept(dataset) if anonymise_as is None else _pseudonymous(anonymise_as)
            if dataset.get("LossyImageCompression") == "01":
                identity.LossyImageCompression = "01"
            date, time = _when(dataset) if anonymise_as is None else (NO_DATE, NO_TIME)
    except ConversionError:
        raise
    except Exception as error:  # pydicom converts values when they are asked for; its words may quote them
        raise ConversionError(f"{path}: its header cannot be read ({type(error).__name__}); export it again.") from error
    for keyword, value in zip(UIDS, uids, strict=True):
        if not re.fullmatch(r"[0-9.]{1,64}", value):
            raise ConversionError(f"{path}: has no usable {keyword}, so no segmentation can refer to it; export it again.")
    if anonymise_as is not None:
        uids = [stable_uid("anonymised", digest(value, key)) for value in uids]
    identity.StudyInstanceUID = uids[1]
    if sop_class.type != "SOP Class":  # not stated, or a value that is nobody's class but could be anything
        sop_class = uid.NuclearMedicineImageStorage
    return SegSource(uids[0], uids[1], uids[2], sop_class, n_frames, height, width, identity, date, time)


def _kept(dataset: Dataset) -> Dataset:
    kept = Dataset()
    for keyword in PATIENT_AND_STUDY:
        if keyword in dataset:
            element = dataset[keyword]
            # Not checked: an archive that took the scan with an odd value has to find the patient by it again.
            kept[keyword] = DataElement(element.tag, element.VR, element.value, validation_mode=config.IGNORE)
    for keyword in ALWAYS_THERE:
        if keyword not in kept:
            setattr(kept, keyword, "")
    return kept


def _pseudonymous(name: str) -> Dataset:
    identity = Dataset()
    for keyword in ALWAYS_THERE:
        setattr(identity, keyword, "")
    identity.PatientID = identity.PatientName = name
    identity.PatientIdentityRemoved, identity.LongitudinalTemporalInformationModified = "YES", "REMOVED"
    identity.DeidentificationMethod = "msa-trainer: made new from an allow-list, UIDs by keyed digest"
    return identity


def _when(dataset: Dataset) -> tuple[str, str]:
    """Date and time of the scan, from the first of `DATES` that is one."""
    for keyword in DATES:
        date, time = (str(dataset.get(name) or "").strip() for name in (keyword, keyword.replace("Date", "Time")))
        if _is(date, "%Y%m%d"):
            return date, time if _is(time[:6], "%H%M%S") and re.fullmatch(r"(\.\d{1,6})?", time[6:]) else NO_TIME
    return NO_DATE, NO_TIME


def _is(value: str, form: str) -> bool:
    try:
        return datetime.strptime(value, form).strftime(form) == value
    except ValueError:
        return False
