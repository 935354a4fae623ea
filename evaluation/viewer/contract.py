"""What a page hands to the viewer: cases of panels with layers, and findings as rows of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Cell = str | float | int | None

# A panel's masks travel as the bits of one byte a pixel.
MOST_LAYERS = 8


@dataclass(frozen=True)
class Layer:
    """A kind of outline that can be shown and hidden; the first layer of a viewer lies on top.

    colour: CSS hex. dash: lengths in screen px of line and gap, () for a solid line. width: screen px. marker: what is drawn
    around every finding of the layer, so that it is told from others without colour. shortcut: the key that toggles it, any
    letter that the viewer does not use itself (`page.OWN_KEYS`).
    """

    key: str
    label: str
    colour: str
    shortcut: str
    dash: tuple[float, ...] = ()
    width: float = 1.6
    marker: Literal["none", "ring", "square"] = "none"


@dataclass(frozen=True)
class Column:
    """A column of the table of findings; digits: decimals of its numbers (None: text). hint: explanation on hovering."""

    label: str
    digits: int | None = None
    hint: str = ""


@dataclass(frozen=True)
class Finding:
    """One row of the table, and the place in the pictures to which a click on it leads.

    cells: one value a column; None and NaN print as a dash. layer: key of the layer it belongs to. panel: index into the
    case's panels. row_px, col_px: its centre, pixel centres at integers; None where it lies outside the pictures.
    radius_mm: of the ring around it.
    """

    cells: Sequence[Cell]
    layer: str
    panel: int = 0
    row_px: float | None = None
    col_px: float | None = None
    radius_mm: float = 0.0


@dataclass(frozen=True)
class Panel:
    """One picture. Arrays are (H, W), spacing_mm by array axis.

    image: None draws the outlines on white. unit: of the image's values. layers: masks by the key of their layer.
    sides: what stands at the left and right edge ("R", "L"), None where it is not known.
    """

    title: str
    spacing_mm: tuple[float, float]
    layers: Mapping[str, NDArray[np.bool_]]
    image: NDArray[Any] | None = None
    unit: str = "counts"
    sides: tuple[str, str] | None = None


@dataclass(frozen=True)
class ViewerCase:
    """One entry of the case list: its panels side by side, its findings, one line beside its name.

    warning: a sentence above the picture, "" for none.
    """

    name: str
    panels: Sequence[Panel]
    findings: Sequence[Finding] = field(default_factory=tuple)
    note: str = ""
    warning: str = ""
