"""One planar view of one scan: the type that flows through conversion."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

View = Literal["anterior", "posterior"]
VIEWS: tuple[View, View] = ("anterior", "posterior")


@dataclass(frozen=True)
class Scintigram:
    """A view of a scan, with what conversion needs of its header and nothing else.

    counts: (H, W), non-negative integers, head first, as acquired; never rescaled.
    spacing_mm: (row, column) pixel size in mm.
    patient: the patient's identifier as the source states it; it is pseudonymised before anything is written.
    study, instance: DICOM UIDs; they group the views of a visit and match outlines to a scan.
    frame: 1-based frame number within `source`.
    person: name and birth date, to notice one patient under two identifiers; compared in memory, never written.
    burned_in: the header says that text is burned into the pixels.
    """

    counts: np.ndarray
    spacing_mm: tuple[float, float]
    view: View
    patient: str
    study: str
    instance: str
    frame: int
    source: Path
    person: str = ""
    burned_in: bool = False
