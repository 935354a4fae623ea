"""Arrays and pictures (PNG, TIFF, NIfTI, MetaImage, .npy) -> Scintigram, with a side-car for what they cannot say."""

from __future__ import annotations

import warnings
from pathlib import Path

from dataset_conversion.dicom_nm_writer import stable_uid
from dataset_conversion.errors import ConversionError
from dataset_conversion.readers.array_files import LOADERS, load_array
from dataset_conversion.readers.counts import as_counts, rescaled_note
from dataset_conversion.readers.options import ReadOptions
from dataset_conversion.readers.side_car import SIDE_CAR_SUFFIX, read_side_car
from dataset_conversion.scintigram import Scintigram, View

ARRAY_SUFFIXES = tuple(LOADERS)
VIEW_ENDINGS: dict[str, View] = {
    "_anterior": "anterior", "_posterior": "posterior", "_ant": "anterior", "_post": "posterior",
}  # fmt: skip
# What NIfTI and MetaImage state where their writer knew of no pixel size.
UNKNOWN_SPACING = (1.0, 1.0)


def array_suffix(path: Path) -> str:
    """Return the suffix that makes a file an array or a picture, as it is written; empty where it is neither."""
    name = path.name.lower()
    length = max((len(suffix) for suffix in ARRAY_SUFFIXES if name.endswith(suffix) and name != suffix), default=0)
    return path.name[len(name) - length :] if length else ""


def read_array(path: Path, options: ReadOptions) -> Scintigram:
    """Read one view of (H, W) whole, non-negative counts, head first.

    Pixel size: the file's (NIfTI, MetaImage), else that of the side-car STEM.scan.json, else `options.spacing_mm`. View: the
    side-car's, else the end of the name (_anterior, _ant, _posterior, _post). Patient and study: the side-car's, else the name
    without the view, with a warning: two visits of a patient under two names would pass for two patients.
    Raises SkippedFile for colour and volumes, ConversionError for damage, values that are no counts, and what nobody states.
    """
    suffix = array_suffix(path)
    stem = path.name.removesuffix(suffix)
    side_car_path = path.with_name(stem + SIDE_CAR_SUFFIX)
    stated = read_side_car(side_car_path)
    pixels, file_spacing = load_array(path, suffix.lower())
    if pixels.dtype.kind not in "uif":
        raise ConversionError(f"{path}: holds values of the type {pixels.dtype}, expected whole numbers; export the raw scan.")
    counts = as_counts(pixels, path)
    if pixels.dtype.itemsize == 1:
        notes = [f"{path}: has 8 bits a pixel: counts above 255 are gone, and the others were probably rescaled."]
    else:
        notes = rescaled_note(int(counts.max()), 16, path)

    base, view_of_name = _split_view(stem)
    view = stated.view or view_of_name
    if view is None:
        raise ConversionError(
            f'{path}: does not say which view it shows; end its name in _anterior or _posterior, or state "view" in'
            f" {side_car_path.name}."
        )
    patient = stated.patient or base
    if stated.patient is None:
        notes.append(
            f"{path}: its name is taken for the patient ({base}); two visits under two names would be two patients. State"
            f' "patient" in {side_car_path.name}.'
        )
    spacing, spacing_notes = _spacing(file_spacing, stated.spacing_mm, options, path)
    for note in [*notes, *spacing_notes]:
        warnings.warn(note, stacklevel=2)
    return Scintigram(
        counts=counts,
        spacing_mm=spacing,
        view=view,
        patient=patient,
        study=stable_uid("study", patient, stated.study or base),
        instance=stable_uid("array", stem),
        frame=1,
        source=path,
    )


def _split_view(stem: str) -> tuple[str, View | None]:
    for ending, view in VIEW_ENDINGS.items():
        if stem.lower().endswith(ending) and len(stem) > len(ending):
            return stem[: -len(ending)], view
    return stem, None


def _spacing(
    of_file: tuple[float, float] | None, of_side_car: tuple[float, float] | None, options: ReadOptions, path: Path
) -> tuple[tuple[float, float], list[str]]:
    told = of_side_car or options.spacing_mm
    if of_file is None and told is None:
        raise ConversionError(
            f'{path}: has no pixel size; use a format that has one (NIfTI, MHA), state "spacing_mm": [row, column] in'
            f" {path.name.removesuffix(array_suffix(path))}{SIDE_CAR_SUFFIX}, or pass --spacing."
        )
    if of_file is None or (of_file == UNKNOWN_SPACING and told is not None):
        assert told is not None
        return told, []
    if of_file == UNKNOWN_SPACING:
        return of_file, [
            f"{path}: states 1 x 1 mm, which writers also put where they know of no pixel size; pass --spacing if so."
        ]
    return of_file, []
