"""JSON from strangers: bounded in size and depth, with a sentence for whatever is wrong with it."""

from __future__ import annotations

import json
import math
from pathlib import Path, PureWindowsPath
from typing import Any

from dataset_conversion.errors import ConversionError

# A COCO file of 5,000 views with 50 outlines each has some 100 MB; one LabelMe file with its image embedded 1 MB.
LARGEST_FILE = 256 << 20


def read_json(path: Path) -> Any:
    """Parse a JSON file; raises ConversionError where it cannot be read, is no JSON, or holds text that is no Unicode."""
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise ConversionError(f"{path}: has {size >> 20} MiB, expected at most {LARGEST_FILE >> 20}; split it.")
        text = path.read_text(encoding="utf-8-sig")
        content = json.loads(text)
        if "\\ud" in text or "\\uD" in text:  # half of a surrogate pair cannot be written to any output
            json.dumps(content, ensure_ascii=False).encode()
    except OSError as error:
        raise ConversionError(f"{path}: cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError, MemoryError) as error:
        reason = error if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise ConversionError(f"{path}: is not valid JSON ({reason}); save or export it again.") from error
    return content


def is_number(value: Any) -> bool:
    """Tell a finite number from everything else JSON can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the range of a float
        return False


def is_whole(value: Any) -> bool:
    """Tell a whole number from everything else, true and false included."""
    return isinstance(value, int) and not isinstance(value, bool)


def side(value: Any, name: str, where: str) -> int:
    """Return a width or height in px; raises ConversionError for anything but a positive whole number."""
    if not is_whole(value) or value < 1:
        raise ConversionError(f"{where}: {name} must be the image size in px, found {shown(value)}; save or export it again.")
    return int(value)


def shown(value: Any) -> str:
    """A value for an error message, cut short: a damaged file can hold anything."""
    try:
        text = repr(value)
    except ValueError:  # whole numbers of more than some 4,000 digits
        return "a number far too large"
    return text if len(text) <= 60 else f"{text[:57]}..."


def bare_name(path_as_stated: Any) -> str | None:
    """The file name of a path written on any system (folders between / or \\); None where it names no file."""
    return (PureWindowsPath(path_as_stated).name or None) if isinstance(path_as_stated, str) else None
