"""`msa evaluate`: a folder of reference masks and one of predictions -> tables, summary.json and a report."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import pandas as pd

from evaluation.candidates import ImageCandidates
from evaluation.cases import CaseFiles, Declaration, find_cases, read_declaration
from evaluation.counts import read_channels
from evaluation.errors import UnusableInputError
from evaluation.froc import FP_RATES, froc_figures, froc_table
from evaluation.lesions import SIZE_NAMES
from evaluation.measure import MeasuredCase, Measuring, PreparedCase, join_columns, measure_file, prepare_case
from evaluation.nnunet_summary import compare_with_nnunet
from evaluation.notes import notes
from evaluation.operating_point import OperatingPoint, as_json, choose, describe_rule, read_operating_point
from evaluation.options import EvaluationOptions, check_options
from evaluation.outputs import write_files
from evaluation.patients import patient_figures, patient_table
from evaluation.strata import size_in_pixels, training_cuts
from evaluation.summary import summarise
from evaluation.workers import in_order

__all__ = ["DONE", "NOTHING_DONE", "PARTIAL", "Evaluation", "EvaluationOptions", "evaluate", "run"]

DONE, PARTIAL, NOTHING_DONE = 0, 1, 2

# A folder of the wrong kind makes every case fail; the first few sentences tell the story.
_SENTENCES_SHOWN = 10


@dataclass(frozen=True)
class Evaluation:
    """Results: one row an image, a lesion (reference and predicted), a patient; the content of summary.json.

    froc: the curve as froc.froc_table makes it, None without probabilities. operating_point: the threshold that was chosen
    on these cases or applied to them. measuring: how the cases were measured, for reading them again.
    """

    images: pd.DataFrame
    lesions: pd.DataFrame
    summary: dict[str, Any]
    files: list[CaseFiles]
    declaration: Declaration | None
    patients: pd.DataFrame = field(default_factory=pd.DataFrame)
    froc: pd.DataFrame | None = None
    operating_point: OperatingPoint | None = None
    measuring: Measuring | None = None

    def prepared(self, files: CaseFiles) -> PreparedCase:
        """Read a case again as it was measured: small lesions and those below the threshold removed, lesions numbered as in
        lesions.csv, the image in counts where that is known. Raises UnusableInputError where a file has changed."""
        assert self.measuring is not None
        return prepare_case(files, self.measuring)


def run(options: EvaluationOptions) -> int:
    """Evaluate and write lesions.csv, images.csv, patients.csv, froc.csv (with probabilities), plots/, summary.md, report.html
    and summary.json into the output folder, and the operating point into options.choose_threshold.

    Prints one summary to stdout, sentences on what is wrong to stderr. Returns 0: done; 1: done, with missing predictions
    counted as empty; 2: input that cannot be evaluated or results that cannot be written, and nothing was written.
    """
    from evaluation.plots import plots  # matplotlib and jinja2 are slow to import
    from evaluation.report import report_html, summary_markdown, summary_text

    try:
        evaluation = evaluate(options)
        figures = plots(evaluation)
        write_files(
            options.output,
            {
                **tables_as_csv(evaluation),
                **figures,
                "summary.md": summary_markdown(evaluation.summary).encode(),
                "report.html": report_html(evaluation, figures),
                "summary.json": json.dumps(evaluation.summary, indent=2, allow_nan=False).encode(),
            },
        )
        if options.choose_threshold is not None and evaluation.operating_point is not None:
            file = options.choose_threshold
            write_files(file.absolute().parent, {file.name: as_json(evaluation.operating_point)})
    except UnusableInputError as error:
        print(f"msa evaluate: nothing was written.\n{error}", file=sys.stderr)
        return NOTHING_DONE
    except OSError as error:
        print(f"msa evaluate: {options.output}: the results could not be written ({error}).", file=sys.stderr)
        return NOTHING_DONE
    print(summary_text(evaluation.summary))
    print(f"Report: {options.output / 'report.html'}")
    return PARTIAL if evaluation.summary["images"]["missing_prediction"] else DONE


def tables_as_csv(evaluation: Evaluation) -> dict[str, bytes]:
    """The tables by file name: lesions.csv, images.csv, patients.csv and, with probabilities, froc.csv."""
    tables = {
        "lesions": evaluation.lesions,
        "images": evaluation.images,
        "patients": evaluation.patients,
        "froc": evaluation.froc,
    }
    return {f"{name}.csv": table.to_csv(index=False).encode() for name, table in tables.items() if table is not None}


def evaluate(options: EvaluationOptions) -> Evaluation:
    """Evaluate all cases of the reference folder without writing anything.

    Raises UnusableInputError with one sentence for each case that cannot be evaluated (the first ten).
    """
    check_options(options)
    if options.strata_from is not None:
        cuts_mm, contrast_cuts = training_cuts(options.strata_from, options.contrast_cuts)
        options = replace(options, cuts_mm=cuts_mm, contrast_cuts=contrast_cuts)
    point = read_operating_point(options.threshold, options) if options.threshold is not None else None
    files = find_cases(
        options.reference,
        options.prediction,
        manifest=options.cases,
        images=options.images,
        spacing=options.spacing,
        probabilities=options.probabilities,
    )
    declaration = read_declaration([options.reference, options.reference.absolute().parent, options.prediction])
    measuring = Measuring(options, declaration, read_channels(options.images), point.threshold if point else None)
    measured = _measure(files, measuring)
    images = pd.DataFrame([case.row for case in measured])
    lesions = pd.DataFrame(join_columns([case.lesions for case in measured]))
    candidates, dimensions = [case.candidates for case in measured], measured[0].dimensions
    pixels_mm = min(case.pixel_mm for case in measured), max(case.pixel_mm for case in measured)
    del measured  # as large as the tables made of it
    size = "_".join(SIZE_NAMES[dimensions])
    summary = summarise(images, lesions, options.cuts_mm, options.contrast_cuts, size)
    _add_pixel_sizes(summary, pixels_mm, dimensions, options.cuts_mm)
    patients = patient_table(images, size)
    summary["patients"] = patient_figures(patients, with_confidence=options.probabilities is not None)
    froc, summary["froc"] = _froc(candidates, images["patient"].tolist())
    if options.choose_threshold is not None and froc is not None:
        names = [case.case for case in files]
        point = choose(froc, options.threshold_rule, options, names, int(images["reference_lesions"].sum()))
    summary["operating_point"] = _operating_point(point, options, images["case"].tolist())
    raw = options.min_lesion_mm2 == 0 and options.binarise_at is None and options.threshold is None
    summary["nnunet"] = compare_with_nnunet(options.prediction / "summary.json", images) if raw else None
    summary["cases_are_patients"] = options.cases is None
    summary["missing"] = [case.case for case in files if case.prediction is None]
    summary["options"] = _stated(options, measuring)
    summary["notes"] = notes(summary)
    return Evaluation(images, lesions, summary, files, declaration, patients, froc, point, measuring)


def _measure(files: list[CaseFiles], measuring: Measuring) -> list[MeasuredCase]:
    """All cases in order; raises UnusableInputError with the sentences of those that cannot be evaluated."""
    measured: list[MeasuredCase] = []
    sentences: list[str] = []
    for case, result in zip(
        files, in_order(partial(measure_file, measuring=measuring), files, measuring.options.jobs), strict=True
    ):
        if result.error is not None:
            sentences.append(result.error)
        elif measured and result.dimensions != measured[0].dimensions:
            sentences.append(
                f"{case.reference}: has {result.dimensions} dimensions, the masks before it {measured[0].dimensions}."
            )
        else:
            measured.append(result)
    if not sentences and measuring.declaration is None:
        sentences = _undeclared_labels(files, [case.highest for case in measured])
    if sentences:
        more = f"\n... and {len(sentences) - _SENTENCES_SHOWN} more." if len(sentences) > _SENTENCES_SHOWN else ""
        raise UnusableInputError("\n".join(sentences[:_SENTENCES_SHOWN]) + more)
    return measured


def _undeclared_labels(files: list[CaseFiles], highest: list[tuple[int, int]]) -> list[str]:
    """Without a dataset.json the references show which labels exist: sentences on predictions with higher ones."""
    declared = max(1, max(reference for reference, _ in highest))
    return [
        f"{case.prediction}: found label {predicted}; the reference masks hold 0 to {declared}. "
        "Lesions are 1, not 255; if the label is right, put the dataset's dataset.json beside the reference masks."
        for case, (_, predicted) in zip(files, highest, strict=True)
        if predicted > declared
    ]


def _add_pixel_sizes(
    summary: dict[str, Any], pixels_mm: tuple[float, float], dimensions: int, cuts_mm: Sequence[float]
) -> None:
    """Say what the size cuts are in pixels: of the one pixel size there is, or of the smallest and the largest."""
    smallest, largest = pixels_mm
    summary["size"] |= {"smallest_pixel": smallest, "largest_pixel": largest}
    sizes = [smallest] if largest <= 1.01 * smallest else [smallest, largest]
    texts = zip(*(size_in_pixels(cuts_mm, pixel, dimensions) for pixel in sizes), strict=True)
    for row, of_pixel_sizes in zip(summary["strata"], texts, strict=False):
        row["pixels"] = " to ".join(of_pixel_sizes)


def _froc(
    candidates: Sequence[ImageCandidates | None], patients: list[str]
) -> tuple[pd.DataFrame | None, dict[str, Any] | None]:
    every = [each for each in candidates if each is not None]
    if len(every) < len(candidates):
        return None, None
    table = froc_table(every)
    at_rates, average = froc_figures(every, patients)
    return table, {
        "at": [{"fp_per_image": rate, "sensitivity": asdict(f)} for rate, f in zip(FP_RATES, at_rates, strict=True)],
        "average": asdict(average),
        "candidates": sum(each.spurious.size + each.matched.size for each in every),
        "most_fp_per_image": sum(each.spurious.size for each in every) / len(every),
    }


def _operating_point(point: OperatingPoint | None, options: EvaluationOptions, cases: list[str]) -> dict[str, Any] | None:
    if point is None:
        return None
    applied = options.threshold is not None
    return {
        "applied": applied,
        "file": str(options.threshold or options.choose_threshold),
        "threshold": point.threshold,
        "rule": describe_rule(point.rule),
        "picked_on": point.on,
        "sentence": point.sentence(),
        "cases_it_was_picked_on": len(set(point.cases) & set(cases)) if applied else None,
    }


def _stated(options: EvaluationOptions, measuring: Measuring) -> dict[str, Any]:
    """The options that decide the figures, as summary.json keeps them; nothing that depends on the machine but the folders."""
    return {
        "reference": str(options.reference),
        "prediction": str(options.prediction),
        "probabilities": None if options.probabilities is None else str(options.probabilities),
        "cuts_mm": list(options.cuts_mm),
        "contrast_cuts": list(options.contrast_cuts),
        "strata_from": None if options.strata_from is None else str(options.strata_from),
        "cluster_mm": options.cluster_mm,
        "match": options.match,
        "iou_threshold": options.iou_threshold if options.match == "iou" else None,
        "connectivity": options.connectivity,
        "nsd_tolerance_mm": options.tolerance_mm,
        "min_lesion_mm2": options.min_lesion_mm2,
        "confidence": options.confidence if options.probabilities is not None else None,
        "binarise_at": options.binarise_at,
        "image_values": None if options.images is None else "counts" if measuring.channels else "image values",
    }
