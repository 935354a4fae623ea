from __future__ import annotations

import re
from typing import Any

import pytest

from evaluation.compare_report import comparison_files, comparison_text, p_text, pairs, warnings


def entry(name: str, mean: float | None, runs: list[float | None], n: int = 10) -> dict[str, Any]:
    low, high = (None, None) if mean is None else (mean - 0.1, mean + 0.1)
    sd = 0.02 if len(runs) > 1 else None
    return {"name": name, "mean": mean, "low": low, "high": high, "n": n, "sd_runs": sd,
            "runs": [{"value": value, "n": n} for value in runs]}  # fmt: skip


def difference(key: str, value: float | None, several: bool, verdict: str, higher_is_better: bool = True) -> dict[str, Any]:
    ends = {"low": None, "high": None} if value is None else {"low": value - 0.05, "high": value + 0.05}
    training = {"standard_error": 0.01, "degrees_of_freedom": 2.0, "noise_limit": 0.043, "inside_seed_noise": False,
                "assumed_of_single_run": False}  # fmt: skip
    p = None if value is None else 0.0004
    return {
        "figure": key, "model": "<b>|New", "against": "Old", "higher_is_better": higher_is_better, "difference": value, **ends,
        "patients": 8, "permutation": {"p": p, "p_holm": p, "exact": True}, "wilcoxon": {"p": p, "p_holm": p},
        "rank_biserial": None if value is None else 0.5, "cohen_dz": None, "verdict": verdict,
        "patient": {"standard_error": None if value is None else 0.02, **ends},
        "training": training if several and value is not None else None,
    }  # fmt: skip


def made(several: bool) -> dict[str, Any]:
    """A comparison of three figures: one better, one undefined, false positives worse; a name that needs escaping."""
    runs = [0.6, 0.62] if several else [0.61]
    figures = [
        ("pooled_dice", "Dice, pooled", "Pixels", 0.61, 0.1, "better", True),
        ("sensitivity diameter < 10 mm", "Sensitivity, diameter < 10 mm", "Lesions by size", None, None, "undefined", True),
        ("fp_per_image", "False positives per image", "Lesions", 0.61, 0.1, "worse", False),
    ]
    return {
        "schema": 1,
        "models": [
            {"name": name, "folds": 1, "runs": [{"folders": [f"{name}{index}"], "missing": []} for index in range(len(runs))]}
            for name in ("Old", "<b>|New")
        ],
        "images": {"n": 20, "patients": 8, "lesion_free": 3, "reference_lesions": 40},
        "cases_are_patients": False,
        "family": {"tests": 2, "smallest_adjusted_p": 0.016, "alpha": 0.05},
        "figures": [
            {"key": key, "name": name, "group": group, "counted": "images", "higher_is_better": higher, "models": [
                entry("Old", mean, runs if mean else [None]),
                entry("<b>|New", mean and mean + 0.1, [value + 0.1 for value in runs] if mean else [None], n=12),
            ]}
            for key, name, group, mean, _, _, higher in figures
        ],
        "differences": [difference(key, value, several, verdict, higher) for key, _, _, _, value, verdict, higher in figures],
        "options": {"reference": "labelsTs", "cuts_mm": [10.0], "cluster_mm": 20.0, "match": "overlap", "iou_threshold": None,
                    "min_lesion_mm2": 0.0, "connectivity": 8},
    }  # fmt: skip


def test_the_page_needs_no_network_and_escapes_names() -> None:
    page = comparison_files(made(several=True))["comparison.html"].decode()
    assert "<b>|New" not in page
    assert "&lt;b&gt;|New" in page
    # The names of XML vocabularies are no addresses that a browser fetches.
    assert not re.search(r"(src|href)=\"(?!#)|url\((?!#)|@import|<script", re.sub(r"xmlns:\w+=\"[^\"]+\"", "", page))
    assert page.count("<svg") == 1
    assert "<?xml" not in page


def test_the_table_for_a_paper_keeps_its_columns_whatever_a_model_is_called() -> None:
    text = comparison_files(made(several=True))["comparison.md"].decode()
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block
    assert "| Dice, pooled | 0.610 [0.510, 0.710] | 0.710 [0.610, 0.810] | +0.100 [+0.050, +0.150] | 10-12 images |" in text
    assert "| Sensitivity, diameter < 10 mm | undefined | undefined | undefined |" in text


def test_the_same_comparison_gives_the_same_files() -> None:
    assert comparison_files(made(several=True)) == comparison_files(made(several=True))


def test_runs_are_drawn_and_explained_only_where_there_are_several() -> None:
    one, several = (comparison_files(made(several)) for several in (False, True))
    assert len(several["comparison.svg"]) > len(one["comparison.svg"])
    assert b"Noise limit" in several["comparison.md"]
    assert b"97.5 % quantile" in several["comparison.md"]
    assert b"97.5 % quantile" not in one["comparison.md"]


def test_a_comparison_of_nothing_but_undefined_figures_is_still_drawn() -> None:
    comparison = made(several=False)
    comparison["differences"] = [
        row | {"difference": None, "low": None, "high": None, "verdict": "undefined"} for row in comparison["differences"]
    ]
    assert b"<svg" in comparison_files(comparison)["comparison.svg"]


def test_the_text_names_figure_difference_p_and_verdict() -> None:
    lines = comparison_text(made(several=True)).splitlines()
    assert lines[0] == "<b>|New (2 runs) against Old (2 runs): 20 images of 8 patients, 3 lesion-free, 40 reference lesions"
    assert re.fullmatch(r"  Dice, pooled +\+0\.100 \[\+0\.050, \+0\.150\] +p <0\.001 +better", lines[2])
    assert re.fullmatch(r"  Sensitivity, diameter < 10 mm +undefined +p - +undefined", lines[3])
    assert "False positives per image" in lines[4] or "false positives per image" in lines[4]


@pytest.mark.parametrize(("p", "text"), [(0.0004, "<0.001"), (0.001, "0.001"), (0.0496, "0.050"), (1.0, "1.000"), (None, "-")])
def test_p_values_have_three_digits(p: float | None, text: str) -> None:
    assert p_text(p) == text


def test_missing_predictions_are_named_run_by_run_the_first_few() -> None:
    comparison = made(several=True)
    comparison["models"][1]["runs"][1]["missing"] = [f"c{number}" for number in range(7)]
    assert any("7 of 20 predictions are missing, counted as empty: c0, c1, c2, c3, c4, ..." in s for s in warnings(comparison))


def test_rows_of_a_pair_start_a_group_once() -> None:
    rows = pairs(made(several=True))[0]["rows"]
    assert [row["new_group"] for row in rows] == [True, True, True]
    assert [row["noise"] for row in rows] == ["0.043", "unknown", "0.04"]
