"""Where the patient is in a view: a coarse map of the counts and the body in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

# Cells this wide average away Poisson noise (80 counts a cell in soft tissue) and still show the gap between the legs.
CELL_MM = 9.0
# Fewer cells across than this show no anatomy, whatever the pixel size says.
FEWEST_CELLS = 32
# The level of a view is what its brightest twentieth exceeds: bone, not the few cells of bladder and injection site.
LEVEL_PERCENTILE = 95
# Of that level, soft tissue has a sixth or more and scatter beside the body under a twentieth (NM1, phantom).
BODY_SHARE = 0.1
# Whole-body scans are 3 to 4 times as high as wide; a regional view, at most 1.5 times, need not show head or feet.
WHOLE_BODY_ASPECT = 2.0


@dataclass(frozen=True)
class Body:
    """The patient in a view, on cells of about 9 mm.

    level: counts a pixel in bone. mean: (h, w) counts a pixel. smooth: the same, Gaussian sigma one cell.
    inside: (h, w) bool, the body. cell_px, cell_mm: height and width of a cell. top, bottom: first row of cells with body,
    and the one after the last.
    whole_body: the view shows a standing figure, not a region.
    """

    level: float
    mean: np.ndarray
    smooth: np.ndarray
    inside: np.ndarray
    cell_px: tuple[int, int]
    cell_mm: tuple[float, float]
    top: int
    bottom: int
    whole_body: bool


def find_body(counts: np.ndarray, spacing_mm: tuple[float, float]) -> Body | None:
    """Find the body as the largest 4-connected region of smoothed counts above a tenth of the view's level.

    counts: (H, W). Returns None where there is none: no counts, or an image of under 32 px.
    """
    cell_px = _cell(counts.shape[0], spacing_mm[0]), _cell(counts.shape[1], spacing_mm[1])
    if min(counts.shape) < FEWEST_CELLS:
        return None
    mean = mean_of_cells(counts, cell_px)
    smooth = ndimage.gaussian_filter(mean, 1.0)
    level = float(np.percentile(smooth, LEVEL_PERCENTILE))
    if level <= 0:
        return None
    labels, _ = ndimage.label(smooth > BODY_SHARE * level)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    inside = labels == sizes.argmax()
    rows = np.flatnonzero(inside.any(axis=1))
    return Body(
        level,
        mean,
        smooth,
        inside,
        cell_px,
        (cell_px[0] * spacing_mm[0], cell_px[1] * spacing_mm[1]),
        int(rows[0]),
        int(rows[-1]) + 1,
        counts.shape[0] * spacing_mm[0] >= WHOLE_BODY_ASPECT * counts.shape[1] * spacing_mm[1],
    )


def mean_of_cells(pixels: np.ndarray, cell_px: tuple[int, int]) -> np.ndarray:
    """Average (H, W) pixels over whole cells, (H // rows, W // columns) float32; an incomplete last cell is left out."""
    rows, columns = cell_px
    height, width = pixels.shape[0] // rows, pixels.shape[1] // columns
    whole = pixels[: height * rows, : width * columns].astype(np.float32)
    # One axis after the other: half the time of a mean over both.
    sums: np.ndarray = whole.reshape(height, rows, -1).sum(axis=1).reshape(height, width, columns).sum(axis=2)
    return sums / (rows * columns)


def _cell(length_px: int, pixel_mm: float) -> int:
    return int(np.clip(round(CELL_MM / pixel_mm), 1, max(length_px // FEWEST_CELLS, 1)))
