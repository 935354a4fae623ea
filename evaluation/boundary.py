"""How far apart the outlines of two masks run, in mm: HD95, average surface distance, normalised surface Dice; 2-D and 3-D.

An outline is made of elements as in Nikolov et al. 2018 (arXiv:1809.04430) and their package surface-distance, with which the
three measures agree: one element at every corner of pixels whose 2 x 2 (2 x 2 x 2) pixels are not all alike, weighted by the
length (area) of marching squares' (cubes') outline there. An outline is thus as long as it looks, whichever way it runs and
whatever the pixel size; counting border pixels instead weighs a diagonal outline too little.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from evaluation.metrics import empty_case_value

# Two pixels of a whole-body scan (2.26 mm) and about half the resolution of a planar bone scan (FWHM near 10 mm): an outline
# cannot be told from another one that runs closer to it. Our choice.
NSD_TOLERANCE_MM = 5.0

_HD_SHARE = 0.95
# Sums of weights are rounded; a share that is 0.95 in exact numbers must not be missed for that.
_ROUNDING = 1e-9


class BoundaryMeasures(NamedTuple):
    """HD95 and average surface distance in mm, normalised surface Dice (0..1); NaN where the empty-case rule says so."""

    hd95_mm: float
    asd_mm: float
    nsd: float


class Outline(NamedTuple):
    """Elements of a mask's outline: positions in mm, shape (elements, dimensions), and lengths in mm (areas in mm2)."""

    points_mm: NDArray[np.float64]
    weights: NDArray[np.float64]


def outline(mask: NDArray[np.bool_], spacing_mm: tuple[float, ...]) -> Outline:
    """Elements of the outline of a mask (H, W) or (D, H, W); what lies beyond the image counts as outside.

    Positions are those of pixel corners, with pixel centres at multiples of the pixel size.
    """
    occupied = [np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis))) for axis in range(mask.ndim)]
    if not occupied[0].size:
        return Outline(np.empty((0, mask.ndim)), np.empty(0))
    start = np.array([indices[0] for indices in occupied])
    padded = np.pad(mask[tuple(slice(indices[0], indices[-1] + 1) for indices in occupied)], 1).view(np.uint8)
    code = np.zeros([size - 1 for size in padded.shape], np.uint8)
    for bit, corner in enumerate(_corners(mask.ndim)):
        code |= padded[tuple(slice(c, size - 1 + c) for c, size in zip(corner, padded.shape, strict=True))] << bit
    border = np.nonzero((code != 0) & (code != (1 << 2**mask.ndim) - 1))
    points: NDArray[np.float64] = (np.stack(border, axis=-1) + start - 0.5) * np.asarray(spacing_mm, float)
    return Outline(points, _element_sizes(tuple(map(float, spacing_mm)))[code[border]])


def _corners(dimensions: int) -> list[tuple[int, ...]]:
    return list(product((0, 1), repeat=dimensions))


@lru_cache(maxsize=16)
def _element_sizes(spacing_mm: tuple[float, ...]) -> NDArray[np.float64]:
    """Length (area) of the outline in a neighbourhood of 2 x 2 (2 x 2 x 2) pixels, by the code of which of them are inside."""
    if len(spacing_mm) == 2:
        return np.array([_contour_length(code, *spacing_mm) for code in range(16)])
    codes, triangles = _cube_triangles()
    first, second = np.moveaxis((triangles[:, 1:] - triangles[:, :1]) * np.asarray(spacing_mm), 1, 0)
    areas = np.linalg.norm(np.cross(first, second), axis=1) / 2
    return np.bincount(codes, weights=areas, minlength=256).astype(float)


def _contour_length(code: int, row_mm: float, column_mm: float) -> float:
    upper_left, upper_right, lower_left, lower_right = (code >> bit & 1 for bit in range(4))
    corner_cut = float(np.hypot(row_mm, column_mm)) / 2
    if upper_left + upper_right + lower_left + lower_right in (1, 3):
        return corner_cut
    if upper_left != upper_right and lower_left != lower_right:
        return row_mm if upper_left == lower_left else 2 * corner_cut
    return column_mm if upper_left != lower_left else 0.0


@lru_cache(maxsize=1)
def _cube_triangles() -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Marching cubes' triangles for every code of 2 x 2 x 2 pixels: (their codes, corners (triangles, 3, 3) in pixels)."""
    from skimage.measure import marching_cubes  # slow to import, and volumes are rare

    codes, triangles = [], []
    for code in range(1, 255):
        inside = np.array([code >> bit & 1 for bit in range(8)], float)
        if inside.sum() > 4:  # a mask and its complement share their surface: that of the fewer corners is simple to draw
            inside = 1 - inside
        vertices, faces, _, _ = marching_cubes(inside.reshape(2, 2, 2), 0.5, method="lorensen", allow_degenerate=False)
        codes += [code] * len(faces)
        triangles.append(vertices[faces].astype(float))
    return np.array(codes), np.concatenate(triangles)


def image_diagonal_mm(shape: tuple[int, ...], spacing_mm: tuple[float, ...]) -> float:
    """Length in mm of the diagonal of an image of `shape` pixels, from corner to corner."""
    return float(np.linalg.norm(np.asarray(shape) * np.asarray(spacing_mm)))


def boundary_measures(
    reference: NDArray[np.bool_],
    prediction: NDArray[np.bool_],
    spacing_mm: tuple[float, ...],
    tolerance_mm: float = NSD_TOLERANCE_MM,
) -> BoundaryMeasures:
    """Distances between the outlines of two masks of one shape.

    Every element's distance is that to the closest element of the other outline. HD95: the larger of the two directed 95th
    percentiles, the smallest distance that 95 % of an outline's length does not exceed. Average surface distance: over the
    lengths of both outlines together. Normalised surface Dice: share of both lengths within `tolerance_mm` of the other.
    """
    empty = not reference.any(), not prediction.any()
    worst_mm = empty_case_value(*empty, worst=image_diagonal_mm(reference.shape, spacing_mm))
    worst_nsd = empty_case_value(*empty, worst=0.0)
    if worst_mm is not None and worst_nsd is not None:
        return BoundaryMeasures(worst_mm, worst_mm, worst_nsd)
    (there, back), (reference_mm, predicted_mm) = _distances(reference, prediction, spacing_mm)
    distance, weight = np.concatenate([there, back]), np.concatenate([reference_mm, predicted_mm])
    return BoundaryMeasures(
        hd95_mm=max(_percentile(there, reference_mm), _percentile(back, predicted_mm)),
        asd_mm=float(np.average(distance, weights=weight)),
        nsd=float(weight[distance <= tolerance_mm].sum() / weight.sum()),
    )


def directed_averages(
    reference: NDArray[np.bool_], prediction: NDArray[np.bool_], spacing_mm: tuple[float, ...]
) -> tuple[float, float]:
    """Average distance in mm from the reference's outline to the prediction's, and back; neither mask may be empty."""
    (there, back), (reference_mm, predicted_mm) = _distances(reference, prediction, spacing_mm)
    return float(np.average(there, weights=reference_mm)), float(np.average(back, weights=predicted_mm))


def _distances(
    reference: NDArray[np.bool_], prediction: NDArray[np.bool_], spacing_mm: tuple[float, ...]
) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Distances of the elements of either outline to the other, and their lengths."""
    first, second = outline(reference, spacing_mm), outline(prediction, spacing_mm)
    # A k-d tree's cost follows the outlines' length, a distance transform's the area they are scattered over.
    there = cKDTree(second.points_mm).query(first.points_mm)[0]
    back = cKDTree(first.points_mm).query(second.points_mm)[0]
    return (there, back), (first.weights, second.weights)


def _percentile(distances: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    order = np.argsort(distances, kind="stable")
    reached = np.cumsum(weights[order])
    enough = int(np.searchsorted(reached, _HD_SHARE * reached[-1] * (1 - _ROUNDING)))
    return float(distances[order[enough]])
