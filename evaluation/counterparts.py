"""Which lesion of one view is which of the opposite view: the one at the mirrored position."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

# Parallel holes show a lesion at one place in both views; how far apart its two centres are is a matter of attenuation and of
# the patient's rest. Of 64 simulated lesions 48 lay within 3 mm of a mirrored one, those seen in one view only mostly over
# 15 mm from any; ribs are some 20 mm apart. Our choice; nothing is published.
COUNTERPART_MM = 15.0


def mirrored(centroids: NDArray[np.float64], n_columns: int, shift_px: tuple[float, float] = (0, 0)) -> NDArray[np.float64]:
    """Bring centroids (n, 2) in (row, column) px of the second view into the frame of the first.

    n_columns: width of both views in px. shift_px: (rows, columns) by which the mirrored second view has to be moved.
    """
    moved: NDArray[np.float64] = np.column_stack([centroids[:, 0], n_columns - 1 - centroids[:, 1]]) + np.asarray(shift_px)
    return moved


def counterparts(
    first: NDArray[np.float64], second: NDArray[np.float64], spacing_mm: tuple[float, float], within_mm: float = COUNTERPART_MM
) -> list[tuple[int, int, float]]:
    """Pair lesions by their centroids (n, 2) in (row, column) px of one frame: (index in first, in second, distance in mm).

    A lesion has at most one counterpart, at most `within_mm` from centroid to centroid. There are as many pairs as possible,
    and of all such choices the one with the smallest sum of distances is taken.
    """
    offsets = (first[:, None] - second[None]) * np.asarray(spacing_mm)
    distance = np.hypot(offsets[..., 0], offsets[..., 1])
    # A pair that is too far apart costs more than all pairs together could save.
    cost = np.where(distance <= within_mm, distance, within_mm * (1 + min(distance.shape)))
    return [(int(i), int(j), float(distance[i, j])) for i, j in zip(*linear_sum_assignment(cost), strict=True)
            if distance[i, j] <= within_mm]  # fmt: skip
