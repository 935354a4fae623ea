"""What `msa evaluate` was asked for, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from evaluation.boundary import NSD_TOLERANCE_MM
from evaluation.errors import UnusableInputError
from evaluation.lesions import CLUSTER_MM, Connectivity
from evaluation.matching import IOU_THRESHOLD, MATCH_RULES, MatchRule
from evaluation.operating_point import parse_rule
from evaluation.probabilities import CONFIDENCES, Confidence
from evaluation.strata import CONTRAST_CUTS, CUTS_MM


@dataclass(frozen=True)
class EvaluationOptions:
    """What `msa evaluate` was asked for; names and defaults of the command line.

    reference, prediction: folders of masks (.nii.gz, .mha, .png); any label above 0 is lesion. output: folder of the results.
    cases: manifest.csv that says which case is whose (None: every case is its own patient). images: folder of nnU-Net raw
    images, for counts, contrast, body area and pictures. cuts_mm: bounds of the size strata. cluster_mm: a lesion with another
    one this near is clustered. connectivity: 8 or 4 neighbours in 2-D, 26 or 6 in 3-D. spacing: (row, column) pixel size in
    mm in place of the files' own.
    iou_threshold: of the rule iou. tolerance_mm: of the normalised surface Dice. min_lesion_mm2: components smaller than this
    (mm3 in 3-D) are removed from both masks before anything is measured. contrast_cuts: bounds of the contrast strata.
    strata_from: lesions.csv of the training set, whose tertiles take the place of cuts_mm and contrast_cuts.
    probabilities: folder of CASE.npz for confidence and FROC. confidence: a lesion's highest or mean probability.
    binarise_at: the predicted mask is where the probability reaches this, in place of the mask file. choose_threshold: file
    for the operating point that threshold_rule picks on these cases. threshold: such a file, applied to these cases.
    jobs: worker processes (None: one a core, none for a few cases).
    """

    reference: Path
    prediction: Path
    output: Path
    cases: Path | None = None
    images: Path | None = None
    cuts_mm: tuple[float, ...] = CUTS_MM
    cluster_mm: float = CLUSTER_MM
    match: MatchRule = "overlap"
    connectivity: Connectivity = 8
    spacing: tuple[float, float] | None = None
    iou_threshold: float = IOU_THRESHOLD
    tolerance_mm: float = NSD_TOLERANCE_MM
    min_lesion_mm2: float = 0.0
    contrast_cuts: tuple[float, ...] = CONTRAST_CUTS
    strata_from: Path | None = None
    probabilities: Path | None = None
    confidence: Confidence = "max"
    binarise_at: float | None = None
    choose_threshold: Path | None = None
    threshold_rule: str = "f1"
    threshold: Path | None = None
    jobs: int | None = None


def check_options(options: EvaluationOptions) -> None:
    """Raise UnusableInputError, naming the option, for a value out of range and for options that exclude each other."""
    _check_numbers(options)
    _check_probability_options(options)
    if options.match not in MATCH_RULES:
        raise UnusableInputError(f"--match: expected one of {', '.join(MATCH_RULES)}, found {options.match}.")
    if options.connectivity not in get_args(Connectivity):
        raise UnusableInputError(f"--connectivity: expected 4 or 8, found {options.connectivity}.")
    if options.output.exists() and not options.output.is_dir():
        raise UnusableInputError(f"{options.output}: expected a folder for the results, found a file.")
    for folder in (options.reference, options.prediction, options.images, options.probabilities):
        if folder is not None and folder.resolve() == options.output.resolve():
            raise UnusableInputError(
                f"{options.output}: is a folder of input; nnU-Net's own summary.json may stand there. Choose another for -o."
            )


def _check_numbers(options: EvaluationOptions) -> None:
    for name, cuts, what in (
        ("--cuts-mm", options.cuts_mm, "diameters in mm"),
        ("--contrast-cuts", options.contrast_cuts, "ratios"),
    ):
        if not cuts or not all(0 < cut < np.inf for cut in cuts) or list(cuts) != sorted(set(cuts)):
            raise UnusableInputError(f"{name}: expected ascending positive {what}, found {_numbers(cuts)}.")
    for name, value in (("--cluster-mm", options.cluster_mm), ("--tolerance-mm", options.tolerance_mm)):
        if not 0 < value < np.inf:
            raise UnusableInputError(f"{name}: expected a positive distance in mm, found {value:g}.")
    if not 0 <= options.min_lesion_mm2 < np.inf:
        raise UnusableInputError(f"--min-lesion-mm2: expected an area in mm2, found {options.min_lesion_mm2:g}.")
    if not 0 < options.iou_threshold <= 1:
        raise UnusableInputError(f"--iou-threshold: expected a number above 0 and up to 1, found {options.iou_threshold:g}.")
    if options.spacing is not None and not (len(options.spacing) == 2 and all(0 < mm < np.inf for mm in options.spacing)):
        raise UnusableInputError(f"--spacing: expected two positive pixel sizes in mm, found {_numbers(options.spacing)}.")
    if options.jobs is not None and options.jobs < 1:
        raise UnusableInputError(f"--jobs: expected a number of processes from 1, found {options.jobs}.")


def _check_probability_options(options: EvaluationOptions) -> None:
    for name, value in (
        ("--binarise-at", options.binarise_at),
        ("--choose-threshold", options.choose_threshold),
        ("--threshold", options.threshold),
    ):
        if value is not None and options.probabilities is None:
            raise UnusableInputError(f"{name}: needs --probabilities, the folder of nnUNetv2_predict --save_probabilities.")
    if options.confidence not in CONFIDENCES:
        raise UnusableInputError(f"--confidence: expected one of {', '.join(CONFIDENCES)}, found {options.confidence}.")
    if options.binarise_at is not None and not 0 < options.binarise_at < 1:
        raise UnusableInputError(f"--binarise-at: expected a probability between 0 and 1, found {options.binarise_at:g}.")
    if options.choose_threshold is not None and options.threshold is not None:
        raise UnusableInputError(
            "--threshold and --choose-threshold: a threshold is chosen on validation cases and applied to others; "
            "give one of the two."
        )
    if options.choose_threshold is not None and options.choose_threshold.is_dir():
        raise UnusableInputError(f"{options.choose_threshold}: expected the name of a JSON file to write, found a folder.")
    parse_rule(options.threshold_rule)


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values) or "none"
