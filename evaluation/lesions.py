"""Connected components of a mask as a tidy table: one row a lesion."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

Connectivity = Literal[4, 8]

# "Clustered" has no published definition on planar bone scans; 20 mm is about the width of a rib with its intercostal space.
# Our choice.
CLUSTER_MM = 20.0

# Column names of a lesion's size, by dimension of the image.
SIZE_COLUMNS = {2: ("area_px", "area_mm2"), 3: ("volume_px", "volume_mm3")}


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


def clustered_lesions(
    labels: NDArray[np.int32], number: int, spacing_mm: tuple[float, ...], within_mm: float
) -> NDArray[np.bool_]:
    """Tell for lesions 1..number whether another lesion lies within `within_mm`.

    The distance is edge to edge: between the two closest pixel centres of the two lesions, in mm.
    """
    clustered = np.zeros(number, dtype=bool)
    margin = np.ceil(within_mm / np.asarray(spacing_mm)).astype(int)
    for index, box in enumerate(ndimage.find_objects(labels, number) if number > 1 else []):
        window = labels[tuple(slice(max(s.start - m, 0), s.stop + m) for s, m in zip(box, margin, strict=True))]
        others = (window > 0) & (window != index + 1)
        if others.any():
            distance = ndimage.distance_transform_edt(window != index + 1, sampling=spacing_mm)
            clustered[index] = distance[others].min() <= within_mm
    return clustered


def lesion_table(
    labels: NDArray[np.int32],
    number: int,
    spacing_mm: tuple[float, ...],
    *,
    case: str = "",
    cluster_mm: float = CLUSTER_MM,
    image: NDArray[np.floating] | None = None,
) -> pd.DataFrame:
    """Describe lesions 1..number of `labels`, one row each.

    Columns: case, lesion (its number), area_px, area_mm2 (in 3-D volume_px, volume_mm3), diameter_mm (of the disc or ball of
    the same size), centroid_row_px, centroid_col_px (in 3-D also centroid_plane_px; pixel centres at integers), clustered
    (another lesion of the table within `cluster_mm`, edge to edge), image_sum (sum of `image` over the lesion; only where
    an image of the same shape is given: counts, where the image holds counts).
    """
    where = np.nonzero(labels)
    lesion = labels[where]

    def per_lesion(weights: NDArray | None = None) -> NDArray:
        return np.bincount(lesion, weights=weights, minlength=number + 1)[1:]

    pixels = per_lesion()
    size_mm = pixels * float(np.prod(spacing_mm))
    size_px_name, size_mm_name = SIZE_COLUMNS[labels.ndim]
    table = pd.DataFrame(
        {
            "case": pd.Series([case] * number, dtype=object),
            "lesion": np.arange(1, number + 1),
            size_px_name: pixels,
            size_mm_name: size_mm,
            "diameter_mm": equivalent_diameter_mm(size_mm, labels.ndim),
        }
    )
    for axis, name in enumerate(("plane", "row", "col")[-labels.ndim :]):
        table[f"centroid_{name}_px"] = per_lesion(where[axis].astype(float)) / pixels
    table["clustered"] = clustered_lesions(labels, number, spacing_mm, cluster_mm)
    if image is not None:
        table["image_sum"] = per_lesion(image[where].astype(float))
    return table
