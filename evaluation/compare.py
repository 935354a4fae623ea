"""`msa compare`: several models, each with one training run or more, on the same reference -> differences and tests."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.compared_figures import ComparedFigure, compared_figures
from evaluation.errors import UnusableInputError
from evaluation.evaluate import DONE, NOTHING_DONE, PARTIAL
from evaluation.evaluated_runs import EvaluatedRun, evaluate_runs
from evaluation.figure_of_model import ALPHA, FigureOfModel, adjust, verdict
from evaluation.lesions import CLUSTER_MM, Connectivity
from evaluation.matching import IOU_THRESHOLD, MatchRule
from evaluation.model_runs import Model, read_models
from evaluation.options import EvaluationOptions
from evaluation.outputs import write_files
from evaluation.paired_tests import smallest_p
from evaluation.strata import CUTS_MM, training_cuts

SCHEMA = 1


@dataclass(frozen=True)
class CompareOptions:
    """What `msa compare` was asked for; names and defaults of the command line.

    prediction: NAME=DIR[,DIR...] a model; the first one is what the others are compared with. strata_from: lesions.csv of
    the training set, whose tertiles of diameter take the place of cuts_mm. jobs: runs evaluated at a time (None: one a
    core). The rest as in EvaluationOptions.
    """

    reference: Path
    prediction: tuple[str, ...]
    output: Path
    cases: Path | None = None
    cuts_mm: tuple[float, ...] = CUTS_MM
    cluster_mm: float = CLUSTER_MM
    match: MatchRule = "overlap"
    connectivity: Connectivity = 8
    spacing: tuple[float, float] | None = None
    iou_threshold: float = IOU_THRESHOLD
    min_lesion_mm2: float = 0.0
    strata_from: Path | None = None
    jobs: int | None = None


def run(options: CompareOptions) -> int:
    """Compare and write comparison.csv, comparison.md, comparison.svg, comparison.html and comparison.json.

    Prints one summary to stdout, sentences on what is wrong to stderr. Returns 0: done; 1: done, with missing predictions
    counted as empty; 2: input that cannot be compared or results that cannot be written, and nothing was written.
    """
    from evaluation.compare_report import comparison_files, comparison_text  # matplotlib and jinja2 are slow to import

    try:
        comparison = compare(options)
        content = json.dumps(comparison, indent=2, allow_nan=False, ensure_ascii=False).encode()
        write_files(options.output, {**comparison_files(comparison), "comparison.json": content})
    except UnusableInputError as error:
        print(f"msa compare: nothing was written.\n{error}", file=sys.stderr)
        return NOTHING_DONE
    except OSError as error:
        print(f"msa compare: {options.output}: the results could not be written ({error}).", file=sys.stderr)
        return NOTHING_DONE
    print(comparison_text(comparison))
    print(f"Report: {options.output / 'comparison.html'}")
    return PARTIAL if any(one["missing"] for model in comparison["models"] for one in model["runs"]) else DONE


def compare(options: CompareOptions) -> dict[str, Any]:
    """Compare all models with the first one: the content of comparison.json (schema 1), without writing anything.

    "models": runs, folders and missing predictions of each. "figures": every figure of every model with its interval,
    per-run values and their standard deviation. "differences": every figure of every model but the first, minus that of
    the first, with interval, tests, effect sizes, seed noise and verdict. Undefined values are None.

    Raises UnusableInputError with a sentence for what cannot be compared.
    """
    if options.jobs is not None and options.jobs < 1:
        raise UnusableInputError(f"--jobs: expected a number of processes from 1, found {options.jobs}.")
    models = read_models(options.prediction)
    if options.strata_from is not None:
        options = replace(options, cuts_mm=training_cuts(options.strata_from)[0])
    _check_output(options.output, models)
    evaluated = evaluate_runs(models, _evaluation_options(options, models), options.jobs)
    figures = compared_figures(options.cuts_mm)
    tables, differences = [], []
    for figure in figures:
        entries = [_figure_of_model(figure, runs) for runs in evaluated]
        tables.append(
            {
                "key": figure.key,
                "name": figure.name,
                "group": figure.group,
                "counted": figure.counted,
                "higher_is_better": figure.higher_is_better,
                "models": [entry.summary(model.name) for model, entry in zip(models, entries, strict=True)],
            }
        )
        differences += [
            {"figure": figure.key, "model": model.name, "against": models[0].name} | entry.difference(entries[0])
            for model, entry in zip(models[1:], entries[1:], strict=True)
        ]
    tests = adjust(differences)
    for row in differences:
        row["verdict"] = verdict(row)
    patients = len(evaluated[0][0].sums)
    reference = evaluated[0][0].reference
    return {
        "schema": SCHEMA,
        "models": [_model_entry(*pair) for pair in zip(models, evaluated, strict=True)],
        "images": {
            "n": len(reference),
            "patients": patients,
            "lesion_free": int((reference["reference_lesions"] == 0).sum()),
            "reference_lesions": int(reference["reference_lesions"].sum()),
        },
        "cases_are_patients": options.cases is None,
        "family": {"tests": tests, "smallest_adjusted_p": min(1.0, tests * smallest_p(patients)), "alpha": ALPHA},
        "figures": tables,
        "differences": differences,
        "options": {
            "reference": str(options.reference),
            "cuts_mm": list(options.cuts_mm),
            "cluster_mm": options.cluster_mm,
            "match": options.match,
            "iou_threshold": options.iou_threshold if options.match == "iou" else None,
            "min_lesion_mm2": options.min_lesion_mm2,
            "connectivity": options.connectivity,
        },
    }


def _figure_of_model(figure: ComparedFigure, runs: Sequence[EvaluatedRun]) -> FigureOfModel:
    sums = np.stack([run.sums[list(figure.columns)].to_numpy(dtype=float) for run in runs])
    return FigureOfModel(figure, sums, [int(run.sums[list(figure.n_columns)].to_numpy().sum()) for run in runs])


def _model_entry(model: Model, evaluated: Sequence[EvaluatedRun]) -> dict[str, Any]:
    return {
        "name": model.name,
        "folds": model.folds,
        "runs": [
            {"folders": [str(folder) for folder in run.folders], "missing": result.missing}
            for run, result in zip(model.runs, evaluated, strict=True)
        ],
    }


def _evaluation_options(options: CompareOptions, models: Sequence[Model]) -> EvaluationOptions:
    return EvaluationOptions(
        reference=options.reference,
        prediction=models[0].runs[0].folders[0],
        output=options.output,
        cases=options.cases,
        cuts_mm=options.cuts_mm,
        cluster_mm=options.cluster_mm,
        match=options.match,
        connectivity=options.connectivity,
        spacing=options.spacing,
        iou_threshold=options.iou_threshold,
        min_lesion_mm2=options.min_lesion_mm2,
    )


def _check_output(output: Path, models: Sequence[Model]) -> None:
    folders = [folder for model in models for run in model.runs for folder in run.folders]
    if any(folder.resolve() == output.resolve() for folder in folders):
        raise UnusableInputError(f"{output}: is a folder of predictions; choose another for -o.")
