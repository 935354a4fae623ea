"""One case: from its files to its row of images.csv, its rows of lesions.csv and its candidates for FROC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation import metrics
from evaluation.boundary import boundary_measures
from evaluation.burden import image_burden
from evaluation.candidates import ImageCandidates, image_candidates
from evaluation.cases import CaseFiles, CaseMasks, Declaration, load_case
from evaluation.counts import to_counts
from evaluation.errors import UnusableInputError
from evaluation.lesions import SIZE_NAMES, connected_components, keep_lesions, lesion_columns, without_small
from evaluation.matching import (
    LesionMatch,
    lesion_status,
    match_lesions,
    merged_and_split,
    panoptic_matches,
    partner_names,
)
from evaluation.options import EvaluationOptions
from evaluation.probabilities import lesion_confidence, read_lesion_probability
from evaluation.strata import size_stratum


@dataclass(frozen=True)
class Measuring:
    """How cases are measured: the options, what the labels mean, what the images hold, the threshold applied (or None)."""

    options: EvaluationOptions
    declaration: Declaration | None = None
    channels: str | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class PreparedCase:
    """A case as it is measured, after small lesions and those below the threshold were removed.

    masks: what is left, with the image in counts where that is known. reference, prediction: its lesions, numbered as in
    lesions.csv. confidence: (P,) of the predicted ones, NaN without probabilities. candidates: before the threshold, None
    without probabilities. removed: lesions removed from the reference and the prediction as too small, and from the
    prediction by the threshold.
    """

    masks: CaseMasks
    reference: NDArray[np.int32]
    prediction: NDArray[np.int32]
    confidence: NDArray[np.float64]
    candidates: ImageCandidates | None
    removed: tuple[int, int, int]


@dataclass(frozen=True)
class MeasuredCase:
    """Results of one case; error: the sentence where it cannot be evaluated, and then nothing else."""

    row: dict[str, Any]
    lesions: dict[str, NDArray[Any] | list[str]]
    candidates: ImageCandidates | None
    dimensions: int = 0
    pixel_mm: float = 0.0
    highest: tuple[int, int] = (0, 0)
    error: str | None = None


def measure_file(files: CaseFiles, measuring: Measuring) -> MeasuredCase:
    """Read and measure one case; what cannot be evaluated becomes the sentence `error`."""
    try:
        prepared = prepare_case(files, measuring)
    except UnusableInputError as error:
        return MeasuredCase({}, {}, None, error=str(error))
    return measure_case(files, prepared, measuring.options)


def prepare_case(files: CaseFiles, measuring: Measuring) -> PreparedCase:
    """Read a case, number its lesions and remove those that the options exclude.

    Raises UnusableInputError as load_case and read_lesion_probability do.
    """
    options = measuring.options
    masks = load_case(files, measuring.declaration)
    if masks.image is not None:
        masks = replace(masks, image=to_counts(masks.image, measuring.channels))
    probability = None
    if files.probabilities is not None:
        regions = measuring.declaration is not None and measuring.declaration.has_regions
        probability = read_lesion_probability(files.probabilities, masks.reference.shape, has_regions=regions)
        if options.binarise_at is not None:
            masks = replace(masks, prediction=(probability >= options.binarise_at) & masks.counted)
    reference, number_all = connected_components(masks.reference, options.connectivity)
    reference, number = without_small(reference, number_all, masks.spacing_mm, options.min_lesion_mm2)
    prediction, predicted_all = connected_components(masks.prediction, options.connectivity)
    prediction, predicted = without_small(prediction, predicted_all, masks.spacing_mm, options.min_lesion_mm2)
    small = number_all - number, predicted_all - predicted
    confidence, candidates, below = np.full(predicted, np.nan), None, 0
    if probability is not None:
        confidence = lesion_confidence(prediction, predicted, probability, options.confidence)
    if options.probabilities is not None:
        candidates = image_candidates(match_lesions(reference, prediction, options.match, options.iou_threshold), confidence)
        if measuring.threshold is not None:
            kept = confidence >= measuring.threshold
            prediction, predicted = keep_lesions(prediction, kept)
            confidence, below = confidence[kept], int((~kept).sum())
    if small[0] or small[1] or below:
        masks = replace(masks, reference=reference > 0, prediction=prediction > 0)
    return PreparedCase(masks, reference, prediction, confidence, candidates, (*small, below))


def measure_case(files: CaseFiles, prepared: PreparedCase, options: EvaluationOptions) -> MeasuredCase:
    """Measure one prepared case.

    Lesion columns: those of lesion_columns with case, patient, view, source (reference or prediction), confidence, stratum
    (of size), lesions_in_image (reference lesions in the image), status, partners and dice (with all partners together).
    """
    masks = prepared.masks
    match = match_lesions(prepared.reference, prepared.prediction, options.match, options.iou_threshold)
    statuses, partners = lesion_status(match), partner_names(match)
    sources = []
    for index, (source, labels, number, confidence, dice) in enumerate(
        (
            ("reference", prepared.reference, match.found.size, np.full(match.found.size, np.nan), match.dice),
            ("prediction", prepared.prediction, match.spurious.size, prepared.confidence, match.predicted_dice),
        )
    ):
        own = lesion_columns(labels, number, masks.spacing_mm, cluster_mm=options.cluster_mm, image=masks.image)
        columns: dict[str, NDArray[Any] | list[str]] = {
            "case": [files.case] * number,
            "patient": [files.patient] * number,
            "view": [files.view] * number,
            "source": [source] * number,
            **own,
            "confidence": confidence,
            "stratum": size_stratum(own["diameter_mm"], options.cuts_mm),
            "lesions_in_image": np.full(number, match.found.size),
            "status": statuses[index],
            "partners": partners[index],
            "dice": dice,
        }
        sources.append(columns)
    return MeasuredCase(
        row=_image_row(files, prepared, match, options),
        lesions=join_columns(sources),
        candidates=prepared.candidates,
        dimensions=masks.reference.ndim,
        pixel_mm=float(np.prod(masks.spacing_mm)),
        highest=(masks.reference_highest, masks.prediction_highest),
    )


def join_columns(tables: Sequence[Mapping[str, NDArray[Any] | list[str]]]) -> dict[str, NDArray[Any] | list[str]]:
    """Tables of the same columns under each other: arrays of numbers stay arrays, as they take a tenth of the memory."""
    joined: dict[str, NDArray[Any] | list[str]] = {}
    for name, first in tables[0].items():
        if isinstance(first, list):
            joined[name] = [value for table in tables for value in table[name]]
        else:
            joined[name] = np.concatenate([table[name] for table in tables])
    return joined


def _image_row(files: CaseFiles, prepared: PreparedCase, match: LesionMatch, options: EvaluationOptions) -> dict[str, Any]:
    masks = prepared.masks
    counts = metrics.pixel_counts(masks.reference, masks.prediction)
    pixel_mm = float(np.prod(masks.spacing_mm))
    size, unit = SIZE_NAMES[masks.reference.ndim]
    reference_mm, predicted_mm = (counts.tp + counts.fn) * pixel_mm, (counts.tp + counts.fp) * pixel_mm
    spurious_px = int(np.concatenate([[False], match.spurious])[prepared.prediction].sum()) if match.spurious.any() else 0
    matches, iou_sum = panoptic_matches(match)
    merged, split = merged_and_split(match)
    return {
        "case": files.case,
        "patient": files.patient,
        "view": files.view,
        "missing_prediction": files.prediction is None,
        **counts._asdict(),
        "dice": float(metrics.dice(*counts)),
        "iou": float(metrics.iou(*counts)),
        "precision": float(metrics.precision(counts.tp, counts.fp)),
        "recall": float(metrics.recall(counts.tp, counts.fn)),
        **boundary_measures(masks.reference, masks.prediction, masks.spacing_mm, options.tolerance_mm)._asdict(),
        f"reference_{size}_{unit}": reference_mm,
        f"predicted_{size}_{unit}": predicted_mm,
        f"{size}_difference_{unit}": predicted_mm - reference_mm,
        f"relative_{size}_difference": float(metrics.relative_difference(reference_mm, predicted_mm)),
        "reference_lesions": match.found.size,
        "found_lesions": int(match.found.sum()),
        "predicted_lesions": match.spurious.size,
        "matched_lesions": int((~match.spurious).sum()),
        "spurious_lesions": int(match.spurious.sum()),
        f"spurious_{size}_{unit}": spurious_px * pixel_mm,
        "merged_lesions": merged,
        "split_lesions": split,
        "panoptic_matches": matches,
        "panoptic_iou_sum": iou_sum,
        "panoptic_quality": float(metrics.panoptic_quality(iou_sum, matches, match.found.size, match.spurious.size)),
        **image_burden(masks)._asdict(),
        "confidence": float(prepared.confidence.max()) if prepared.confidence.size else np.nan,
        **dict(zip(("small_reference", "small_predicted", "below_threshold"), prepared.removed, strict=True)),
    }
