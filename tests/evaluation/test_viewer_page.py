from __future__ import annotations

import json
import re
from collections.abc import Iterator

import numpy as np
import pytest

from evaluation.viewer import Column, Finding, Layer, Panel, ViewerCase, viewer_blocks, viewer_html

LAYERS = [Layer("prediction", "prediction", "#E69F00", "p")]
COLUMNS = [Column("what"), Column("size", 1)]


def case(name: str = "a", cells: tuple[str | float | None, ...] = ("x", 1.0)) -> ViewerCase:
    panel = Panel("anterior", (2.0, 3.0), {"prediction": np.eye(4, dtype=bool)}, np.arange(16).reshape(4, 4))
    return ViewerCase(name, [panel], [Finding(cells, "prediction", 0, 1.0, 2.0, 4.0)], note="fine")


def blocks_of(page: str) -> dict[str, object]:
    found = re.findall(r'<script type="application/json" id="([^"]+)">(.*?)</script>', page, re.DOTALL)
    return {name: json.loads(text) for name, text in found}


def test_the_page_holds_every_case_and_the_index_of_all() -> None:
    content = blocks_of(viewer_html([case("a"), case("b")], LAYERS, COLUMNS, order="by name"))
    assert list(content) == ["viewer-case-0", "viewer-case-1", "viewer-index"]
    index = content["viewer-index"]
    assert isinstance(index, dict)
    assert [one["name"] for one in index["cases"]] == ["a", "b"]
    assert index["cases"][0]["findings"] == [
        {"cells": ["x", 1], "layer": "prediction", "panel": 0, "row": 1, "col": 2, "radius": 4.0}
    ]
    assert index["order"] == "by name"


def test_undefined_numbers_become_null() -> None:
    index = blocks_of(viewer_html([case(cells=("x", float("nan")))], LAYERS, COLUMNS))["viewer-index"]
    assert isinstance(index, dict)
    assert index["cases"][0]["findings"][0]["cells"] == ["x", None]


def test_no_text_can_leave_its_place() -> None:
    name = "</script><script>alert(1)</script><!--&"
    page = viewer_html([case(name)], LAYERS, COLUMNS)
    assert "alert(1)</script>" not in page
    index = blocks_of(page)["viewer-index"]
    assert isinstance(index, dict)
    assert index["cases"][0]["name"] == name


def test_nothing_outside_the_page_is_named() -> None:
    page = viewer_html([case()], LAYERS, COLUMNS)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|<link|src=|@import|url\(", page)


def test_cases_are_taken_one_by_one_as_the_page_is_written() -> None:
    taken = []

    def cases() -> Iterator[ViewerCase]:
        for name in ("a", "b", "c"):
            taken.append(name)
            yield case(name)

    blocks = viewer_blocks(cases(), LAYERS, COLUMNS)
    next(blocks)
    assert taken == []
    next(blocks)
    assert taken == ["a"]


def test_a_contract_that_is_broken_is_named_with_its_case() -> None:
    with pytest.raises(ValueError, match="case b: a finding has 1 cells, the table 2 columns"):
        viewer_html([case("a"), case("b", ("x",))], LAYERS, COLUMNS)
    with pytest.raises(ValueError, match="shortcuts"):
        viewer_html([], [Layer("x", "x", "#000", "j")], COLUMNS)
    with pytest.raises(ValueError, match="shortcuts"):
        viewer_html([], [*LAYERS, Layer("x", "x", "#000", "p")], COLUMNS)
