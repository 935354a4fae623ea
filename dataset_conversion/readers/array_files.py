"""Picture and array files -> one 2-D array and the pixel size the file states, within bounds of memory."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dataset_conversion.errors import ConversionError, SkippedFile
from dataset_conversion.readers.child import ChildError, ask
from dataset_conversion.readers.pixels import LARGEST_SIDE, MOST_PIXELS


class ArrayFile(NamedTuple):
    """pixels: (H, W) of whole numbers or floats. spacing_mm: (row, column) in mm, None where the format has no room for it."""

    pixels: np.ndarray
    spacing_mm: tuple[float, float] | None


def load_array(path: Path, suffix: str) -> ArrayFile:
    """Load one file by its suffix (in lower case), those that need a library written in C in a child process.

    Raises SkippedFile for colour and volumes, ConversionError for damage and sizes no planar scan has; OSError as `open` does.
    """
    with path.open("rb"):
        pass
    loader, library = LOADERS[suffix]
    try:
        if library is None:
            return loader(path)
        pixels, answer = ask("load", library, {"path": str(path.resolve()), "suffix": suffix})
        return ArrayFile(pixels, tuple(answer["spacing"]) if answer["spacing"] else None)
    except Exception as error:  # each library fails in its own way on damaged files
        kind = error.kind if isinstance(error, ChildError) else type(error).__name__
        if kind == SkippedFile.__name__:
            raise SkippedFile(f"{path}: {error}") from error
        if kind == ConversionError.__name__:
            raise ConversionError(f"{path}: {error}") from error
        raise ConversionError(f"{path}: cannot be read as {suffix} ({kind or error}); export it again.") from error


def load_here(path: Path, suffix: str) -> ArrayFile:
    """Load in this process; raises whatever the library raises, and SkippedFile and ConversionError without the file's name."""
    return LOADERS[suffix][0](path)


def _picture(path: Path) -> ArrayFile:
    """The resolution a picture states is that of a print or a screen, so it is not taken for the scan's pixel size."""
    from PIL import Image

    with Image.open(path, formats=("PNG", "TIFF")) as picture:
        _require_planar((picture.height, picture.width))
        if picture.mode not in GREY_MODES:
            raise SkippedFile(f"is a {picture.mode} picture (colour, palette or transparency), expected grey levels.")
        n_pictures = getattr(picture, "n_frames", 1)
        if n_pictures != 1:
            raise SkippedFile(f"holds {n_pictures} pictures, expected one view a file.")
        return ArrayFile(np.array(picture), None)


# A MetaImage header is a few hundred bytes of text.
_META_IMAGE_HEADER = 1 << 16
# Pillow's names for grey of 8, 16 and 32 bits, whole or float.
GREY_MODES = ("L", "I;16", "I;16L", "I;16B", "I;16N", "I", "F")


def _medical_image(path: Path) -> ArrayFile:
    """NIfTI and MetaImage; their axes are columns, rows, slices."""
    import SimpleITK

    if path.suffix.lower() == ".mha":
        with path.open("rb") as file:
            if not re.search(rb"ElementDataFile\s*=\s*LOCAL\s", file.read(_META_IMAGE_HEADER)):
                raise ConversionError("does not hold its pixels itself (ElementDataFile = LOCAL); export it as one file.")
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    if reader.GetNumberOfComponents() != 1:
        raise SkippedFile(f"holds {reader.GetNumberOfComponents()} values a pixel (colour?), expected counts.")
    columns, rows, *others = reader.GetSize()
    _require_planar((*others, rows, columns))
    # A damaged header may claim pixels that the file does not have; ITK would make them up.
    pixels = SimpleITK.GetArrayFromImage(reader.Execute())
    column_mm, row_mm = reader.GetSpacing()[:2]
    is_usable = all(0 < value < math.inf for value in (row_mm, column_mm))
    return ArrayFile(pixels.reshape(rows, columns), (row_mm, column_mm) if is_usable else None)


def _numpy_array(path: Path) -> ArrayFile:
    # Mapped, not loaded: a header that claims more than the file has is an error then, not a request for memory.
    pixels: Any = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(pixels, np.ndarray):
        raise ConversionError("holds several arrays (.npz), expected one; save it with numpy.save.")
    if pixels.ndim < 2:
        raise ConversionError(f"holds an array of {pixels.ndim} dimensions, expected (rows, columns).")
    _require_planar(pixels.shape)
    return ArrayFile(np.array(pixels).reshape(pixels.shape[-2:]), None)


def _require_planar(shape: tuple[int, ...]) -> None:
    *others, rows, columns = shape
    if any(n != 1 for n in others):
        raise SkippedFile(f"has the shape {' x '.join(map(str, shape))}, expected one view of rows x columns a file.")
    if not (0 < rows <= LARGEST_SIDE and 0 < columns <= LARGEST_SIDE and rows * columns <= MOST_PIXELS):
        raise ConversionError(
            f"states {rows} x {columns} pixels, expected a planar scan of at most {LARGEST_SIDE} pixels a side."
        )


# A loader, and the library it needs.
LOADERS: dict[str, tuple[Callable[[Path], ArrayFile], str | None]] = {
    ".png": (_picture, "PIL.Image"),
    ".tif": (_picture, "PIL.Image"),
    ".tiff": (_picture, "PIL.Image"),
    ".nii": (_medical_image, "SimpleITK"),
    ".nii.gz": (_medical_image, "SimpleITK"),
    ".mha": (_medical_image, "SimpleITK"),
    ".npy": (_numpy_array, None),
}
