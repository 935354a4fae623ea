"""The accuracy benchmark's tables: mean and spread over seeds, and what a difference to the stock trainer is worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from accuracy_figures import NAMES
from nnunet_run import into_readme

from evaluation.training_variance import training_error_of_difference

STOCK = "stock"
BEGIN, END = "<!-- accuracy table: made by benchmarks/accuracy.py -->", "<!-- end of accuracy table -->"
# In the README, where a page has no room for all.
SHORT = ("pooled_dice", "lesion_f1", "fp_per_lesion_free_image", "froc", "recall_at_1_fp", "small_recall_at_1_fp")
POWER_SEEDS = 5


def by_arm(rows: Sequence[dict[str, str]], chosen: str, steps: int, width: str = "quarter") -> dict[str, list[dict[str, str]]]:
    """The runs of one set and schedule, arm by arm in the order of the table, STOCK first."""
    arms: dict[str, list[dict[str, str]]] = {STOCK: []}
    for row in rows:
        if (row["set"], int(row["steps"]), row["width"]) == (chosen, steps, width):
            arms.setdefault(row["arm"], []).append(row)
    return {arm: runs for arm, runs in arms.items() if runs}


def values(runs: Sequence[dict[str, str]], figure: str) -> np.ndarray:
    return np.array([float(run[figure]) if run[figure] else np.nan for run in runs])


def cell(runs: Sequence[dict[str, str]], stock: Sequence[dict[str, str]], figure: str) -> str:
    """Mean (SD over seeds), and the difference to stock in bold where it is outside seed noise.

    Outside: larger than the 97.5 % quantile of Student's t times its standard error over seeds (Welch), which at five seeds
    an arm is about 2.3 standard errors.
    """
    own, other = values(runs, figure), values(stock, figure)
    spread = f" ({own.std(ddof=1):.3f})" if len(own) > 1 else ""
    text = f"{own.mean():.3f}{spread}"
    if runs is stock or not len(other):
        return text
    difference = own.mean() - other.mean()
    error = training_error_of_difference(other, own)
    shown = f"{difference:+.3f}"
    return f"{text} {f'**{shown}**' if error is not None and not error.hides(difference) else shown}"


def table(rows: Sequence[dict[str, str]], chosen: str, steps: int, figures: Sequence[str] = tuple(NAMES)) -> str:
    """Markdown: an arm a line, and below it the seeds, the smallest effect that they can show, and the origin."""
    arms = by_arm(rows, chosen, steps)
    if not arms:
        return f"No runs of {steps} steps on the {chosen} set yet."
    stock = arms.get(STOCK, [])
    lines = ["| arm | seeds | " + " | ".join(NAMES[name] for name in figures) + " |", "|---|---:|" + "---:|" * len(figures)]
    for arm, runs in arms.items():
        lines.append(f"| {arm} | {len(runs)} | " + " | ".join(cell(runs, stock, name) for name in figures) + " |")
    return "\n".join(lines) + "\n\n" + origin(arms, chosen, steps)


def origin(arms: dict[str, list[dict[str, str]]], chosen: str, steps: int) -> str:
    """What the table is of, and how small an effect it could have shown."""
    every = [run for runs in arms.values() for run in runs]
    first = every[0]
    commits = ", ".join(dict.fromkeys(run["commit"] for run in every))
    return (
        f"The {chosen} phantom set: {first['images']} thorax views, {first['lesions']} lesions, {first['small_lesions']} of "
        f"them under 12 mm; 286 views to train on. {steps} steps, a quarter of nnU-Net's widths. Mean (SD over seeds) and "
        f"difference to stock, bold outside seed noise. {smallest_effect(arms)} {first['machine']}; commit {commits}; "
        "`python benchmarks/accuracy.py`."
    )


def smallest_effect(arms: dict[str, list[dict[str, Any]]]) -> str:
    """The difference in lesion F1 and in small-lesion recall that five seeds an arm show with 80 % power, from the SD seen.

    2.8 standard errors of a difference (1.96 + 0.84), with the SD over seeds pooled over the arms that have several.
    """
    texts = []
    for figure in ("lesion_f1", "small_recall_at_1_fp"):
        variances = [(values(runs, figure).var(ddof=1), len(runs) - 1) for runs in arms.values() if len(runs) > 1]
        if not variances:
            return "One seed an arm: no spread is known, and no difference is shown."
        freedom = sum(degrees for _, degrees in variances)
        pooled = (sum(variance * degrees for variance, degrees in variances) / freedom) ** 0.5
        texts.append(f"{2.8 * pooled * (2 / POWER_SEEDS) ** 0.5:.3f} in {NAMES[figure]}")
    return f"{POWER_SEEDS} seeds an arm can show a difference of {' and of '.join(texts)} (80 % power)."


def whole(rows: Sequence[dict[str, str]]) -> str:
    """Every set and schedule in the table of results, the test set first."""
    schedules = sorted({(row["set"] != "test", int(row["steps"]), row["set"]) for row in rows})
    return "\n\n".join(table(rows, chosen, steps, SHORT) for _, steps, chosen in schedules)


def update_readme(rows: Sequence[dict[str, str]]) -> None:
    """Put them into the README."""
    into_readme(BEGIN, END, whole(rows))
