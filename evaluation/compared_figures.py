"""The figures that are compared between models, each a function of sums over patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation import metrics
from evaluation.statistics import Statistic, ratio_of_sums
from evaluation.strata import size_names

NEIGHBOURHOODS = ("clustered", "solitary")


@dataclass(frozen=True)
class ComparedFigure:
    """A figure of a model: `statistic` of the sums over patients of `columns` of patient_sums.

    counted: what its n counts, the sum of the columns `n_columns`. higher_is_better: false for false positives.
    bounded: the figure lies between 0 and 1.
    """

    key: str
    name: str
    group: str
    columns: tuple[str, ...]
    n_columns: tuple[str, ...]
    counted: str
    statistic: Statistic = ratio_of_sums
    higher_is_better: bool = True
    bounded: bool = True


def compared_figures(cuts_mm: Sequence[float]) -> list[ComparedFigure]:
    """All figures, in the order of the tables: pixels, lesions, lesions by size and neighbourhood, means over patients."""
    pixels, lesions, by_size, patients = "Pixels", "Lesions", "Lesions by size and neighbourhood", "Mean over patients"
    pooled, counts = ("tp", "fp", "fn"), ("found_lesions", "reference_lesions", "matched_lesions", "predicted_lesions")
    images, lesions_of_either = ("images",), ("reference_lesions", "predicted_lesions")
    strata = [*size_names(cuts_mm), *NEIGHBOURHOODS]
    return [
        ComparedFigure("pooled_dice", "Dice, pooled", pixels, pooled, images, "images", _pooled_dice),
        ComparedFigure("pooled_precision", "Precision, pooled", pixels, pooled, images, "images", _pooled_precision),
        ComparedFigure("pooled_recall", "Recall, pooled", pixels, pooled, images, "images", _pooled_recall),
        _mean("image_dice", "Dice per image", pixels, "images with lesion or prediction"),
        _mean("lesion_image_dice", "Dice per image with lesion", pixels, "images with lesion"),
        ComparedFigure("lesion_sensitivity", "Sensitivity", lesions, counts[:2], counts[1:2], "reference lesions"),
        ComparedFigure("lesion_precision", "Precision", lesions, counts[2:], counts[3:], "predicted lesions"),
        ComparedFigure("lesion_f1", "F1", lesions, counts, lesions_of_either, "lesions of either", _lesion_f1),
        _false_positives("fp_per_image", "False positives per image", "images", "images"),
        _false_positives(
            "fp_per_lesion_free_image", "False positives per lesion-free image", "free_images", "lesion-free images"
        ),
        *(
            ComparedFigure(
                f"sensitivity {name}", f"Sensitivity, {name}", by_size, _stratum(name), _stratum(name)[1:], "reference lesions"
            )
            for name in strata
        ),
        _mean("patient_dice", "Dice", patients, "patients with lesion or prediction"),
        _mean("patient_sensitivity", "Lesion sensitivity", patients, "patients with lesion"),
        _mean("patient_f1", "Lesion F1", patients, "patients with lesion or prediction"),
    ]


def patient_sums(images: pd.DataFrame, lesions: pd.DataFrame, cuts_mm: Sequence[float]) -> pd.DataFrame:
    """Each patient's contributions to the sums that the figures are made of, patients in sorted order.

    images, lesions: the tables of Evaluation. Undefined values add nothing to a sum and nothing to its count.
    """
    with_lesion = images["reference_lesions"] > 0
    parts = images[
        ["patient", "tp", "fp", "fn", "found_lesions", "reference_lesions", "matched_lesions", "predicted_lesions"]
    ].assign(
        images=1.0,
        fp_per_image=images["spurious_lesions"],
        free_images=(~with_lesion).astype(float),
        fp_per_lesion_free_image=images["spurious_lesions"].where(~with_lesion, 0),
        **_defined("image_dice", images["dice"]),
        **_defined("lesion_image_dice", images["dice"].where(with_lesion)),
    )
    sums = parts.groupby("patient").sum().sort_index().astype(float)
    reference = lesions[lesions["source"] == "reference"]
    found = (reference["status"] != "missed").astype(float)
    clustered = reference["clustered"].to_numpy(dtype=bool)
    groups = {name: (reference["stratum"] == name).to_numpy() for name in size_names(cuts_mm)}
    for name, members in {**groups, **dict(zip(NEIGHBOURHOODS, (clustered, ~clustered), strict=True))}.items():
        by_patient = found[members].groupby(reference["patient"][members])
        hit, number = _stratum(name)
        sums[hit] = by_patient.sum().reindex(sums.index, fill_value=0.0)
        sums[number] = by_patient.count().reindex(sums.index, fill_value=0).astype(float)
    own = {name: sums[name].to_numpy() for name in sums.columns}
    counts = own["found_lesions"], own["reference_lesions"], own["matched_lesions"], own["predicted_lesions"]
    values = {
        "patient_dice": metrics.dice(own["tp"], own["fp"], own["fn"]),
        "patient_sensitivity": metrics.recall(counts[0], counts[1] - counts[0]),
        "patient_f1": metrics.lesion_f1(*counts),
    }
    return sums.assign(
        **{
            column: part
            for key, value in values.items()
            for column, part in _defined(key, pd.Series(value, sums.index)).items()
        }
    )


def _mean(key: str, name: str, group: str, counted: str) -> ComparedFigure:
    return ComparedFigure(key, name, group, (key, f"n {key}"), (f"n {key}",), counted)


def _false_positives(key: str, name: str, items: str, counted: str) -> ComparedFigure:
    columns = (key, items)
    return ComparedFigure(key, name, "Lesions", columns, columns[1:], counted, higher_is_better=False, bounded=False)


def _defined(key: str, values: pd.Series) -> dict[str, pd.Series]:
    """The two columns of a mean: values, 0 where undefined, and whether they are defined."""
    return {key: values.fillna(0.0), f"n {key}": values.notna().astype(float)}


def _stratum(name: str) -> tuple[str, str]:
    return f"found {name}", f"n {name}"


def _pooled_dice(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return metrics.dice(sums[..., 0], sums[..., 1], sums[..., 2])


def _pooled_precision(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return metrics.precision(sums[..., 0], sums[..., 1])


def _pooled_recall(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return metrics.recall(sums[..., 0], sums[..., 2])


def _lesion_f1(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return metrics.lesion_f1(sums[..., 0], sums[..., 1], sums[..., 2], sums[..., 3])
