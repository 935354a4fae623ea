"""Pictures as text inside a page: 16 bits a pixel, compressed, lossless for counts."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.viewer.contract import MOST_LAYERS, Panel

# Level 9 takes five times as long as 6 and saves 1 % on a scintigram, whose noise is incompressible.
_LEVEL = 6
_TOP = 65535


@dataclass(frozen=True)
class PackedImage:
    """Pixel values as `offset + scale * stored`, stored as 16-bit numbers: all low bytes, then all high bytes, deflated.

    exact: no value was rounded. The two bytes of a pixel stand apart because the high one is almost always 0.
    """

    data: str
    scale: float
    offset: float
    exact: bool


def pack_image(image: NDArray[Any]) -> PackedImage:
    """Pack an image (H, W): whole numbers over a range of at most 65,535 exactly, others in 65,535 even steps.

    Values that are not finite are stored as the least finite one, and `exact` is False then.
    """
    values = np.asarray(image, dtype=np.float64)
    finite = np.isfinite(values)
    low, high = (float(values[finite].min()), float(values[finite].max())) if finite.any() else (0.0, 0.0)
    values = np.where(finite, values, low)
    # Counts start at 0: an offset only where the range demands one.
    offset = 0.0 if low >= 0 and high <= _TOP else low
    whole = high - offset <= _TOP and bool((values == np.round(values)).all())
    if not whole:
        offset = low
    scale = 1.0 if whole else ((high - low) / _TOP or 1.0)
    stored = np.round((values - offset) / scale).astype(np.uint16)
    planes = (stored & 255).astype(np.uint8).tobytes() + (stored >> 8).astype(np.uint8).tobytes()
    return PackedImage(_packed(planes), scale, offset, whole and bool(finite.all()))


def pack_layers(masks: Mapping[str, NDArray[np.bool_]], keys: Sequence[str], shape: tuple[int, int]) -> str:
    """Pack the masks (H, W) of a panel into one byte a pixel, layer i of `keys` as bit i; a key without mask is empty.

    Raises ValueError: a mask of an unknown layer or another shape, more than 8 layers.
    """
    if len(keys) > MOST_LAYERS:
        raise ValueError(f"{len(keys)} layers; the viewer shows at most {MOST_LAYERS}.")
    plane = np.zeros(shape, dtype=np.uint8)
    for key, mask in masks.items():
        if key not in keys:
            raise ValueError(f"layer {key!r} is not one of the viewer's layers ({', '.join(keys)}).")
        if mask.shape != shape:
            raise ValueError(f"layer {key!r} has shape {mask.shape}, its panel {shape}.")
        plane |= mask.astype(np.uint8) << keys.index(key)
    return _packed(plane.tobytes())


def pack_panel(panel: Panel, keys: Sequence[str]) -> dict[str, Any]:
    """Everything the page needs to draw a panel, ready for JSON.

    Raises ValueError: a panel with neither image nor mask, arrays that are not (H, W) or differ in shape.
    """
    arrays = [array for array in (panel.image, *panel.layers.values()) if array is not None]
    if not arrays or arrays[0].ndim != 2 or not arrays[0].size:
        raise ValueError(f"panel {panel.title!r} has no (H, W) picture.")
    height, width = arrays[0].shape
    return {
        "title": panel.title,
        "height": height,
        "width": width,
        "spacing": [float(mm) for mm in panel.spacing_mm],
        "unit": panel.unit,
        "sides": panel.sides,
        "image": None if panel.image is None else asdict(pack_image(panel.image)),
        "layers": pack_layers(panel.layers, keys, (height, width)),
    }


def _packed(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content, _LEVEL)).decode("ascii")
