"""How far apart the outlines of two masks run, in mm: HD95 and the normalised surface Dice, in 2-D and 3-D."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from evaluation.metrics import empty_case_value

# Two pixels of a whole-body scan (2.26 mm) and about half the resolution of a planar bone scan (FWHM near 10 mm): an outline
# cannot be told from another one that runs closer to it. Our choice.
NSD_TOLERANCE_MM = 5.0


class BoundaryMeasures(NamedTuple):
    """HD95 in mm and the normalised surface Dice (0..1); NaN where the empty-case rule leaves them undefined."""

    hd95_mm: float
    nsd: float


def surface_points(mask: NDArray[np.bool_], spacing_mm: tuple[float, ...]) -> NDArray[np.float64]:
    """Centres in mm, shape (points, dimensions), of the mask's pixels that have a face on a pixel outside of it.

    What lies beyond the image counts as outside.
    """
    occupied = [np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis))) for axis in range(mask.ndim)]
    if not occupied[0].size:
        return np.empty((0, mask.ndim))
    start = np.array([indices[0] for indices in occupied])
    crop = mask[tuple(slice(indices[0], indices[-1] + 1) for indices in occupied)]
    padded = np.pad(crop, 1)
    interior = crop.copy()
    inside = (slice(1, -1),) * mask.ndim
    for axis in range(mask.ndim):
        for neighbour in (slice(None, -2), slice(2, None)):
            interior &= padded[(*inside[:axis], neighbour, *inside[axis + 1 :])]
    points: NDArray[np.float64] = (np.argwhere(crop & ~interior) + start) * np.asarray(spacing_mm, float)
    return points


def surface_distances(
    reference: NDArray[np.bool_], prediction: NDArray[np.bool_], spacing_mm: tuple[float, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distance in mm from every surface pixel of one mask to the other's surface: (reference to prediction, and back).

    Neither mask may be empty. A k-d tree over surface pixels gives the Euclidean distances that a distance transform would,
    but its cost follows the outlines' length instead of the area they are scattered over.
    """
    points = surface_points(reference, spacing_mm), surface_points(prediction, spacing_mm)
    return cKDTree(points[1]).query(points[0])[0], cKDTree(points[0]).query(points[1])[0]


def image_diagonal_mm(shape: tuple[int, ...], spacing_mm: tuple[float, ...]) -> float:
    """Length in mm of the diagonal of an image of `shape` pixels, from corner to corner."""
    return float(np.linalg.norm(np.asarray(shape) * np.asarray(spacing_mm)))


def boundary_measures(
    reference: NDArray[np.bool_],
    prediction: NDArray[np.bool_],
    spacing_mm: tuple[float, ...],
    tolerance_mm: float = NSD_TOLERANCE_MM,
) -> BoundaryMeasures:
    """HD95 and normalised surface Dice of two masks of one shape.

    HD95 = the larger of the two directed 95th percentiles of surface distance (linear interpolation), as in Maier-Hein et al.,
    Metrics reloaded (2024). NSD = share of both surfaces' pixels that lie within `tolerance_mm` of the other surface
    (Nikolov et al. 2018), every surface pixel weighing the same.
    """
    empty = not reference.any(), not prediction.any()
    worst_hd95 = empty_case_value(*empty, worst=image_diagonal_mm(reference.shape, spacing_mm))
    worst_nsd = empty_case_value(*empty, worst=0.0)
    if worst_hd95 is not None and worst_nsd is not None:
        return BoundaryMeasures(worst_hd95, worst_nsd)
    there, back = surface_distances(reference, prediction, spacing_mm)
    hd95 = max(float(np.percentile(there, 95)), float(np.percentile(back, 95)))
    within = np.count_nonzero(there <= tolerance_mm) + np.count_nonzero(back <= tolerance_mm)
    return BoundaryMeasures(hd95, within / (there.size + back.size))
