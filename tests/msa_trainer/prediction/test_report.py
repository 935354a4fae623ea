"""The report as a physician uses it, in a browser: flagged studies first, a click leads to the study and to the lesion."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from msa_trainer.prediction.batch import run
from msa_trainer.prediction.burden_over_time import burden_charts
from msa_trainer.prediction.options import PredictOptions
from msa_trainer.prediction.run_manifest import StudyRecord, nameless
from msa_trainer.prediction.studies import SourceFile, Study

OpenPage = Callable[..., Page]


@pytest.fixture
def report(small: PredictOptions, network: Any, scans: Path, write_scan: Callable[..., Path]) -> Path:
    """Four good studies, one flagged for its pixel size, one that is cut short."""
    write_scan(scans / "flagged.dcm", "ZURICH-5", spacing=(2.9, 2.9))
    cut = write_scan(scans / "cut.dcm", "ZURICH-6")
    cut.write_bytes(cut.read_bytes()[:-900])
    assert run(small, lambda _: network) == 1
    return small.output / "report.html"


def _state(page: Page) -> dict[str, Any]:
    state: dict[str, Any] = page.evaluate("msaViewer.ready.then(() => msaViewer.state())")
    return state


def test_flagged_studies_come_first_and_the_list_can_be_narrowed(report: Path, page: OpenPage) -> None:
    one = page(report)
    assert "Research use only" in one.locator("header").inner_text()
    rows = one.locator("#worklist tbody tr")
    assert rows.count() == 6
    marks = [rows.nth(number).locator(".mark").inner_text() for number in range(6)]
    assert marks[0] == "failed"
    assert "cut" not in rows.nth(0).inner_text()
    spacing = [number for number in range(6) if "The pixels are 2.9 x 2.9 mm" in rows.nth(number).inner_text()]
    assert len(spacing) == 1
    assert sorted(marks, key=("failed", "error", "warning", "note", "–").index) == marks
    one.check("#flagged")
    assert rows.nth(0).is_visible()
    one.uncheck("#flagged")
    name = rows.nth(5).locator("button.open").inner_text()
    one.fill("#find", name)
    assert [rows.nth(number).is_visible() for number in range(6)] == [False] * 5 + [True]


def test_a_click_in_the_worklist_opens_the_study_with_both_views(
    report: Path, page: OpenPage, eventually: Callable[..., None]
) -> None:
    one = page(report)
    button = one.locator("button.open").nth(3)
    button.click()
    eventually(one, "msaViewer.state().number === 3")
    state = _state(one)
    assert state["case"] == button.inner_text()
    assert state["cases"] == 5
    assert [slot["panel"] for slot in state["slots"]] == [0, 1]
    assert one.locator(".v-side").is_visible()
    assert one.locator("#worklist tr.current").count() == 1
    flagged = one.locator("#worklist tr", has_text="2.9 x 2.9").locator("button.open")
    flagged.click()
    eventually(one, f"msaViewer.state().case === {json.dumps(flagged.inner_text())}")
    assert "Both views: The pixels are 2.9 x 2.9 mm" in one.locator(".v-case-warning").inner_text()


def test_a_click_on_a_lesion_goes_there_and_the_picture_holds_the_counts(
    report: Path, page: OpenPage, eventually: Callable[..., None]
) -> None:
    one = page(report)
    _state(one)
    rows = one.locator(".v-findings tbody tr")
    assert rows.count() == 2
    assert [cell.strip() for cell in rows.nth(0).locator("td").all_inner_texts()][1:3] == ["anterior", "1"]
    rows.nth(1).click()
    eventually(one, "msaViewer.state().selected !== null")
    centre = _state(one)["centres"][1]
    assert centre["row"] == pytest.approx(48, abs=2)  # where the studies are hot
    assert one.evaluate("msaViewer.valueAt(48, 16, 1)") > 30
    assert one.evaluate("msaViewer.valueAt(2, 2, 1)") < 30
    assert _state(one)["layers"] == ["metastasis"]
    one.keyboard.press("p")
    assert _state(one)["layers"] == []


def test_a_patient_with_two_studies_has_a_chart(report: Path, page: OpenPage) -> None:
    one = page(report)
    assert one.locator(".charts figure").count() == 1
    table = one.locator(".charts tbody tr").all_inner_texts()
    assert [row.split()[0] for row in table] == ["0", "1"]
    assert one.locator(".charts polyline").count() == 2


def test_the_page_needs_no_script_to_be_read_and_no_network(report: Path, browser: Any) -> None:
    text = report.read_text(encoding="utf-8")
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")
    context = browser.new_context(java_script_enabled=False, offline=True)
    one = context.new_page()
    one.goto(report.absolute().as_uri())
    assert one.locator("#worklist tbody tr").count() == 6
    assert one.locator(".charts figure").is_visible()
    context.close()


def test_a_study_whose_scan_or_files_are_gone_is_shown_as_far_as_possible(
    small: PredictOptions, network: Any, page: OpenPage
) -> None:
    assert run(small, lambda _: network) == 0
    folders = sorted(path for path in small.output.iterdir() if path.is_dir())
    (folders[0] / "lesions.csv").write_text("corrected by hand")
    (folders[1] / f"{folders[1].name}_ant.nii.gz").write_bytes(b"broken")
    assert run(small, lambda _: network) == 0
    one = page(small.output / "report.html")
    assert _state(one)["cases"] == 4
    warnings = []
    for number in range(4):
        one.evaluate(f"msaViewer.openCase({number})")
        warnings.append(one.locator(".v-case-warning").inner_text())
    assert sum("were changed since they were written" in warning for warning in warnings) == 2


def _record(study: str, ordinal: int | None, area: float) -> StudyRecord:
    views = [{"view": "anterior", "area_mm2": area, "lesions": 1}]
    return StudyRecord(Study(study, "P1", ordinal, ()), "written", [{"views": views, "lesions": 1}])


def test_burden_is_by_days_where_all_studies_state_their_date_and_by_number_where_not() -> None:
    (dated,) = burden_charts([_record("b", 730, 50.0), _record("a", 700, 100.0)])
    assert [(point.study, point.place) for point in dated.points] == [("a", 0), ("b", 30)]
    assert dated.line("anterior") == [(0.0, 1.0), (1.0, 0.5)]
    assert dated.line("posterior") == []
    (undated,) = burden_charts([_record("b", 730, 0.0), _record("a", None, 0.0)])
    assert [(point.study, point.place) for point in undated.points] == [("a", 0), ("b", 1)]
    assert undated.line("anterior") == [(0.0, 0.0), (1.0, 0.0)]
    assert burden_charts([_record("a", 700, 1.0)]) == []


@pytest.mark.parametrize(
    ("sentence", "written"),
    [
        ("/scans/Meier/IM1.dcm: holds no pixels; export it again.", "Holds no pixels; export it again."),
        ("/scans/Meier/IM1.dcm: is a copy of IM1.dcm.", "It cannot be used; the terminal named the reason."),
        ("/scans/Meier/IM1.dcm: its name is taken for the patient (im1).", "It cannot be used; the terminal named the reason."),
        ("folder Meier: cannot be read.", "It cannot be used; the terminal named the reason."),
    ],
)
def test_sentences_are_written_without_the_names_of_files_and_folders(sentence: str, written: str) -> None:
    study = Study("P1_1", "P1", None, (SourceFile(Path("/scans/Meier/IM1.dcm"), ""),))
    assert nameless(sentence, study) == written
