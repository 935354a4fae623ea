"""Scintigram -> DICOM NM: one valid whole-body object a visit."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset

from dataset_conversion.errors import ConversionError
from dataset_conversion.scintigram import Scintigram


def stable_uid(*parts: str) -> str:
    """Make a DICOM UID from words: the same words give the same UID (2.25 and a name-based UUID, PS3.5 B.2)."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, '/'.join(parts)).int}"


def write_study(
    path: Path,
    views: Sequence[Scintigram],
    *,
    patient_name: str,
    patient_sex: str,
    study_date: str,
    study_description: str,
) -> None:
    """Write the views of one visit as one whole-body NM object (PS3.3 A.5), a frame and a detector each, in the given order.

    views: (H, W) counts under 65,536, all of one shape, spacing, patient, study and instance, whose `study` and `instance` are
    UIDs (see `stable_uid`) and whose `frame` and `source` are not used. study_date: YYYYMMDD; patient_sex: M, F, O or empty.
    The bytes depend on the arguments alone. Raises ConversionError where the views do not go together.
    """
    first = views[0]
    shared = {(v.counts.shape, v.spacing_mm, v.patient, v.study, v.instance) for v in views}
    if len(shared) != 1 or len({v.view for v in views}) != len(views):
        raise ConversionError(f"{path}: the views to write differ in shape, spacing, patient or study, or show the same side.")
    if not all(re.fullmatch(uid.RE_VALID_UID, value) for value in (first.study, first.instance)):
        raise ConversionError(f"{path}: study {first.study!r} and instance {first.instance!r} must be DICOM UIDs.")
    if any(v.counts.min() < 0 or v.counts.max() > np.iinfo(np.uint16).max for v in views):
        raise ConversionError(f"{path}: counts must lie between 0 and 65535 to be stored in 16 bit.")
    dataset = _identity(first, patient_name, patient_sex, study_date, study_description)
    _add_image(dataset, views)
    _add_acquisition(dataset, views)
    partial = path.with_name(f".{path.name}.partial")
    dataset.save_as(partial, enforce_file_format=True)
    partial.replace(path)


def _identity(view: Scintigram, name: str, sex: str, date: str, description: str) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.file_meta.ImplementationClassUID = uid.UID(stable_uid("msa-trainer"))
    dataset.file_meta.ImplementationVersionName = "MSA_TRAINER"
    dataset.SOPClassUID = uid.NuclearMedicineImageStorage
    dataset.SOPInstanceUID = uid.UID(view.instance)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName, dataset.PatientID, dataset.PatientSex, dataset.PatientBirthDate = name, view.patient, sex, ""
    dataset.StudyInstanceUID = uid.UID(view.study)
    dataset.StudyDate, dataset.StudyTime = date, "120000"
    dataset.StudyDescription, dataset.StudyID = description, "1"
    dataset.AccessionNumber, dataset.ReferringPhysicianName = "", ""
    dataset.Modality = "NM"
    dataset.SeriesInstanceUID = uid.UID(stable_uid(view.instance, "series"))
    dataset.SeriesNumber, dataset.SeriesDescription, dataset.InstanceNumber = 1, "Whole body", 1
    dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = date
    dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = "120000"
    dataset.Manufacturer, dataset.ManufacturerModelName = "msa-trainer", "synthetic"
    dataset.BodyPartExamined = "WHOLEBODY"
    return dataset


def _add_image(dataset: Dataset, views: Sequence[Scintigram]) -> None:
    pixels = np.stack([view.counts for view in views]).astype("<u2")
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "WHOLE BODY", "EMISSION"]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelSpacing = [f"{value:.10g}" for value in views[0].spacing_mm]
    dataset.LossyImageCompression = "00"
    dataset.PixelData = pixels.tobytes()


def _add_acquisition(dataset: Dataset, views: Sequence[Scintigram]) -> None:
    length_mm = round(views[0].counts.shape[0] * views[0].spacing_mm[0])
    velocity_mm_s = 2.5  # 15 cm/min, a usual table speed; the duration follows from it
    dataset.CountsAccumulated = int(sum(int(view.counts.sum(dtype=np.int64)) for view in views))
    dataset.ActualFrameDuration = round(1000 * length_mm / velocity_mm_s)
    dataset.AcquisitionTerminationCondition = "TIME"
    dataset.ScanVelocity, dataset.ScanLength, dataset.WholeBodyTechnique = str(velocity_mm_s), length_mm, "1PS"
    dataset.FrameIncrementPointer = [0x00540010, 0x00540020]  # Energy Window Vector, Detector Vector
    dataset.EnergyWindowVector, dataset.NumberOfEnergyWindows = [1] * len(views), 1
    dataset.DetectorVector, dataset.NumberOfDetectors = list(range(1, len(views) + 1)), len(views)

    window = Dataset()
    window.EnergyWindowName = "Tc99m"
    window.EnergyWindowRangeSequence = [Dataset()]
    window.EnergyWindowRangeSequence[0].EnergyWindowLowerLimit = "126"  # keV: 140 keV photopeak -10 % .. +10 %
    window.EnergyWindowRangeSequence[0].EnergyWindowUpperLimit = "154"
    dataset.EnergyWindowInformationSequence = [window]

    drug = Dataset()
    drug.RadionuclideCodeSequence = [_code("72454006", "^99m^Technetium")]
    drug.RadiopharmaceuticalCodeSequence = [_code("96390006", "Technetium Tc^99m^ medronate")]
    drug.Radiopharmaceutical = "Tc-99m MDP"
    drug.RadiopharmaceuticalRoute = "IV"
    dataset.RadiopharmaceuticalInformationSequence = [drug]

    dataset.PatientOrientationCodeSequence = [_code("102538003", "recumbent")]
    dataset.PatientOrientationCodeSequence[0].PatientOrientationModifierCodeSequence = [_code("40199007", "supine")]
    dataset.PatientGantryRelationshipCodeSequence = [_code("102540008", "headfirst")]
    dataset.DetectorInformationSequence = [_detector(view) for view in views]


def _detector(view: Scintigram) -> Dataset:
    code, meaning = {
        "anterior": ("399321004", "Anterior projection"),
        "posterior": ("399001007", "Posterior projection"),
    }[view.view]
    # Rows run to the patient's feet; the columns of the anterior view run to the patient's left, of the posterior to the right.
    across = 1 if view.view == "anterior" else -1
    detector = Dataset()
    detector.CollimatorGridName, detector.CollimatorType = "LEHR", "PARA"
    detector.FieldOfViewShape = "RECTANGLE"
    detector.ImageOrientationPatient = [across, 0, 0, 0, 0, -1]
    detector.ImagePositionPatient = [0, 0, 0]
    detector.ViewCodeSequence = [_code(code, meaning)]
    return detector


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return item
