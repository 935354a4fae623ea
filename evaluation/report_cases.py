"""The cases of an evaluation as the viewer of the report shows them: worst first, missed and spurious lesions apart."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from evaluation.colours import MISSED_COLOUR, PREDICTION_COLOUR, REFERENCE_COLOUR, SPURIOUS_COLOUR
from evaluation.measure import PreparedCase
from evaluation.viewer import Column, Finding, Layer, Panel, ViewerCase

if TYPE_CHECKING:
    from evaluation.evaluate import Evaluation

# 300 whole-body views of 1024 x 256 px make a page of about 50 MB, which still opens at once; a browser's limit is not far.
SHOWN_CASES = 300

# Solid lines are the reference's, dashed ones the prediction's; errors have a marker as well. So they survive a grey printer.
# The reference lies on top and is thinner: where both outlines coincide, both are seen.
LAYERS = (
    Layer("reference", "reference", REFERENCE_COLOUR, "r", width=1.4),
    Layer("prediction", "prediction", PREDICTION_COLOUR, "p", dash=(5, 3), width=2.6),
    Layer("missed", "missed", MISSED_COLOUR, "m", width=1.6, marker="ring"),
    Layer("spurious", "spurious", SPURIOUS_COLOUR, "s", dash=(5, 3), width=1.8, marker="square"),
)
ORDER = "lowest Dice first"

# Column of lesions.csv, heading, decimals, explanation. Columns that a table lacks (no image, no probabilities) are left out.
_COLUMNS = (
    ("source", "mask", None, "reference or prediction"),
    ("status", "status", None, "merged: one predicted lesion over several reference lesions; split: the reverse"),
    ("diameter_mm", "⌀ mm", 1, "diameter of the disc of the same area"),
    ("area_mm2", "mm²", 0, "area"),
    ("volume_mm3", "mm³", 0, "volume"),
    ("image_sum", "counts", 0, "sum of the image over the lesion"),
    ("contrast", "contrast", 2, "against the surroundings"),
    ("confidence", "conf.", 2, "from the probability map"),
    ("dice", "Dice", 2, "with its partners"),
)
# Kept ahead of the page's writer, so that two cores are busy and memory stays flat.
_AHEAD = 4


def worst_first(images: pd.DataFrame) -> pd.DataFrame:
    """Rows of images.csv by ascending Dice, then by the number of missed and spurious lesions; undefined Dice last."""
    errors = images["reference_lesions"] - images["found_lesions"] + images["spurious_lesions"]
    # An undefined Dice means two empty masks: nothing went wrong there.
    ranked = images.assign(_errors=-errors).sort_values(["dice", "_errors", "case"], na_position="last")
    return ranked.drop(columns="_errors")


def lesion_columns(lesions: pd.DataFrame) -> list[Column]:
    """The columns of the viewer's table: those of lesions.csv that hold anything."""
    return [Column(heading, digits, hint) for _, heading, digits, hint in _present(lesions)]


def viewer_cases(evaluation: Evaluation, shown: int = SHOWN_CASES) -> Iterator[ViewerCase]:
    """The worst `shown` cases, worst first, each read when it is asked for; memory does not grow with their number.

    Raises UnusableInputError where a file that was read before cannot be read any more.
    """
    files = {case.case: case for case in evaluation.files}
    rows = _records(worst_first(evaluation.images).head(shown))
    by_case = dict(iter(evaluation.lesions.groupby("case", sort=False)))
    nothing = evaluation.lesions.iloc[:0]
    columns = [name for name, *_ in _present(evaluation.lesions)]
    unit = evaluation.summary["options"]["image_values"] or ""

    def make(row: dict[str, Any]) -> ViewerCase:
        prepared = evaluation.prepared(files[row["case"]])
        return viewer_case(row, prepared, by_case.get(row["case"], nothing), columns, unit)

    with ThreadPoolExecutor(2) as pool:
        waiting = iter(rows)
        futures = [pool.submit(make, row) for row in islice(waiting, _AHEAD)]
        for _ in tqdm(rows, desc="viewer", unit="case", delay=2, disable=None):
            case = futures.pop(0).result()
            futures += [pool.submit(make, row) for row in islice(waiting, 1)]
            yield case


def viewer_case(
    row: dict[str, Any], prepared: PreparedCase, lesions: pd.DataFrame, columns: list[str], unit: str = "counts"
) -> ViewerCase:
    """One case from its row of images.csv, its arrays and its rows of lesions.csv; of a volume, one slice.

    The slice is the one where reference and prediction differ most; lesions that do not meet it stand in the table alone.
    """
    labels, image = {"reference": prepared.reference, "prediction": prepared.prediction}, prepared.masks.image
    title = str(row["view"])
    if prepared.reference.ndim == 3:
        reference, prediction = prepared.reference > 0, prepared.prediction > 0
        differing = (reference ^ prediction).sum(axis=(1, 2)) + 1e-6 * (reference | prediction).sum(axis=(1, 2))
        plane = int(differing.argmax())
        title = f"{title} slice {plane}".strip()
        labels = {source: numbered[plane] for source, numbered in labels.items()}
        image = None if image is None else image[plane]
    row_mm, col_mm = prepared.masks.spacing_mm[-2:]
    kind = [
        status if status in ("missed", "spurious") else source for source, status in lesions[["source", "status"]].to_numpy()
    ]
    panel = Panel(
        title=title,
        spacing_mm=(row_mm, col_mm),
        layers=_layers(labels, lesions, kind),
        image=None if image is None else _whole_where_near(image),
        unit=unit,
    )
    findings = [
        _finding(record, layer, labels[record["source"]], (row_mm, col_mm), columns)
        for record, layer in zip(_records(lesions), kind, strict=True)
    ]
    return ViewerCase(
        name=str(row["case"]),
        panels=[panel],
        findings=findings,
        note=_note(row),
        warning="Prediction missing, counted as empty." if row["missing_prediction"] else "",
    )


def _present(lesions: pd.DataFrame) -> list[tuple[str, str, int | None, str]]:
    return [column for column in _COLUMNS if column[0] in lesions.columns and bool(lesions[column[0]].notna().any())]


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _layers(labels: dict[str, NDArray[np.int32]], lesions: pd.DataFrame, kind: list[str]) -> dict[str, NDArray[np.bool_]]:
    """Mask of every layer, from the numbered lesions of both masks."""
    masks = {}
    for source, error in (("reference", "missed"), ("prediction", "spurious")):
        of_source = zip(lesions["source"], lesions["lesion"], kind, strict=True)
        in_error = np.zeros(1 + max(int(labels[source].max()), *lesions["lesion"], 0), bool)
        in_error[[lesion for one, lesion, layer in of_source if one == source and layer == error]] = True
        masks[error] = in_error[labels[source]]
        masks[source] = (labels[source] > 0) & ~masks[error]
    return masks


def _finding(
    record: dict[str, Any], layer: str, numbered: NDArray[np.int32], spacing_mm: tuple[float, float], columns: list[str]
) -> Finding:
    row, col = np.nonzero(numbered == record["lesion"])
    cells = [None if pd.isna(record[name]) else record[name] for name in columns]
    if not row.size:
        return Finding(cells, layer)
    sides = (np.ptp(row) + 1) * spacing_mm[0], (np.ptp(col) + 1) * spacing_mm[1]
    middle = (row.min() + row.max()) / 2, (col.min() + col.max()) / 2
    return Finding(cells, layer, 0, float(middle[0]), float(middle[1]), float(max(sides) / 2))


def _note(row: dict[str, Any]) -> str:
    dice = "undefined (both empty)" if np.isnan(row["dice"]) else f"{row['dice']:.3f}"
    lesions = f"{row['found_lesions']} of {row['reference_lesions']} found, {row['spurious_lesions']} spurious"
    return f"Dice {dice}; {lesions}"


def _whole_where_near(image: NDArray[Any]) -> NDArray[Any]:
    """Counts recovered from 32-bit Anscombe values are whole only to a thousandth or so."""
    rounded = np.round(image)
    return rounded if np.allclose(image, rounded, rtol=0, atol=0.01) else image
