"""The figures of an evaluation as PNG and SVG: legible in grey, the same bytes for the same results."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from evaluation.burden import LIMITS_SD
from evaluation.froc import FP_RATES
from evaluation.strata import stratum_kind

if TYPE_CHECKING:
    from evaluation.evaluate import Evaluation

# A column of a journal is about 8.5 cm wide; twice that on screen.
_SIZE_IN = (6.4, 4.2)
_DPI = 160
_INK, _SOFT, _LINE, _FILL = "#1b2733", "#5b6875", "#1f4e79", "#8fb8d8"
# Text as paths looks alike everywhere; a fixed salt makes the names inside an SVG, which are hashes, repeatable.
_STYLE: dict[Any, Any] = {"svg.hashsalt": "msa-trainer", "svg.fonttype": "path", "font.family": "DejaVu Sans", "font.size": 9}
_FORMATS = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}

# Lesions in a bin of the running median; below it a quartile says nothing.
_FEWEST_IN_BIN = 5

TITLES = {
    "froc": "FROC: lesion sensitivity against false positives an image",
    "recall_by_size": "Lesion sensitivity by size, with 95 % intervals",
    "size_dice": "Size against Dice of found lesions",
    "bland_altman": "Lesion area or volume of an image: prediction against reference (Bland-Altman)",
}


def plots(evaluation: Evaluation) -> dict[str, bytes]:
    """All figures by file name ("plots/froc.png", "plots/froc.svg", ...); those without anything to show are left out."""
    summary = evaluation.summary
    size = "_".join(summary["size"][part] for part in ("name", "unit"))
    at_rates = {point["fp_per_image"]: point["sensitivity"] for point in (summary["froc"] or {"at": []})["at"]}
    agreement = summary["burden"].get(size, {}).get("agreement")
    figures = {
        "froc": froc_plot(evaluation.froc, at_rates),
        "recall_by_size": recall_by_size_plot(summary["strata"]),
        "size_dice": size_dice_plot(evaluation.lesions, summary["options"]["cuts_mm"]),
        "bland_altman": bland_altman_plot(evaluation.images, size, agreement),
    }
    return {
        f"plots/{name}.{kind}": rendered(figure, kind)
        for name, figure in figures.items()
        if figure is not None
        for kind in _FORMATS
    }


def rendered(figure: Figure, kind: str) -> bytes:
    """The figure as a file of the kind "png" or "svg", without date, version or random name in it."""
    buffer = io.BytesIO()
    with rc_context(_STYLE):
        figure.savefig(buffer, format=kind, metadata=_FORMATS[kind], dpi=_DPI)
    return buffer.getvalue()


def recall_by_size_plot(strata: Sequence[Mapping[str, Any]]) -> Figure:
    """Lesion sensitivity of every stratum of summary.json with its interval and n; an empty one says "no lesion"."""
    kinds = [stratum_kind(str(row["name"])) for row in strata]
    # Half a row more between two kinds of strata.
    position = np.arange(len(kinds)) + 0.5 * np.cumsum([0, *(a != b for a, b in pairwise(kinds))])
    height = 1.1 + 0.27 * (position[-1] + 1)
    figure, axes = _axes("lesion sensitivity (95 % interval)", "", size_in=(_SIZE_IN[0], height))
    for y, row in zip(position, strata, strict=True):
        mean, low, high = (row["sensitivity"][key] for key in ("mean", "low", "high"))
        if mean is None:
            axes.text(0.01, y, "no lesion", va="center", fontsize=8, color=_SOFT)
            continue
        axes.barh(y, mean, height=0.62, color=_FILL, edgecolor=_LINE, linewidth=0.6)
        if low is not None:
            ends = [[max(mean - low, 0)], [max(high - mean, 0)]]
            axes.errorbar(mean, y, xerr=ends, color=_INK, capsize=3, linewidth=1.1)
        axes.text(1.03, y, f"{mean:.2f}", va="center", fontsize=8)
    axes.set_yticks(position, [f"{row['name']}  (n = {row['n']})" for row in strata], fontsize=8)
    axes.set_ylim(position[-1] + 0.6, -0.6)
    axes.set_xlim(0, 1.12)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.tick_params(axis="y", length=0)
    return figure


def size_dice_plot(lesions: pd.DataFrame, cuts_mm: Sequence[float]) -> Figure | None:
    """Diameter in mm (logarithmic) against Dice of every found reference lesion, with median and quartiles by size.

    lesions: lesions.csv. None where no reference lesion was found.
    """
    found = lesions[(lesions["source"] == "reference") & lesions["dice"].notna()]
    if found.empty:
        return None
    diameter, dice = found["diameter_mm"].to_numpy(float), found["dice"].to_numpy(float)
    clustered = found["clustered"].to_numpy(bool)
    figure, axes = _axes("equivalent diameter of the reference lesion, mm", "Dice with its partners")
    axes.set_xscale("log")
    few = len(found) < 400
    for chosen, marker, label, face in ((~clustered, "o", "solitary", _FILL), (clustered, "^", "clustered", "none")):
        if chosen.any():
            axes.scatter(
                diameter[chosen],
                dice[chosen],
                s=22 if few else 9,
                marker=marker,
                facecolors=face,
                edgecolors=_LINE,
                linewidths=0.7,
                alpha=0.9 if few else 0.5,
                label=f"{label} (n = {int(chosen.sum())})",
                rasterized=len(found) > 2000,  # an SVG of many thousand markers opens slowly
            )
    for cut in cuts_mm:
        axes.axvline(cut, color=_SOFT, linewidth=0.7, linestyle=(0, (2, 3)), zorder=0)
    edges = [diameter.min() * 0.999, *[cut for cut in cuts_mm if diameter.min() < cut < diameter.max()], diameter.max() * 1.001]
    first = True
    for low, high in pairwise(edges):
        inside = dice[(diameter >= low) & (diameter < high)]
        if len(inside) >= _FEWEST_IN_BIN:
            quartiles = np.quantile(inside, [0.25, 0.5, 0.75])
            axes.plot([low, high], [quartiles[1]] * 2, color=_INK, linewidth=2, label="median by size" if first else None)
            axes.fill_between(
                [low, high], *quartiles[[0, 2]], color=_INK, alpha=0.12, linewidth=0, label="quartiles" if first else None
            )
            first = False
    ticks = [t for t in (2, 3, 5, 7, 10, 15, 20, 30, 40, 60, 80, 120, 200) if edges[0] * 0.8 <= t <= edges[-1] * 1.25]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_ylim(0, 1.02)
    _legend_below(axes)
    return figure


def bland_altman_plot(
    images: pd.DataFrame, size: str = "area_mm2", agreement: Mapping[str, Any] | None = None
) -> Figure | None:
    """Lesion area of every image: prediction minus reference against the mean of the two, with bias and limits of agreement.

    images: images.csv; size: "area_mm2", drawn in cm2, or "volume_mm3", drawn in cm3. agreement: burden.agreement of these
    images, whose intervals are then drawn; without it bias and limits (1.96 sample standard deviations over images) alone.
    None where no image has a lesion.
    """
    name, unit = size.split("_")
    scale, power = (100, "²") if unit == "mm2" else (1000, "³")
    values = images[[f"reference_{size}", f"predicted_{size}"]].dropna().to_numpy(float) / scale
    if not values.any():
        return None
    middle, difference = values.mean(axis=1), values[:, 1] - values[:, 0]
    figure, axes = _axes(
        f"mean of reference and predicted lesion {name} of an image, cm{power}", f"prediction − reference, cm{power}"
    )
    neither, either = (values == 0).all(axis=1), (values == 0).any(axis=1)
    for chosen, marker, label, face in (
        (~either, "o", "lesions in both", _FILL),
        (either & ~neither, "x", "lesions in one mask only", _INK),
        (neither, "s", "no lesion in either", "none"),
    ):
        if chosen.any():
            text = f"{label} (n = {int(chosen.sum())})"
            line = _INK if marker == "x" else _LINE
            axes.plot(middle[chosen], difference[chosen], marker, ms=4.5, mfc=face, mew=0.9, mec=line, color=_INK, label=text)
    axes.axhline(0, color=_SOFT, linewidth=0.7)
    spread = LIMITS_SD * float(difference.std(ddof=1)) if len(difference) > 1 else 0.0
    lines = [("bias", "bias", 0.0), ("upper_limit", "bias + 1.96 SD", spread), ("lower_limit", "bias − 1.96 SD", -spread)]
    labelled = False
    for key, label, away in lines if spread else lines[:1]:
        value = float(difference.mean()) + away
        axes.axhline(value, color=_INK, linewidth=1.1, linestyle="--" if away else "-")
        ends = (agreement or {}).get(key, {})
        if ends.get("low") is not None:
            interval = [[value - ends["low"] / scale], [ends["high"] / scale - value]]
            name_once = None if labelled else "95 % intervals of the lines"
            labelled, edge = True, axes.get_yaxis_transform()
            axes.errorbar(0.985, value, interval, color=_SOFT, capsize=3, linewidth=1, transform=edge, label=name_once)
        text = f"{label}\n{value:+.2f}".replace("-", "−")
        axes.annotate(text, (1.01, value), xycoords=("axes fraction", "data"), va="center", fontsize=7.5)
    _legend_below(axes)
    return figure


def froc_plot(curve: pd.DataFrame | None, points: Mapping[float, Mapping[str, Any]] | None = None) -> Figure | None:
    """FROC from a table with the columns fp_per_image and sensitivity, a row a threshold; the axis is logarithmic.

    points: figures of the sensitivity at rates of false positives an image, drawn with their intervals. None without a curve
    or without a reference lesion.
    """
    if curve is None or curve.empty or curve["sensitivity"].isna().all():
        return None
    ordered = curve.sort_values(["fp_per_image", "sensitivity"])
    fp, sensitivity = ordered["fp_per_image"].to_numpy(float), ordered["sensitivity"].to_numpy(float)
    left, right = FP_RATES[0] / 2, FP_RATES[-1] * 2
    before = sensitivity[fp <= left].max(initial=0.0)
    inside = (fp > left) & (fp <= right)
    figure, axes = _axes("false positive lesions an image (logarithmic)", "lesion sensitivity")
    axes.set_xscale("log", base=2)
    axes.step(
        [left, *fp[inside], right],
        [before, *sensitivity[inside], max(before, sensitivity[fp <= right].max(initial=0.0))],
        where="post",
        color=_LINE,
        linewidth=1.6,
        label="all thresholds",
    )
    if fp.max() < right:
        axes.plot(fp.max(), sensitivity.max(), "s", ms=5, mfc="white", mec=_LINE, label="all predicted lesions kept")
    for number, (rate, point) in enumerate((points or {}).items()):
        if point["mean"] is not None:
            ends = None if point["low"] is None else [[point["mean"] - point["low"]], [point["high"] - point["mean"]]]
            text = "at a fixed rate, 95 % interval" if number == 0 else None
            axes.errorbar(rate, point["mean"], yerr=ends, fmt="o", ms=4, color=_INK, capsize=3, linewidth=1, label=text)
    axes.set_xlim(left, right)
    axes.xaxis.set_major_locator(FixedLocator(FP_RATES))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"1/{1 / value:.0f}" if value < 1 else f"{value:g}"))
    axes.set_ylim(0, 1.02)
    axes.grid(axis="x", color=_SOFT, alpha=0.3, linewidth=0.6)
    _legend_below(axes)
    return figure


def _axes(x_label: str, y_label: str, size_in: tuple[float, float] = _SIZE_IN) -> tuple[Figure, Axes]:
    with rc_context(_STYLE):
        figure = Figure(figsize=size_in, dpi=_DPI, layout="constrained")
        axes = figure.subplots()
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    return figure, axes


def _legend_below(axes: Axes) -> None:
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    figure.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)
