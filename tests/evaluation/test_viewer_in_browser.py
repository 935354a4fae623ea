"""The viewer, used as a reader uses it: headless Chromium, mouse and keyboard. Any console message or request fails a test."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page

from evaluation.viewer import Column, Finding, Layer, Panel, ViewerCase, viewer_html

SPACING = (2.0, 4.0)
SHAPE = (120, 60)
LAYERS = [
    Layer("reference", "reference", "#0072B2", "r"),
    Layer("prediction", "prediction", "#E69F00", "p", dash=(5, 3), width=2.6),
    Layer("missed", "missed", "#D55E00", "m", marker="ring"),
    Layer("spurious", "spurious", "#B04A8E", "s", dash=(5, 3), marker="square"),
]
COLUMNS = [Column("kind"), Column("size", 1)]
OpenPage = Callable[..., Page]


def square(row: int, col: int, side: int = 6) -> NDArray[np.bool_]:
    mask = np.zeros(SHAPE, bool)
    mask[row : row + side, col : col + side] = True
    return mask


def finding(layer: str, row: int, col: int, size: float, panel: int = 0) -> Finding:
    return Finding((layer, size), layer, panel, row + 2.5, col + 2.5, 12.0)


def panel(seed: int, **layers: NDArray[np.bool_]) -> Panel:
    counts = np.random.default_rng(seed).poisson(8, SHAPE).astype(np.uint16)
    counts[100, 10] = 60000  # a full bladder
    return Panel("anterior", SPACING, layers, counts)


def evaluated(number: int) -> ViewerCase:
    where = {"reference": (20, 10), "prediction": (22, 10), "missed": (60, 40), "spurious": (90, 30)}
    return ViewerCase(
        f"case {number}",
        [panel(number, **{key: square(*place) for key, place in where.items()})],
        [finding(key, *place, size=float(i)) for i, (key, place) in enumerate(where.items())],
        note=f"note {number}",
    )


@pytest.fixture
def viewer(page: OpenPage, tmp_path: Path) -> Page:
    return opened(page, tmp_path, [evaluated(number) for number in range(4)])


def opened(page: OpenPage, folder: Path, cases: list[ViewerCase], layers: list[Layer] = LAYERS) -> Page:
    path = folder / "page.html"
    path.write_text("<!DOCTYPE html><meta charset=utf-8>" + viewer_html(cases, layers, COLUMNS, printed=2))
    one = page(path)
    one.evaluate("msaViewer.printed")
    return one


def state(viewer: Page) -> dict[str, Any]:
    content: dict[str, Any] = viewer.evaluate("msaViewer.state()")
    return content


def picture(viewer: Page) -> NDArray[np.float64]:
    text = viewer.evaluate("document.querySelector('.v-picture canvas').toDataURL()")
    with Image.open(io.BytesIO(base64.b64decode(text.split(",")[1]))) as image:
        return np.asarray(image.convert("RGB")) / 255


def of_colour(pixels: NDArray[np.float64], layer: int) -> NDArray[np.bool_]:
    near: NDArray[np.bool_] = np.abs(pixels - to_rgb(LAYERS[layer].colour)).max(axis=-1) < 0.06
    return near


def canvas_middle(viewer: Page) -> tuple[float, float]:
    box = viewer.locator(".v-picture canvas").bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_every_count_arrives_as_it_was_written(viewer: Page) -> None:
    expected = panel(0).image
    assert expected is not None
    script = f"[...Array({SHAPE[0]}).keys()].map(r => [...Array({SHAPE[1]}).keys()].map(c => msaViewer.valueAt(r, c)))"
    np.testing.assert_array_equal(viewer.evaluate(script), expected)


def test_a_click_on_a_row_brings_its_lesion_to_the_middle_and_rings_it(viewer: Page) -> None:
    before = state(viewer)
    viewer.locator("tbody tr", has_text="missed").click()
    after = state(viewer)
    assert after["centres"] == [pytest.approx({"row": 62.5, "col": 42.5})]
    assert after["zoom"] > 2 * before["zoom"]
    assert after["selected"] == 2
    assert viewer.locator("tbody tr[aria-selected=true]").inner_text().startswith("\tmissed")
    lit = picture(viewer)
    viewer.wait_for_timeout(300)
    assert (picture(viewer) != lit).any()  # it blinks


def test_a_row_of_another_case_opens_that_case(viewer: Page, eventually: Callable[..., None]) -> None:
    viewer.get_by_role("tab", name="All cases").click()
    assert viewer.locator("tbody tr").count() == 16
    viewer.locator("tbody tr", has_text="case 3").filter(has_text="spurious").click()
    eventually(viewer, "msaViewer.state().number === 3")
    assert state(viewer)["centres"] == [pytest.approx({"row": 92.5, "col": 32.5})]


def test_a_heading_sorts_and_the_filter_selects(viewer: Page) -> None:
    viewer.locator("th", has_text="size").click()
    viewer.locator("th", has_text="size").click()
    assert [text.split("\t")[-1] for text in viewer.locator("tbody tr").all_inner_texts()] == ["3.0", "2.0", "1.0", "0.0"]
    viewer.locator(".v-filter").select_option("missed")
    assert viewer.locator("tbody tr").count() == 1


def test_the_window_darkens_and_lightens_the_picture(viewer: Page) -> None:
    viewer.evaluate("msaViewer.setWindow(0, 40)")
    light = picture(viewer).mean()
    viewer.locator(".v-high-number").fill("10")
    viewer.locator(".v-high-number").press("Enter")
    assert state(viewer)["window"] == [0, 10]
    assert picture(viewer).mean() < light - 0.1  # the same counts take more of the scale: darker
    viewer.locator(".v-high").evaluate("slider => { slider.value = 1000; slider.dispatchEvent(new Event('input')); }")
    assert state(viewer)["window"] == [0, 60000]
    viewer.get_by_role("button", name="standard").click()
    assert 10 < state(viewer)["window"][1] < 30


def test_dragging_with_shift_sets_the_window_and_without_it_moves_the_picture(viewer: Page) -> None:
    x, y = canvas_middle(viewer)
    viewer.evaluate("msaViewer.zoomBy(3)")
    before = state(viewer)
    viewer.mouse.move(x, y)
    viewer.mouse.down()
    viewer.mouse.move(x - 30, y - 60, steps=3)
    viewer.mouse.up()
    moved = state(viewer)
    assert moved["centres"][0]["row"] == pytest.approx(before["centres"][0]["row"] + 60 / before["zoom"] / SPACING[0])
    assert moved["centres"][0]["col"] == pytest.approx(before["centres"][0]["col"] + 30 / before["zoom"] / SPACING[1])
    viewer.keyboard.down("Shift")
    viewer.mouse.move(x, y)
    viewer.mouse.down()
    viewer.mouse.move(x + 90, y, steps=3)
    viewer.mouse.up()
    viewer.keyboard.up("Shift")
    assert state(viewer)["window"][1] > before["window"][1] * 1.5
    assert state(viewer)["centres"] == moved["centres"]


def test_each_outline_is_toggled_by_its_box_and_by_its_key(viewer: Page) -> None:
    for number, layer in enumerate(LAYERS):
        shown = of_colour(picture(viewer), number).sum()
        assert shown > 50, layer.key
        viewer.locator(f".v-layers input[value={layer.key}]").click()
        assert of_colour(picture(viewer), number).sum() < 0.05 * shown, layer.key
        assert layer.key not in state(viewer)["layers"]
        viewer.keyboard.press(layer.shortcut)
        assert of_colour(picture(viewer), number).sum() == shown, layer.key
    viewer.keyboard.press("h")
    assert state(viewer)["layers"] == []
    viewer.keyboard.press("h")
    assert len(state(viewer)["layers"]) == 4


def test_outlines_run_along_the_edges_of_their_pixels_in_true_proportion(viewer: Page) -> None:
    for key in ("prediction", "missed", "spurious"):
        viewer.evaluate(f"msaViewer.setLayer('{key}', false)")
    viewer.evaluate("msaViewer.openFinding(0)")
    now, pixels = state(viewer), picture(viewer)
    row, col = np.nonzero(of_colour(pixels, 0))
    slots, zoom = len(now["slots"]), now["zoom"]
    middle_x, middle_y = pixels.shape[1] * (1 - 0.5 / slots), pixels.shape[0] / 2  # the outlined slot is the last
    # Six pixels of 2 x 4 mm: 12 mm high, 24 mm wide, around the middle of the canvas; a line is 1.6 px wide.
    assert [row.min() - middle_y, row.max() + 1 - middle_y] == pytest.approx([-6 * zoom, 6 * zoom], abs=2)
    assert [col.min() - middle_x, col.max() + 1 - middle_x] == pytest.approx([-12 * zoom, 12 * zoom], abs=2)
    inside = of_colour(pixels, 0)[int(middle_y - 3 * zoom) : int(middle_y + 3 * zoom), int(middle_x - 6 * zoom) : int(middle_x)]
    assert not inside.any()


def test_pixels_and_outlines_lie_on_each_other(page: OpenPage, tmp_path: Path) -> None:
    hot = Panel("", SPACING, {"reference": square(80, 40)}, 500 * square(80, 40).astype(np.uint16))
    viewer = opened(page, tmp_path, [ViewerCase("a", [hot], [finding("reference", 80, 40, 1.0)])])
    viewer.evaluate("msaViewer.openFinding(0)")
    viewer.keyboard.press("h")
    dark = (picture(viewer) < 0.02).all(axis=-1)
    dark[-60:] = False  # the scale of greys
    row, col = np.nonzero(dark)
    viewer.keyboard.press("h")
    edge_row, edge_col = np.nonzero(of_colour(picture(viewer), 0))
    assert [edge_row.min(), edge_row.max()] == pytest.approx([row.min(), row.max()], abs=2)
    assert [edge_col.min(), edge_col.max()] == pytest.approx([col.min(), col.max()], abs=2)


def test_the_marker_of_a_missed_lesion_is_a_ring_around_it(viewer: Page) -> None:
    for key in ("reference", "prediction", "spurious"):
        viewer.evaluate(f"msaViewer.setLayer('{key}', false)")
    viewer.evaluate("msaViewer.openFinding(2)")
    now, pixels = state(viewer), picture(viewer)
    row, col = np.nonzero(of_colour(pixels, 2))
    middle_x, middle_y = pixels.shape[1] * (1 - 0.5 / len(now["slots"])), pixels.shape[0] / 2
    radius = 12 * now["zoom"] + 6
    assert [row.min() - middle_y, row.max() + 1 - middle_y] == pytest.approx([-radius, radius], abs=2)
    assert [col.min() - middle_x, col.max() + 1 - middle_x] == pytest.approx([-radius, radius], abs=2)


def test_of_two_cases_asked_for_at_once_the_later_one_is_shown(viewer: Page) -> None:
    assert viewer.evaluate("Promise.all([msaViewer.openCase(1), msaViewer.openCase(2)])") == [False, True]
    assert state(viewer)["case"] == "case 2"
    assert viewer.locator(".v-name").inner_text() == "case 2"


def test_the_keyboard_walks_through_cases_and_lesions(viewer: Page, eventually: Callable[..., None]) -> None:
    def at(number: int) -> None:
        eventually(viewer, f"msaViewer.state().number === {number}")

    viewer.keyboard.press("j")
    at(1)
    viewer.locator(".v-picture canvas").click(position={"x": 3, "y": 3})
    viewer.keyboard.press("ArrowDown")
    at(2)
    viewer.keyboard.press("k")
    at(1)
    assert viewer.locator(".v-cases [aria-current=true]").inner_text().startswith("case 1")
    assert [viewer.keyboard.press("n") or state(viewer)["selected"] for _ in range(5)] == [0, 1, 2, 3, 0]
    viewer.keyboard.press("N")
    assert state(viewer)["selected"] == 3
    zoom = state(viewer)["zoom"]
    viewer.keyboard.press("+")
    assert state(viewer)["zoom"] > zoom
    viewer.keyboard.press("0")
    assert state(viewer)["centres"][0] == pytest.approx({"row": 59.5, "col": 29.5})
    viewer.keyboard.press("?")
    assert viewer.locator(".v-help").is_visible()
    viewer.keyboard.press("Escape")
    viewer.locator(".v-find").fill("jk")  # typing is not steering
    assert state(viewer)["number"] == 1


def test_the_pointer_reads_row_column_counts_and_millimetres(viewer: Page) -> None:
    viewer.evaluate("msaViewer.openFinding(2)")
    box = viewer.locator(".v-picture canvas").bounding_box()
    assert box is not None
    slots = len(state(viewer)["slots"])
    viewer.mouse.move(box["x"] + box["width"] * (1 - 0.5 / slots) + 1, box["y"] + box["height"] / 2 + 1)
    counts = viewer.evaluate("msaViewer.valueAt(63, 43)")
    assert viewer.locator(".v-readout").inner_text() == f"row 63, column 43   {counts} counts   126 mm down, 172 mm across"


def test_a_click_on_a_lesion_finds_its_row(viewer: Page) -> None:
    viewer.evaluate("msaViewer.openFinding(3)")
    box = viewer.locator(".v-picture canvas").bounding_box()
    assert box is not None
    viewer.get_by_role("tab", name="This case").click()
    viewer.keyboard.press("n")  # wraps to the first finding, the picture moves there
    slots = len(state(viewer)["slots"])
    viewer.mouse.click(box["x"] + box["width"] * (1 - 0.5 / slots), box["y"] + box["height"] / 2 + 4)
    assert state(viewer)["selected"] in (0, 1)
    assert viewer.locator("tbody tr[aria-selected=true]").count() == 1


def test_two_views_stand_side_by_side_and_share_their_rows_without_any_reference(page: OpenPage, tmp_path: Path) -> None:
    views = [panel(1, prediction=square(20, 10)), panel(2, prediction=square(20, 44))]
    case = ViewerCase("study", views, [finding("prediction", 20, 10, 1.0), finding("prediction", 20, 44, 1.0, panel=1)])
    viewer = opened(page, tmp_path, [case], [LAYERS[1]])
    assert [slot["panel"] for slot in state(viewer)["slots"]] == [0, 1]
    viewer.locator("tbody tr").nth(1).click()
    centres = state(viewer)["centres"]
    assert centres[1] == pytest.approx({"row": 22.5, "col": 46.5})
    assert centres[0]["row"] == pytest.approx(22.5)


def test_beside_the_outlined_picture_stands_the_same_without_outlines(viewer: Page) -> None:
    viewer.keyboard.press("d")
    assert [slot["outlined"] for slot in state(viewer)["slots"]] == [False, True]
    coloured = of_colour(picture(viewer), 2)
    half = coloured.shape[1] // 2
    assert coloured[:, half:].sum() > 50
    assert not coloured[:, :half].any()
    viewer.keyboard.press("f")
    assert state(viewer)["full"]
    assert viewer.locator("#msa-viewer").bounding_box() == {"x": 0, "y": 0, "width": 1500, "height": 950}


def test_outlines_are_drawn_without_an_image(page: OpenPage, tmp_path: Path) -> None:
    viewer = opened(page, tmp_path, [ViewerCase("a", [Panel("", SPACING, {"reference": square(20, 10)})])])
    assert of_colour(picture(viewer), 0).sum() > 50
    viewer.keyboard.press("1")
    assert viewer.evaluate("msaViewer.valueAt(0, 0)") is None


def test_the_paper_shows_the_first_cases_with_a_legend(viewer: Page) -> None:
    viewer.emulate_media(media="print")
    assert viewer.locator(".v-printed figure:visible").count() == 2
    assert viewer.locator(".v-legend").inner_text().count("missed") == 1
    assert not viewer.locator(".v-body").is_visible()


def test_a_page_without_cases_says_so(page: OpenPage, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("<!DOCTYPE html><meta charset=utf-8>" + viewer_html([], LAYERS, COLUMNS))
    assert page(path).locator(".v-problem").inner_text() == "No case to show."
