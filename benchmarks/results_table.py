"""A benchmark's table of results as a CSV file that grows while runs finish."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def done_runs(file: Path) -> list[dict[str, Any]]:
    """The table's rows, [] where there is none yet."""
    if not file.is_file():
        return []
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def write_rows(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    """The whole table, written beside and renamed: a stopped bench never leaves half of one."""
    partial = file.with_suffix(".part")
    with partial.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, list(rows[-1]))
        writer.writeheader()
        writer.writerows(rows)
    partial.replace(file)
