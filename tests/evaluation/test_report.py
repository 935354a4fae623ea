from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from evaluation.evaluate import EvaluationOptions, evaluate
from evaluation.report import PICTURES, figure_text, report_html, summary_markdown, summary_text, worst_first


@pytest.fixture
def options(study: Path) -> EvaluationOptions:
    return EvaluationOptions(
        study / "reference", study / "prediction", study / "out", cases=study / "manifest.csv", images=study / "images"
    )


def pictures_in(page: str) -> list[np.ndarray]:
    found = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", page)
    return [matplotlib.image.imread(io.BytesIO(base64.b64decode(text))) for text in found]


def test_the_page_is_self_contained_and_shows_every_table(options: EvaluationOptions) -> None:
    evaluation = evaluate(options)
    page = report_html(evaluation)
    assert "Research use only" in page
    assert not re.search(r"https?://|<script|<link|src=\"(?!data:)", page)
    for row in evaluation.summary["strata"]:
        assert row["name"].replace("<", "&lt;").replace(">", "&gt;") in page
    assert figure_text(evaluation.summary["pixel"]["pooled_interval"]["dice"]) in page
    assert figure_text(evaluation.summary["pixel"]["per_image"]["dice"]) in page
    pictures = pictures_in(page)
    assert len(pictures) == 1 + 6
    assert all(min(picture.shape[:2]) > 300 for picture in pictures)
    assert len(pictures_in(report_html(evaluate(replace(options, images=None))))) == 1


def test_names_from_files_cannot_inject_markup(tmp_path: Path, write_image: Callable[..., Path]) -> None:
    for folder in ("r", "p"):
        write_image(tmp_path / folder / "<b>x.nii.gz", np.eye(9, dtype=np.uint8))
    write_image(tmp_path / "i" / "<b>x_0000.nii.gz", np.eye(9, dtype=np.float32))
    page = report_html(evaluate(EvaluationOptions(tmp_path / "r", tmp_path / "p", tmp_path / "o", images=tmp_path / "i")))
    assert "<b>x" not in page
    assert "&lt;b&gt;x" in page


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
    assert PICTURES == 12


def test_figures_read_as_mean_and_interval_and_undefined_is_said() -> None:
    assert figure_text({"mean": 0.5, "low": 0.25, "high": 0.75, "n": 3}) == "0.500 [0.250, 0.750]"
    assert figure_text({"mean": 12.5, "low": None, "high": None, "n": 1}, 1) == "12.5 [no interval]"
    assert figure_text({"mean": None, "low": None, "high": None, "n": 0}) == "undefined"


def test_paper_table_and_terminal_show_pooled_and_per_image_beside_each_other(options: EvaluationOptions) -> None:
    summary = evaluate(options).summary
    pooled, mean = (figure_text(summary["pixel"][k]["dice"]) for k in ("pooled_interval", "per_image"))
    assert f"| Dice | {pooled} | 6 | {mean} | 5 |" in summary_markdown(summary)
    assert re.search(rf"Dice +{re.escape(pooled)} +{re.escape(mean)} +n 5", summary_text(summary))


def test_an_empty_stratum_prints_its_zero(options: EvaluationOptions) -> None:
    summary = evaluate(replace(options, cuts_mm=(500.0,))).summary
    assert "| diameter >= 500 mm | 0 | 0 | undefined | undefined |" in summary_markdown(summary)
    assert "0 of 0 found" in summary_text(summary)
