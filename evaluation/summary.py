"""The tables of images, lesions and patients condensed into the figures of summary.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation import metrics
from evaluation.burden import burden_summary
from evaluation.statistics import Figure, patient_figure
from evaluation.strata import CONTRAST_CUTS, strata, stratum_kind

SCHEMA = 1

# Pooled measures as functions of the summed (tp, fp, fn); the same names are columns of the table of images.
_POOLED = {
    "dice": lambda sums: metrics.dice(sums[..., 0], sums[..., 1], sums[..., 2]),
    "precision": lambda sums: metrics.precision(sums[..., 0], sums[..., 1]),
    "recall": lambda sums: metrics.recall(sums[..., 0], sums[..., 2]),
    "iou": lambda sums: metrics.iou(sums[..., 0], sums[..., 1], sums[..., 2]),
}
# Dice of a reference lesion with its partners below which it is found in name only: an intersection over union of a tenth.
BARELY = 2 * 0.1 / 1.1
_BOUNDARY = ("hd95_mm", "nsd", "asd_mm")
_LESION_COUNTS = ("found_lesions", "reference_lesions", "matched_lesions", "predicted_lesions")
_PANOPTIC = ("panoptic_iou_sum", "panoptic_matches", "reference_lesions", "predicted_lesions")


def summarise(
    images: pd.DataFrame,
    lesions: pd.DataFrame,
    cuts_mm: Sequence[float],
    contrast_cuts: Sequence[float] = CONTRAST_CUTS,
    size: str = "area_mm2",
) -> dict[str, Any]:
    """Condense all cases into the figures of summary.json (schema 1), ready for json.dumps(..., allow_nan=False).

    images, lesions: the tables of measure_case. size: name of the columns of lesion area, "volume_mm3" in 3-D.

    Every figure is {"mean", "low", "high", "n"} with a 95 % interval over patients; n counts images for pixels and boundary,
    reference lesions for sensitivity, predicted ones for precision, both for f1 and the panoptic qualities, matched reference
    lesions for Dice, images for false positives. The pooled pixel measures are plain numbers; `pooled_interval` repeats them
    as figures. What the empty-case rule does is shown by the same figures over images with reference lesions
    (`..._with_lesions`), over images in which neither mask is empty (boundary `both_present`), and with 1 in place of undefined
    (`per_image_empty_as_one`).
    """
    patients = sorted(images["patient"].unique())
    with_lesions = images[images["reference_lesions"] > 0]
    present = with_lesions[with_lesions["tp"] + with_lesions["fp"] > 0]
    pooled = {name: asdict(figure) for name, figure in _pooled(images, patients).items()}
    as_one = images.assign(**{name: metrics.empty_as_one(images[name]) for name in ("dice", "iou")})
    return {
        "schema": SCHEMA,
        "size": dict(zip(("name", "unit"), size.split("_"), strict=True)),
        "pixel": {
            "pooled": {name: figure["mean"] for name, figure in pooled.items()},
            "pooled_interval": pooled,
            "pooled_with_lesions": {name: asdict(figure) for name, figure in _pooled(with_lesions, patients).items()},
            "pooled_difference": asdict(_size_difference(images, patients, size)),
            "per_image": {name: asdict(mean_figure(images, name, patients)) for name in _POOLED},
            "per_image_with_lesions": {name: asdict(mean_figure(with_lesions, name, patients)) for name in _POOLED},
            "per_image_empty_as_one": {name: asdict(mean_figure(as_one, name, patients)) for name in ("dice", "iou")},
            "per_image_difference": asdict(mean_figure(images, _difference_column(size), patients)),
            "per_image_relative_difference": asdict(mean_figure(images, f"relative_{size.split('_')[0]}_difference", patients)),
        },
        "boundary": {
            **{name: asdict(mean_figure(images, name, patients)) for name in _BOUNDARY},
            "both_present": {name: asdict(mean_figure(present, name, patients)) for name in _BOUNDARY},
        },
        "lesion": {name: asdict(figure) for name, figure in _lesion_figures(images, lesions, patients, size).items()},
        "lesion_counts": _lesion_counts(images, lesions),
        "strata": _strata(lesions, cuts_mm, contrast_cuts, patients),
        "burden": burden_summary(images, patients, size),
        "images": {
            "n": len(images),
            "patients": len(patients),
            "lesion_free": int((images["reference_lesions"] == 0).sum()),
            "dice_undefined": int(images["dice"].isna().sum()),
            "missing_prediction": int(images["missing_prediction"].sum()),
        },
    }


def _pooled(images: pd.DataFrame, patients: list[str]) -> dict[str, Figure]:
    sums = _sums(images, ["tp", "fp", "fn"], patients)
    return {name: patient_figure(sums, len(images), statistic) for name, statistic in _POOLED.items()}


def _size_difference(images: pd.DataFrame, patients: list[str], size: str) -> Figure:
    """(predicted - reference) / reference of the summed areas."""
    sums = _sums(images, [f"reference_{size}", f"predicted_{size}"], patients)
    return patient_figure(sums, len(images), lambda total: metrics.relative_difference(total[..., 0], total[..., 1]))


def _difference_column(size: str) -> str:
    name, unit = size.split("_")
    return f"{name}_difference_{unit}"


def _lesion_figures(images: pd.DataFrame, lesions: pd.DataFrame, patients: list[str], size: str) -> dict[str, Figure]:
    counts = _sums(images, _LESION_COUNTS, patients)
    _, reference, _, predicted = (int(total) for total in counts.sum(axis=0))
    panoptic, either = _sums(images, _PANOPTIC, patients), reference + predicted
    lesion_free = images[images["reference_lesions"] == 0]
    return {
        "sensitivity": patient_figure(counts[:, :2], reference),
        "precision": patient_figure(counts[:, 2:], predicted),
        "f1": patient_figure(counts, either, lambda sums: metrics.lesion_f1(*np.moveaxis(sums, -1, 0))),
        "fp_per_image": mean_figure(images, "spurious_lesions", patients),
        "fp_per_lesion_free_image": mean_figure(lesion_free, "spurious_lesions", patients),
        f"fp_{size}_per_image": mean_figure(images, f"spurious_{size}", patients),
        f"fp_{size}_per_lesion_free_image": mean_figure(lesion_free, f"spurious_{size}", patients),
        "dice_matched": mean_figure(lesions[lesions["source"] == "reference"], "dice", patients),
        "panoptic_quality": patient_figure(panoptic, either, lambda sums: metrics.panoptic_quality(*np.moveaxis(sums, -1, 0))),
        "segmentation_quality": patient_figure(panoptic[:, :2], int(panoptic[:, 1].sum())),
        "recognition_quality": patient_figure(
            panoptic[:, 1:], either, lambda sums: metrics.quotient(2 * sums[..., 0], sums[..., 1] + sums[..., 2])
        ),
    }


def _lesion_counts(images: pd.DataFrame, lesions: pd.DataFrame) -> dict[str, Any]:
    """Whole numbers: lesions by status, merged and split ones whatever the rule, those found in name only, those removed."""
    status = {
        source: {str(name): int(n) for name, n in lesions.loc[lesions["source"] == source, "status"].value_counts().items()}
        for source in ("reference", "prediction")
    }
    is_reference = lesions["source"] == "reference"
    return {
        "reference": {name: status["reference"].get(name, 0) for name in ("matched", "split", "merged", "missed")},
        "predicted": {name: status["prediction"].get(name, 0) for name in ("matched", "split", "merged", "spurious")},
        "predicted_over_several_reference": int(images["merged_lesions"].sum()),
        "reference_under_several_predicted": int(images["split_lesions"].sum()),
        "reference_barely_found": int((is_reference & (lesions["dice"] < BARELY)).sum()),
        "removed_small_reference": int(images["small_reference"].sum()),
        "removed_small_predicted": int(images["small_predicted"].sum()),
        "removed_below_threshold": int(images["below_threshold"].sum()),
    }


def _strata(
    lesions: pd.DataFrame, cuts_mm: Sequence[float], contrast_cuts: Sequence[float], patients: list[str]
) -> list[dict[str, Any]]:
    """One row a stratum, the sizes first. predicted, spurious: predicted lesions that fall into it themselves."""
    is_reference = lesions["source"] == "reference"
    marked = lesions.assign(found=lesions["status"] != "missed", spurious=lesions["status"] == "spurious")
    rows = []
    for name, group in strata(marked, cuts_mm, contrast_cuts).items():
        own = is_reference.loc[group.index]
        reference, predicted = group[own], group[~own]
        rows.append(
            {
                "name": name,
                "kind": stratum_kind(name),
                "n": len(reference),
                "sensitivity": asdict(mean_figure(reference, "found", patients)),
                "dice_matched": asdict(mean_figure(reference, "dice", patients)),
                "predicted": len(predicted),
                "spurious": int(predicted["spurious"].sum()),
            }
        )
    return rows


def mean_figure(table: pd.DataFrame, column: str, patients: list[str]) -> Figure:
    """Mean of the defined values of a column over all rows, its interval over patients; n: defined values."""
    values = table[column].astype(float)
    defined = values.notna()
    parts = pd.DataFrame({"patient": table["patient"], "value": values.fillna(0.0), "one": defined.astype(float)})
    return patient_figure(_sums(parts, ["value", "one"], patients), int(defined.sum()))


def _sums(table: pd.DataFrame, columns: Sequence[str], patients: list[str]) -> NDArray[np.float64]:
    """Each patient's sums of the columns, shape (patients, columns); 0 for patients without a row."""
    summed = table.groupby("patient")[list(columns)].sum()
    return summed.reindex(patients, fill_value=0).to_numpy(dtype=float)
