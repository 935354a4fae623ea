"""What was found in a scan, without a reference: one row a lesion, and the content of findings.json.

A finding is a connected part of a predicted mask. Nothing here says what it is: its confidence is the network's own figure,
not the probability of a metastasis.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.counterparts import COUNTERPART_MM, counterparts, mirrored
from evaluation.errors import UnusableInputError
from evaluation.finding_burden import STUDY
from evaluation.finding_view import FindingView
from evaluation.lesions import SURROUNDINGS_MM, lesion_columns
from evaluation.metrics import quotient
from evaluation.probabilities import lesion_confidence

SCHEMA = 1
# Pixel sizes that differ by less are one: `cases.SPACING_TOLERANCE`, without that module's image library.
_SPACING_TOLERANCE = 1e-3
THIRDS = ("upper", "middle", "lower")


def findings(
    views: Sequence[FindingView],
    *,
    labels: Mapping[str, int] | None = None,
    shift_px: tuple[float, float] = (0, 0),
    counterpart_mm: float = COUNTERPART_MM,
) -> pd.DataFrame:
    """Describe every lesion of one or two opposite views of a scan.

    labels: class names and numbers, for the column label; without them it is the number. shift_px: (rows, columns) by which the
    second view, mirrored left-right, has to be moved to lie on the first. counterpart_mm: see `counterparts.counterparts`.

    Columns: view; lesion (from 1 in each view, in reading order); label; centroid_row_px, centroid_col_px (pixel centres at
    integers); centroid_row_mm, centroid_col_mm (from the view's top left corner); area_px, area_mm2; diameter_mm (of the disc
    of the same area); counts (sum), mean_counts (a pixel); contrast (mean counts over those within 10 mm around, see
    `lesions.contrast`); confidence, confidence_mean (highest and mean probability, NaN without probabilities); body_third
    (upper, middle or lower of the rows that the body takes up in this view, None where no body is seen); counterpart (number of
    the lesion at the mirrored position of the other view, missing where there is none and where the views differ in shape or
    pixel size), counterpart_mm (between the centroids).

    Raises UnusableInputError: no view, more than two, or two of one name.
    """
    _require_pair(views)
    tables = [_lesions(view, labels or {}) for view in views]
    if len(views) == 2 and _in_one_frame(views[0], views[1]):
        _link(tables[0], tables[1], views[0], shift_px, counterpart_mm)
    return pd.concat(tables, ignore_index=True)


def findings_json(
    views: Sequence[FindingView], lesions: pd.DataFrame, burdens: pd.DataFrame, *, counterpart_mm: float = COUNTERPART_MM
) -> dict[str, Any]:
    """Content of findings.json, ready for json.dumps: plain numbers, words and lists, null where something is undefined.

    {"schema": 1, "rules": {...}, "views": [{"view", "height_px", "width_px", "spacing_mm", "searched_px": [top, left, height,
    width], "lesions": [{columns of `findings`}], "burden": [{columns of `burden_table`}]}],
    "study": {"burden": [...]}}.
    """
    described = []
    for view in views:
        rows, columns = view.searched
        described.append(
            {
                "view": view.name,
                "height_px": view.mask.shape[0],
                "width_px": view.mask.shape[1],
                "spacing_mm": [float(mm) for mm in view.spacing_mm],
                "searched_px": [rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start],
                "lesions": _records(lesions, view.name),
                "burden": _records(burdens, view.name),
            }
        )
    return {
        "schema": SCHEMA,
        "rules": {"surroundings_mm": SURROUNDINGS_MM, "counterpart_mm": counterpart_mm, "connectivity": 8},
        "views": described,
        STUDY: {"burden": _records(burdens, STUDY)},
    }


def _require_pair(views: Sequence[FindingView]) -> None:
    names = [view.name for view in views]
    if not 1 <= len(views) <= 2 or len(set(names)) != len(names) or STUDY in names:
        raise UnusableInputError(
            f"findings are made of one or two opposite views of one scan, found {', '.join(names) or 'none'}."
        )


def _in_one_frame(first: FindingView, second: FindingView) -> bool:
    return first.mask.shape == second.mask.shape and np.allclose(
        first.spacing_mm, second.spacing_mm, rtol=_SPACING_TOLERANCE, atol=0
    )


def _lesions(view: FindingView, labels: Mapping[str, int]) -> pd.DataFrame:
    numbered, classes = view.components
    number = len(classes)
    column = lesion_columns(numbered, number, view.spacing_mm, image=view.counts.astype(float))
    names = {value: name for name, value in labels.items()}
    unknown = np.full(number, np.nan)
    confidence = [
        unknown if view.probability is None else lesion_confidence(numbered, number, view.probability, kind)
        for kind in ("max", "mean")
    ]
    row, col = column["centroid_row_px"], column["centroid_col_px"]
    counts = np.round(column["image_sum"]).astype(np.int64)
    return pd.DataFrame(
        {
            "view": pd.Series([view.name] * number, dtype=object),
            "lesion": column["lesion"],
            "label": pd.Series([names.get(value, str(value)) for value in classes.tolist()], dtype=object),
            "centroid_row_px": row,
            "centroid_col_px": col,
            "centroid_row_mm": (row + 0.5) * view.spacing_mm[0],
            "centroid_col_mm": (col + 0.5) * view.spacing_mm[1],
            "area_px": column["area_px"],
            "area_mm2": column["area_mm2"],
            "diameter_mm": column["diameter_mm"],
            "counts": counts,
            "mean_counts": quotient(counts, column["area_px"]),
            "contrast": column["contrast"],
            "confidence": confidence[0],
            "confidence_mean": confidence[1],
            "body_third": pd.Series(_thirds(view.body, row), dtype=object),
            "counterpart": pd.array([pd.NA] * number, dtype="Int64"),
            "counterpart_mm": unknown.copy(),
        }
    )


def _thirds(body: NDArray[np.bool_], rows: NDArray[np.float64]) -> list[str | None]:
    taken = np.flatnonzero(body.any(axis=1))
    if not taken.size:
        return [None] * len(rows)
    top, height = taken[0] - 0.5, taken[-1] - taken[0] + 1
    return [THIRDS[min(int(3 * (row - top) / height), 2)] for row in rows.tolist()]


def _link(first: pd.DataFrame, second: pd.DataFrame, view: FindingView, shift: tuple[float, float], within_mm: float) -> None:
    still, moving = (table[["centroid_row_px", "centroid_col_px"]].to_numpy(float) for table in (first, second))
    moved = mirrored(moving, view.mask.shape[1], shift)
    for here, there, distance in counterparts(still, moved, view.spacing_mm, within_mm):
        for table, mine, other in ((first, here, there), (second, there, here)):
            table.loc[mine, "counterpart"] = other + 1
            table.loc[mine, "counterpart_mm"] = distance


def _records(table: pd.DataFrame, view: str) -> list[dict[str, Any]]:
    mine = table[table["view"] == view].drop(columns="view")
    return [{str(key): _plain(value) for key, value in row.items()} for row in mine.to_dict("records")]


def _plain(value: Any) -> Any:
    if value is None or value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value.item() if isinstance(value, np.generic) else value
