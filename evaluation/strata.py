"""Groups of lesions: by equivalent diameter, neighbourhood, contrast, view, and number of lesions in the image."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from evaluation.errors import UnusableInputError

if TYPE_CHECKING:
    import pandas as pd

# No cut-off between small and large lesions is published for planar bone scans. Our choice: 10 mm is about the resolution of
# a planar bone scan, and every cut quadruples the area.
CUTS_MM = (10.0, 20.0, 40.0)

# Mean in the lesion over mean in its surroundings. None is published either; below 1.5 a lesion is hard to see beside normal
# bone, above 2.5 it stands out. Our choice.
CONTRAST_CUTS = (1.5, 2.5)

# Reference lesions in the image: the groups of Liu et al. 2021 (up to 3, 4 to 6, more).
LESION_NUMBERS = (3, 6)


def size_names(cuts_mm: Sequence[float] = CUTS_MM) -> list[str]:
    """Name the len(cuts_mm) + 1 size strata, ascending; a stratum holds its lower cut and not its upper one."""
    return _interval_names("diameter ", cuts_mm, " mm")


def size_stratum(diameter_mm: ArrayLike, cuts_mm: Sequence[float] = CUTS_MM) -> list[str]:
    """Name the size stratum of every lesion of `diameter_mm`."""
    names = size_names(cuts_mm)
    return [names[index] for index in np.digitize(np.asarray(diameter_mm, float), cuts_mm)]


def size_in_pixels(cuts_mm: Sequence[float], pixel_mm: float, dimensions: int) -> list[str]:
    """Areas in pixels (3-D: volumes in voxels) of the size strata, as text; pixel_mm: size of a pixel in mm2 (mm3)."""
    diameters = np.asarray(cuts_mm, float)
    cuts = (np.pi / 4 * diameters**2 if dimensions == 2 else np.pi / 6 * diameters**3) / pixel_mm
    return _interval_names("", [float(f"{cut:.3g}") for cut in cuts], " px")


def strata(
    lesions: pd.DataFrame, cuts_mm: Sequence[float] = CUTS_MM, contrast_cuts: Sequence[float] = CONTRAST_CUTS
) -> dict[str, pd.DataFrame]:
    """Split a lesion table (columns diameter_mm, clustered) by size, ascending, then into clustered and solitary lesions.

    Where the columns are there and say anything, it is also split by contrast, by view, and by lesions_in_image (reference
    lesions in the lesion's image). Every stratum of such a split is present, the empty ones too; a lesion without contrast or
    view is in no stratum of that split.
    """
    size = np.asarray(size_stratum(lesions["diameter_mm"], cuts_mm), dtype=object)
    clustered = lesions["clustered"].to_numpy(dtype=bool)
    groups = {name: lesions[size == name] for name in size_names(cuts_mm)}
    groups |= {"clustered": lesions[clustered], "solitary": lesions[~clustered]}
    if "contrast" in lesions and lesions["contrast"].notna().any():
        contrast = lesions["contrast"].to_numpy(dtype=float)
        index = np.where(np.isnan(contrast), -1, np.digitize(contrast, contrast_cuts))
        names = _interval_names("contrast ", contrast_cuts, "")
        groups |= {name: lesions[index == number] for number, name in enumerate(names)}
    if "view" in lesions:
        groups |= {f"view {view}": lesions[lesions["view"] == view] for view in sorted(set(lesions["view"]) - {""})}
    if "lesions_in_image" in lesions:
        few, some = LESION_NUMBERS
        number = lesions["lesions_in_image"]
        groups[f"1-{few} lesions in the image"] = lesions[(number >= 1) & (number <= few)]
        groups[f"{few + 1}-{some} lesions in the image"] = lesions[(number > few) & (number <= some)]
        groups[f"> {some} lesions in the image"] = lesions[number > some]
    return groups


def stratum_kind(name: str) -> str:
    """What a stratum of `strata` splits by: size, neighbourhood, contrast, view, or lesions in the image."""
    if name in ("clustered", "solitary"):
        return "neighbourhood"
    kinds = {"diameter": "size", "contrast": "contrast", "view": "view"}
    return kinds.get(name.split()[0], "lesions in the image")


def training_cuts(path: Path, contrast_cuts: Sequence[float] = CONTRAST_CUTS) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Tertiles of the reference lesions in a lesions.csv: (cuts of the diameter in mm, cuts of the contrast).

    They are rounded to 0.1 mm and 0.01, so that what is printed is what is used. contrast_cuts stand in where the table has
    no contrast.

    Raises UnusableInputError: unreadable table, columns missing, or too few different lesions for tertiles.
    """
    import pandas as pd  # slow to import, and the processes that measure cases do without

    try:
        table = pd.read_csv(path)
        if "source" in table:
            table = table[table["source"] == "reference"]
        diameters = table["diameter_mm"].to_numpy(dtype=float)
    except (OSError, ValueError, KeyError) as error:
        raise UnusableInputError(
            f"{path}: expected lesions.csv of `msa evaluate` on the training set, with the columns source and diameter_mm "
            f"({type(error).__name__}: {error})."
        ) from error
    cuts = _tertiles(diameters, 1)
    if cuts is None or not np.isfinite(diameters).all() or cuts[0] <= 0:
        raise UnusableInputError(f"{path}: {len(diameters)} reference lesions do not divide into tertiles of diameter.")
    contrast = _tertiles(table["contrast"].dropna().to_numpy(dtype=float), 2) if "contrast" in table else None
    return cuts, contrast or tuple(contrast_cuts)


def _tertiles(values: ArrayLike, digits: int) -> tuple[float, float] | None:
    if np.size(values) < 3:
        return None
    low, high = np.round(np.quantile(np.asarray(values, float), [1 / 3, 2 / 3]), digits)
    return (float(low), float(high)) if low < high else None


def _interval_names(before: str, cuts: Sequence[float], unit: str) -> list[str]:
    between = [f"{before}{low:g}-{high:g}{unit}" for low, high in pairwise(cuts)]
    return [f"{before}< {cuts[0]:g}{unit}", *between, f"{before}>= {cuts[-1]:g}{unit}"]
