"""Counts -> the pixels the network sees, and the files they are written to."""

from __future__ import annotations

import errno
import gzip
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import SimpleITK as sitk  # noqa: N813  its customary name
from PIL import Image

from dataset_conversion.errors import ConversionError

Channels = Literal["zscore", "anscombe", "counts"]
CHANNELS: tuple[Channels, ...] = get_args(Channels)
# nnU-Net picks the normalisation by channel name: "zscore" and "noNorm" are in its table, and what is not in it ("anscombe")
# gets the z-score too.
CHANNEL_NAMES: dict[Channels, str] = {"zscore": "zscore", "anscombe": "anscombe", "counts": "noNorm"}
# nnU-Net crops what is exactly 0; this is not, is exact in float32, and rounds to 0 counts.
NEARLY_ZERO = 2.0**-10

FileFormat = Literal["nii.gz", "png"]
FILE_FORMATS: tuple[FileFormat, ...] = get_args(FileFormat)
# zlib's fastest level. 1024 x 256 zscore pixels of a phantom as uint16: 5 ms and 130 KiB; level 6: 50 ms and 118 KiB; the same
# pixels as float32 in ITK's only level: 25 ms and 130 KiB.
GZIP_LEVEL = 1
# PNG's row filters like a higher level: 1 takes 20 ms and 133 KiB, 4 takes 16 ms and 122 KiB.
PNG_LEVEL = 4


def network_input(counts: np.ndarray, channels: Channels) -> np.ndarray:
    """Turn counts (H, W) into what is written for the network, float32 and strictly positive everywhere.

    zscore: n + 1. anscombe: 2 sqrt(n + 3/8), of variance close to 1 for Poisson counts (Anscombe 1948). counts: n, with 0
    raised to 2^-10, so that rounding gives the counts back. nnU-Net crops zeros and may then normalise within the rest only, so
    there are none.
    """
    if channels == "counts":
        raised: np.ndarray = np.maximum(counts.astype(np.float32), np.float32(NEARLY_ZERO))
        return raised
    n = counts.astype(np.float64)
    values: np.ndarray = n + 1 if channels == "zscore" else 2 * np.sqrt(n + 3 / 8)
    return values.astype(np.float32)


def require_format_holds(channels: Channels, file_format: FileFormat) -> None:
    """Raise ConversionError where the file format cannot hold what these channels write: PNG holds whole numbers alone."""
    if file_format == "png" and channels != "zscore":
        raise ConversionError(
            f"the format is png and the channels are {channels}: png holds whole numbers only, and {channels} writes fractions;"
            " choose the channels zscore or the format nii.gz."
        )


def write_image(path: Path, pixels: np.ndarray, spacing_mm: tuple[float, float]) -> None:
    """Write (H, W) pixels as .nii.gz or .png, told by the path; the same pixels (and zlib) give the same bytes.

    .nii.gz: a true 2-D NIfTI with (row, column) spacing in mm; whole numbers up to 65,535 are stored as uint16 instead of
    float, which is smaller and faster and reads as the same values. .png: 16-bit grey, or 8-bit grey for uint8 (label masks);
    it has no place for the spacing, nnU-Net sees 1. Raises ConversionError for pixels that the format cannot hold, OSError
    where the file cannot be written; what stood at the path until then is no longer whole.
    """
    if path.suffix == ".png":
        _write_png(path, pixels)
    else:
        _write_nifti(path, pixels, spacing_mm)


def _write_nifti(path: Path, pixels: np.ndarray, spacing_mm: tuple[float, float]) -> None:
    image = sitk.GetImageFromArray(pixels.astype(np.uint16) if pixels.dtype != np.uint8 and _fits_uint16(pixels) else pixels)
    image.SetSpacing((spacing_mm[1], spacing_mm[0]))
    plain = path.with_name(f"{path.name}.plain.nii")  # ITK compresses NIfTI at one slow level alone
    try:
        sitk.WriteImage(image, str(plain), useCompression=False)
        path.write_bytes(gzip.compress(plain.read_bytes(), GZIP_LEVEL, mtime=0))
    except RuntimeError as error:  # SimpleITK's only exception
        raise OSError(errno.EIO, "the image cannot be written (is the disk full?)", str(path)) from error
    finally:
        plain.unlink(missing_ok=True)


def _write_png(path: Path, pixels: np.ndarray) -> None:
    if pixels.dtype != np.uint8 and not _fits_uint16(pixels):
        raise ConversionError(
            f"{path}: its pixels run from {pixels.min():g} to {pixels.max():g}, and png holds whole numbers from 0 to 65535"
            " only; choose the channels zscore and fewer than 65535 counts a pixel, or the format nii.gz."
        )
    narrow = pixels if pixels.dtype == np.uint8 else pixels.astype(np.uint16)
    Image.fromarray(narrow).save(path, format="PNG", compress_level=PNG_LEVEL)


def _fits_uint16(pixels: np.ndarray) -> bool:
    # NaN and infinity fail the comparisons, so nothing is cast that cannot be.
    is_in_range = bool((pixels >= 0).all() and (pixels <= np.iinfo(np.uint16).max).all())
    return is_in_range and (pixels.dtype.kind in "iu" or bool((pixels == np.floor(pixels)).all()))
