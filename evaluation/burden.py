"""How much disease a mask states: lesion count, area, share of counts, area fraction; and its agreement with the reference.

None of this is the bone scan index, which weighs every bone by its share of the skeleton's mass and needs the whole skeleton.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluation.cases import CaseMasks
from evaluation.counts import body_mask
from evaluation.metrics import quotient
from evaluation.statistics import patient_figure

if TYPE_CHECKING:
    import pandas as pd

# Half-width of the limits of agreement in standard deviations: 95 % of normal differences (Bland and Altman 1986).
LIMITS_SD = 1.96


class ImageBurden(NamedTuple):
    """Shares of one image, for reference and prediction; NaN where they need an image that is not there.

    counts_share: counts in lesions over counts in the image. area_fraction: lesion area over body area (counts.body_mask;
    lesion pixels outside of it count as body), and over the area of the image.
    """

    reference_counts_share: float
    predicted_counts_share: float
    body_fraction_of_image: float
    reference_fraction_of_body: float
    predicted_fraction_of_body: float
    reference_fraction_of_image: float
    predicted_fraction_of_image: float


def image_burden(masks: CaseMasks) -> ImageBurden:
    """Measure one case; the body of its image is found with the lesions of both masks in it."""
    pair = masks.reference, masks.prediction
    pixels = [np.count_nonzero(mask) for mask in pair]
    counts, body = [np.nan, np.nan], float("nan")
    if masks.image is not None:
        total = float(masks.image.sum())
        counts = [float(quotient(masks.image[mask].sum(), total)) for mask in pair]
        body = float(np.count_nonzero(body_mask(masks.image, masks.spacing_mm) | masks.reference | masks.prediction))
    size = masks.reference.size
    return ImageBurden(
        reference_counts_share=counts[0],
        predicted_counts_share=counts[1],
        body_fraction_of_image=body / size,
        reference_fraction_of_body=float(quotient(pixels[0], body)),
        predicted_fraction_of_body=float(quotient(pixels[1], body)),
        reference_fraction_of_image=pixels[0] / size,
        predicted_fraction_of_image=pixels[1] / size,
    )


def burden_summary(images: pd.DataFrame, patients: Sequence[str], size: str) -> dict[str, Any]:
    """Every burden's mean in reference and prediction, and their agreement, from the table of images.

    size: name of the columns of lesion area, as in "area_mm2". By burden: {"reference": {...}, "predicted": {...},
    "agreement": agreement(...)}; burdens that no image has are left out.
    """
    columns = {
        "lesion_count": ("reference_lesions", "predicted_lesions"),
        size: (f"reference_{size}", f"predicted_{size}"),
        "counts_share": ("reference_counts_share", "predicted_counts_share"),
        "fraction_of_body": ("reference_fraction_of_body", "predicted_fraction_of_body"),
        "fraction_of_image": ("reference_fraction_of_image", "predicted_fraction_of_image"),
    }
    summary = {}
    for name, (reference, predicted) in columns.items():
        table = images[["patient", reference, predicted]].dropna()
        if table.empty:
            continue
        values = table[[reference, predicted]].to_numpy(float)
        summary[name] = {
            "reference": asdict(_mean_figure(values[:, 0], table["patient"], patients)),
            "predicted": asdict(_mean_figure(values[:, 1], table["patient"], patients)),
            "agreement": agreement(values[:, 0], values[:, 1], table["patient"].tolist(), patients),
        }
    return summary


def agreement(
    reference: NDArray[np.float64], prediction: NDArray[np.float64], whose: Sequence[str], patients: Sequence[str]
) -> dict[str, Any]:
    """Bland-Altman: {"bias", "lower_limit", "upper_limit"}, each with its 95 % interval over patients; n counts images.

    The bias is the mean of prediction - reference over images, the limits of agreement lie 1.96 sample standard deviations
    to either side. Intervals are bootstrapped over patients, as a patient's images are not independent; with one image a
    patient they are close to Bland and Altman's own (Stat Methods Med Res 1999).
    """
    difference = np.asarray(prediction, float) - np.asarray(reference, float)
    sums = _patient_sums(np.stack([np.ones_like(difference), difference, difference**2], axis=1), whose, patients)
    figures = {}
    for name, deviations in (("bias", 0.0), ("lower_limit", -LIMITS_SD), ("upper_limit", LIMITS_SD)):

        def limit(totals: NDArray[np.float64], deviations: float = deviations) -> NDArray[np.float64]:
            number, total, squares = np.moveaxis(totals, -1, 0)
            mean = quotient(total, number)
            if not deviations:
                return mean
            spread = np.sqrt(np.maximum(quotient(squares - number * mean**2, number - 1), 0))
            return mean + deviations * spread

        figures[name] = asdict(patient_figure(sums, difference.size, limit))
    return figures


def _mean_figure(values: NDArray[np.float64], whose: pd.Series, patients: Sequence[str]) -> Any:
    return patient_figure(_patient_sums(np.stack([values, np.ones_like(values)], axis=1), whose, patients), values.size)


def _patient_sums(
    values: NDArray[np.float64], whose: Sequence[str] | pd.Series, patients: Sequence[str]
) -> NDArray[np.float64]:
    """Sums of the rows of `values` by patient, shape (patients, columns)."""
    place = {patient: index for index, patient in enumerate(patients)}
    sums = np.zeros((len(patients), values.shape[1]))
    np.add.at(sums, [place[patient] for patient in whose], values)
    return sums
