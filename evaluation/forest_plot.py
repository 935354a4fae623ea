"""Forest plot of the differences between a model and the one it is compared with."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Told apart by shape and by filling as well as by darkness, so that a grey print says the same.
INTERVAL, RUN, BASELINE_RUN = "#1f3a5f", "#5b6875", "#5b6875"

_ROW_INCHES = 0.29
_PANEL_INCHES = 0.75


def forest_plot_svg(comparison: Mapping[str, Any], model: str) -> str:
    """Draw all differences of `model`: one row a figure, fractions above, false positives below on an axis of their own.

    A square is the difference, filled where the verdict is "better" or "worse", with its 95 % interval. With several runs
    the thick part of the interval is that over patients alone, the thin one holds training too;
    a circle is one run of the model and a tick one run of the model it is compared with, both minus that model's mean: the
    circles' and the ticks' spread is what training again does. Identical comparisons give identical files.
    """
    rows = [row for row in comparison["differences"] if row["model"] == model]
    figures = {figure["key"]: figure for figure in comparison["figures"]}
    fractions = [row for row in rows if row["higher_is_better"]]
    counts = [row for row in rows if not row["higher_is_better"]]
    against = comparison["models"][0]["name"]
    heights = [len(fractions) + 1.0, len(counts) + 1.0]
    # matplotlib draws random identifiers and the date into an SVG otherwise.
    with mpl.rc_context({"svg.hashsalt": "msa compare", "svg.fonttype": "path", "text.parse_math": False}):
        figure = Figure(figsize=(8.6, sum(heights) * _ROW_INCHES + 2 * _PANEL_INCHES), layout="constrained")
        panels = figure.subplots(2, 1, height_ratios=heights)
        _panel(panels[0], fractions, figures, model, f"difference, {model} minus {against}")
        _panel(panels[1], counts, figures, model, "difference in false positives (fewer is better)")
        figure.legend(*_legend(panels, model, against), loc="outside upper left", ncols=3, fontsize=8, frameon=False)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _panel(
    axes: Axes, rows: Sequence[Mapping[str, Any]], figures: Mapping[str, Mapping[str, Any]], model: str, label: str
) -> None:
    names = []
    for position, row in enumerate(rows):
        figure = figures[row["figure"]]
        per_patient = "per patient: " if figure["group"] == "Mean over patients" else ""
        names.append(f"{per_patient}{figure['name']}" if figure["group"] != "Lesions" else f"Lesions: {figure['name']}")
        if row["difference"] is None:
            axes.text(0.01, position, "undefined", va="center", fontsize=8, transform=axes.get_yaxis_transform())
            continue
        shown = row["verdict"] in ("better", "worse")
        if row["low"] is not None:
            _line(axes, position, row["patient"], 3.2, "95 % over patients")
            if row["training"] is not None:
                _line(axes, position, row, 1.2, "95 % over patients and training")
        axes.plot(
            row["difference"], position, "s", color=INTERVAL, markersize=6.5, markerfacecolor=INTERVAL if shown else "white",
            markeredgewidth=1.3, label="difference shown" if shown else "difference not shown",
            zorder=4,
        )  # fmt: skip
        _runs(axes, position, figure, model)
    axes.axvline(0, color="#000000", linewidth=0.8, zorder=1)
    for position in range(1, len(rows)):
        if figures[rows[position]["figure"]]["group"] != figures[rows[position - 1]["figure"]]["group"]:
            axes.axhline(position - 0.5, color="#bbbbbb", linewidth=0.6, zorder=0)
    axes.set_yticks(range(len(rows)), names, fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(label, fontsize=8.5)
    axes.tick_params(axis="x", labelsize=8)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#e2e2e2", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    # Room for a difference of zero throughout, which would leave an axis without extent.
    left, right = axes.get_xlim()
    if right - left < 1e-6 or not rows:
        axes.set_xlim(-0.05, 0.05)


def _line(axes: Axes, position: int, interval: Mapping[str, Any], width: float, label: str) -> None:
    ends = [interval["low"], interval["high"]]
    axes.plot(ends, [position] * 2, color=INTERVAL, linewidth=width, solid_capstyle="butt", label=label, zorder=2)


def _runs(axes: Axes, position: int, figure: Mapping[str, Any], model: str) -> None:
    """The runs of both models around the mean of the first one, where a model has several."""
    first = figure["models"][0]
    second = next(entry for entry in figure["models"] if entry["name"] == model)
    for entry, marker, size, offset, label in (
        (second, "o", 3.6, 0.3, "run"),
        (first, "|", 6, -0.3, "baseline run"),
    ):
        values = [run["value"] - first["mean"] for run in entry["runs"] if run["value"] is not None]
        if len(entry["runs"]) > 1:
            axes.plot(
                values, [position + offset] * len(values), linestyle="", marker=marker, color=RUN, markersize=size,
                markerfacecolor="none", markeredgewidth=0.9, label=label, zorder=3,
            )  # fmt: skip


def _legend(panels: Sequence[Axes], model: str, against: str) -> tuple[list[Any], list[str]]:
    """One entry a kind of mark, whichever panel it appears in."""
    found: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    words = {"run": f"one run of {model}", "baseline run": f"one run of {against}"}
    order = sorted(found, key=lambda label: (label in words, label))
    return [found[label] for label in order], [words.get(label, label) for label in order]
