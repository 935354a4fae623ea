"""Compressed Pixel Data -> array, by pydicom's decoders in a child process."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from dataset_conversion.readers import child

# libjpeg fills what is missing with grey and only prints so; it also tells of bytes too many, which harm nothing.
HARMLESS = "extraneous bytes"


def decode(syntax: str, data: bytes, options: dict[str, Any]) -> np.ndarray:
    """Decode encapsulated data into an array of whole numbers, (rows, columns) or (frames, rows, columns).

    options: what pydicom's decoders need to know of the image (`rows`, `columns`, `number_of_frames`, ...).
    Raises ChildError for damage, a decoder that crashes, and one that takes longer than 4 s.
    """
    arguments = {"syntax": syntax, "options": options}
    pixels, answer = child.ask("decode", "pydicom.pixels.decoders", arguments, data)
    if answer["printed"] and HARMLESS not in answer["printed"]:
        raise child.ChildError(answer["printed"].splitlines()[0])
    return pixels


def decode_here(data: bytes, syntax: str, options: dict[str, Any]) -> np.ndarray:
    """Decode in this process; raises whatever the decoder raises."""
    pixels, _ = get_decoder(UID(syntax)).as_array(data, **options)
    return np.ascontiguousarray(pixels)
