"""Evaluating every run of every model once, against one reference."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd

from evaluation.cases import mask_files
from evaluation.compared_figures import patient_sums
from evaluation.errors import UnusableInputError
from evaluation.evaluate import evaluate
from evaluation.model_runs import Model, Run
from evaluation.options import EvaluationOptions
from evaluation.workers import available_cores, in_order


@dataclass(frozen=True)
class EvaluatedRun:
    """What is kept of a run's evaluation.

    sums: patient_sums. reference: case, patient, reference pixels and lesions, the same in every run. missing: cases
    without prediction, which count as empty.
    """

    sums: pd.DataFrame
    reference: pd.DataFrame
    missing: list[str]


def evaluate_runs(models: Sequence[Model], options: EvaluationOptions, jobs: int | None = None) -> list[list[EvaluatedRun]]:
    """Evaluate the runs of all models, each folder once; by model, then by run.

    options: reference and rules; its prediction is replaced run by run. jobs: runs evaluated at a time, None: one a core.

    Raises UnusableInputError: what evaluate raises, or a reference that changed meanwhile.
    """
    runs = [run for model in models for run in model.runs]
    one = partial(evaluate_run, options=replace(options, jobs=1))
    evaluated = list(in_order(one, runs, min(jobs or available_cores(), len(runs)), "evaluate runs"))
    for run, result in zip(runs, evaluated, strict=True):
        if not result.reference.equals(evaluated[0].reference):
            raise UnusableInputError(
                f"{options.reference}: its masks changed between the evaluation of {runs[0].name} and of {run.name}; "
                "compare again once nothing writes there."
            )
    remaining = iter(evaluated)
    return [[next(remaining) for _ in model.runs] for model in models]


def evaluate_run(run: Run, options: EvaluationOptions) -> EvaluatedRun:
    """Evaluate one run, its folds put together."""
    with _one_folder(run) as folder:
        try:
            with redirect_stderr(io.StringIO()):  # progress bars of several runs would overwrite each other
                evaluation = evaluate(replace(options, prediction=folder))
        except UnusableInputError as error:
            raise UnusableInputError(_as_given(str(error), folder, run)) from error
    images = evaluation.images
    reference = images[["case", "patient", "reference_lesions"]].assign(pixels=images["tp"] + images["fn"])
    return EvaluatedRun(
        sums=patient_sums(images, evaluation.lesions, options.cuts_mm),
        reference=reference,
        missing=images.loc[images["missing_prediction"], "case"].tolist(),
    )


@contextmanager
def _one_folder(run: Run) -> Iterator[Path]:
    """A folder with all predictions of the run: its own, or a temporary one of links to those of the folds."""
    if len(run.folders) == 1:
        yield run.folders[0]
        return
    with tempfile.TemporaryDirectory(prefix="msa-compare-") as together:
        for folder in run.folders:
            declared = folder / "dataset.json"
            for path in [*mask_files(folder, "predicted masks").values(), *([declared] if declared.is_file() else [])]:
                link = Path(together) / path.name
                if not link.exists():
                    _link(path.resolve(), link)
        yield Path(together)


def _link(path: Path, link: Path) -> None:
    try:
        link.symlink_to(path)
    except OSError:  # Windows without the right to link
        shutil.copyfile(path, link)


def _as_given(sentence: str, folder: Path, run: Run) -> str:
    """A sentence about linked files with the names that the user knows."""
    if folder in run.folders:
        return sentence
    for own in run.folders:
        for path in mask_files(own, "predicted masks").values():
            sentence = sentence.replace(str(folder / path.name), str(path))
    return sentence.replace(str(folder), run.name)
