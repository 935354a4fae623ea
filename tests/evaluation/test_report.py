from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Page

from evaluation.evaluate import Evaluation, EvaluationOptions, evaluate, run
from evaluation.plots import plots
from evaluation.report import report_html, summary_markdown, summary_text
from evaluation.report_cases import SHOWN_CASES, viewer_cases, worst_first
from evaluation.report_tables import figure_text, tables


@pytest.fixture
def options(study: Path) -> EvaluationOptions:
    return EvaluationOptions(
        study / "reference", study / "prediction", study / "out", cases=study / "manifest.csv", images=study / "images"
    )


def page_of(evaluation: Evaluation) -> str:
    return b"".join(report_html(evaluation, plots(evaluation))).decode()


def test_the_page_is_self_contained_and_shows_every_table(options: EvaluationOptions) -> None:
    evaluation = evaluate(options)
    page = page_of(evaluation)
    assert "Research use only" in page
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|<link|src=\"(?!data:)", page)
    shown = re.sub(r"&lt;", "<", re.sub(r"&gt;", ">", page)).replace("&#39;", "'")
    for table in tables(evaluation.summary).values():
        assert table.title in shown
        for row in table.rows:
            assert all(cell in shown for cell in row), row


def test_names_from_files_cannot_inject_markup(tmp_path: Path, write_image: Callable[..., Path]) -> None:
    for folder in ("r", "p"):
        write_image(tmp_path / folder / "<b>x.nii.gz", np.eye(9, dtype=np.uint8))
    write_image(tmp_path / "i" / "<b>x_0000.nii.gz", np.eye(9, dtype=np.float32))
    page = page_of(evaluate(EvaluationOptions(tmp_path / "r", tmp_path / "p", tmp_path / "o", images=tmp_path / "i")))
    assert "<b>x" not in page
    assert "\\u003cb\\u003ex" in page


def test_worst_cases_come_first_and_undefined_ones_last() -> None:
    table = pd.DataFrame(
        {
            "case": ["perfect", "empty", "worst", "bad", "many"],
            "dice": [1.0, np.nan, 0.0, 0.0, 0.5],
            "reference_lesions": [2, 0, 5, 1, 20],
            "found_lesions": [2, 0, 0, 0, 4],
            "spurious_lesions": [0, 0, 1, 1, 9],
        }
    )
    assert worst_first(table)["case"].tolist() == ["worst", "bad", "many", "perfect", "empty"]


def test_the_viewer_gets_every_lesion_in_the_layer_that_its_status_says(options: EvaluationOptions) -> None:
    evaluation = evaluate(options)
    lesions = evaluation.lesions
    for case in viewer_cases(evaluation):
        prepared = evaluation.prepared(next(files for files in evaluation.files if files.case == case.name))
        own = lesions[lesions["case"] == case.name]
        (panel,) = case.panels
        for source, error, labels in (
            ("reference", "missed", prepared.reference),
            ("prediction", "spurious", prepared.prediction),
        ):
            of_source = own[own["source"] == source]
            wrong = of_source.loc[of_source["status"] == error, "lesion"].tolist()
            np.testing.assert_array_equal(panel.layers[error], np.isin(labels, wrong))
            np.testing.assert_array_equal(panel.layers[source], (labels > 0) & ~np.isin(labels, wrong))
        assert len(case.findings) == len(own)
        for finding, (_, record) in zip(case.findings, own.iterrows(), strict=True):
            assert finding.layer == (record["status"] if record["status"] in ("missed", "spurious") else record["source"])
            assert finding.row_px == pytest.approx(record["centroid_row_px"], abs=8)  # the middle of its box


def test_of_more_cases_than_fit_the_worst_are_shown_and_that_is_said(options: EvaluationOptions) -> None:
    evaluation = evaluate(options)
    page = b"".join(report_html(evaluation, {}, 2)).decode()
    assert "The worst 2 of 6 cases" in page
    assert page.count('id="viewer-case-') == 2
    assert [case.name for case in viewer_cases(evaluation, 2)] == worst_first(evaluation.images)["case"].tolist()[:2]
    assert SHOWN_CASES == 300


def test_a_volume_is_shown_by_the_slice_that_differs_most(tmp_path: Path, write_image: Callable[..., Path]) -> None:
    reference, prediction = np.zeros((2, 5, 12, 10), np.uint8)
    reference[1, 2:5, 2:5] = prediction[1, 2:5, 2:5] = 1
    reference[3, 6:9, 6:9] = 1
    write_image(tmp_path / "r" / "a.nii.gz", reference, (4.0, 2.0, 2.0))
    write_image(tmp_path / "p" / "a.nii.gz", prediction, (4.0, 2.0, 2.0))
    (case,) = viewer_cases(evaluate(EvaluationOptions(tmp_path / "r", tmp_path / "p", tmp_path / "o")))
    assert case.panels[0].title == "slice 3"
    np.testing.assert_array_equal(case.panels[0].layers["missed"], reference[3] > 0)
    assert not case.panels[0].layers["reference"].any()
    assert [finding.row_px for finding in case.findings] == [None, 7.0, None]


def test_figures_read_as_mean_and_interval_and_undefined_is_said() -> None:
    assert figure_text({"mean": 0.5, "low": 0.25, "high": 0.75, "n": 3}) == "0.500 [0.250, 0.750]"
    assert figure_text({"mean": 0.5, "low": 0.25, "high": 0.75, "n": 3}, 1, 100) == "50.0 [25.0, 75.0]"
    assert figure_text({"mean": 12.5, "low": None, "high": None, "n": 1}, 1) == "12.5 [no interval]"
    assert figure_text({"mean": None, "low": None, "high": None, "n": 0}) == "undefined"


def test_paper_table_and_terminal_show_pooled_and_per_image_beside_each_other(options: EvaluationOptions) -> None:
    summary = evaluate(options).summary
    pooled, mean = (figure_text(summary["pixel"][k]["dice"]) for k in ("pooled_interval", "per_image"))
    assert f"| Dice | {pooled} | 6 | {mean} | 5 |" in summary_markdown(summary)
    assert re.search(rf"Dice +{re.escape(pooled)} +{re.escape(mean)} +n 5", summary_text(summary))


def test_an_empty_stratum_prints_its_zero(options: EvaluationOptions) -> None:
    summary = evaluate(replace(options, cuts_mm=(500.0,))).summary
    assert re.search(r"\| diameter >= 500 mm[^|]*\| 0 \| 0 \| undefined \| undefined \|", summary_markdown(summary))
    assert "0 of 0 found" in summary_text(summary)


def test_the_report_opens_without_network_and_a_lesion_row_leads_to_its_lesion(
    options: EvaluationOptions, page: Callable[..., Page]
) -> None:
    assert run(options) == 0
    assert sorted(path.name for path in (options.output / "plots").iterdir()) == [
        f"{name}.{kind}" for name in ("bland_altman", "recall_by_size", "size_dice") for kind in ("png", "svg")
    ]
    opened = page(options.output / "report.html")
    opened.evaluate("msaViewer.printed")
    images = pd.read_csv(options.output / "images.csv")
    assert opened.evaluate("msaViewer.state()")["case"] == images.sort_values("dice")["case"].iloc[0]
    row = opened.locator(".v-findings tbody tr").first
    row.click()
    state = opened.evaluate("msaViewer.state()")
    lesions = pd.read_csv(options.output / "lesions.csv")
    first = lesions[lesions["case"] == state["case"]].iloc[0]
    assert state["centres"][0]["row"] == pytest.approx(first["centroid_row_px"], abs=4)
    assert state["centres"][0]["col"] == pytest.approx(first["centroid_col_px"], abs=4)
    assert opened.locator(".plots img").count() == 3
    assert opened.evaluate("[...document.querySelectorAll('.plots img')].every(i => i.naturalWidth > 200)")
