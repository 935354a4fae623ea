"""Lesions of a scan without a reference, against arithmetic done by hand and against scikit-image and plain loops."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from skimage.measure import label as equal_neighbours
from skimage.measure import regionprops

from evaluation.counterparts import COUNTERPART_MM, counterparts, mirrored
from evaluation.errors import UnusableInputError
from evaluation.finding_burden import STUDY, burden_table
from evaluation.finding_view import FindingView
from evaluation.findings import findings, findings_json

SPACING = (2.0, 3.0)
LABELS = {"background": 0, "metastasis": 1, "benign": 2}
SHAPE = (90, 40)


def _body() -> NDArray[np.uint16]:
    """Air of 1 count; rows 15 to 74 and columns 10 to 29 hold 20 counts."""
    counts = np.ones(SHAPE, np.uint16)
    counts[15:75, 10:30] = 20
    return counts


def _view(name: str = "anterior", *boxes: tuple[int, int, int, int, int], **changes: Any) -> FindingView:
    """A view with boxes (top, left, height, width, class) of 60 counts a pixel on it."""
    mask, counts = np.zeros(SHAPE, np.uint8), _body()
    for top, left, tall, wide, value in boxes:
        mask[top : top + tall, left : left + wide] = value
        counts[top : top + tall, left : left + wide] = 60
    return FindingView(**{"name": name, "mask": mask, "probability": None, "counts": counts, "spacing_mm": SPACING} | changes)


def test_a_lesion_is_described_in_pixels_millimetres_and_counts() -> None:
    view = _view("anterior", (40, 12, 2, 4, 1))
    probability = np.zeros(SHAPE, np.float32)
    probability[40:42, 12:16] = 0.5
    probability[41, 13] = 0.9
    table = findings([_view("anterior", (40, 12, 2, 4, 1), probability=probability)], labels=LABELS)
    (row,) = table.to_dict("records")
    assert (row["view"], row["lesion"], row["label"], row["area_px"]) == ("anterior", 1, "metastasis", 8)
    assert (row["centroid_row_px"], row["centroid_col_px"]) == (40.5, 13.5)
    assert (row["centroid_row_mm"], row["centroid_col_mm"]) == (82.0, 42.0)  # 41 rows of 2 mm, 14 columns of 3 mm
    assert row["area_mm2"] == pytest.approx(48)
    assert row["diameter_mm"] == pytest.approx(2 * math.sqrt(48 / math.pi))
    assert (row["counts"], row["mean_counts"]) == (480, 60)
    # 10 mm around it lies body of 20 counts, and to the left of column 10 a little air.
    ring = [
        int(view.counts[r, c])
        for r, c in itertools.product(range(SHAPE[0]), range(SHAPE[1]))
        if not view.mask[r, c]
        and min(math.hypot(2 * (r - a), 3 * (c - b)) for a, b in itertools.product((40, 41), (12, 13, 14, 15))) <= 10
    ]
    assert row["contrast"] == pytest.approx(60 / (sum(ring) / len(ring)))
    assert row["confidence"] == pytest.approx(0.9)
    assert row["confidence_mean"] == pytest.approx((7 * 0.5 + 0.9) / 8)
    assert row["body_third"] == "middle"
    assert pd.isna(row["counterpart"])


def test_without_probabilities_the_confidence_is_undefined() -> None:
    assert findings([_view("anterior", (40, 12, 2, 4, 1))])[["confidence", "confidence_mean"]].isna().all().all()


@settings(max_examples=60)
@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 3)))
def test_lesions_are_the_connected_parts_of_one_class_in_reading_order(mask: NDArray[np.uint8]) -> None:
    view = FindingView("anterior", mask, None, np.ones(mask.shape, np.uint16), SPACING)
    table = findings([view], labels=LABELS)
    expected = regionprops(equal_neighbours(mask, background=0, connectivity=2))
    assert table["lesion"].tolist() == list(range(1, len(expected) + 1))
    for row, region in zip(table.to_dict("records"), expected, strict=True):
        value = int(mask[tuple(region.coords[0])])
        assert row["label"] == {1: "metastasis", 2: "benign", 3: "3"}[value]
        assert row["area_px"] == region.area
        assert (row["centroid_row_px"], row["centroid_col_px"]) == pytest.approx(region.centroid)
    numbered, _ = view.components
    first = [np.flatnonzero(numbered == number)[0] for number in table["lesion"]]
    assert first == sorted(first)


def test_a_scan_without_lesions_has_a_table_of_the_same_columns_and_kinds() -> None:
    none, some = findings([_view()], labels=LABELS), findings([_view("anterior", (40, 12, 2, 4, 1))], labels=LABELS)
    assert len(none) == 0
    assert none.dtypes.equals(some.dtypes)
    table = burden_table([_view()], none, labels=LABELS)
    assert table["lesions"].tolist() == table["area_mm2"].tolist() == table["counts_share"].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("row", "third"), [(15, "upper"), (33, "upper"), (37, "middle"), (53, "middle"), (57, "lower"), (73, "lower")]
)
def test_the_third_is_of_the_rows_that_the_body_takes_up(row: int, third: str) -> None:
    assert findings([_view("anterior", (row, 15, 1, 1, 1))])["body_third"].tolist() == [third]


def test_no_third_is_told_where_no_body_is_seen() -> None:
    view = _view("anterior", (40, 12, 2, 4, 1), counts=np.ones(SHAPE, np.uint16))
    lesions = findings([view])
    assert lesions["body_third"].tolist() == [None]
    table = burden_table([view], lesions)
    assert table["fraction_of_body"].isna().all()
    assert table["fraction_of_image"].tolist() == pytest.approx([8 / 3600] * 2)
    views = [view, _view("posterior", (40, 12, 2, 4, 1))]
    fractions = burden_table(views, findings(views))["fraction_of_body"]
    assert fractions.isna().tolist() == [True, False, True]  # of the study too: the body of one view is not that of both


def test_the_counterpart_is_the_lesion_at_the_mirrored_place_and_each_names_the_other() -> None:
    front = _view("anterior", (30, 12, 3, 3, 1), (60, 20, 2, 2, 1))
    back = _view("posterior", (20, 14, 3, 3, 1), (30, 25, 3, 3, 1))  # columns 25 to 27 are 12 to 14 from the other side
    table = findings([front, back])
    assert table["counterpart"].tolist() == [2, pd.NA, pd.NA, 1]
    assert table["counterpart_mm"].tolist() == pytest.approx([0, math.nan, math.nan, 0], nan_ok=True)


def test_the_second_view_is_moved_by_the_shift_after_it_is_mirrored() -> None:
    front, back = _view("anterior", (30, 12, 3, 3, 1)), _view("posterior", (20, 19, 3, 3, 1))
    assert findings([front, back])["counterpart"].isna().all()  # 10 rows of 2 mm and 6 columns of 3 mm away
    moved = findings([front, back], shift_px=(10, -6))
    assert moved["counterpart"].tolist() == [1, 1]
    assert moved["counterpart_mm"].tolist() == [0, 0]
    assert findings([front, back], counterpart_mm=27)["counterpart_mm"].tolist() == pytest.approx([math.hypot(20, 18)] * 2)


def test_views_of_different_pixels_have_no_counterparts() -> None:
    front, back = (_view(name, (30, 18, 3, 4, 1)) for name in ("anterior", "posterior"))
    assert findings([front, back])["counterpart"].tolist() == [1, 1]
    other = _view("posterior", (30, 18, 3, 4, 1), spacing_mm=(2.0, 2.9))
    assert findings([front, other])["counterpart"].isna().all()


def test_mirroring_twice_gives_the_same_place() -> None:
    places = np.array([[3.0, 0.0], [7.5, 11.25]])
    assert mirrored(places, 40)[0].tolist() == [3, 39]
    assert np.array_equal(mirrored(mirrored(places, 40), 40), places)


@settings(max_examples=60)
@given(
    arrays(float, st.tuples(st.integers(0, 4), st.just(2)), elements=st.integers(0, 12)),
    arrays(float, st.tuples(st.integers(0, 4), st.just(2)), elements=st.integers(0, 12)),
)
def test_pairs_are_as_many_as_possible_and_then_as_close_as_possible(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> None:
    """Against every way to pair them."""
    distance = {
        (i, j): math.hypot(2 * (a[0] - b[0]), 3 * (a[1] - b[1])) for i, a in enumerate(first) for j, b in enumerate(second)
    }
    best = (0, 0.0)
    for n in range(1, min(len(first), len(second)) + 1):
        choices = itertools.combinations(range(len(first)), n), itertools.permutations(range(len(second)), n)
        for mine, others in itertools.product(*choices):
            chosen = [distance[pair] for pair in zip(mine, others, strict=True)]
            if max(chosen) <= COUNTERPART_MM:
                best = min(best, (-n, sum(chosen)))
    pairs = counterparts(first, second, (2, 3))
    assert len({i for i, _, _ in pairs}) == len({j for _, j, _ in pairs}) == len(pairs) == -best[0]
    assert sum(mm for _, _, mm in pairs) == pytest.approx(best[1])
    assert all(mm == pytest.approx(distance[i, j]) for i, j, mm in pairs)


def test_the_burden_is_stated_by_view_and_class_and_of_the_study() -> None:
    front = _view("anterior", (30, 12, 3, 3, 1), (60, 20, 2, 2, 2))
    back = _view("posterior", (30, 25, 3, 3, 1), (50, 14, 2, 3, 1))
    lesions = findings([front, back], labels=LABELS)
    table = burden_table([front, back], lesions, labels=LABELS).set_index(["view", "label"])
    assert table.index.tolist() == list(itertools.product(("anterior", "posterior", STUDY), ("metastasis", "benign")))
    assert table["lesions"].tolist() == [1, 1, 2, 0, 2, 1]  # the lesion seen from both sides counts once in the study
    assert table["area_mm2"].tolist() == pytest.approx([54, 24, 90, 0, 144, 24])
    assert table["counts"].tolist() == [540, 240, 900, 0, 1440, 240]
    total = {view.name: int(view.counts.sum()) for view in (front, back)}
    assert table.loc[("anterior", "metastasis"), "counts_share"] == pytest.approx(540 / total["anterior"])
    assert table.loc[(STUDY, "metastasis"), "counts_share"] == pytest.approx(1440 / sum(total.values()))
    body = {view.name: 6 * np.count_nonzero(view.body) for view in (front, back)}
    assert body["anterior"] == pytest.approx(6 * 60 * 20, rel=0.2)  # of the drawn body, widened by the smoothing
    assert table.loc[("posterior", "metastasis"), "fraction_of_body"] == pytest.approx(90 / body["posterior"])
    assert table.loc[(STUDY, "metastasis"), "fraction_of_body"] == pytest.approx(144 / sum(body.values()))
    assert table.loc[(STUDY, "metastasis"), "fraction_of_image"] == pytest.approx(144 / (2 * 6 * 3600))


def test_counterparts_of_different_classes_are_both_counted() -> None:
    front, back = _view("anterior", (30, 12, 3, 3, 1)), _view("posterior", (30, 25, 3, 3, 2))
    lesions = findings([front, back], labels=LABELS)
    assert lesions["counterpart"].tolist() == [1, 1]
    table = burden_table([front, back], lesions, labels=LABELS)
    assert table[table["view"] == STUDY]["lesions"].tolist() == [1, 1]
    front, back = _view("anterior", (20, 12, 3, 3, 2), (60, 12, 3, 3, 1)), _view("posterior", (20, 25, 3, 3, 1))
    table = burden_table([front, back], findings([front, back], labels=LABELS), labels=LABELS)
    assert table[table["view"] == STUDY]["lesions"].tolist() == [2, 1]


def test_shares_are_of_the_part_that_was_searched() -> None:
    whole, part = (_view("anterior", (30, 12, 3, 3, 1), crop=crop) for crop in (None, (20, 5, 30, 20)))
    lesions = findings([part], labels=LABELS)
    pd.testing.assert_frame_equal(lesions, findings([whole], labels=LABELS))
    (row, *_) = burden_table([part], lesions, labels=LABELS).to_dict("records")
    searched = whole.counts[20:50, 5:25], whole.body[20:50, 5:25]
    assert row["counts_share"] == pytest.approx(540 / searched[0].sum())
    assert row["fraction_of_body"] == pytest.approx(9 / np.count_nonzero(searched[1]))
    assert row["fraction_of_image"] == pytest.approx(9 / 600)


def test_the_json_holds_both_tables_and_null_for_what_is_undefined() -> None:
    views = [_view("anterior", (30, 12, 3, 3, 1), crop=(20, 5, 30, 20)), _view("posterior")]
    lesions = findings(views, labels=LABELS)
    burdens = burden_table(views, lesions, labels=LABELS)
    content = findings_json(views, lesions, burdens)
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert content["schema"] == 1
    front, back = content["views"]
    assert (front["view"], front["height_px"], front["width_px"], front["spacing_mm"]) == ("anterior", 90, 40, [2, 3])
    assert (front["searched_px"], back["searched_px"]) == ([20, 5, 30, 20], [0, 0, 90, 40])
    (lesion,) = front["lesions"]
    assert list(lesion) == [name for name in lesions.columns if name != "view"]
    assert (lesion["lesion"], lesion["confidence"], lesion["counterpart"], lesion["counts"]) == (1, None, None, 540)
    assert back["lesions"] == []
    assert [row["label"] for row in content["study"]["burden"]] == ["metastasis", "benign"]
    assert content["study"]["burden"][0]["area_mm2"] == pytest.approx(54)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"counts": np.ones((40, 90))}, "expected arrays of one shape (H, W), found mask (90, 40), counts (40, 90)"),
        ({"probability": np.ones((2, 90, 40))}, "probability (2, 90, 40)"),
        ({"spacing_mm": (0.0, 2.0)}, "pixel size (0.0, 2.0) mm, expected two positive numbers"),
        ({"crop": (20, 5, 71, 20)}, "the part searched (20, 5, 71, 20) exceeds the view of 90 x 40 px"),
        ({"crop": (31, 5, 20, 20)}, "the mask has pixels outside of the part searched (31, 5, 20, 20)"),
    ],
)
def test_a_view_whose_parts_do_not_fit_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UnusableInputError) as raised:
        _view("anterior", (30, 12, 3, 3, 1), **changes)
    assert str(raised.value).startswith("anterior view: ")
    assert words in str(raised.value)


@pytest.mark.parametrize("names", [[], ["a", "a"], ["a", "b", "c"], ["study"]])
def test_other_than_one_or_two_views_of_a_scan_are_refused(names: list[str]) -> None:
    with pytest.raises(UnusableInputError, match="one or two opposite views"):
        findings([_view(name) for name in names])


def test_neither_torch_nor_a_file_format_is_loaded() -> None:
    heavy = ("torch", "pydicom", "dataset_conversion", "SimpleITK")
    code = f"import sys, evaluation.findings; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
