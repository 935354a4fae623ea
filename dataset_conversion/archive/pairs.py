"""A table that says which outlines belong to which scan, for archives whose names do not."""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from dataset_conversion.errors import ConversionError
from dataset_conversion.scintigram import VIEWS, View

REQUIRED, OPTIONAL = ("scan", "outlines"), ("view", "rater")


@dataclass(frozen=True)
class Pair:
    """One row: the outlines of one view of a scan; view None where the file itself or a scan of one view decides."""

    source: Path
    number: int
    scan: Path
    outlines: Path
    view: View | None
    rater: str


def read_pairs(table: Path, folder: Path) -> dict[Path, list[Pair]]:
    """Read a CSV table with the columns scan, outlines and optionally view and rater; rows by resolved outline path.

    Paths are relative to the input folder, or absolute. Raises ConversionError where the table cannot be read, a column is
    missing or unknown, a cell that is needed is empty or a view is neither anterior nor posterior.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
            columns = tuple(rows[0]) if rows else REQUIRED
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConversionError(f"{table}: cannot be read as a CSV table ({error}).") from error
    wrong = [name for name in REQUIRED if name not in columns] or [c for c in columns if c not in REQUIRED + OPTIONAL]
    if wrong:
        raise ConversionError(
            f"{table}: column {wrong[0]!r} is {'missing' if wrong[0] in REQUIRED else 'unknown'};"
            f" expected {', '.join(REQUIRED)} and, where needed, {', '.join(OPTIONAL)}."
        )
    pairs: dict[Path, list[Pair]] = defaultdict(list)
    for number, row in enumerate(rows, start=2):  # as a spreadsheet counts, the header being row 1
        pair = _pair(table, number, {name: (row[name] or "").strip() for name in columns}, folder)
        pairs[pair.outlines.resolve()].append(pair)
    return dict(pairs)


def _pair(table: Path, number: int, row: dict[str, str], folder: Path) -> Pair:
    empty = [name for name in REQUIRED if not row[name]]
    if empty:
        raise ConversionError(f"{table}: row {number} has no {empty[0]}; fill it in or delete the row.")
    stated = row.get("view", "").lower()
    view = next((view for view in VIEWS if view == stated), None)
    if stated and view is None:
        raise ConversionError(f"{table}: row {number} has the view {stated!r}; expected {' or '.join(VIEWS)}.")
    return Pair(table, number, folder / row["scan"], folder / row["outlines"], view, row.get("rater", ""))
