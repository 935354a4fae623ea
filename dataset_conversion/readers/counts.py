"""Whether stored values can be the scanner's counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset

from dataset_conversion.errors import ConversionError

# These encodings lose counts, or cannot be told from those that do (JPEG 2000, JPEG XL and HTJ2K without "lossless only").
LOSSY_SYNTAXES = frozenset({
    uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless, uid.JPEG2000, uid.JPEG2000MC, uid.HTJ2K,
    "1.2.840.10008.1.2.4.111", "1.2.840.10008.1.2.4.112",  # JPEG XL
})  # fmt: skip
# Counts Accumulated is the sum of the pixels (to the count on the NEMA sample "NM1"). A lossy copy of that scan is 1.9 % off,
# 0.9 % with its negative values clipped; half of that still tolerates scanners that count events outside the image matrix.
COUNTS_TOLERANCE = 0.005
LARGEST_COUNT = int(np.iinfo(np.uint32).max)


def is_lossy(dataset: Dataset) -> bool:
    """Tell whether the file says, by its encoding or in Lossy Image Compression, that counts were lost."""
    return dataset.file_meta.TransferSyntaxUID in LOSSY_SYNTAXES or str(dataset.get("LossyImageCompression") or "") == "01"


def clip_negative(frames: np.ndarray, path: Path) -> tuple[np.ndarray, list[str]]:
    """Set the negative values that lossy compression made to 0; also return a warning with their number."""
    n_negative = int(np.count_nonzero(frames < 0))
    if not n_negative:
        return frames, []
    note = f"{path}: {n_negative} pixels were negative after lossy compression (down to {int(frames.min())}) and are set to 0."
    return frames.clip(0), [note]


def as_counts(frame: np.ndarray, path: Path, what: str = "") -> np.ndarray:
    """Return a frame as uint16, or uint32 where it needs that; `what` names the frame within the file in messages.

    Raises ConversionError for values that are negative, above 2^32 - 1, not whole or not finite, and for a single value.
    """
    if frame.dtype.kind == "f" and not np.isfinite(frame).all():
        raise ConversionError(f"{path}: {what}holds values that are no numbers (NaN or infinite); export the raw scan.")
    low, high = frame.min(), frame.max()
    if low < 0:
        raise ConversionError(f"{path}: {what}holds negative counts (down to {low:g}); it was altered, export the raw scan.")
    if frame.dtype.kind == "f" and not np.array_equal(frame, np.rint(frame)):
        raise ConversionError(f"{path}: {what}holds values between whole numbers, no counts; export the raw scan.")
    if low == high:
        raise ConversionError(f"{path}: {what}holds a single value ({low:g}), no scan; export it again.")
    if high > LARGEST_COUNT:
        raise ConversionError(f"{path}: {what}holds values up to {high:g}, expected counts below 2^32; export the raw scan.")
    return frame.astype(np.uint16 if high <= np.iinfo(np.uint16).max else np.uint32)


def check_total(frames: np.ndarray, dataset: Dataset, path: Path, *, must_match: bool) -> list[str]:
    """Compare the sum of non-negative frames with Counts Accumulated, where the file states it; return warnings.

    A difference of up to 0.5 % is a warning. A larger one raises ConversionError if it must match, else is a warning as well.
    """
    stated = int(dataset.get("CountsAccumulated") or 0)
    # The standard's sum runs over all frames; some scanners give it for one.
    sums = [int(frame.sum(dtype=np.int64)) for frame in frames]
    difference = min(abs(total - stated) for total in [sum(sums), *sums])
    if stated <= 0 or difference == 0:
        return []
    if must_match and difference > COUNTS_TOLERANCE * stated:
        raise ConversionError(
            f"{path}: its pixels sum to {sum(sums)} counts, Counts Accumulated is {stated}; it was altered; export the raw one."
        )
    return [f"{path}: its pixels sum to {sum(sums)} counts, Counts Accumulated is {stated}."]


def rescaled_note(high: int, bits: int, path: Path) -> list[str]:
    """Return a warning where the largest value that the bits can hold occurs: exports stretch images up to it."""
    if high != (1 << bits) - 1:
        return []
    return [
        f"{path}: its maximum is {high}, all that {bits} bits can hold: its counts were probably rescaled or cut off there."
    ]
