"""The tables of images and lesions condensed into the figures of summary.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation import metrics
from evaluation.statistics import Figure, patient_figure
from evaluation.strata import strata

SCHEMA = 1

# Pooled measures as functions of the summed (tp, fp, fn); the same names are columns of the table of images.
_POOLED = {
    "dice": lambda sums: metrics.dice(sums[..., 0], sums[..., 1], sums[..., 2]),
    "precision": lambda sums: metrics.precision(sums[..., 0], sums[..., 1]),
    "recall": lambda sums: metrics.recall(sums[..., 0], sums[..., 2]),
    "iou": lambda sums: metrics.iou(sums[..., 0], sums[..., 1], sums[..., 2]),
}
_LESION_COUNTS = ("found_lesions", "reference_lesions", "matched_lesions", "predicted_lesions")


def summarise(images: pd.DataFrame, lesions: pd.DataFrame, cuts_mm: Sequence[float]) -> dict[str, Any]:
    """Condense all cases into the figures of summary.json (schema 1), ready for json.dumps(..., allow_nan=False).

    images: one row a case, with patient, tp, fp, fn, dice, precision, recall, iou, hd95_mm, nsd, missing_prediction,
    reference_lesions, found_lesions, predicted_lesions, matched_lesions, spurious_lesions.
    lesions: one row a lesion, with patient, source, diameter_mm, clustered, status, dice.

    Every figure is {"mean", "low", "high", "n"} with a 95 % interval over patients; n counts images for pixels and boundary,
    reference lesions for sensitivity, predicted ones for precision, both for f1, images for false positives. The pooled
    pixel measures are plain numbers; `pooled_interval` repeats them as figures.
    """
    patients = sorted(images["patient"].unique())
    reference = lesions[lesions["source"] == "reference"].assign(found=lesions["status"] == "found")
    pooled = {name: patient_figure(_sums(images, ["tp", "fp", "fn"], patients), len(images), f) for name, f in _POOLED.items()}
    return {
        "schema": SCHEMA,
        "pixel": {
            "pooled": {name: figure.mean for name, figure in pooled.items()},
            "pooled_interval": {name: asdict(figure) for name, figure in pooled.items()},
            "per_image": {name: asdict(_mean(images, name, patients)) for name in _POOLED},
        },
        "boundary": {name: asdict(_mean(images, name, patients)) for name in ("hd95_mm", "nsd")},
        "lesion": {name: asdict(figure) for name, figure in _lesion_figures(images, patients).items()},
        "strata": [
            {
                "name": name,
                "n": len(group),
                "sensitivity": asdict(_mean(group, "found", patients)),
                "dice_matched": asdict(_mean(group, "dice", patients)),
            }
            for name, group in strata(reference, cuts_mm).items()
        ],
        "images": {
            "n": len(images),
            "patients": len(patients),
            "lesion_free": int((images["reference_lesions"] == 0).sum()),
            "dice_undefined": int(images["dice"].isna().sum()),
            "missing_prediction": int(images["missing_prediction"].sum()),
        },
    }


def _lesion_figures(images: pd.DataFrame, patients: list[str]) -> dict[str, Figure]:
    counts = _sums(images, _LESION_COUNTS, patients)
    _, reference, _, predicted = (int(total) for total in counts.sum(axis=0))
    lesion_free = images[images["reference_lesions"] == 0]
    return {
        "sensitivity": patient_figure(counts[:, :2], reference),
        "precision": patient_figure(counts[:, 2:], predicted),
        "f1": patient_figure(counts, reference + predicted, lambda sums: metrics.lesion_f1(*np.moveaxis(sums, -1, 0))),
        "fp_per_image": _mean(images, "spurious_lesions", patients),
        "fp_per_lesion_free_image": _mean(lesion_free, "spurious_lesions", patients),
    }


def _mean(table: pd.DataFrame, column: str, patients: list[str]) -> Figure:
    """Mean of the defined values of a column over all rows, its interval over patients."""
    values = table[column].astype(float)
    defined = values.notna()
    parts = pd.DataFrame({"patient": table["patient"], "value": values.fillna(0.0), "one": defined.astype(float)})
    return patient_figure(_sums(parts, ["value", "one"], patients), int(defined.sum()))


def _sums(table: pd.DataFrame, columns: Sequence[str], patients: list[str]) -> NDArray[np.float64]:
    """Each patient's sums of the columns, shape (patients, columns); 0 for patients without a row."""
    summed = table.groupby("patient")[list(columns)].sum()
    return summed.reindex(patients, fill_value=0).to_numpy(dtype=float)
