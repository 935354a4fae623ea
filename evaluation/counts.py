"""Pixel values of nnU-Net raw images back to counts, and the body in a scan."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

# What `msa convert` writes of n counts: zscore n + 1, anscombe 2 sqrt(n + 3/8), counts n with 0 raised to a thousandth.
CHANNELS = ("zscore", "anscombe", "counts")

# Smoothing that joins the sparse counts of soft tissue: about the resolution of a planar bone scan. Our choice.
_SMOOTHING_MM = 10.0
# Parts of the body are large; what is smaller than this share of the largest one is contamination, a marker or noise.
_SMALLEST_PART = 0.02


def read_channels(images: Path | None) -> str | None:
    """What the images of a folder hold of the counts, by the "msa" entry of the dataset.json beside or above it.

    None where that is not known: no folder, no dataset.json of `msa convert`, another way of writing.
    """
    if images is None:
        return None
    for path in (images / "dataset.json", images.absolute().parent / "dataset.json"):
        try:
            channels = json.loads(path.read_text(encoding="utf-8"))["msa"]["channels"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        return channels if channels in CHANNELS else None
    return None


def to_counts(image: NDArray[np.floating], channels: str | None) -> NDArray[np.float64]:
    """Counts of an image that `msa convert` wrote, of the image's shape; values as they are where `channels` is None."""
    values = np.asarray(image, float)
    if channels is None:
        return values
    stored = {"zscore": values - 1, "anscombe": (values / 2) ** 2 - 3 / 8, "counts": values}[channels]
    return np.round(stored)  # they are kept as 32-bit floats, and "counts" raises 0 a little


def body_mask(counts: NDArray[np.floating], spacing_mm: tuple[float, ...]) -> NDArray[np.bool_]:
    """The body in a scan (H, W) or (D, H, W): smoothed log counts above Otsu's threshold, small parts dropped, holes filled.

    On the log scale soft tissue stands apart from air; on the counts' own scale bone would stand apart from soft tissue.
    An estimate for area fractions only; empty where the image holds one value.
    """
    from skimage.filters import threshold_otsu  # slow to import, and only wanted with images

    sigma = _SMOOTHING_MM / 2.355 / np.asarray(spacing_mm)  # full width at half maximum -> standard deviation
    level = np.log1p(np.maximum(ndimage.gaussian_filter(np.asarray(counts, np.float32), sigma), 0))
    if not level.min() < level.max():
        return np.zeros(level.shape, bool)
    labels, number = ndimage.label(level > threshold_otsu(level))
    pixels = np.bincount(labels.ravel(), minlength=number + 1)
    pixels[0] = 0
    body = (pixels >= _SMALLEST_PART * pixels.max())[labels] & (labels > 0)
    outside, _ = ndimage.label(np.pad(~body, 1, constant_values=True))  # a frame joins what touches the image's border
    return np.asarray(outside[(slice(1, -1),) * body.ndim] != outside.flat[0])
