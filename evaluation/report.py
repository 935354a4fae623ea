"""The results for reading: text for the terminal, a table for a paper, a self-contained page with pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from matplotlib.figure import Figure
from tqdm import tqdm

from evaluation.cases import load_case
from evaluation.overlay import overlay_png

if TYPE_CHECKING:
    from evaluation.evaluate import Evaluation

# Two rows of pictures on most screens; a page with more takes long to open from a slow disk.
PICTURES = 12

_MISSING_NAMED = 5

_MEASURES = (("dice", "Dice"), ("precision", "Precision"), ("recall", "Recall"), ("iou", "IoU"))
_LESION_MEASURES = (
    ("sensitivity", "Sensitivity", "reference lesions"),
    ("precision", "Precision", "predicted lesions"),
    ("f1", "F1", "lesions of either"),
    ("fp_per_image", "FP per image", "images"),
    ("fp_per_lesion_free_image", "FP per lesion-free image", "lesion-free images"),
)
_RULES = {
    "overlap": "a reference lesion is found when it shares a pixel with the prediction",
    "iou": "lesions match when their intersection over union reaches {iou_threshold:g}",
    "optimal": "lesions that share a pixel are matched one to one, at the greatest total intersection over union",
}


def figure_text(figure: Mapping[str, Any], digits: int = 3) -> str:
    """A figure as "mean [low, high]"; "undefined" where it is, and without brackets where no interval is."""
    if figure["mean"] is None:
        return "undefined"
    if figure["low"] is None:
        return f"{figure['mean']:.{digits}f} [no interval]"
    return f"{figure['mean']:.{digits}f} [{figure['low']:.{digits}f}, {figure['high']:.{digits}f}]"


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


def tables(summary: Mapping[str, Any]) -> dict[str, list[list[str]]]:
    """The rows, all text, of the tables that page and paper show: pixels, boundary, lesions, strata."""
    pixel, boundary, lesion = summary["pixel"], summary["boundary"], summary["lesion"]
    tolerance = summary["options"]["nsd_tolerance_mm"]
    return {
        "pixels": [
            [
                name,
                figure_text(pixel["pooled_interval"][key]),
                str(pixel["pooled_interval"][key]["n"]),
                figure_text(pixel["per_image"][key]),
                str(pixel["per_image"][key]["n"]),
            ]
            for key, name in _MEASURES
        ],
        "boundary": [
            ["HD95, mm", figure_text(boundary["hd95_mm"], 1), str(boundary["hd95_mm"]["n"])],
            [f"Surface Dice at {tolerance:g} mm", figure_text(boundary["nsd"]), str(boundary["nsd"]["n"])],
        ],
        "lesions": [
            [name, figure_text(lesion[key], 2 if key.startswith("fp") else 3), f"{lesion[key]['n']} {counted}"]
            for key, name, counted in _LESION_MEASURES
        ],
        "strata": [
            [
                row["name"],
                str(row["n"]),
                str(row["dice_matched"]["n"]),
                figure_text(row["sensitivity"]),
                figure_text(row["dice_matched"]),
            ]
            for row in summary["strata"]
        ],
    }


def summary_text(summary: Mapping[str, Any]) -> str:
    """The summary for the terminal; its first line warns where cases were taken as patients."""
    images, lesion = summary["images"], summary["lesion"]
    lines = [
        *warnings(summary),
        f"{images['n']} images of {images['patients']} patients, {images['lesion_free']} lesion-free; "
        f"Dice undefined (both masks empty) and left out of means in {images['dice_undefined']}",
        f"{'':24}{'pooled [95 %]':28}per image [95 %]",
    ]
    rows = tables(summary)
    lines += [f"  {name:22}{pooled:28}{mean}  n {n}" for name, pooled, _, mean, n in rows["pixels"]]
    lines += [f"  {name:50}{text}  n {n}" for name, text, n in rows["boundary"]]
    lines += [
        f"lesions: sensitivity {figure_text(lesion['sensitivity'])} (n {lesion['sensitivity']['n']}), "
        f"precision {figure_text(lesion['precision'])} (n {lesion['precision']['n']}), "
        f"{figure_text(lesion['fp_per_image'], 2)} false positives an image"
    ]
    lines += [
        f"  {name:22}{f'{found} of {n} found':28}{recall if n != '0' else ''}".rstrip()
        for name, n, found, recall, _ in rows["strata"]
    ]
    return "\n".join(lines)


def summary_markdown(summary: Mapping[str, Any]) -> str:
    """The tables in Markdown, ready for a paper."""
    return _render("summary.md", summary)


def report_html(evaluation: Evaluation) -> str:
    """The page: tables, recall by size, and the worst cases' pictures where images were given; needs no network."""
    return _render(
        "report.html",
        evaluation.summary,
        recall_plot=_base64(recall_by_size_png(evaluation.summary)),
        pictures=_pictures(evaluation),
    )


def recall_by_size_png(summary: Mapping[str, Any]) -> bytes:
    """Bar plot of lesion sensitivity by stratum with 95 % intervals and n; an empty stratum shows "no lesion"."""
    rows = summary["strata"]
    position = np.arange(len(rows)) + np.array([0.0 if row["name"].startswith("diameter") else 0.5 for row in rows])
    figure = Figure(figsize=(7.2, 3.6), dpi=160, layout="constrained")
    axes = figure.subplots()
    for x, row in zip(position, rows, strict=True):
        sensitivity = row["sensitivity"]
        if sensitivity["mean"] is None:
            axes.text(x, 0.02, "no lesion", ha="center", va="bottom", fontsize=8, color="#555555")
            continue
        mean = sensitivity["mean"]
        axes.bar(x, mean, width=0.62, color="#8FB8D8", edgecolor="#1F4E79", linewidth=0.8)
        top = mean
        if sensitivity["low"] is not None:
            top = max(mean, sensitivity["high"])
            ends = [[max(mean - sensitivity["low"], 0)], [max(sensitivity["high"] - mean, 0)]]
            axes.errorbar(x, mean, yerr=ends, color="#222222", capsize=4, linewidth=1.1)
        axes.text(x, top + 0.02, f"{mean:.2f}", ha="center", va="bottom", fontsize=8)
    labels = [f"{row['name'].removeprefix('diameter ')}\nn = {row['n']}" for row in rows]
    axes.set_xticks(position, labels, fontsize=8)
    axes.set_ylim(0, 1.12)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.set_ylabel("lesion sensitivity (95 % interval)", fontsize=9)
    axes.set_xlabel("equivalent diameter of the reference lesion; neighbourhood", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", labelsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def worst_first(images: pd.DataFrame) -> pd.DataFrame:
    """Rows of images.csv by ascending Dice, then by the number of missed and spurious lesions; undefined Dice last."""
    errors = images["reference_lesions"] - images["found_lesions"] + images["spurious_lesions"]
    ranked = images.assign(_errors=-errors).sort_values(["dice", "_errors", "case"], na_position="last")
    return ranked.drop(columns="_errors")


def _pictures(evaluation: Evaluation) -> list[dict[str, str]]:
    """PNG (base64) and caption of the worst cases; none without images."""
    files = {case.case: case for case in evaluation.files}
    options = evaluation.summary["options"]
    rows = worst_first(evaluation.images).head(PICTURES).to_dict("records")
    if not all(files[row["case"]].image for row in rows):
        return []
    pictures = []
    for row in tqdm(rows, desc="pictures", unit="case", delay=2, disable=None):
        masks = load_case(files[row["case"]], evaluation.declaration)
        if masks.image is None:
            continue
        dice = "undefined, both masks empty" if np.isnan(row["dice"]) else f"{row['dice']:.3f}"
        png = overlay_png(
            masks.image,
            masks.reference,
            masks.prediction,
            masks.spacing_mm,
            title=f"{row['case']}\nDice {dice}",
            match=options["match"],
            connectivity=options["connectivity"],
        )
        caption = (
            f"{row['found_lesions']} of {row['reference_lesions']} lesions found, {row['spurious_lesions']} spurious"
            f"{'; prediction missing, counted as empty' if row['missing_prediction'] else ''}"
        )
        pictures.append({"case": str(row["case"]), "png": _base64(png), "caption": caption})
    return pictures


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _render(template: str, summary: Mapping[str, Any], **values: Any) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    options = summary["options"]
    return environment.get_template(template).render(
        summary=summary,
        tables=tables(summary),
        warnings=warnings(summary),
        rule=_RULES[options["match"]].format(**options),
        **values,
    )
