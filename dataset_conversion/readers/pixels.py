"""DICOM Pixel Data -> frames of stored values, whatever the encoding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder

from dataset_conversion.errors import ConversionError
from dataset_conversion.readers.child import ChildError
from dataset_conversion.readers.decoding import decode, decode_here
from dataset_conversion.readers.dicom_file import quiet

# Planar scans have up to 1024x512 pixels, 2048x1024 in the largest matrices, and a few frames.
LARGEST_SIDE = 4096
MOST_PIXELS = 1 << 24
# What states an image's size, and what its absence means.
SIZES = {"NumberOfFrames": 1, "Rows": 0, "Columns": 0}
# Lossless encodings never double an image; more data than that would be an attack on the memory.
LARGEST_ENCODING = 2
# Encodings that the `codecs` extra cannot read; OpenJPEG (BSD) can.
_HIGH_THROUGHPUT = (uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K)


def stored_frames(dataset: Dataset, path: Path) -> np.ndarray:
    """Decode the pixels into (frames, rows, columns) int or uint of 8, 16 or 32 bit.

    Where fewer bits are stored than allocated, the unused ones are cleared (overlays hid there once) and the sign is extended.
    Raises ConversionError for sizes no planar scan has, missing decoders and data that do not decode to the stated size.
    """
    options = _options(dataset, path)
    syntax = dataset.file_meta.TransferSyntaxUID
    is_compressed = _is_compressed(syntax, path)
    data = dataset.PixelData
    n_bytes = options["number_of_frames"] * options["rows"] * options["columns"] * options["bits_allocated"] // 8
    if is_compressed and len(data) > LARGEST_ENCODING * n_bytes + (64 << 10):
        raise ConversionError(f"{path}: holds {len(data)} bytes for {n_bytes} bytes of pixels; export it again.")
    if not is_compressed and len(data) < n_bytes:
        raise ConversionError(
            f"{path}: its pixels cannot be decoded (expected {n_bytes} bytes, found {len(data)}); export it again."
        )
    try:
        if is_compressed:
            pixels = decode(syntax, data, options)
        else:
            options["pixel_vr"] = dataset["PixelData"].VR
            with quiet():
                pixels = decode_here(data, _native(syntax), options)
    except ChildError as error:
        # GDCM's only word for damage is a pointer to nothing.
        reason = "gdcm: damaged data" if "NoneType" in str(error) else error
        raise ConversionError(f"{path}: its pixels cannot be decoded ({reason}); export it again.") from error
    if pixels.ndim not in (2, 3) or pixels.dtype.kind not in "iu":
        raise ConversionError(f"{path}: holds {pixels.dtype} pixels of shape {pixels.shape}, expected planar frames of counts.")
    frames = pixels.reshape(-1, *pixels.shape[-2:])
    if len(frames) != options["number_of_frames"]:
        raise ConversionError(f"{path}: states {options['number_of_frames']} frames, holds {len(frames)}; export it again.")
    # Decoders put the lowest stored bit at bit 0; uncompressed pixels may have it elsewhere.
    high_bit = int(dataset.get("HighBit") or 0) if not is_compressed else 0
    return _stored_bits(frames, options["bits_stored"], high_bit)


def image_size(dataset: Dataset, path: Path) -> tuple[int, int, int]:
    """Return frames, rows and columns as stated; raises ConversionError for what no planar scan has."""
    n_frames, rows, columns = (int(dataset.get(keyword) or n) for keyword, n in SIZES.items())
    if not (0 < rows <= LARGEST_SIDE and 0 < columns <= LARGEST_SIDE and 0 < n_frames * rows * columns <= MOST_PIXELS):
        raise ConversionError(
            f"{path}: states {n_frames} frames of {rows} x {columns} pixels, expected a planar scan of at most"
            f" {LARGEST_SIDE} pixels a side and {MOST_PIXELS >> 20} million in all; export it again."
        )
    return n_frames, rows, columns


def _options(dataset: Dataset, path: Path) -> dict[str, Any]:
    """What pydicom's decoders ask for, checked."""
    n_frames, rows, columns = image_size(dataset, path)
    allocated = int(dataset.get("BitsAllocated") or 0)
    stored = int(dataset.get("BitsStored") or allocated)
    if allocated not in (8, 16, 32) or not 8 <= stored <= allocated:
        raise ConversionError(
            f"{path}: stores {stored} of {allocated} bits a pixel, expected at least 8 of 8, 16 or 32; export it again."
        )
    return {
        "rows": rows,
        "columns": columns,
        "number_of_frames": n_frames,
        "bits_allocated": allocated,
        "bits_stored": stored,
        "pixel_representation": int(dataset.get("PixelRepresentation") or 0),
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",  # only changes colours, of which there are none
        "pixel_keyword": "PixelData",
    }


def _is_compressed(syntax: uid.UID, path: Path) -> bool:
    if not syntax.is_transfer_syntax:
        raise ConversionError(f"{path}: its encoding ({syntax}) is not supported; export it uncompressed.")
    if not syntax.is_encapsulated:
        return False
    try:
        has_decoder = get_decoder(syntax).is_available
    except NotImplementedError:
        raise ConversionError(f"{path}: its encoding ({syntax.name}) is not supported; export it uncompressed.") from None
    if not has_decoder:
        packages = "pylibjpeg pylibjpeg-openjpeg" if syntax in _HIGH_THROUGHPUT else '"msa-trainer[codecs]"'
        raise ConversionError(f"{path}: needs a decoder for {syntax.name}: pip install {packages}.")
    return True


def _native(syntax: uid.UID) -> uid.UID:
    return uid.ExplicitVRBigEndian if syntax == uid.ExplicitVRBigEndian else uid.ExplicitVRLittleEndian


def _stored_bits(frames: np.ndarray, stored: int, high_bit: int) -> np.ndarray:
    allocated = 8 * frames.dtype.itemsize
    top = high_bit if stored - 1 <= high_bit < allocated else stored - 1
    if stored == allocated:
        return frames
    # Up to the top, so that what is above is lost, then down again: a signed type repeats its sign on the way.
    return np.asarray((frames << (allocated - 1 - top)) >> (allocated - stored), frames.dtype)
