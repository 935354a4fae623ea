"""STEM.scan.json beside an array or a picture: what DICOM would say in its header."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset_conversion.errors import ConversionError
from dataset_conversion.scintigram import VIEWS, View

SIDE_CAR_SUFFIX = ".scan.json"
KEYS = ("spacing_mm", "patient", "study", "view")
# Four short entries; a larger file is something else.
LARGEST_SIDE_CAR = 64 << 10


@dataclass(frozen=True)
class SideCar:
    """What the side-car states; None where it does not. spacing_mm: (row, column) pixel size in mm."""

    spacing_mm: tuple[float, float] | None = None
    patient: str | None = None
    study: str | None = None
    view: View | None = None


def read_side_car(path: Path) -> SideCar:
    """Read a side-car file; one that does not exist states nothing. Raises ConversionError for anything but its four keys."""
    try:
        if path.stat().st_size > LARGEST_SIDE_CAR:
            raise ConversionError(f"{path}: has {path.stat().st_size} bytes, expected a few lines ({', '.join(KEYS)}).")
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return SideCar()
    except (ValueError, RecursionError) as error:
        raise ConversionError(f'{path}: is no JSON; write it like {{"spacing_mm": [2.4, 2.4], "patient": "17"}}.') from error
    if not isinstance(content, dict):
        raise ConversionError(f"{path}: expected an object with the keys {', '.join(KEYS)}; found a {type(content).__name__}.")
    unknown = [str(key)[:40] for key in content if key not in KEYS]
    if unknown:
        raise ConversionError(f"{path}: has the unknown key {unknown[0]!r}, expected {', '.join(KEYS)}; correct or remove it.")
    view = content.get("view")
    if view is not None and view not in VIEWS:
        raise ConversionError(f"{path}: its view is {str(view)[:40]!r}, expected {' or '.join(VIEWS)}.")
    return SideCar(_spacing(content, path), _name(content, "patient", path), _name(content, "study", path), view)


def _spacing(content: dict[str, Any], path: Path) -> tuple[float, float] | None:
    value = content.get("spacing_mm")
    if value is None:
        return None
    numbers = [v for v in value if isinstance(v, int | float) and not isinstance(v, bool)] if isinstance(value, list) else []
    if len(numbers) != 2 or not isinstance(value, list) or len(value) != 2 or not all(0 < v < math.inf for v in numbers):
        raise ConversionError(f"{path}: its spacing_mm is {str(value)[:40]}, expected [row, column] in mm, both positive.")
    return float(numbers[0]), float(numbers[1])


def _name(content: dict[str, Any], key: str, path: Path) -> str | None:
    value = content.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        raise ConversionError(f"{path}: its {key} is {str(value)[:40]!r}, expected a text in quotes that is not empty.")
    return value.strip()
