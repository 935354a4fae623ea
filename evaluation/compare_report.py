"""A comparison for reading: text for the terminal, CSV, a table for a paper, a self-contained page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from evaluation.forest_plot import forest_plot_svg
from evaluation.matching import MATCH_RULE_TEXTS
from evaluation.page_templates import environment

_MISSING_NAMED = 5


def comparison_files(comparison: Mapping[str, Any]) -> dict[str, bytes]:
    """Content of all files but comparison.json, by name."""
    plots = {entry["name"]: forest_plot_svg(comparison, entry["name"]) for entry in comparison["models"][1:]}
    numbered = {"comparison.svg": next(iter(plots.values()))} if len(plots) == 1 else {
        f"comparison_{number}.svg": plot for number, plot in enumerate(plots.values(), 1)
    }  # fmt: skip
    return {
        "comparison.csv": comparison_table(comparison).to_csv(index=False).encode(),
        "comparison.md": _render("compare.md", comparison).encode(),
        **{name: plot.encode() for name, plot in numbered.items()},
        "comparison.html": _render(
            "compare.html", comparison, plots={name: _inline(plot) for name, plot in plots.items()}
        ).encode(),
    }


def comparison_table(comparison: Mapping[str, Any]) -> pd.DataFrame:
    """comparison.csv: one row a figure and pair of models, undefined values empty."""
    figures = {figure["key"]: figure for figure in comparison["figures"]}
    rows = []
    for row in comparison["differences"]:
        figure = figures[row["figure"]]
        entries = {entry["name"]: entry for entry in figure["models"]}
        first, second = entries[row["against"]], entries[row["model"]]
        training = row["training"] or {}
        rows.append(
            {
                "figure": row["figure"],
                "group": figure["group"],
                "name": figure["name"],
                "higher_is_better": row["higher_is_better"],
                "model": row["model"],
                "against": row["against"],
                **{f"model_{key}": second[key] for key in ("mean", "low", "high", "sd_runs", "n")},
                "model_runs": len(second["runs"]),
                **{f"against_{key}": first[key] for key in ("mean", "low", "high", "sd_runs", "n")},
                "against_runs": len(first["runs"]),
                "counted": figure["counted"],
                **{key: row[key] for key in ("difference", "low", "high", "patients")},
                "p_permutation": row["permutation"]["p"],
                "p_permutation_holm": row["permutation"]["p_holm"],
                "p_wilcoxon": row["wilcoxon"]["p"],
                "p_wilcoxon_holm": row["wilcoxon"]["p_holm"],
                "rank_biserial": row["rank_biserial"],
                "cohen_dz": row["cohen_dz"],
                "se_patients": row["patient"]["standard_error"],
                "se_training": training.get("standard_error"),
                "noise_limit": training.get("noise_limit"),
                "inside_seed_noise": training.get("inside_seed_noise"),
                "verdict": row["verdict"],
            }
        )
    return pd.DataFrame(rows)


def warnings(comparison: Mapping[str, Any]) -> list[str]:
    """Sentences above the results. The first says, in one line, what the intervals do not hold: training, patients."""
    models = comparison["models"]
    single = [model["name"] for model in models if len(model["runs"]) == 1]
    first, others = [], []
    if len(single) == len(models):
        first.append(
            "Warning: one run a model: training variance unknown, so a difference may be no more than that of two seeds; "
            "intervals and tests speak of these trained models only."
        )
    elif single:
        first.append(
            f"Warning: one run of {', '.join(single)}: training variance unknown there and taken to be that of the model "
            "compared with, where that one has several runs."
        )
    if comparison["cases_are_patients"]:
        first.append(
            "Warning: cases were taken as patients (no --cases manifest.csv); "
            "where a patient has several cases the intervals are too narrow and the p values too small."
        )
    for model in models:
        if model["folds"] > 1:
            others.append(
                f"{model['name']}: folders without a case in common were put together as {model['folds']} folds of one run."
            )
        for run in model["runs"]:
            if run["missing"]:
                named = ", ".join(run["missing"][:_MISSING_NAMED]) + (", ..." if len(run["missing"]) > _MISSING_NAMED else "")
                others.append(
                    f"Warning: {model['name']} ({', '.join(run['folders'])}): {len(run['missing'])} of "
                    f"{comparison['images']['n']} predictions are missing, counted as empty: {named}."
                )
    family = comparison["family"]
    if family["smallest_adjusted_p"] >= family["alpha"]:
        others.append(
            f"Warning: with {comparison['images']['patients']} patients and {family['tests']} tests no permutation test can "
            f"fall below {family['alpha']:g} after Holm's adjustment: no difference can be shown."
        )
    return [*([" ".join(first)] if first else []), *others]


def models_text(comparison: Mapping[str, Any]) -> str:
    """The models with their numbers of runs, the one that the others are compared with first."""
    parts = []
    for model in comparison["models"]:
        runs = len(model["runs"])
        folds = f" of {model['folds']} folds" if model["folds"] > 1 else ""
        parts.append(f"{model['name']} ({runs} run{'s' if runs > 1 else ''}{folds})")
    return f"{', '.join(parts[1:])} against {parts[0]}"


def comparison_text(comparison: Mapping[str, Any]) -> str:
    """The summary for the terminal; its first line says where the training variance or the patients are unknown."""
    images = comparison["images"]
    lines = [
        *warnings(comparison),
        f"{models_text(comparison)}: {images['n']} images of {images['patients']} patients, "
        f"{images['lesion_free']} lesion-free, {images['reference_lesions']} reference lesions",
    ]
    for pair in pairs(comparison):
        lines.append(f"{pair['model']} minus {pair['against']}{'':4}difference [95 %], p after Holm, verdict")
        lines += [
            f"  {row['full_name'][:36]:36}  {row['difference']:26}  p {row['p_holm']:6}  {row['verdict']}"
            for row in pair["rows"]
        ]
    return "\n".join(lines)


def pairs(comparison: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The comparisons with the first model one by one, every row's values as text."""
    figures = {figure["key"]: figure for figure in comparison["figures"]}
    found = []
    for entry in comparison["models"][1:]:
        rows, group = [], None
        for row in comparison["differences"]:
            if row["model"] != entry["name"]:
                continue
            figure = figures[row["figure"]]
            models = {model["name"]: model for model in figure["models"]}
            digits = 3 if row["higher_is_better"] else 2
            rows.append(
                {
                    "name": figure["name"],
                    "full_name": full_name(figure),
                    "group": figure["group"],
                    "new_group": figure["group"] != group,
                    "first": _figure(models[row["against"]], digits),
                    "second": _figure(models[row["model"]], digits),
                    "first_sd": _number(models[row["against"]]["sd_runs"], digits),
                    "second_sd": _number(models[row["model"]]["sd_runs"], digits),
                    "patient_error": _number(row["patient"]["standard_error"], digits),
                    "training_error": _number(None if row["training"] is None else row["training"]["standard_error"], digits),
                    "n": items_text(models[row["against"]], models[row["model"]], figure["counted"]),
                    "patients": str(row["patients"]),
                    "difference": _interval(row["difference"], row["low"], row["high"], digits, signed=True),
                    "noise": "unknown" if row["training"] is None else _number(row["training"]["noise_limit"], digits),
                    "p": p_text(row["permutation"]["p"]),
                    "p_holm": p_text(row["permutation"]["p_holm"]),
                    "wilcoxon": p_text(row["wilcoxon"]["p"]),
                    "wilcoxon_holm": p_text(row["wilcoxon"]["p_holm"]),
                    "rank_biserial": _number(row["rank_biserial"], 2, signed=True),
                    "cohen_dz": _number(row["cohen_dz"], 2, signed=True),
                    "verdict": row["verdict"],
                }
            )
            group = figure["group"]
        found.append({"model": entry["name"], "against": comparison["models"][0]["name"], "rows": rows})
    return found


def full_name(figure: Mapping[str, Any]) -> str:
    """Name of a figure that stands without its group's heading."""
    prefix = {"Lesions": "Lesion ", "Mean over patients": "Per patient: "}.get(figure["group"], "")
    name = str(figure["name"])
    return prefix + (name[0].lower() + name[1:] if prefix == "Lesion " and name != "F1" else name)


def items_text(first: Mapping[str, Any], second: Mapping[str, Any], counted: str) -> str:
    """How many items a figure is made of, as a range where models or runs differ in it."""
    numbers = sorted({run["n"] for entry in (first, second) for run in entry["runs"]})
    return f"{numbers[0]} {counted}" if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]} {counted}"


def p_text(p: float | None) -> str:
    """A p value to three digits, "<0.001" below."""
    if p is None:
        return "-"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _figure(entry: Mapping[str, Any], digits: int) -> str:
    return _interval(entry["mean"], entry["low"], entry["high"], digits)


def _interval(mean: float | None, low: float | None, high: float | None, digits: int, *, signed: bool = False) -> str:
    if mean is None:
        return "undefined"
    ends = "no interval" if low is None else f"{_number(low, digits, signed=signed)}, {_number(high, digits, signed=signed)}"
    return f"{_number(mean, digits, signed=signed)} [{ends}]"


def _number(value: float | None, digits: int, *, signed: bool = False) -> str:
    if value is None:
        return "-"
    rounded = round(value, digits) + 0.0  # no "-0.000"
    return f"{rounded:{'+' if signed and rounded else ''}.{digits}f}"


def _inline(svg: str) -> str:
    """An SVG file as part of a page: without XML declaration and document type."""
    return svg[svg.index("<svg") :]


def _markdown_cell(text: str) -> str:
    return text.replace("|", "\\|")


def _render(template: str, comparison: Mapping[str, Any], **values: Any) -> str:
    templates = environment()
    templates.filters["cell"] = _markdown_cell
    options = comparison["options"]
    return templates.get_template(template).render(
        comparison=comparison,
        images=comparison["images"],
        family=comparison["family"],
        warnings=warnings(comparison),
        pairs=pairs(comparison),
        models=models_text(comparison),
        rule=MATCH_RULE_TEXTS[options["match"]].format(**options),
        several_runs=any(len(model["runs"]) > 1 for model in comparison["models"]),
        **values,
    )
