"""Annotated DICOM studies -> an nnU-Net raw dataset: one pass over the scans, then names, folds and the manifest."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dataset_conversion.case_files import UNLABELLED, ScanOutcome, Unlabelled, stage_scan
from dataset_conversion.cases import Case, name_cases
from dataset_conversion.errors import ConversionError
from dataset_conversion.nnunet_raw import CHANNELS, Channels, ManifestRow, RawDataset
from dataset_conversion.pseudonym import load_key, store_key
from dataset_conversion.rasterise import PIXEL_RULES, PixelRule
from dataset_conversion.splits import SplitCase, patient_folds
from dataset_conversion.study_files import InputFolder, survey

DONE, PARTIAL, NOTHING = 0, 1, 2
KEY_NAME = "msa_pseudonym.key"
# Problems of one kind printed one by one; a thousand lines would hide the first.
MOST_PRINTED = 20


@dataclass(frozen=True)
class ConversionOptions:
    """What `msa convert` was asked for.

    raw: nnU-Net's raw folder, default the environment's nnUNet_raw. key: pseudonym key, default msa_pseudonym.key in `raw`.
    unlabelled: what becomes of views without an outline file: left out, test images without a label, or lesion-free.
    """

    input: Path
    dataset_id: int
    name: str
    raw: Path | None = None
    channels: Channels = "zscore"
    pixel_rule: PixelRule = "centre"
    folds: int = 5
    test_fraction: float = 0.0
    unlabelled: Unlabelled = "skip"
    key: Path | None = None
    seed: int = 0
    jobs: int = 1


def run(options: ConversionOptions) -> int:
    """Convert a folder; return 0 if all was converted, 1 if damaged files were left out, 2 if nothing was written.

    Damaged files are named on stderr. Outlines without their scan, unknown labels and outlines of another image size stop the
    run before anything is written, for leaving them out would turn lesions into background.
    """
    try:
        return _run(options)
    except ConversionError as error:
        _say(f"{error}\nNothing was written.")
    except OSError as error:
        _say(f"{error.filename or 'output'}: {error.strerror or error}.\nNothing was written.")
    except BrokenProcessPool:
        _say("a worker process was ended, probably for want of memory; use fewer jobs.\nNothing was written.")
    return NOTHING


def _run(options: ConversionOptions) -> int:
    raw = _checked(options)
    dataset = RawDataset(raw, options.dataset_id, options.name)
    key_path = options.key or raw / KEY_NAME
    if key_path.resolve().is_relative_to(dataset.folder.resolve()):
        raise ConversionError(f"{key_path}: the key must not lie in the dataset: whoever gets both can name the patients.")
    key = load_key(key_path)
    folder = survey(options.input, exclude=[dataset.folder, key_path])
    if folder.stops:
        raise ConversionError(_listed(folder.stops))
    made_raw = not raw.exists()
    dataset.start()
    try:
        outcomes = _stage(folder, dataset, options)
        cases, left_out = name_cases(outcomes, key, options.test_fraction, options.seed)
        training = [_split_case(case) for case in cases if case.split == "train"]
        folds = patient_folds(training, options.folds, options.seed) if training else []  # scans to predict, no outlines
        fold_of = {name: number for number, fold in enumerate(folds) for name in fold["val"]}
        rows = [_row(case, fold_of) for case in cases]
        for case in cases:
            dataset.place(case.staged.image, case.name, split=case.split, is_label=False)
            if case.staged.label is not None:
                dataset.place(case.staged.label, case.name, split=case.split, is_label=True)
        store_key(key_path, key)
        dataset.finish(rows, folds, options.channels, options.pixel_rule, _record(cases, outcomes, folder, options))
    finally:
        dataset.discard()
        if made_raw and not any(raw.iterdir()):
            raw.rmdir()
    n_damaged = _n_damaged(outcomes, folder)
    print(_summary(dataset.folder, rows, outcomes, folder, left_out, cases))
    _warn_of_older_plan(dataset, folds)
    return PARTIAL if n_damaged else DONE


def _checked(options: ConversionOptions) -> Path:
    raw = options.raw or (Path(os.environ["nnUNet_raw"]) if os.environ.get("nnUNet_raw") else None)
    if raw is None:
        raise ConversionError("no place to write to: pass -o RAW or set the environment variable nnUNet_raw.")
    if not options.input.is_dir():
        raise ConversionError(f"{options.input}: is no folder; pass the folder that holds the studies.")
    choices: tuple[tuple[str, str, Sequence[str]], ...] = (
        ("--channels", options.channels, CHANNELS),
        ("--pixel-rule", options.pixel_rule, PIXEL_RULES),
        ("--unlabelled", options.unlabelled, UNLABELLED),
    )
    for what, value, allowed in choices:
        if value not in allowed:
            raise ConversionError(f"{what} is {value!r}; expected {' or '.join(allowed)}.")
    if options.jobs < 1 or options.seed < 0:
        raise ConversionError(f"jobs is {options.jobs} and seed {options.seed}; expected at least 1 and at least 0.")
    return raw


def _stage(folder: InputFolder, dataset: RawDataset, options: ConversionOptions) -> list[ScanOutcome]:
    """Read every scan once, in order; the workers write, only figures come back."""
    work = partial(
        stage_scan, staging=dataset.staged, channels=options.channels, rule=options.pixel_rule, unlabelled=options.unlabelled
    )
    arguments = (range(len(folder.scans)), folder.scans.keys(), folder.scans.values())
    progress = partial(tqdm, total=len(folder.scans), desc="converting", unit="file", file=sys.stderr, disable=None)
    if options.jobs == 1:
        outcomes = list(progress(map(work, *arguments)))
    else:
        with ProcessPoolExecutor(options.jobs) as pool:
            outcomes = list(progress(pool.map(work, *arguments)))
    for note in (note for outcome in outcomes for note in outcome.notes):
        _say(note)
    stops = [stop for outcome in outcomes for stop in outcome.stops]
    if stops:
        raise ConversionError(_listed(stops))
    faults = [*folder.faults, *(fault for outcome in outcomes for fault in outcome.faults)]
    if faults:
        _say(_listed(faults))
    return outcomes


def _split_case(case: Case) -> SplitCase:
    return SplitCase(case.name, case.patient, case.staged.lesion_area_mm2)


def _row(case: Case, fold_of: dict[str, int]) -> ManifestRow:
    staged = case.staged
    return ManifestRow(
        case=case.name,
        patient=case.patient,
        study=case.study,
        view=staged.view,
        split=case.split,
        height=staged.height,
        width=staged.width,
        spacing_row_mm=staged.spacing_mm[0],
        spacing_col_mm=staged.spacing_mm[1],
        counts=staged.counts,
        lesions=staged.lesions if staged.label else None,
        lesion_area_mm2=round(staged.lesion_area_mm2, 4) if staged.label else None,
        fold=fold_of.get(case.name),
        source_sha256=staged.source_sha256,
    )


def _record(
    cases: Sequence[Case], outcomes: Sequence[ScanOutcome], folder: InputFolder, options: ConversionOptions
) -> dict[str, Any]:
    """What manifest.json keeps beside the cases; files by their hash, for archives put initials into file names."""
    return {
        "options": {
            "folds": options.folds,
            "test_fraction": options.test_fraction,
            "unlabelled": options.unlabelled,
            "seed": options.seed,
        },
        "grown_outlines": sum(case.staged.grown for case in cases),
        "skipped": [{"sha256": o.sha256, "reason": o.skipped} for o in outcomes if o.skipped is not None],
        "damaged": _n_damaged(outcomes, folder),
    }


def _n_damaged(outcomes: Sequence[ScanOutcome], folder: InputFolder) -> int:
    return len(folder.faults) + sum(len(outcome.faults) for outcome in outcomes)


def _summary(
    place: Path,
    rows: Sequence[ManifestRow],
    outcomes: Sequence[ScanOutcome],
    folder: InputFolder,
    left_out: Counter[str],
    cases: Sequence[Case],
) -> str:
    patients: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        patients[row.split].add(row.patient)
    lines = [f"{place.name}: {len(rows)} views of {len(set().union(*patients.values()))} patients -> {place}"]
    for split in ("train", "test"):
        mine = [row for row in rows if row.split == split]
        if mine:
            lesions, area = sum(row.lesions or 0 for row in mine), sum(row.lesion_area_mm2 or 0 for row in mine)
            with_lesions, unlabelled = sum(bool(row.lesions) for row in mine), sum(row.lesions is None for row in mine)
            lines.append(
                f"  {split}: {len(mine)} views of {len(patients[split])} patients, {with_lesions} of them with lesions"
                f" ({lesions} lesions, {area:,.0f} mm2)" + (f", {unlabelled} without outlines" if unlabelled else "")
            )
    folds: dict[int, set[str]] = defaultdict(set)
    for row in rows:
        if row.fold is not None:
            folds[row.fold].add(row.patient)
    if folds:
        lines.append(f"  folds: {', '.join(str(len(folds[number])) for number in sorted(folds))} patients")
    grown = sum(case.staged.grown for case in cases)
    if grown:
        lines.append(f"  outlines smaller than a pixel, grown to one: {grown}")
    lines += [f"  left out, {reason}: {n}" for reason, n in left_out.items() if n]
    reasons = Counter([*(o.skipped for o in outcomes if o.skipped is not None), *folder.skipped.values()])
    lines += [f"  skipped, {n} file{'s' * (n > 1)}: {reason}" for reason, n in sorted(reasons.items())]
    if _n_damaged(outcomes, folder):
        lines.append(f"  damaged and left out: {_n_damaged(outcomes, folder)}, named above")
    return "\n".join(lines)


def _warn_of_older_plan(dataset: RawDataset, folds: Sequence[dict[str, list[str]]]) -> None:
    """Planning a dataset anew with other folds ends in nnU-Net's bare AssertionError; say beforehand what to do."""
    preprocessed = os.environ.get("nnUNet_preprocessed")
    older = Path(preprocessed) / dataset.name / "splits_final.json" if preprocessed else None
    if older is not None and older.is_file() and json.loads(older.read_text(encoding="utf-8")) != list(folds):
        _say(f"{older}: holds other folds, of an earlier conversion; delete {older.parent} before planning.")


def _listed(sentences: Sequence[str]) -> str:
    more = len(sentences) - MOST_PRINTED
    return "\n".join([*sentences[:MOST_PRINTED], *([f"... and {more} more."] if more > 0 else [])])


def _say(text: str) -> None:
    for line in text.splitlines():
        print(f"msa convert: {line}", file=sys.stderr)
