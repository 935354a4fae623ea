"""The figures of summary.json as tables of text, the same for the page and for a paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_PIXEL = (("dice", "Dice"), ("precision", "Precision"), ("recall", "Recall"), ("iou", "IoU"))
_BURDEN = {
    "lesion_count": ("Lesions an image", 1, 2),
    "area_mm2": ("Lesion area, mm²", 1, 0),
    "volume_mm3": ("Lesion volume, mm³", 1, 0),
    "counts_share": ("Share of the image's counts, %", 100, 2),
    "fraction_of_body": ("Share of the body's area, %", 100, 3),
    "fraction_of_image": ("Share of the image's area, %", 100, 3),
}


@dataclass(frozen=True)
class Table:
    """A table of text. numbers: columns that are set to the right. groups: rows that begin a group, after the first."""

    title: str
    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int] = frozenset()
    groups: frozenset[int] = frozenset()


def figure_text(figure: Mapping[str, Any], digits: int = 3, scale: float = 1) -> str:
    """A figure, times `scale`, as "mean [low, high]"; "undefined" where it is, and said so where no interval is."""
    if figure["mean"] is None:
        return "undefined"
    mean = f"{scale * figure['mean']:.{digits}f}"
    if figure["low"] is None:
        return f"{mean} [no interval]"
    return f"{mean} [{scale * figure['low']:.{digits}f}, {scale * figure['high']:.{digits}f}]"


def tables(summary: Mapping[str, Any]) -> dict[str, Table]:
    """All tables by name, in reading order; FROC only where there are probabilities."""
    every = {
        "pixels": _pixels(summary),
        "boundary": _boundary(summary),
        "lesions": _lesions(summary),
        "strata": _strata(summary),
        "outcomes": _outcomes(summary),
        "patients": _patients(summary),
        "froc": _froc(summary),
        "burden": _burden(summary),
        "empty": _empty(summary),
    }
    return {name: table for name, table in every.items() if table is not None}


def _with_n(figure: Mapping[str, Any], digits: int = 3, scale: float = 1) -> list[str]:
    return [figure_text(figure, digits, scale), str(figure["n"])]


def _pixels(summary: Mapping[str, Any]) -> Table:
    pixel, size = summary["pixel"], summary["size"]
    rows = [[name, *_with_n(pixel["pooled_interval"][key]), *_with_n(pixel["per_image"][key])] for key, name in _PIXEL]
    relative = pixel["pooled_difference"], pixel["per_image_relative_difference"]
    rows.append([f"Relative {size['name']} difference, %", *_with_n(relative[0], 1, 100), *_with_n(relative[1], 1, 100)])
    rows.append([f"{size['name'].capitalize()} difference, {_unit(size)}", "–", "", *_with_n(pixel["per_image_difference"], 1)])
    headings = ["", "Pooled over all pixels", "n", "Mean over images", "n"]
    caption = "n counts images. Differences: prediction minus reference."
    return Table("Pixels", caption, headings, rows, frozenset({2, 4}), frozenset({len(_PIXEL)}))


def _boundary(summary: Mapping[str, Any]) -> Table:
    boundary, tolerance = summary["boundary"], summary["options"]["nsd_tolerance_mm"]
    named = (
        ("hd95_mm", "HD95, mm", 1),
        ("nsd", f"Surface Dice at {tolerance:g} mm", 3),
        ("asd_mm", "Mean surface distance, mm", 2),
    )
    rows = [[name, *_with_n(boundary[key], n), *_with_n(boundary["both_present"][key], n)] for key, name, n in named]
    headings = ["", "Mean over images", "n", "Both masks", "n"]
    caption = "n counts images; an empty mask against a lesion counts as the image diagonal. Both masks: neither is empty."
    return Table("Boundary", caption, headings, rows, frozenset({2, 4}))


def _lesions(summary: Mapping[str, Any]) -> Table:
    lesion, size = summary["lesion"], summary["size"]
    area, unit = f"fp_{size['name']}_{size['unit']}", _unit(size)
    named = (
        ("sensitivity", "Sensitivity", 3, "reference lesions"),
        ("precision", "Precision", 3, "predicted lesions"),
        ("f1", "F1", 3, "lesions of either"),
        ("dice_matched", "Dice of found lesions", 3, "found lesions"),
        ("fp_per_image", "FP per image", 2, "images"),
        ("fp_per_lesion_free_image", "FP per lesion-free image", 2, "lesion-free images"),
        (f"{area}_per_image", f"FP {size['name']} per image, {unit}", 1, "images"),
        (f"{area}_per_lesion_free_image", f"FP {size['name']} per lesion-free image, {unit}", 1, "lesion-free images"),
        ("panoptic_quality", "Panoptic quality", 3, "lesions of either"),
        ("segmentation_quality", "Segmentation quality (mean IoU of pairs)", 3, "pairs"),
        ("recognition_quality", "Recognition quality", 3, "lesions of either"),
    )
    rows = [[name, figure_text(lesion[key], digits), f"{lesion[key]['n']} {of}"] for key, name, digits, of in named]
    caption = "FP: predicted lesions without partner. Panoptic figures pair lesions of IoU above 0.5."
    return Table("Lesions", caption, ["", "All lesions", "n"], rows, groups=frozenset({4, 8}))


def _strata(summary: Mapping[str, Any]) -> Table:
    strata = summary["strata"]
    rows = [
        [
            f"{row['name']} ({row['pixels']})" if row.get("pixels") else row["name"],
            str(row["n"]),
            str(row["dice_matched"]["n"]),
            figure_text(row["sensitivity"]),
            figure_text(row["dice_matched"]),
            str(row["predicted"]),
            str(row["spurious"]),
        ]
        for row in strata
    ]
    headings = ["Reference lesions", "n", "Found", "Sensitivity", "Dice of found lesions", "Predicted", "Spurious"]
    caption = "Predicted and spurious: predicted lesions that fall into the stratum themselves."
    groups = frozenset(i for i in range(1, len(strata)) if strata[i]["kind"] != strata[i - 1]["kind"])
    return Table("Lesions by size, surroundings and view", caption, headings, rows, frozenset({1, 2, 5, 6}), groups)


def _outcomes(summary: Mapping[str, Any]) -> Table:
    counts = summary["lesion_counts"]
    rows = [
        [name, *(str(counts[key].get(status, "–")) for status in ("matched", "split", "merged", "missed", "spurious"))]
        for key, name in (("reference", "Reference"), ("predicted", "Predicted"))
    ]
    caption = (
        "Number of lesions by what became of them. Split: one reference lesion, several predicted; merged: the reverse. "
        f"Whatever the matching rule, {counts['predicted_over_several_reference']} predicted lesions lie over several "
        f"reference lesions and {counts['reference_under_several_predicted']} reference lesions under several predicted ones."
    )
    headings = ["Lesions", "Matched", "Split", "Merged", "Missed", "Spurious"]
    return Table("What became of the lesions", caption, headings, rows, frozenset(range(1, 6)))


def _patients(summary: Mapping[str, Any]) -> Table:
    patients = summary["patients"]
    named = [("sensitivity", "Sensitivity", "metastatic"), ("specificity", "Specificity", "not metastatic")]
    if patients["auc"]["n"]:  # without probabilities there is none to speak of
        named.append(("auc", "AUC", "all"))
    rows = [[name, figure_text(patients[key]), f"{patients[key]['n']} {of}"] for key, name, of in named]
    caption = (
        f"{patients['n']} patients, {patients['metastatic']} with a reference lesion in any image, "
        f"{patients['predicted_metastatic']} with a predicted one. AUC ranks patients by their surest predicted lesion."
    )
    return Table("Patients: metastatic or not", caption, ["", "Value", "n patients"], rows)


def _froc(summary: Mapping[str, Any]) -> Table | None:
    froc = summary["froc"]
    if froc is None:
        return None
    rows = [[_rate(point["fp_per_image"]), figure_text(point["sensitivity"])] for point in froc["at"]]
    rows.append(["Average", figure_text(froc["average"])])
    caption = (
        f"Lesion sensitivity over {froc['average']['n']} reference lesions at a given number of false positives an image, "
        f"by {summary['options']['confidence']} probability of a lesion's pixels."
    )
    headings = ["False positives an image", "Sensitivity"]
    return Table("FROC", caption, headings, rows, groups=frozenset({len(rows) - 1}))


def _rate(rate: float) -> str:
    return f"1/{1 / rate:g}" if rate < 1 else f"{rate:g}"


def _burden(summary: Mapping[str, Any]) -> Table:
    rows = []
    for key, burden in summary["burden"].items():
        name, scale, digits = _BURDEN[key]
        agreement = burden["agreement"]
        figures = [
            burden["reference"],
            burden["predicted"],
            *(agreement[part] for part in ("bias", "lower_limit", "upper_limit")),
        ]
        rows.append([name, *(figure_text(figure, digits, scale) for figure in figures), str(agreement["bias"]["n"])])
    headings = ["Mean over images", "Reference", "Prediction", "Bias", "Lower limit", "Upper limit", "n"]
    caption = (
        "Bland-Altman: bias and limits of agreement (bias ± 1.96 SD) of prediction minus reference over n images. "
        "None of these is the bone scan index (BSI)."
    )
    return Table("Burden", caption, headings, rows, frozenset({6}))


def _empty(summary: Mapping[str, Any]) -> Table:
    pixel = summary["pixel"]
    rows = []
    for key, name in _PIXEL:
        as_one = pixel["per_image_empty_as_one"].get(key)
        kinds = ("pooled_interval", "pooled_with_lesions", "per_image", "per_image_with_lesions")
        rows.append([name, *(figure_text(pixel[kind][key]) for kind in kinds), figure_text(as_one) if as_one else "–"])
    images = summary["images"]
    caption = (
        f"{images['lesion_free']} of {images['n']} images are free of reference lesions; in {images['dice_undefined']} both "
        "masks are empty, where Dice and IoU are undefined and left out of means. The last column counts them as 1, as some do."
    )
    headings = ["", "Pooled, all", "Pooled, with lesions", "Per image, all", "Per image, with lesions", "Per image, empty = 1"]
    return Table("What lesion-free images do to the figures", caption, headings, rows)


def _unit(size: Mapping[str, str]) -> str:
    return {"mm2": "mm²", "mm3": "mm³"}[size["unit"]]
