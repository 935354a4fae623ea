"""Mask images (PNG, TIFF, NIfTI, MetaImage, .npy) -> regions, one a lesion; the label is the pixel's value in digits."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from dataset_conversion.annotations.outline import AnnotatedView, ViewAnnotation
from dataset_conversion.annotations.regions import components
from dataset_conversion.errors import ConversionError
from dataset_conversion.readers.array_files import GREY_MODES, LOADERS, load_array
from dataset_conversion.readers.pixels import LARGEST_SIDE, MOST_PIXELS

MASK_SUFFIXES = tuple(LOADERS)
PICTURE_SUFFIXES = (".png", ".tif", ".tiff")
# More different values than that are a scan, not the labels of one.
MOST_LABELS = 64
# Labels are 8-bit in nnU-Net's dataset, and every tool that writes masks keeps to 16.
HIGHEST_LABEL = 65535
# Pillow's names for one number a pixel: grey, palette indices, black and white.
_PLAIN_MODES = (*GREY_MODES, "P", "1")


def read(path: Path) -> list[ViewAnnotation]:
    """Read one mask image of one view: 0 is background, every other value n a class whose label is "n".

    Connected pixels of one value (corners connect) become one region; a mask of zeros declares the view free of lesions.
    A palette's indices are the values, its colours mean nothing; grey stored as RGB is read as grey. A value is never guessed
    at: a 0/255 mask has the label "255", which a labels file must give a meaning.
    Raises ConversionError for damage, colour, volumes, fractions, negative values, and more values than labels (a scan).
    """
    suffix = next((suffix for suffix in sorted(MASK_SUFFIXES, key=len, reverse=True) if path.name.lower().endswith(suffix)), "")
    if suffix in PICTURE_SUFFIXES:
        try:
            with path.open("rb") as file:
                labels = picture_labels(file, str(path))
        except OSError as error:
            raise ConversionError(f"{path}: cannot be read ({error.strerror or error}).") from error
    elif suffix:
        labels = load_array(path, suffix).pixels
    else:
        raise ConversionError(f"{path}: is no mask image; expected {', '.join(MASK_SUFFIXES)}.")
    labels = _whole(labels, str(path))
    n_labels = len(np.unique(labels))
    if n_labels > MOST_LABELS:
        raise ConversionError(
            f"{path}: holds {n_labels} different values, expected a mask of at most {MOST_LABELS} labels; is it the scan?"
        )
    return [ViewAnnotation(AnnotatedView(tuple(components(labels)), *labels.shape))]


def picture_labels(file: BinaryIO, where: str) -> np.ndarray:
    """Read a PNG or TIFF picture as (H, W) whole numbers; raises ConversionError beginning with `where` for any other."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file, formats=("PNG", "TIFF")) as picture:
                height, width = picture.height, picture.width
                if max(height, width) > LARGEST_SIDE or height * width > MOST_PIXELS:  # before anything is unpacked
                    raise ConversionError(
                        f"{where}: is a mask of {height} x {width} px, expected at most {LARGEST_SIDE} a side."
                    )
                n_pictures = getattr(picture, "n_frames", 1)
                if n_pictures != 1:
                    raise ConversionError(f"{where}: holds {n_pictures} pictures, expected one mask a file.")
                mode, pixels = picture.mode, np.array(picture)
    except ConversionError:
        raise
    except Exception as error:  # Pillow's plug-ins fail in many ways on damaged pictures
        raise ConversionError(f"{where}: is no PNG or TIFF mask ({type(error).__name__}); save or export it again.") from error
    if mode in _PLAIN_MODES:
        return pixels
    if mode == "LA" or (mode in ("RGB", "RGBA") and (pixels[..., 1:3] == pixels[..., :1]).all()):
        grey: np.ndarray = pixels[..., 0]
        return grey
    raise ConversionError(f"{where}: is a colour mask ({mode}), expected whole numbers 0..n as grey or palette; export it so.")


def _whole(values: np.ndarray, where: str) -> np.ndarray:
    if values.dtype.kind == "f" and np.isfinite(values).all() and (values == np.round(values)).all():
        values = values.astype(np.int64)  # tools that know only float write 1.0
    if values.dtype.kind not in "biu":
        raise ConversionError(f"{where}: holds {values.dtype} values, expected whole numbers 0..n.")
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > HIGHEST_LABEL:
        raise ConversionError(f"{where}: holds values from {low} to {high}, expected labels from 0 to {HIGHEST_LABEL}.")
    whole: np.ndarray = values.astype(np.int32)
    return whole
