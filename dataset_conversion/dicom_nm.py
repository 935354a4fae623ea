"""DICOM NM -> Scintigram: planar emission views with their true counts, pixel size and view (writing: dicom_nm_writer)."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset

from dataset_conversion.dicom_nm_writer import stable_uid, write_study
from dataset_conversion.errors import ConversionError, SkippedFile
from dataset_conversion.readers import counts
from dataset_conversion.readers.dicom_file import DICOM_SUFFIXES, open_dicom, quiet
from dataset_conversion.readers.options import ReadOptions
from dataset_conversion.readers.pixels import image_size, stored_frames
from dataset_conversion.readers.views import frame_views, image_type
from dataset_conversion.scintigram import Scintigram

__all__ = ["read_views", "write_study", "stable_uid", "DICOM_SUFFIXES"]

# Image Type value 3 of the NM Image module: what one planar acquisition can be, and what the others are.
PLANAR_TYPES = ("WHOLE BODY", "STATIC")
OTHER_TYPES = {
    "TOMO": "SPECT projections", "RECON TOMO": "a SPECT volume", "GATED": "a gated series", "DYNAMIC": "a dynamic series",
    "GATED TOMO": "gated SPECT projections", "RECON GATED TOMO": "a gated SPECT volume",
}  # fmt: skip
# Planar frames run over energy windows and detectors; over anything else (slices, rotation, time, phases) they are a series.
PLANAR_INCREMENTS = frozenset({0x00540010, 0x00540020})
NM_CLASSES = ("", uid.NuclearMedicineImageStorage, "1.2.840.10008.5.1.4.1.1.5")  # the last is its retired first edition


def read_views(path: Path, options: ReadOptions = ReadOptions()) -> list[Scintigram]:  # noqa: B008  frozen
    """Read the anterior and posterior frames of one DICOM NM file, one (H, W) scintigram in counts a frame.

    How a frame's view is found: `readers.views.frame_views`. What is odd but usable is a warning that begins with the file.
    Raises SkippedFile for what is no planar emission scan, and ConversionError for what is one but cannot be trusted: negative
    or empty frames, counts that differ from Counts Accumulated, a missing pixel size or patient, damage, and, unless the
    options allow it, lossy compression. With it, negative values become 0 and the counts check a warning.
    """
    dataset = open_dicom(path)
    try:
        with quiet():
            views, notes = _views(dataset, path, options)
    except ConversionError:
        raise
    except Exception as error:  # pydicom converts values when they are asked for; its words may quote them
        raise ConversionError(f"{path}: its header cannot be read ({type(error).__name__}); export it again.") from error
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return views


def _views(dataset: Dataset, path: Path, options: ReadOptions) -> tuple[list[Scintigram], list[str]]:
    _require_planar_emission(dataset, path)
    notes = _require_counts(dataset, path, options)
    spacing, spacing_notes = _spacing(dataset, path, options)
    patient = _text(dataset, "PatientID") or _text(dataset, "PatientName")
    if not patient:
        raise ConversionError(
            f"{path}: has neither Patient ID nor Patient's Name, so its folds could leak; fill in one (a pseudonym will do)."
        )
    views, view_notes = frame_views(dataset, image_size(dataset, path)[0], path)
    frames, pixel_notes = _frames(dataset, path)
    scintigrams = [
        Scintigram(
            counts=frames[number - 1],
            spacing_mm=spacing,
            view=view,
            patient=patient,
            study=_text(dataset, "StudyInstanceUID") or str(path),
            instance=_text(dataset, "SOPInstanceUID") or str(path),
            frame=number,
            source=path,
            person=_person(dataset),
            burned_in=_text(dataset, "BurnedInAnnotation").upper() == "YES",
        )
        for number, view in views
    ]
    return scintigrams, [*notes, *spacing_notes, *view_notes, *pixel_notes]


def _require_planar_emission(dataset: Dataset, path: Path) -> None:
    modality = _text(dataset, "Modality")
    sop_class = uid.UID(_text(dataset, "SOPClassUID") or str(dataset.file_meta.get("MediaStorageSOPClassUID") or ""))
    if not modality and not sop_class:
        raise ConversionError(f"{path}: its header ends before it says what it is; export it again.")
    if modality != "NM" and not (modality == "" and sop_class in NM_CLASSES):
        if not modality and sop_class != uid.MediaStorageDirectoryStorage:  # every image and report states one
            raise ConversionError(f"{path}: does not state its modality, probably cut short; export it again.")
        raise SkippedFile(f"{path}: its modality is {modality or 'not stated'}, expected NM.")
    if "PixelData" not in dataset:
        raise ConversionError(f"{path}: is an NM object without pixels, probably cut short; export it again.")
    kind = image_type(dataset)
    is_planar = len(kind) > 2 and kind[2] in PLANAR_TYPES
    # Old archives wrap scans as Secondary Capture (NM1 is one); those still say so in Image Type, screenshots do not.
    is_wrapped = sop_class == uid.SecondaryCaptureImageStorage and is_planar
    if sop_class not in NM_CLASSES and not is_wrapped:
        raise SkippedFile(f"{path}: is a {sop_class.name} object, expected Nuclear Medicine Image Storage.")
    if len(kind) > 2 and not is_planar:
        what = OTHER_TYPES.get(kind[2], "another kind of image")
        raise SkippedFile(f"{path}: is {what} (Image Type {kind[2]!r}), expected {' or '.join(PLANAR_TYPES)}.")
    if "TRANSMISSION" in kind[3:4]:
        raise SkippedFile(f"{path}: is a transmission scan, expected emission.")
    if not is_planar and int(dataset.get("NumberOfFrames") or 1) > 1 and not _increments(dataset) <= PLANAR_INCREMENTS:
        raise SkippedFile(f"{path}: its frames run over slices, angles or time, expected views of a planar scan.")
    if dataset.get("SamplesPerPixel", 1) != 1:
        raise SkippedFile(f"{path}: is a colour picture, expected counts.")


def _increments(dataset: Dataset) -> set[int]:
    value = dataset.get("FrameIncrementPointer") or []
    return {int(tag) for tag in ([value] if isinstance(value, int) else value)}


def _require_counts(dataset: Dataset, path: Path, options: ReadOptions) -> list[str]:
    """Refuse what says itself that it holds no counts; return warnings."""
    if float(dataset.get("RescaleSlope") or 1) != 1 or float(dataset.get("RescaleIntercept") or 0) != 0:
        raise ConversionError(f"{path}: stores rescaled values (Rescale Slope or Intercept), not counts; export the raw scan.")
    if not counts.is_lossy(dataset):
        return []
    encoding = dataset.file_meta.TransferSyntaxUID.name
    if not options.allow_lossy:
        raise ConversionError(
            f"{path}: is compressed with loss ({encoding}), its counts are not the scanner's: export it losslessly, or accept"
            " that with --allow-lossy."
        )
    return [f"{path}: is compressed with loss ({encoding}): its counts are altered."]


def _spacing(dataset: Dataset, path: Path, options: ReadOptions) -> tuple[tuple[float, float], list[str]]:
    try:
        row, column = (float(value) for value in dataset.PixelSpacing)
    except Exception as error:  # absent, one value, or text that is no number
        if options.spacing_mm is not None:
            row, column = options.spacing_mm
            return options.spacing_mm, [f"{path}: has no usable Pixel Spacing, taken as {row:g} x {column:g} mm as told."]
        raise ConversionError(
            f"{path}: has no usable Pixel Spacing; sizes in mm would be invented. Export it with spacing, or state it with"
            " --spacing."
        ) from error
    if not (np.isfinite([row, column]).all() and row > 0 and column > 0):
        raise ConversionError(f"{path}: its Pixel Spacing is {row} x {column} mm, expected two positive numbers.")
    return (row, column), []


def _frames(dataset: Dataset, path: Path) -> tuple[list[np.ndarray], list[str]]:
    stored = stored_frames(dataset, path)
    is_lossy = counts.is_lossy(dataset)
    notes: list[str] = []
    if is_lossy:
        stored, notes = counts.clip_negative(stored, path)
    frames = [counts.as_counts(frame, path, f"frame {number} ") for number, frame in enumerate(stored, start=1)]
    notes += counts.check_total(stored, dataset, path, must_match=not is_lossy)
    if dataset.get("BitsStored") == 8:
        notes += counts.rescaled_note(int(stored.max()), 8, path)
    return frames, notes


def _person(dataset: Dataset) -> str:
    """Name and birth date, spelled one way; empty unless both are there: half of them fits too many people."""
    name, birth = " ".join(_text(dataset, "PatientName").replace("^", " ").split()), _text(dataset, "PatientBirthDate")
    return f"{name.casefold()} {birth}" if name and birth else ""


def _text(dataset: Dataset, keyword: str) -> str:
    return str(dataset.get(keyword) or "").strip(" \0")
