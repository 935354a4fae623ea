"""How much was found in a scan, by view and in both together, without a reference (with one: burden)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from evaluation.finding_view import FindingView
from evaluation.metrics import quotient

# What stands in the place of the view's name in the rows of both views together.
STUDY = "study"


def burden_table(
    views: Sequence[FindingView], lesions: pd.DataFrame, *, labels: Mapping[str, int] | None = None
) -> pd.DataFrame:
    """Say how much was found: rows of every class in every view, and in both together under the view name "study".

    lesions: table of `findings` for these views. labels: as there; classes without a lesion have rows only if named in it.

    Columns: view, label; lesions (number; for the study a lesion and its counterpart count once); area_mm2 and counts (sums;
    for the study over both views); counts_share (counts in lesions over counts searched); fraction_of_body (lesion area over
    body area searched, NaN where no body is seen); fraction_of_image (lesion area over the area searched). Shares of the study
    are of the sums over both views. None of them is the bone scan index, which weighs bones by their mass.
    """
    names = [name for name, value in (labels or {}).items() if value > 0]
    names += [name for name in dict.fromkeys(lesions["label"]) if name not in names]
    searched = {view.name: _searched(view) for view in views}
    rows = []
    for view in [*(view.name for view in views), STUDY]:
        mine = lesions if view == STUDY else lesions[lesions["view"] == view]
        wholes = np.sum([searched[name] for name in searched if view in (name, STUDY)], axis=0)
        for name in names:
            found = mine[mine["label"] == name]
            area, counts = float(found["area_mm2"].sum()), int(found["counts"].sum())
            number = len(found) if view != STUDY else _distinct(found)
            shares = quotient([counts, area, area], wholes).tolist()
            rows.append([view, name, number, area, counts, *shares])
    columns = ["view", "label", "lesions", "area_mm2", "counts", "counts_share", "fraction_of_body", "fraction_of_image"]
    return pd.DataFrame(rows, columns=columns)


def _searched(view: FindingView) -> list[float]:
    """Counts, body area and area in mm2 of the part of a view that was searched; the body is NaN where none is seen."""
    pixel = float(np.prod(view.spacing_mm))
    body = view.body[view.searched]
    area = np.count_nonzero(body) * pixel if view.body.any() else np.nan
    return [float(view.counts[view.searched].sum(dtype=np.float64)), area, body.size * pixel]


def _distinct(lesions: pd.DataFrame) -> int:
    """Lesions of both views, a pair of counterparts of this class once."""
    names = list(dict.fromkeys(lesions["view"]))
    if len(names) < 2:
        return len(lesions)
    first = set(lesions.loc[lesions["view"] == names[0], "lesion"])
    return len(lesions) - int(lesions.loc[lesions["view"] == names[1], "counterpart"].isin(first).sum())
