"""Scan files of any format -> Scintigram: which reader a file is for, and what its name says."""

from __future__ import annotations

from pathlib import Path

from dataset_conversion.arrays import ARRAY_SUFFIXES, array_suffix, read_array
from dataset_conversion.dicom_nm import read_views
from dataset_conversion.readers.dicom_file import DICOM_SUFFIXES, ScanHeader, has_preamble, identify
from dataset_conversion.readers.options import ReadOptions
from dataset_conversion.scintigram import Scintigram

__all__ = ["ReadOptions", "ScanHeader", "SCAN_SUFFIXES", "identify", "is_array", "read_scan", "scan_stem"]

SCAN_SUFFIXES = DICOM_SUFFIXES + ARRAY_SUFFIXES


def read_scan(path: Path, options: ReadOptions = ReadOptions()) -> list[Scintigram]:  # noqa: B008  frozen
    """Read the views of one scan file: DICOM NM (`dicom_nm.read_views`), or an array or a picture (`arrays.read_array`).

    A file with an array's suffix that begins like DICOM is DICOM; one without any known suffix is tried as DICOM. Odd but
    usable files give warnings. Raises SkippedFile, ConversionError, and OSError where the file cannot be opened.
    """
    if is_array(path):
        with path.open("rb") as file:
            if not has_preamble(file.read(132)):
                return [read_array(path, options)]
    return read_views(path, options)


def is_array(path: Path) -> bool:
    """Tell by its suffix whether a file is an array or a picture."""
    return bool(array_suffix(path))


def scan_stem(path: Path) -> str:
    """Return a file's name without its scan suffix (.nii.gz is one); other suffixes are part of the name."""
    suffix = array_suffix(path) or (path.suffix if path.suffix.lower() in DICOM_SUFFIXES else "")
    return path.name[: len(path.name) - len(suffix)]
