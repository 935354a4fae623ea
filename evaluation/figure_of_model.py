"""One figure of one model, and its difference to that of another: intervals, tests, seed noise, verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.compared_figures import ComparedFigure
from evaluation.paired_tests import cohen_dz, holm, patient_differences, permutation_test, rank_biserial, wilcoxon_p
from evaluation.statistics import Figure, Resampled, defined_mean, interval_figure, resample
from evaluation.training_variance import TrainingError, run_sd, training_error, training_error_of_difference

ALPHA = 0.05


class FigureOfModel:
    """A figure of a model with one run or more.

    runs: (runs, patients, k) contributions of patients to the figure's k sums. counts: what its n counts, run by run.
    """

    def __init__(self, figure: ComparedFigure, runs: NDArray[np.float64], counts: Sequence[int]) -> None:
        self.figure = figure
        self.runs = runs
        self.counts = list(counts)
        self.values = [float(value) for value in figure.statistic(runs.sum(axis=1))]
        self.resampled = resample(runs, figure.statistic)

    @property
    def patient_values(self) -> NDArray[np.float64]:
        """Every patient's own value, averaged over runs; NaN where undefined."""
        return defined_mean(self.figure.statistic(self.runs))

    def summary(self, name: str) -> dict[str, Any]:
        """The entry of "figures" in comparison.json."""
        bounds = (0.0, 1.0) if self.figure.bounded else (0.0, np.inf)
        interval = asdict(_interval(self.resampled, self.counts[0], training_error(self.values), bounds))
        if len(set(self.counts)) > 1:  # the runs predict different numbers of lesions; see those of each run
            interval["n"] = None
        return {
            "name": name,
            **interval,
            "sd_runs": run_sd(self.values),
            "runs": [
                {"value": value if np.isfinite(value) else None, "n": n}
                for value, n in zip(self.values, self.counts, strict=True)
            ],
        }

    def difference(self, first: FigureOfModel) -> dict[str, Any]:
        """This model minus `first`: the entry of "differences" in comparison.json, without Holm's p values and verdict."""
        error = training_error_of_difference(first.values, self.values)
        changes = patient_differences(first.patient_values, self.patient_values)
        bounds = (-1.0, 1.0) if self.figure.bounded else (-np.inf, np.inf)
        resampled = self.resampled - first.resampled
        interval = _interval(resampled, len(changes), error, bounds)
        of_patients = _interval(resampled, len(changes), None, bounds)
        spread = resampled.replicates[np.isfinite(resampled.replicates)]
        test = permutation_test(first.runs.mean(axis=0), self.runs.mean(axis=0), self.figure.statistic)
        return {
            "higher_is_better": self.figure.higher_is_better,
            "difference": interval.mean,
            "low": interval.low,
            "high": interval.high,
            "patients": interval.n,
            "permutation": {"p": test.p, "exact": test.exact},
            "wilcoxon": {"p": wilcoxon_p(changes)},
            "rank_biserial": rank_biserial(changes),
            "cohen_dz": cohen_dz(changes),
            # What each source of error does alone: other patients, and training again.
            "patient": {
                "standard_error": None if of_patients.low is None else float(spread.std(ddof=1)),
                "low": of_patients.low,
                "high": of_patients.high,
            },
            "training": None if error is None or interval.mean is None else _training(error, interval.mean),
        }


def adjust(differences: list[dict[str, Any]]) -> int:
    """Add Holm's p values to the entries, over all of them and for each test on its own; returns the family's size."""
    for test in ("permutation", "wilcoxon"):
        p_values = [np.nan if row[test]["p"] is None else row[test]["p"] for row in differences]
        for row, adjusted in zip(differences, holm(p_values), strict=True):
            row[test]["p_holm"] = None if np.isnan(adjusted) else float(adjusted)
    return sum(row["permutation"]["p"] is not None for row in differences)


def verdict(row: dict[str, Any]) -> str:
    """What an entry of "differences" lets one say, in words.

    "better" and "worse" need all three: an adjusted p of the permutation test below ALPHA (patients), a difference beyond
    seed noise where that is known (training), and an interval without 0 (both together).
    """
    difference, low, high, p = row["difference"], row["low"], row["high"], row["permutation"]["p_holm"]
    inside = row["training"] is not None and row["training"]["inside_seed_noise"]
    if difference is None:
        return "undefined"
    if difference == 0 and low in (0, None) and high in (0, None):
        return "no difference"
    if p is None or p >= ALPHA:
        return "no difference shown, inside seed noise" if inside else "no difference shown"
    if inside:
        return "inside seed noise"
    if low is None or low <= 0 <= high:
        return "no difference shown"
    return "better" if (difference > 0) == row["higher_is_better"] else "worse"


def _training(error: TrainingError, difference: float) -> dict[str, Any]:
    return {
        "standard_error": error.standard_error,
        "degrees_of_freedom": error.degrees if np.isfinite(error.degrees) else None,
        "noise_limit": error.noise_limit,
        "inside_seed_noise": error.hides(difference),
        "assumed_of_single_run": error.assumed,
    }


def _interval(resampled: Resampled, n: int, error: TrainingError | None, bounds: tuple[float, float]) -> Figure:
    error = error or TrainingError(0.0, np.inf)
    figure = interval_figure(resampled, n, standard_error=error.standard_error, degrees=error.degrees)
    if figure.low is None or figure.high is None:
        return figure
    # Two runs a model know so little of their variance that an interval may leave what is possible.
    low, high = np.clip((figure.low, figure.high), *bounds)
    return Figure(figure.mean, float(low), float(high), n)
