"""The accuracy benchmark's tables: mean and spread over seeds, and what a difference to the stock trainer is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from accuracy_arms import ARMS, SMALL_PATCHES
from accuracy_figures import FITS, NAMES, SMALL_MM
from nnunet_run import into_document
from scipy.special import stdtrit

STOCK = "stock"
BASELINES = (STOCK, STOCK + SMALL_PATCHES)  # the first that a table has
BEGIN, END = "<!-- accuracy table: made by benchmarks/accuracy.py -->", "<!-- end of accuracy table -->"
# nnU-Net's own widths are the comparison and stand on the first page; the screen of all levers has its own.
DOCUMENTS = {"full": "README.md", "quarter": "docs/levers.md"}
# In the documents, where a page has no room for all.
SHORT = ("pooled_dice", "lesion_f1", "fp_per_lesion_free_image", "froc", "recall_at_1_fp", "small_recall_at_1_fp")
POWER_SEEDS = 5
FEWEST_SEEDS = 2  # of an arm whose difference may be called one
Runs = Sequence[dict[str, str]]
Arms = Mapping[str, Runs]


class Schedule(NamedTuple):
    """What the runs of one table have in common: evaluation set, steps, and widths ("quarter" of nnU-Net's, or "full")."""

    set: str
    steps: int
    width: str

    @classmethod
    def of(cls, row: Mapping[str, str]) -> Schedule:
        return cls(row["set"], int(row["steps"]), row["width"])


def by_arm(rows: Runs, schedule: Schedule) -> dict[str, list[dict[str, str]]]:
    """The runs of one schedule, arm by arm in the order of ARMS: the stock trainer first, small patches last."""
    arms: dict[str, list[dict[str, str]]] = {name: [] for name in ARMS}
    for row in rows:
        if Schedule.of(row) == schedule:
            arms.setdefault(row["arm"], []).append(row)
    return {arm: runs for arm, runs in arms.items() if runs}


def baseline(arms: Arms) -> str:
    """The arm that differences are to: stock at its own patch, or else at small ones."""
    return next((name for name in BASELINES if name in arms), STOCK)


def values(runs: Runs, figure: str) -> np.ndarray:
    return np.array([float(run[figure]) if run[figure] else np.nan for run in runs])


@dataclass(frozen=True)
class SeedNoise:
    """Standard deviation of a figure over seeds, pooled over all arms that have several, and its degrees of freedom.

    Pooled, because the SD of two or three seeds of one arm is itself mostly noise.
    """

    sd: float
    degrees: int

    def limit(self, seeds: int, others: int) -> float:
        """The difference of two means that 95 of 100 repetitions without any difference stay within."""
        if not self.degrees or min(seeds, others) < FEWEST_SEEDS:
            return float("inf")
        return float(stdtrit(self.degrees, 0.975)) * self.sd * (1 / seeds + 1 / others) ** 0.5


def seed_noise(arms: Arms, figure: str) -> SeedNoise:
    """Of all arms of a table; SD 0 with no degree of freedom where no arm has two seeds."""
    several = [values(runs, figure) for runs in arms.values() if len(runs) > 1]
    degrees = sum(len(found) - 1 for found in several)
    squares = sum(found.var(ddof=1) * (len(found) - 1) for found in several)
    return SeedNoise((squares / degrees) ** 0.5 if degrees else 0.0, degrees)


def cell(runs: Runs, stock: Runs, figure: str, noise: SeedNoise) -> str:
    """Mean (SD over seeds), and the difference to stock in bold where it is outside seed noise."""
    own = values(runs, figure)
    spread = f" ({own.std(ddof=1):.3f})" if len(own) > 1 else ""
    text = f"{own.mean():.3f}{spread}"
    return text if runs is stock or not stock else f"{text} {difference(runs, stock, figure, noise)}"


def difference(runs: Runs, others: Runs, figure: str, noise: SeedNoise) -> str:
    """Of two means, signed, in bold where it is outside seed noise."""
    found = values(runs, figure).mean() - values(others, figure).mean()
    outside = abs(found) > noise.limit(len(runs), len(others))
    return f"**{found:+.3f}**" if outside else f"{found:+.3f}"


def table(rows: Runs, schedule: Schedule, figures: Sequence[str] = tuple(NAMES)) -> str:
    """Markdown: an arm a line, and below it the seeds, the smallest effect that they can show, and the origin."""
    arms = by_arm(rows, schedule)
    if not arms:
        return f"No runs of {schedule.steps} steps at {schedule.width} width on the {schedule.set} set yet."
    stock = arms.get(baseline(arms), [])
    noise = {name: seed_noise(arms, name) for name in figures}
    lines = ["| arm | seeds | " + " | ".join(NAMES[name] for name in figures) + " |", "|---|---:|" + "---:|" * len(figures)]
    for arm, runs in arms.items():
        lines.append(f"| {arm} | {len(runs)} | " + " | ".join(cell(runs, stock, name, noise[name]) for name in figures) + " |")
    return "\n".join(lines) + "\n\n" + origin(arms, schedule)


def additions(rows: Runs, schedule: Schedule, figures: Sequence[str]) -> str:
    """Markdown: what each arm adds to its own network at the same patch; "" where no network stands alone."""
    arms = by_arm(rows, schedule)
    noise = {name: seed_noise(arms, name) for name in figures}
    lines = []
    for arm, runs in arms.items():
        network = arm.split(" + ")[0] + (SMALL_PATCHES if arm.endswith(SMALL_PATCHES) else "")
        if arm != network and network in arms:
            seeds = f"{len(runs)}, {len(arms[network])}"
            found = (difference(runs, arms[network], name, noise[name]) for name in figures)
            lines.append(f"| {arm.removesuffix(SMALL_PATCHES)} | {network} | {seeds} | " + " | ".join(found) + " |")
    if not lines:
        return ""
    head = "| arm | less | seeds | " + " | ".join(NAMES[name] for name in figures) + " |"
    said = "The same runs, each arm less its own network without lever or adversary: means, bold outside seed noise as above."
    return "\n".join([head, "|---|---|---:|" + "---:|" * len(figures), *lines, "", said])


def origin(arms: Arms, schedule: Schedule) -> str:
    """What the table is of, and how small an effect it could have shown."""
    every = [run for runs in arms.values() for run in runs]
    first = every[0]
    commits = ", ".join(dict.fromkeys(run["commit"] for run in every))
    widths = {
        "full": "nnU-Net's own widths, batches of 14 images or as many pixels of smaller patches",
        "quarter": "a quarter of nnU-Net's widths, batches of two images or as many pixels of smaller patches",
    }[schedule.width]
    return (
        f"The {schedule.set} phantom set: {first['images']} thorax views, {first['lesions']} lesions, {first['small_lesions']} "
        f"of them under {SMALL_MM:g} mm; 286 views to train on. {schedule.steps} steps, {widths}. Mean (SD over seeds) and "
        "difference to stock, bold outside seed noise (two seeds at least, 95 %, SD pooled over the arms). "
        f"Dice and F1 at probability 0.5; on the curve a lesion is found where a candidate reaches an IoU of {FITS:g}. "
        f"{smallest_effect(arms)} {first['machine']}; commit {commits}; "
        "`python benchmarks/accuracy.py`."
    )


def smallest_effect(arms: Arms) -> str:
    """The difference in lesion F1 and in small-lesion recall that five seeds an arm show with 80 % power, from the SD seen.

    2.8 standard errors of a difference (1.96 + 0.84), with the pooled SD over seeds.
    """
    texts = []
    for figure in ("lesion_f1", "small_recall_at_1_fp"):
        noise = seed_noise(arms, figure)
        if not noise.degrees:
            return "One seed an arm: no spread is known, and no difference is shown."
        texts.append(f"{2.8 * noise.sd * (2 / POWER_SEEDS) ** 0.5:.3f} in {NAMES[figure]}")
    return f"{POWER_SEEDS} seeds an arm can show a difference of {' and of '.join(texts)} (80 % power)."


def whole(rows: Runs, compared: Runs, width: str) -> str:
    """Every set and schedule of a width in the table of results, the test set first; below each what `msa compare` says."""
    schedules = sorted({Schedule.of(row) for row in rows}, key=lambda one: (one.set != "test", one))
    mine = [one for one in schedules if one.width == width]
    parts = [part for one in mine for part in (table(rows, one, SHORT), additions(rows, one, SHORT), comparison(compared, one))]
    return "\n\n".join(part for part in parts if part)


def comparison(compared: Runs, schedule: Schedule) -> str:
    """Markdown of the rows that benchmarks/accuracy_compare.py made: a figure a line, "" where it compared nothing."""
    mine = [row for row in compared if Schedule.of(row) == schedule]
    if not mine:
        return ""
    lines = ["| at probability 0.5 | arm | stock | difference (95 %) | p, after Holm |", "|---|---:|---:|---:|---:|"]
    for row in mine:
        ours, stock = (f"{float(row[name]):.3f}" for name in ("model_mean", "against_mean"))
        difference, low, high = (f"{float(row[name]):+.3f}" for name in ("difference", "low", "high"))
        chance = float(row["p_permutation_holm"])
        p = "< 0.001" if chance < 0.001 else f"{chance:.3f}"
        lines.append(f"| {row['model']}: {row['name']} | {ours} | {stock} | {difference} ({low} to {high}) | {p} |")
    lines += [
        "",
        f"The same runs ({mine[0]['model_runs']} against {mine[0]['against_runs']}) under `msa compare`: intervals over ",
    ]
    lines[-1] += "patients and seeds, permutation tests over patients; `python benchmarks/accuracy.py compare`."
    return "\n".join(lines)


def update_documents(rows: Runs, compared: Runs) -> None:
    """Put them into README.md and docs/levers.md."""
    for width, name in DOCUMENTS.items():
        into_document(BEGIN, END, whole(rows, compared, width), name)
