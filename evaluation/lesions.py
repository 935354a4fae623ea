"""Connected components of a mask as columns of a tidy table: one row a lesion."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Connectivity = Literal[4, 8]

# "Clustered" has no published definition on planar bone scans; 20 mm is about the width of a rib with its intercostal space.
# Our choice.
CLUSTER_MM = 20.0

# Ring in which the surroundings of a lesion are measured: about the resolution of a planar bone scan, so that it holds the
# bone beside the lesion and little of what lies behind. Our choice.
SURROUNDINGS_MM = 10.0

# What a lesion's size is called and its unit, by dimension of the image.
SIZE_NAMES = {2: ("area", "mm2"), 3: ("volume", "mm3")}


def connected_components(mask: NDArray[np.bool_], connectivity: Connectivity = 8) -> tuple[NDArray[np.int32], int]:
    """Number the connected components of a 2-D or 3-D mask: (labels of the mask's shape, number of lesions).

    connectivity: 8 joins pixels that touch at a corner (26 neighbours in 3-D), 4 only at an edge (6 in 3-D, at a face).
    Lesions are numbered from 1 in reading order of their first pixel; 0 is background.
    """
    reach = mask.ndim if connectivity == 8 else 1
    labels, number = ndimage.label(mask, structure=ndimage.generate_binary_structure(mask.ndim, reach), output=np.int32)
    return labels, int(number)


def equivalent_diameter_mm(size_mm: NDArray[np.float64], dimensions: int) -> NDArray[np.float64]:
    """Diameter in mm of the disc (2-D, area in mm2) or ball (3-D, volume in mm3) of the same size."""
    return 2 * np.sqrt(size_mm / np.pi) if dimensions == 2 else np.cbrt(6 * size_mm / np.pi)


def without_small(
    labels: NDArray[np.int32], number: int, spacing_mm: tuple[float, ...], smallest_mm: float
) -> tuple[NDArray[np.int32], int]:
    """Drop the lesions smaller than `smallest_mm` (mm2, in 3-D mm3) and number the others anew, in the same order."""
    if smallest_mm <= 0:
        return labels, number
    # The factor is for rounding: a lesion of exactly the smallest size stays.
    kept = np.bincount(labels.ravel(), minlength=number + 1)[1:] * float(np.prod(spacing_mm)) >= smallest_mm * (1 - 1e-9)
    return keep_lesions(labels, kept)


def keep_lesions(labels: NDArray[np.int32], kept: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """Keep the lesions i + 1 with kept[i] and number them anew, in the same order: (labels, number)."""
    if kept.all():
        return labels, kept.size
    names = np.concatenate([[0], np.where(kept, np.cumsum(kept), 0)]).astype(np.int32)
    return names[labels], int(kept.sum())


def clustered_lesions(
    labels: NDArray[np.int32], number: int, spacing_mm: tuple[float, ...], within_mm: float
) -> NDArray[np.bool_]:
    """Tell for lesions 1..number whether another lesion lies within `within_mm`.

    The distance is edge to edge: between the two closest pixel centres of the two lesions, in mm.
    """
    clustered = np.zeros(number, dtype=bool)
    margin = _margin(within_mm, spacing_mm)
    for index, box in enumerate(ndimage.find_objects(labels, number) if number > 1 else []):
        window = labels[_wider(box, margin)]
        others = (window > 0) & (window != index + 1)
        if others.any():
            distance = ndimage.distance_transform_edt(window != index + 1, sampling=spacing_mm)
            clustered[index] = distance[others].min() <= within_mm
    return clustered


def contrast(
    labels: NDArray[np.int32],
    number: int,
    spacing_mm: tuple[float, ...],
    image: NDArray[np.floating],
    ring_mm: float = SURROUNDINGS_MM,
) -> NDArray[np.float64]:
    """Mean of `image` in lesions 1..number over its mean in their surroundings, shape (number,).

    The surroundings are the pixels within `ring_mm` of the lesion (pixel centre to pixel centre) that belong to no lesion.
    NaN where there are none or they hold nothing.
    """
    ratio = np.full(number, np.nan)
    margin = _margin(ring_mm, spacing_mm)
    for index, box in enumerate(ndimage.find_objects(labels, number)):
        window = _wider(box, margin)
        mine = labels[window] == index + 1
        around = (ndimage.distance_transform_edt(~mine, sampling=spacing_mm) <= ring_mm) & (labels[window] == 0)
        level = image[window][around].mean() if around.any() else 0.0
        if level > 0:
            ratio[index] = image[window][mine].mean() / level
    return ratio


def _margin(reach_mm: float, spacing_mm: tuple[float, ...]) -> NDArray[np.int64]:
    return np.ceil(reach_mm / np.asarray(spacing_mm)).astype(np.int64)


def _wider(box: tuple[slice, ...], margin: NDArray[np.int64]) -> tuple[slice, ...]:
    return tuple(slice(max(s.start - int(m), 0), s.stop + int(m)) for s, m in zip(box, margin, strict=True))


def lesion_columns(
    labels: NDArray[np.int32],
    number: int,
    spacing_mm: tuple[float, ...],
    *,
    cluster_mm: float = CLUSTER_MM,
    image: NDArray[np.floating] | None = None,
) -> dict[str, NDArray[Any]]:
    """Describe lesions 1..number of `labels`: columns of a table with one row each.

    Columns: lesion (its number), area_px, area_mm2 (in 3-D volume_px, volume_mm3), diameter_mm (of the disc or ball of the
    same size), centroid_row_px, centroid_col_px (in 3-D also centroid_plane_px; pixel centres at integers), clustered
    (another lesion of the table within `cluster_mm`, edge to edge), image_sum (sum of `image` over the lesion: counts, where
    the image holds counts), contrast (see there); the last two are NaN without an image of the same shape.
    """
    where = np.unravel_index(np.flatnonzero(labels), labels.shape)
    lesion = labels[where]

    def per_lesion(weights: NDArray | None = None) -> NDArray:
        return np.bincount(lesion, weights=weights, minlength=number + 1)[1:]

    pixels = per_lesion()
    size_mm = pixels * float(np.prod(spacing_mm))
    size, unit = SIZE_NAMES[labels.ndim]
    columns: dict[str, NDArray[Any]] = {
        "lesion": np.arange(1, number + 1),
        f"{size}_px": pixels,
        f"{size}_{unit}": size_mm,
        "diameter_mm": equivalent_diameter_mm(size_mm, labels.ndim),
    }
    for axis, name in enumerate(("plane", "row", "col")[-labels.ndim :]):
        columns[f"centroid_{name}_px"] = per_lesion(where[axis].astype(float)) / pixels
    columns["clustered"] = clustered_lesions(labels, number, spacing_mm, cluster_mm)
    undefined = np.full(number, np.nan)
    columns["image_sum"] = undefined if image is None else per_lesion(image[where].astype(float))
    columns["contrast"] = undefined if image is None else contrast(labels, number, spacing_mm, image)
    return columns
