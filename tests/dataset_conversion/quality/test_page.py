"""The page in a browser: Chromium clicks, types and prints what a reader would."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from dataset_conversion.quality import Flag, QcCase, thumbnail, write_qc_page

WARNING = Flag("cut-off", "warning", "The body is cut off.")
ERROR = Flag("upside-down", "error", "The head seems to be at the bottom.")
NOTE = Flag("sub-pixel", "note", "One outline became one pixel.")
PICTURE = thumbnail(np.random.default_rng(0).poisson(3, (96, 24)), None, (20.0, 20.0))


def _case(number: int, *flags: Flag, picture: bytes = PICTURE, name: str = "") -> QcCase:
    return QcCase(
        case=name or f"P{number // 2:04d}_01_{'post' if number % 2 else 'ant'}",
        patient=f"P{number // 2:04d}",
        study=1,
        view="posterior" if number % 2 else "anterior",
        split="train",
        fold=number % 5,
        lesions=2,
        area_mm2=1234.4,
        counts=2_000_000,
        height_mm=1920.0,
        width_mm=480.0,
        flags=flags,
        thumbnail=picture,
    )


@pytest.fixture
def cases() -> list[QcCase]:
    """A hundred and twenty views; notes, a warning and errors stand late in the order of names."""
    flags = {70: (WARNING,), 80: (ERROR,), 81: (WARNING, ERROR), 90: (NOTE,), 91: (NOTE,), 92: (NOTE,)}
    return [_case(number, *flags.get(number, ())) for number in range(120)]


@pytest.fixture
def written(tmp_path: Path, cases: list[QcCase]) -> Path:
    path = tmp_path / "qc.html"
    with path.open("w", encoding="utf-8") as file:
        write_qc_page(cases, file, "Dataset501_Test")
    return path


def test_the_number_of_cases_with_each_flag_is_returned(cases: list[QcCase]) -> None:
    cases[0] = _case(0, NOTE, NOTE)
    assert write_qc_page(cases, io.StringIO(), "T") == {"cut-off": 2, "upside-down": 2, "sub-pixel": 4}


def test_flagged_views_come_first_worst_first_and_one_page_at_a_time(page: Callable, written: Path) -> None:
    shown = page(written)
    names = shown.locator("#cases figcaption b")
    expect(names).to_have_count(48)
    worst = ["P0040_01_ant", "P0040_01_post", "P0035_01_ant", "P0045_01_ant", "P0045_01_post", "P0046_01_ant"]
    assert names.all_text_contents()[:8] == [*worst, "P0000_01_ant", "P0000_01_post"]
    assert shown.locator("#cases img").count() == 48
    assert shown.evaluate("[...document.images].every((image) => image.complete && image.naturalHeight === 512)")
    expect(shown.locator("#place")).to_have_text("page 1 of 3")
    expect(shown.locator("header")).to_contain_text("Research use only")


def test_a_card_says_what_the_case_is_and_what_was_found(page: Callable, written: Path) -> None:
    card = page(written).locator("#cases figure").nth(1)
    for text in ("P0040_01_post", "posterior, scan 1", "train, fold 1", "2 lesions, 1,234 mm²", "2,000,000 counts"):
        expect(card).to_contain_text(text)
    assert card.locator("li strong").all_text_contents() == ["error: upside down", "warning: cut off"]
    expect(card).to_contain_text("1,920 × 480 mm")


def test_the_scale_bar_is_as_long_as_it_says(page: Callable, written: Path) -> None:
    card = page(written).locator("#cases figure").nth(0)
    assert card.locator("small").text_content() == "200 mm"
    bar, image = card.locator("i").bounding_box(), card.locator("img").bounding_box()
    assert bar["width"] / image["width"] == pytest.approx(200 / 480, rel=0.02)
    assert image["height"] / image["width"] == pytest.approx(4, rel=0.02)


def test_arrow_keys_and_buttons_turn_pages_and_stop_at_the_ends(page: Callable, written: Path) -> None:
    shown = page(written)
    place, first = shown.locator("#place"), shown.locator("#cases figcaption b").first
    expect(shown.locator("#back")).to_be_disabled()
    shown.keyboard.press("ArrowLeft")
    expect(place).to_have_text("page 1 of 3")
    shown.keyboard.press("ArrowRight")
    expect(place).to_have_text("page 2 of 3")
    expect(first).to_have_text("P0021_01_ant")
    shown.click("#on")
    expect(place).to_have_text("page 3 of 3")
    expect(shown.locator("#cases figure")).to_have_count(24)
    expect(shown.locator("#on")).to_be_disabled()
    shown.keyboard.press("ArrowRight")
    expect(place).to_have_text("page 3 of 3")
    shown.click("#back")
    expect(place).to_have_text("page 2 of 3")


def test_a_flags_button_shows_its_views_alone(page: Callable, written: Path) -> None:
    shown = page(written)
    buttons = shown.locator(".chips button")
    assert buttons.all_text_contents() == ["all 120", "flagged 6", "upside down 2", "cut off 2", "sub pixel 3"]
    shown.keyboard.press("ArrowRight")
    buttons.nth(3).click()
    assert shown.locator("#cases figcaption b").all_text_contents() == ["P0040_01_post", "P0035_01_ant"]
    expect(buttons.nth(3)).to_have_attribute("aria-pressed", "true")
    expect(buttons.nth(0)).to_have_attribute("aria-pressed", "false")
    expect(shown.locator("#status")).to_contain_text("1 to 2 of 2 with “cut off”")
    buttons.nth(1).click()
    expect(shown.locator("#cases figure")).to_have_count(6)
    buttons.nth(0).click()
    shown.keyboard.press("ArrowRight")
    expect(shown.locator("#place")).to_have_text("page 2 of 3")
    buttons.nth(0).click()
    expect(shown.locator("#place")).to_have_text("page 1 of 3")


def test_search_finds_a_case_within_the_flag_and_says_when_there_is_none(page: Callable, written: Path) -> None:
    shown = page(written)
    shown.fill("#search", "p0045")
    assert shown.locator("#cases figcaption b").all_text_contents() == ["P0045_01_ant", "P0045_01_post"]
    shown.fill("#search", "p00")
    shown.keyboard.press("ArrowRight")  # moves the cursor, not the page
    expect(shown.locator("#place")).to_have_text("page 1 of 3")
    shown.fill("#search", "p0045")
    shown.locator(".chips button").nth(2).click()
    expect(shown.locator("#cases figure")).to_have_count(0)
    expect(shown.locator("#status")).to_have_text("No view with “upside down” fits the search.")
    shown.fill("#search", "")
    expect(shown.locator("#cases figure")).to_have_count(2)


def test_a_click_enlarges_a_view_and_arrow_keys_leaf_through_the_others(page: Callable, written: Path) -> None:
    shown = page(written)
    shown.locator("#cases .picture").nth(1).click()
    dialog = shown.locator("dialog")
    expect(dialog.locator("figcaption b")).to_have_text("P0040_01_post")
    small = shown.locator("#cases img").nth(1).bounding_box()["height"]
    assert dialog.locator("img").bounding_box()["height"] > 1.5 * small
    shown.keyboard.press("ArrowRight")
    expect(dialog.locator("figcaption b")).to_have_text("P0035_01_ant")
    expect(shown.locator("#place")).to_have_text("page 1 of 3")
    shown.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_names_are_shown_as_text_and_never_run(page: Callable, tmp_path: Path) -> None:
    evil = "</script><img src=x onerror=alert(1)>&amp;"
    path = tmp_path / "qc.html"
    with path.open("w", encoding="utf-8") as file:
        write_qc_page([_case(0, Flag("cut-off", "warning", evil), name=evil)], file, evil)
    shown = page(path)
    expect(shown.locator("#cases figcaption b")).to_have_text(evil)
    expect(shown.locator("#cases li")).to_contain_text(evil)
    assert evil in shown.title()
    assert shown.locator("img").count() == 1


def test_without_javascript_the_counts_and_the_flagged_cases_are_listed(browser: Browser, written: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    try:
        shown = context.new_page()
        shown.goto(written.as_uri())
        expect(shown.locator("main")).to_contain_text("120views")
        expect(shown.locator("tbody").nth(0)).to_contain_text("upside downerror2")
        assert shown.locator("tbody").nth(1).locator("td:first-child").all_text_contents()[:3] == [
            "P0040_01_ant",
            "P0040_01_post",
            "P0035_01_ant",
        ]
        expect(shown.locator("tbody").nth(1)).to_contain_text("Error: The head seems to be at the bottom.")
        expect(shown.locator("#app")).to_be_hidden()
    finally:
        context.close()


def test_print_shows_the_page_of_views_without_its_controls(page: Callable, written: Path) -> None:
    shown = page(written)
    shown.emulate_media(media="print")
    expect(shown.locator("#search")).to_be_hidden()
    expect(shown.locator(".pager")).to_be_hidden()
    expect(shown.locator("#cases figure").nth(0)).to_be_visible()
    assert shown.pdf().startswith(b"%PDF")


def test_a_dataset_without_flags_or_without_cases_has_a_page_too(page: Callable, tmp_path: Path) -> None:
    for number, few in enumerate(([_case(0)], [])):
        path = tmp_path / f"{number}.html"
        with path.open("w", encoding="utf-8") as file:
            write_qc_page(few, file, "T")
        expect(page(path).locator("#cases figure")).to_have_count(len(few))


def test_the_page_is_the_same_whatever_order_the_cases_come_in(page: Callable, tmp_path: Path, cases: list[QcCase]) -> None:
    path = tmp_path / "qc.html"
    with path.open("w", encoding="utf-8") as file:
        write_qc_page(reversed(cases), file, "T")
    names = page(path).locator("#cases figcaption b").all_text_contents()
    assert names[:4] == ["P0040_01_ant", "P0040_01_post", "P0035_01_ant", "P0045_01_ant"]
    once, again = io.StringIO(), io.StringIO()
    write_qc_page(cases, once, "T")
    write_qc_page(cases, again, "T")
    assert once.getvalue() == again.getvalue()


def test_ten_thousand_cases_need_little_memory_and_open_on_48_pictures(page: Callable, tmp_path: Path) -> None:
    def many() -> Iterator[QcCase]:
        for number in range(10_000):
            padding = bytes(3400)  # WebP readers ignore what follows the picture
            yield _case(number, *([WARNING] if number % 20 == 19 else []), picture=PICTURE + padding)

    path = tmp_path / "qc.html"
    tracemalloc.start()
    with path.open("w", encoding="utf-8") as file:
        write_qc_page(many(), file, "T")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 40e6
    assert peak < path.stat().st_size / 2
    shown = page(path)
    expect(shown.locator("#place")).to_have_text("page 1 of 209")
    assert shown.locator("img").count() == 48
    assert shown.evaluate("performance.now()") < 30_000
