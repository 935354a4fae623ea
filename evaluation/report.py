"""The results for reading: text for the terminal, tables for a paper, a self-contained page with plots and viewer."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation.matching import MATCH_RULE_TEXTS
from evaluation.page_templates import environment
from evaluation.plots import TITLES
from evaluation.report_cases import LAYERS, ORDER, SHOWN_CASES, lesion_columns, viewer_cases
from evaluation.report_tables import figure_text, tables
from evaluation.viewer import viewer_blocks

if TYPE_CHECKING:
    from evaluation.evaluate import Evaluation

_MISSING_NAMED = 5

# Where the page is cut in two, so that the viewer's cases can be written between the halves without being held in memory.
_CUT = "<!-- viewer -->"


def warnings(summary: Mapping[str, Any]) -> list[str]:
    """Sentences that have to stand above the results, the one on patients first."""
    sentences = []
    if summary["cases_are_patients"]:
        sentences.append(
            "Warning: cases were taken as patients (no --cases manifest.csv); "
            "where a patient has several cases the intervals are too narrow."
        )
    missing = summary["missing"]
    if missing:
        named = ", ".join(missing[:_MISSING_NAMED]) + (", ..." if len(missing) > _MISSING_NAMED else "")
        sentences.append(
            f"Warning: {len(missing)} of {summary['images']['n']} predictions are missing, counted as empty: {named}."
        )
    return sentences


def summary_text(summary: Mapping[str, Any]) -> str:
    """The summary for the terminal; its first line warns where cases were taken as patients."""
    images, lesion, patients = summary["images"], summary["lesion"], summary["patients"]
    lines = [
        *warnings(summary),
        *summary["notes"],
        f"{images['n']} images of {images['patients']} patients, {images['lesion_free']} lesion-free; "
        f"Dice undefined (both masks empty) and left out of means in {images['dice_undefined']}",
        f"{'':24}{'pooled [95 %]':28}per image [95 %]",
    ]
    shown = tables(summary)
    lines += [f"  {name:22}{pooled:28}{mean}  n {n}" for name, pooled, _, mean, n in shown["pixels"].rows[:4]]
    lines += [f"  {name:50}{text}  n {n}" for name, text, n, *_ in shown["boundary"].rows]
    lines += [
        f"lesions: sensitivity {figure_text(lesion['sensitivity'])} (n {lesion['sensitivity']['n']}), "
        f"precision {figure_text(lesion['precision'])} (n {lesion['precision']['n']}), "
        f"{figure_text(lesion['fp_per_image'], 2)} false positives an image"
    ]
    lines += [
        f"  {row['name']:28}{_found(row):28}{figure_text(row['sensitivity']) if row['n'] else ''}".rstrip()
        for row in summary["strata"]
    ]
    lines += [
        f"patients: sensitivity {figure_text(patients['sensitivity'])} (n {patients['sensitivity']['n']}), "
        f"specificity {figure_text(patients['specificity'])} (n {patients['specificity']['n']})"
    ]
    if summary["froc"] is not None:
        average = figure_text(summary["froc"]["average"])
        lines += [f"FROC: sensitivity {average} on average from 1/8 to 8 false positives an image"]
    return "\n".join(lines)


def summary_markdown(summary: Mapping[str, Any]) -> str:
    """The tables in Markdown, ready for a paper."""
    return _render("summary.md", summary)


def report_html(evaluation: Evaluation, plots: Mapping[str, bytes], most: int = SHOWN_CASES) -> Iterator[bytes]:
    """Yield report.html in blocks: tables, plots, and the viewer with the worst cases; it needs no network.

    plots: what plots.plots made. most: cases that the viewer shows; of more, the worst, and the page says so.

    Raises UnusableInputError where a case cannot be read any more.
    """
    shown = min(len(evaluation.images), most)
    page = _render(
        "report.html",
        evaluation.summary,
        plots=[(TITLES[Path(name).stem], _base64(content)) for name, content in plots.items() if name.endswith(".svg")],
        cut=_CUT,
        shown=shown,
        has_images=evaluation.summary["options"]["image_values"] is not None,
    )
    before, after = page.split(_CUT)
    yield before.encode()
    for block in viewer_blocks(viewer_cases(evaluation, shown), LAYERS, lesion_columns(evaluation.lesions), order=ORDER):
        yield block.encode()
    yield after.encode()


def _found(row: Mapping[str, Any]) -> str:
    return f"{row['dice_matched']['n']} of {row['n']} found"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _render(template: str, summary: Mapping[str, Any], **values: Any) -> str:
    options = summary["options"]
    return (
        environment()
        .get_template(template)
        .render(
            summary=summary,
            tables=tables(summary),
            warnings=warnings(summary),
            rule=MATCH_RULE_TEXTS[options["match"]].format(**options),
            **values,
        )
    )
