"""The viewer as pieces of HTML, yielded case by case so that no page of 300 pictures has to fit into memory."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evaluation.viewer.contract import Cell, Column, Layer, ViewerCase
from evaluation.viewer.packing import pack_panel

# Keys the viewer uses itself; a layer's shortcut must be none of them.
OWN_KEYS = "jknodfhlg01234+-?"

# In this order: each file uses the functions of those before it.
_SCRIPTS = ("decode.js", "outline.js", "draw.js", "tables.js", "viewer.js", "controls.js", "start.js")
_FOLDER = Path(__file__).parent / "static"


def viewer_blocks(
    cases: Iterable[ViewerCase],
    layers: Sequence[Layer],
    columns: Sequence[Column],
    *,
    order: str = "",
    printed: int = 12,
) -> Iterator[str]:
    """Yield the viewer as a fragment of HTML: style, markup, one block a case, the index of cases, script.

    cases: consumed one by one, each dropped once it is packed; the first is shown on opening. order: what their order means
    ("lowest Dice first"). printed: the page on paper shows this many, from the first on.

    The page that embeds the fragment needs nothing else; at most one viewer a page. Its script offers `window.msaViewer`,
    described in static/start.js.

    Raises ValueError: a layer's shortcut that is taken, findings with another number of cells than columns, and what
    `pack_panel` refuses; the message names the case.
    """
    keys = [layer.key for layer in layers]
    shortcuts = [layer.shortcut for layer in layers]
    if len(set(shortcuts)) < len(shortcuts) or any(len(key) != 1 or key in OWN_KEYS for key in shortcuts):
        raise ValueError(f"shortcuts {shortcuts}: expected different single keys, none of {OWN_KEYS}.")
    yield f"<style>\n{_static('viewer.css')}</style>\n{_static('viewer.html')}"
    listed = []
    for number, case in enumerate(cases):
        try:
            panels = [pack_panel(panel, keys) for panel in case.panels]
            listed.append(_listed(case, len(columns)))
        except ValueError as error:
            raise ValueError(f"case {case.name}: {error}") from error
        yield _json_block(f"viewer-case-{number}", panels)
    index = {
        "order": order,
        "printed": printed,
        "layers": [asdict(layer) for layer in layers],
        "columns": [asdict(column) for column in columns],
        "cases": listed,
    }
    yield _json_block("viewer-index", index)
    script = "\n".join(_static(name) for name in _SCRIPTS)
    yield f'<script>\n(() => {{\n"use strict";\n{script}}})();\n</script>\n'


def viewer_html(cases: Iterable[ViewerCase], layers: Sequence[Layer], columns: Sequence[Column], **options: Any) -> str:
    """All of `viewer_blocks` in one text."""
    return "".join(viewer_blocks(cases, layers, columns, **options))


def _listed(case: ViewerCase, columns: int) -> dict[str, Any]:
    findings = []
    for finding in case.findings:
        if len(finding.cells) != columns:
            raise ValueError(f"a finding has {len(finding.cells)} cells, the table {columns} columns.")
        findings.append(
            {
                "cells": [_cell(cell) for cell in finding.cells],
                "layer": finding.layer,
                "panel": finding.panel,
                "row": _cell(finding.row_px),
                "col": _cell(finding.col_px),
                "radius": finding.radius_mm,
            }
        )
    return {"name": case.name, "note": case.note, "warning": case.warning, "findings": findings}


def _cell(value: Cell) -> Cell:
    """A value for JSON: NaN as null, numpy's numbers as Python's, floats without digits that nobody reads."""
    if value is None or isinstance(value, str):
        return value
    number = float(value)
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() else float(f"{number:.6g}")


def _json_block(name: str, content: Any) -> str:
    """JSON inside a script element; no text of a file name can end the element."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    text = re.sub("[<>&]", lambda match: f"\\u{ord(match[0]):04x}", text)
    return f'<script type="application/json" id="{name}">{text}</script>\n'


def _static(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
