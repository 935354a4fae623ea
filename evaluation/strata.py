"""Groups of reference lesions: by equivalent diameter in mm, and clustered or solitary."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

# No cut-off between small and large lesions is published for planar bone scans. Our choice: 10 mm is about the resolution of
# a planar bone scan, and every cut quadruples the area.
CUTS_MM = (10.0, 20.0, 40.0)


def size_names(cuts_mm: Sequence[float] = CUTS_MM) -> list[str]:
    """Name the len(cuts_mm) + 1 size strata, ascending; a stratum holds its lower cut and not its upper one."""
    between = [f"diameter {low:g}-{high:g} mm" for low, high in pairwise(cuts_mm)]
    return [f"diameter < {cuts_mm[0]:g} mm", *between, f"diameter >= {cuts_mm[-1]:g} mm"]


def size_stratum(diameter_mm: ArrayLike, cuts_mm: Sequence[float] = CUTS_MM) -> list[str]:
    """Name the size stratum of every lesion of `diameter_mm`."""
    names = size_names(cuts_mm)
    return [names[index] for index in np.digitize(np.asarray(diameter_mm, float), cuts_mm)]


def strata(lesions: pd.DataFrame, cuts_mm: Sequence[float] = CUTS_MM) -> dict[str, pd.DataFrame]:
    """Split a lesion table (columns diameter_mm, clustered) by size, ascending, then into clustered and solitary lesions.

    Every stratum is present, the empty ones too. A lesion is in one size stratum and in one of the last two.
    """
    size = np.asarray(size_stratum(lesions["diameter_mm"], cuts_mm), dtype=object)
    clustered = lesions["clustered"].to_numpy(dtype=bool)
    groups = {name: lesions[size == name] for name in size_names(cuts_mm)}
    return {**groups, "clustered": lesions[clustered], "solitary": lesions[~clustered]}
