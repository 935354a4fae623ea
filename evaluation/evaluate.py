"""`msa evaluate`: a folder of reference masks and one of predictions -> tables, summary.json and a report."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from tqdm import tqdm

from evaluation import metrics
from evaluation.boundary import NSD_TOLERANCE_MM, boundary_measures
from evaluation.cases import CaseFiles, CaseMasks, Declaration, find_cases, load_case, read_declaration
from evaluation.errors import UnusableInputError
from evaluation.lesions import CLUSTER_MM, Connectivity, connected_components, lesion_table
from evaluation.matching import IOU_THRESHOLD, MATCH_RULES, MatchRule, match_lesions
from evaluation.outputs import write_files
from evaluation.strata import CUTS_MM, size_stratum
from evaluation.summary import summarise

DONE, PARTIAL, NOTHING_DONE = 0, 1, 2

# A folder of the wrong kind makes every case fail; the first few sentences tell the story.
_SENTENCES_SHOWN = 10


@dataclass(frozen=True)
class EvaluationOptions:
    """What `msa evaluate` was asked for; names and defaults of the command line.

    reference, prediction: folders of masks (.nii.gz, .mha, .png); any label above 0 is lesion. output: folder of the results.
    cases: manifest.csv that says which case is whose (None: every case is its own patient). images: folder of nnU-Net raw
    images for overlay pictures. cuts_mm: bounds of the size strata. cluster_mm: a lesion with another one this near is
    clustered. connectivity: 8 or 4 neighbours in 2-D, 26 or 6 in 3-D. spacing: (row, column) pixel size in mm in place of
    the files' own.
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


@dataclass(frozen=True)
class Evaluation:
    """Results: one row an image, one row a lesion (reference and predicted), and the content of summary.json."""

    images: pd.DataFrame
    lesions: pd.DataFrame
    summary: dict[str, Any]
    files: list[CaseFiles]
    declaration: Declaration | None


def run(options: EvaluationOptions) -> int:
    """Evaluate and write lesions.csv, images.csv, summary.md, report.html and summary.json into the output folder.

    Prints one summary to stdout, sentences on what is wrong to stderr. Returns 0: done; 1: done, with missing predictions
    counted as empty; 2: input that cannot be evaluated or results that cannot be written, and nothing was written.
    """
    from evaluation.report import (
        report_html,
        summary_markdown,
        summary_text,
    )  # matplotlib and jinja2 are slow to import

    try:
        evaluation = evaluate(options)
        write_files(
            options.output,
            {
                "lesions.csv": evaluation.lesions.to_csv(index=False).encode(),
                "images.csv": evaluation.images.to_csv(index=False).encode(),
                "summary.md": summary_markdown(evaluation.summary).encode(),
                "report.html": report_html(evaluation).encode(),
                "summary.json": json.dumps(evaluation.summary, indent=2, allow_nan=False).encode(),
            },
        )
    except UnusableInputError as error:
        print(f"msa evaluate: nothing was written.\n{error}", file=sys.stderr)
        return NOTHING_DONE
    except OSError as error:
        print(f"msa evaluate: {options.output}: the results could not be written ({error}).", file=sys.stderr)
        return NOTHING_DONE
    print(summary_text(evaluation.summary))
    print(f"Report: {options.output / 'report.html'}")
    return PARTIAL if evaluation.summary["images"]["missing_prediction"] else DONE


def evaluate(options: EvaluationOptions) -> Evaluation:
    """Evaluate all cases of the reference folder without writing anything.

    Raises UnusableInputError with one sentence for each case that cannot be evaluated (the first ten).
    """
    _check_options(options)
    files = find_cases(
        options.reference, options.prediction, manifest=options.cases, images=options.images, spacing=options.spacing
    )
    declaration = read_declaration([options.reference, options.reference.absolute().parent, options.prediction])
    image_rows, lesion_tables, sentences = [], [], []
    highest: list[tuple[int, int]] = []
    dimensions: list[int] = []
    for case in tqdm(files, desc="evaluate", unit="case", delay=2, disable=None):
        try:
            masks = load_case(case, declaration)
        except UnusableInputError as error:
            sentences.append(str(error))
            continue
        highest.append((masks.reference_highest, masks.prediction_highest))
        dimensions.append(masks.reference.ndim)
        if dimensions[-1] != dimensions[0]:
            sentences.append(f"{case.reference}: has {dimensions[-1]} dimensions, the masks before it {dimensions[0]}.")
            continue
        image_row, lesions = measure_case(case, masks, options)
        image_rows.append(image_row)
        lesion_tables.append(lesions)
    if not sentences and declaration is None:
        sentences = _undeclared_labels(files, highest)
    if sentences:
        more = f"\n... and {len(sentences) - _SENTENCES_SHOWN} more." if len(sentences) > _SENTENCES_SHOWN else ""
        raise UnusableInputError("\n".join(sentences[:_SENTENCES_SHOWN]) + more)
    images = pd.DataFrame(image_rows)
    lesions = pd.concat(lesion_tables, ignore_index=True)
    summary = summarise(images, lesions, options.cuts_mm)
    summary["cases_are_patients"] = options.cases is None
    summary["missing"] = [case.case for case in files if case.prediction is None]
    summary["options"] = {
        "reference": str(options.reference),
        "prediction": str(options.prediction),
        "cuts_mm": list(options.cuts_mm),
        "cluster_mm": options.cluster_mm,
        "match": options.match,
        "iou_threshold": IOU_THRESHOLD if options.match == "iou" else None,
        "connectivity": options.connectivity,
        "nsd_tolerance_mm": NSD_TOLERANCE_MM,
    }
    return Evaluation(images, lesions, summary, files, declaration)


def measure_case(files: CaseFiles, masks: CaseMasks, options: EvaluationOptions) -> tuple[dict[str, Any], pd.DataFrame]:
    """Measure one case: (its row of images.csv, its rows of lesions.csv).

    The lesion rows are those of lesion_table with patient, view, source (reference or prediction), stratum, status (found,
    missed, matched, spurious) and dice (of a found reference lesion with its partners).
    """
    counts = metrics.pixel_counts(masks.reference, masks.prediction)
    tables, labels = [], []
    for source, mask in (("reference", masks.reference), ("prediction", masks.prediction)):
        numbered, number = connected_components(mask, options.connectivity)
        table = lesion_table(
            numbered, number, masks.spacing_mm, case=files.case, cluster_mm=options.cluster_mm, image=masks.image
        )
        table.insert(1, "patient", files.patient)
        table.insert(2, "view", files.view)
        table.insert(3, "source", source)
        table["stratum"] = pd.Series(size_stratum(table["diameter_mm"], options.cuts_mm), dtype=object)
        tables.append(table)
        labels.append(numbered)
    match = match_lesions(labels[0], labels[1], options.match)
    tables[0]["status"] = np.where(match.found, "found", "missed").astype(object)
    tables[0]["dice"] = match.dice
    tables[1]["status"] = np.where(match.spurious, "spurious", "matched").astype(object)
    tables[1]["dice"] = np.full(len(tables[1]), np.nan)
    boundary = boundary_measures(masks.reference, masks.prediction, masks.spacing_mm)
    row = {
        "case": files.case,
        "patient": files.patient,
        "view": files.view,
        "missing_prediction": files.prediction is None,
        **counts._asdict(),
        "dice": float(metrics.dice(*counts)),
        "iou": float(metrics.iou(*counts)),
        "precision": float(metrics.precision(counts.tp, counts.fp)),
        "recall": float(metrics.recall(counts.tp, counts.fn)),
        **boundary._asdict(),
        "reference_lesions": match.found.size,
        "found_lesions": int(match.found.sum()),
        "predicted_lesions": match.spurious.size,
        "matched_lesions": int((~match.spurious).sum()),
        "spurious_lesions": int(match.spurious.sum()),
    }
    return row, pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


def _check_options(options: EvaluationOptions) -> None:
    cuts = options.cuts_mm
    if not cuts or not all(0 < cut < np.inf for cut in cuts) or list(cuts) != sorted(set(cuts)):
        raise UnusableInputError(f"--cuts-mm: expected ascending positive diameters in mm, found {_numbers(cuts)}.")
    if not 0 < options.cluster_mm < np.inf:
        raise UnusableInputError(f"--cluster-mm: expected a positive distance in mm, found {options.cluster_mm:g}.")
    if options.spacing is not None and not (len(options.spacing) == 2 and all(0 < mm < np.inf for mm in options.spacing)):
        raise UnusableInputError(f"--spacing: expected two positive pixel sizes in mm, found {_numbers(options.spacing)}.")
    if options.match not in MATCH_RULES:
        raise UnusableInputError(f"--match: expected one of {', '.join(MATCH_RULES)}, found {options.match}.")
    if options.connectivity not in get_args(Connectivity):
        raise UnusableInputError(f"--connectivity: expected 4 or 8, found {options.connectivity}.")
    if options.output.exists() and not options.output.is_dir():
        raise UnusableInputError(f"{options.output}: expected a folder for the results, found a file.")
    for folder in (options.reference, options.prediction, options.images):
        if folder is not None and folder.resolve() == options.output.resolve():
            raise UnusableInputError(
                f"{options.output}: is a folder of input; nnU-Net's own summary.json may stand there. Choose another for -o."
            )


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values) or "none"


def _undeclared_labels(files: list[CaseFiles], highest: list[tuple[int, int]]) -> list[str]:
    """Without a dataset.json the references show which labels exist: sentences on predictions with higher ones."""
    declared = max(1, max(reference for reference, _ in highest))
    return [
        f"{case.prediction}: found label {predicted}; the reference masks hold 0 to {declared}. "
        "Lesions are 1, not 255; if the label is right, put the dataset's dataset.json beside the reference masks."
        for case, (_, predicted) in zip(files, highest, strict=True)
        if predicted > declared
    ]
