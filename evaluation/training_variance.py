"""What a difference between models owes to the training: random initial weights and order of batches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtrit

from evaluation.statistics import CONFIDENCE


@dataclass(frozen=True)
class TrainingError:
    """Standard error that training adds to a figure (or to a difference), and its degrees of freedom.

    assumed: one of the two models has a single run, and was taken to vary as much as the other.
    """

    standard_error: float
    degrees: float
    assumed: bool = False

    @property
    def noise_limit(self) -> float:
        """The largest difference that 95 of 100 repetitions with no difference but the seed stay within.

        The 97.5 % quantile of Student's t (Welch-Satterthwaite degrees of freedom) times the standard error. Twice the
        standard error, which is this with many runs, would be passed by 18 % of such repetitions at two runs a model.
        """
        level = (1 + CONFIDENCE) / 2
        quantile = stdtrit(self.degrees, level) if np.isfinite(self.degrees) else ndtri(level)
        return float(quantile * self.standard_error)

    def hides(self, difference: float) -> bool:
        """Whether a difference is inside seed noise: training again could have made it."""
        # A difference of nothing is no noise; rounding when averaging over runs is.
        return abs(difference) <= self.noise_limit + 1e-12


def run_sd(values: ArrayLike) -> float | None:
    """Standard deviation (n - 1) of a figure over training runs; None with fewer than two in which it is defined."""
    defined = _defined(values)
    return float(defined.std(ddof=1)) if len(defined) > 1 else None


def training_error(values: ArrayLike) -> TrainingError | None:
    """Error of the mean over runs of one model's figure; None where the training variance is unknown (a single run)."""
    sd, runs = run_sd(values), len(_defined(values))
    return None if sd is None else TrainingError(sd / runs**0.5, runs - 1)


def training_error_of_difference(first: ArrayLike, second: ArrayLike) -> TrainingError | None:
    """Error of the difference between two models' means over their runs, which are not paired (Welch 1947).

    first, second: the figure in every run; their numbers may differ. A model with a single run is taken to vary as the
    other does. None where both have a single run, or the figure is undefined throughout.
    """
    first, second = _defined(first), _defined(second)
    numbers = len(first), len(second)
    if min(numbers) == 0 or max(numbers) == 1:
        return None
    if min(numbers) == 1:
        several = max(first, second, key=len)
        return TrainingError(float(several.std(ddof=1)) * (1 + 1 / len(several)) ** 0.5, len(several) - 1, assumed=True)
    parts = [values.var(ddof=1) / len(values) for values in (first, second)]
    total = sum(parts)
    if total == 0:
        return TrainingError(0.0, np.inf)
    degrees = total**2 / sum(part**2 / (len(values) - 1) for part, values in zip(parts, (first, second), strict=True))
    return TrainingError(float(total**0.5), float(degrees))


def _defined(values: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(values, float)
    defined: NDArray[np.float64] = values[np.isfinite(values)]
    return defined
