"""What a user may allow or add when scans are read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReadOptions:
    """Choices for reading scans; the default trusts the files alone.

    allow_lossy: read scans compressed with loss, with a warning, although their counts are no longer the scanner's.
    spacing_mm: (row, column) pixel size in mm for files that state none.
    """

    allow_lossy: bool = False
    spacing_mm: tuple[float, float] | None = None
