"""DICOM NM -> Scintigram: planar emission views with their true counts, pixel size and view (writing: dicom_nm_writer)."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.pixels.decoders.base import get_decoder

from dataset_conversion.dicom_nm_writer import stable_uid, write_study
from dataset_conversion.errors import ConversionError, SkippedFile
from dataset_conversion.scintigram import VIEWS, Scintigram, View

__all__ = ["read_views", "write_study", "stable_uid", "DICOM_SUFFIXES"]

# DICOM context group 26 (Nuclear Medicine Projections), as SNOMED CT and as the older SNOMED RT; scanners also write the
# radiographic projections of context group 4010 (antero-posterior, postero-anterior).
VIEW_CODES: dict[str, View] = {
    "399321004": "anterior", "G-5215": "anterior", "399348003": "anterior", "R-10206": "anterior",
    "399001007": "posterior", "G-5216": "posterior", "272479007": "posterior", "R-10214": "posterior",
}  # fmt: skip
# Image Type value 3 of the NM Image module: what one planar acquisition can be; the others are volumes or time series.
PLANAR_TYPES = ("WHOLE BODY", "STATIC")
# These encodings lose counts, or cannot be told from those that do (JPEG 2000, JPEG XL and HTJ2K without "lossless only").
LOSSY_SYNTAXES = frozenset({
    uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless, uid.JPEG2000, uid.JPEG2000MC, uid.HTJ2K,
    "1.2.840.10008.1.2.4.111", "1.2.840.10008.1.2.4.112",  # JPEG XL
})  # fmt: skip
# Counts Accumulated is the sum of the pixels (to the count on the NEMA sample "NM1"). A lossy copy of that scan is 1.9 % off,
# 0.9 % with its negative values clipped; half of that still tolerates scanners that count events outside the image matrix.
COUNTS_TOLERANCE = 0.005
# How DICOM files are named, where they have a suffix at all.
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")


def read_views(path: Path) -> list[Scintigram]:
    """Read the anterior and posterior frames of one DICOM NM file, one (H, W) scintigram in counts a frame.

    The view of a frame comes from its detector's View Code Sequence, else from words like "ANT" in Image Type, Image ID or the
    series description of a one-frame file, else from detector or frame order with a warning (first anterior, second posterior).
    Raises SkippedFile for what is no planar emission scan, and ConversionError for what is one but cannot be trusted: lossy
    compression, negative or empty frames, counts that differ from Counts Accumulated, a missing pixel size or patient.
    """
    try:
        return _views(_open(path), path)
    except ConversionError:
        raise
    except Exception as error:  # pydicom converts values when they are asked for, so a damaged one can fail anywhere
        raise ConversionError(f"{path}: its header cannot be read ({_reason(error)}); export it again.") from error


def _views(dataset: Dataset, path: Path) -> list[Scintigram]:
    _require_planar_emission(dataset, path)
    spacing = _spacing(dataset, path)
    patient = str(dataset.get("PatientID") or dataset.get("PatientName") or "").strip()
    if not patient:
        raise ConversionError(
            f"{path}: has neither Patient ID nor Patient's Name, so its folds could leak; fill in one (a pseudonym will do)."
        )
    views = _frame_views(dataset, path)
    frames = _decode(dataset, path)
    if len(frames) != _number_of_frames(dataset):
        raise ConversionError(f"{path}: states {_number_of_frames(dataset)} frames, holds {len(frames)}; export it again.")
    _require_plausible_counts(frames, dataset, path)
    dtype = np.uint16 if frames.max() <= np.iinfo(np.uint16).max else np.uint32
    return [
        Scintigram(
            counts=frames[number - 1].astype(dtype),
            spacing_mm=spacing,
            view=view,
            patient=patient,
            study=str(dataset.get("StudyInstanceUID") or path),
            instance=str(dataset.get("SOPInstanceUID") or path),
            frame=number,
            source=path,
        )
        for number, view in views
    ]


def _open(path: Path) -> Dataset:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom quotes odd header values, and those may identify a patient
            try:
                dataset: Dataset = pydicom.dcmread(path)
            except InvalidDicomError:  # no preamble: bare data sets are common in old archives
                dataset = _open_without_preamble(path)
    except ConversionError:
        raise
    except Exception as error:  # a damaged file can make the parser fail anywhere
        raise ConversionError(f"{path}: cannot be read as DICOM ({_reason(error)}); export it again.") from error
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit
    return dataset


def _open_without_preamble(path: Path) -> Dataset:
    try:
        dataset: Dataset = pydicom.dcmread(path, force=True)
        is_dicom = "Modality" in dataset or "SOPClassUID" in dataset
    except Exception:  # arbitrary bytes read as if they were DICOM
        is_dicom = False
    if is_dicom:
        return dataset
    if path.suffix.lower() in DICOM_SUFFIXES:
        raise ConversionError(f"{path}: is named like a DICOM file but holds none; export it again.")
    raise SkippedFile(f"{path}: is not a DICOM file.")


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _require_planar_emission(dataset: Dataset, path: Path) -> None:
    modality = str(dataset.get("Modality") or "")
    sop_class = uid.UID(dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID") or "")
    if not modality and not sop_class:
        raise ConversionError(f"{path}: its header ends before it says what it is; export it again.")
    if modality != "NM":
        raise SkippedFile(f"{path}: its modality is {modality or 'not stated'}, expected NM.")
    if "PixelData" not in dataset:
        raise ConversionError(f"{path}: is an NM object without pixels, probably cut short; export it again.")
    image_type = _image_type(dataset)
    is_planar = len(image_type) > 2 and image_type[2] in PLANAR_TYPES
    # Old archives wrap scans as Secondary Capture (NM1 is one); those still say so in Image Type, screenshots do not.
    is_wrapped = sop_class == uid.SecondaryCaptureImageStorage and is_planar
    if sop_class not in ("", uid.NuclearMedicineImageStorage) and not is_wrapped:
        raise SkippedFile(f"{path}: is a {sop_class.name} object, expected Nuclear Medicine Image Storage.")
    if len(image_type) > 2 and not is_planar:
        raise SkippedFile(f"{path}: its Image Type is {image_type[2]!r}, expected {' or '.join(PLANAR_TYPES)}.")
    if "TRANSMISSION" in image_type[3:4]:
        raise SkippedFile(f"{path}: is a transmission scan, expected emission.")
    if dataset.get("SamplesPerPixel", 1) != 1:
        raise SkippedFile(f"{path}: is a colour picture, expected counts.")
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax in LOSSY_SYNTAXES or str(dataset.get("LossyImageCompression") or "") == "01":
        raise ConversionError(
            f"{path}: is compressed with loss ({syntax.name}), its counts are not the scanner's: export it losslessly."
        )
    if float(dataset.get("RescaleSlope") or 1) != 1 or float(dataset.get("RescaleIntercept") or 0) != 0:
        raise ConversionError(f"{path}: stores rescaled values (Rescale Slope or Intercept), not counts; export the raw scan.")


def _image_type(dataset: Dataset) -> list[str]:
    value = dataset.get("ImageType") or []
    return [str(part).strip().upper() for part in ([value] if isinstance(value, str) else value)]


def _spacing(dataset: Dataset, path: Path) -> tuple[float, float]:
    try:
        row, column = (float(value) for value in dataset.PixelSpacing)
    except Exception as error:  # absent, one value, or text that is no number
        raise ConversionError(
            f"{path}: has no usable Pixel Spacing; sizes in mm would be invented. Export it with spacing."
        ) from error
    if not (np.isfinite([row, column]).all() and row > 0 and column > 0):
        raise ConversionError(f"{path}: its Pixel Spacing is {row} x {column} mm, expected two positive numbers.")
    return row, column


def _number_of_frames(dataset: Dataset) -> int:
    return int(dataset.get("NumberOfFrames") or 1)


def _frame_views(dataset: Dataset, path: Path) -> list[tuple[int, View]]:
    """Which frames (1-based) are the anterior and the posterior view, anterior first; other projections are left out."""
    n_frames = _number_of_frames(dataset)
    detectors = _vector(dataset, "DetectorVector", n_frames)
    found: dict[View, int] = {}
    others: list[str] = []
    for frame in range(1, n_frames + 1):
        stated = _stated_view(dataset, detectors[frame - 1], n_frames)
        view = stated if stated in VIEWS else None
        if stated is None:
            order = detectors[frame - 1] if n_frames == 1 else frame
            if not 1 <= order <= len(VIEWS):
                raise ConversionError(
                    f"{path}: frame {frame} of {n_frames} states no view; export it with its View Code Sequence."
                )
            view = VIEWS[order - 1]
            warnings.warn(f"{path}: frame {frame} states no view, taken as {view} by its order.", stacklevel=3)
        if view is None:
            others.append(f"frame {frame} ({stated})")
        elif view in found:
            raise ConversionError(
                f"{path}: frames {found[view]} and {frame} are both {view} (several energy windows?); export one a view."
            )
        else:
            found[view] = frame
    if not found:
        raise SkippedFile(f"{path}: shows neither an anterior nor a posterior view but {', '.join(others)}.")
    if others:
        warnings.warn(f"{path}: left out {', '.join(others)}: neither anterior nor posterior.", stacklevel=3)
    return [(found[view], view) for view in VIEWS if view in found]


def _vector(dataset: Dataset, keyword: str, n_frames: int) -> list[int]:
    """Read a per-frame index vector; without one, frame n belongs to detector n."""
    value = dataset.get(keyword)
    vector = [] if value is None else [int(v) for v in (value if isinstance(value, Sequence) else [value])]
    return vector if len(vector) == n_frames else list(range(1, n_frames + 1))


def _stated_view(dataset: Dataset, detector: int, n_frames: int) -> str | None:
    """The view the header states for a detector: anterior, posterior, another projection's name, or None."""
    items = dataset.get("DetectorInformationSequence") or []
    item = items[detector - 1] if 1 <= detector <= len(items) else items[0] if len(items) == n_frames == 1 else None
    codes = (item.get("ViewCodeSequence") or []) if item is not None else []
    if codes:
        meaning = str(codes[0].get("CodeMeaning") or "")
        coded = VIEW_CODES.get(str(codes[0].get("CodeValue") or ""))
        # The word wins where both are given: vendors disagree on which way "antero-posterior" runs without an X-ray tube.
        return _view_in_words(meaning) or coded or meaning or "an unknown projection"
    if n_frames > 1:
        return None
    texts = [*_image_type(dataset)[2:], str(dataset.get("ImageID") or ""), str(dataset.get("SeriesDescription") or "")]
    return _view_in_words(" ".join(texts))


def _view_in_words(text: str) -> View | None:
    words = set(re.findall(r"[a-z]+", text.lower()))
    is_view = {"anterior": words & {"ant", "anterior"}, "posterior": words & {"post", "posterior"}}
    stated = [view for view in VIEWS if is_view[view]]
    # "postero-anterior" names a direction through the body; its code tells, the words do not.
    return None if len(stated) != 1 or words & {"oblique", "lateral", "antero", "postero"} else stated[0]


def _decode(dataset: Dataset, path: Path) -> np.ndarray:
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        has_decoder = not syntax.is_compressed or get_decoder(syntax).is_available
    except NotImplementedError:
        raise ConversionError(f"{path}: its encoding ({syntax.name}) is not supported; export it uncompressed.") from None
    if not has_decoder:
        raise ConversionError(f'{path}: needs a decoder for {syntax.name}: pip install "msa-trainer[codecs]".')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pixels = dataset.pixel_array
    except Exception as error:  # each decoder fails in its own way on damaged pixels
        raise ConversionError(f"{path}: its pixels cannot be decoded ({_reason(error)}); export it again.") from error
    if pixels.ndim not in (2, 3) or pixels.dtype.kind not in "iu":
        raise ConversionError(
            f"{path}: holds {pixels.dtype} pixels of shape {pixels.shape}, expected whole counts of planar frames."
        )
    return np.array(pixels.reshape(-1, *pixels.shape[-2:]))


def _require_plausible_counts(frames: np.ndarray, dataset: Dataset, path: Path) -> None:
    for number, frame in enumerate(frames, start=1):
        low, high = int(frame.min()), int(frame.max())
        if low < 0:
            raise ConversionError(
                f"{path}: frame {number} holds negative counts (down to {low}); it was altered, export the raw scan."
            )
        if low == high:
            raise ConversionError(f"{path}: frame {number} holds a single value ({low}), no scan; export it again.")
    stated = int(dataset.get("CountsAccumulated") or 0)
    # The standard's sum runs over all frames; some scanners give it for one.
    sums = [int(frame.sum(dtype=np.int64)) for frame in frames]
    difference = min(abs(total - stated) for total in [sum(sums), *sums])
    if stated > 0 and 0 < difference <= COUNTS_TOLERANCE * stated:
        warnings.warn(f"{path}: its pixels sum to {sum(sums)} counts, Counts Accumulated is {stated}.", stacklevel=3)
    if stated > 0 and difference > COUNTS_TOLERANCE * stated:
        raise ConversionError(
            f"{path}: its pixels sum to {sum(sums)} counts, Counts Accumulated is {stated}; it was altered; export the raw one."
        )
