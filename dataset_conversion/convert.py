"""Annotated scans -> an nnU-Net raw dataset: one pass over the scans, then names, folds, the manifest and the QC page."""

from __future__ import annotations

import json
import os
import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from dataset_conversion.archive.study_files import InputFolder, survey
from dataset_conversion.cases import Case, name_cases
from dataset_conversion.conversion_record import agreement_table, manifest_row, rater_numbers, record, summary
from dataset_conversion.errors import ConversionError
from dataset_conversion.labels import LabelMap
from dataset_conversion.lock import only_one
from dataset_conversion.network_input import CHANNELS, FILE_FORMATS, Channels, FileFormat, require_format_holds
from dataset_conversion.nnunet_raw import RawDataset, Recipe
from dataset_conversion.pseudonym import load_key, store_key
from dataset_conversion.quality_page import case_flags, write_quality_page
from dataset_conversion.rasterise import PIXEL_RULES, PixelRule
from dataset_conversion.scans import ReadOptions
from dataset_conversion.splits import SplitCase, patient_folds
from dataset_conversion.staging.labelling import CONSENSUS_RULES, LabelRules, unknown_labels
from dataset_conversion.staging.opposite_files import OppositeFile, keep_opposite, stage_opposite
from dataset_conversion.staging.options import CROPS, UNLABELLED, VIEW_MODES, Crop, ScanOutcome, Staging, Unlabelled, Views
from dataset_conversion.staging.reused_scans import keep_scan
from dataset_conversion.staging.scan_files import stage_scan
from dataset_conversion.staging.workers import map_in_order

DONE, PARTIAL, NOTHING = 0, 1, 2
KEY_NAME = "msa_pseudonym.key"
# Problems of one kind printed one by one; a thousand lines would hide the first.
MOST_PRINTED, MOST_ALIKE = 20, 5


@dataclass(frozen=True)
class ConversionOptions:
    """What `msa convert` was asked for.

    raw: nnU-Net's raw folder, default the environment's nnUNet_raw. key: pseudonym key, default msa_pseudonym.key in `raw`.
    labels: YAML file that says what labels mean. pairs: CSV table of scans and their outlines. raters: "majority", "staple" or
    a rater's name where several drew. spacing: (row, column) pixel size in mm for pictures and arrays without one.
    jobs: worker processes, one a core by default.
    unlabelled: what becomes of views without an outline file: left out, test images without a label, or lesion-free.
    """

    input: Path
    dataset_id: int
    name: str
    raw: Path | None = None
    labels: Path | None = None
    pairs: Path | None = None
    raters: str | None = None
    crop: Crop = "none"
    views: Views = "single"
    channels: Channels = "zscore"
    pixel_rule: PixelRule = "centre"
    file_format: FileFormat = "nii.gz"
    folds: int = 5
    test_fraction: float = 0.0
    unlabelled: Unlabelled = "skip"
    spacing: tuple[float, float] | None = None
    allow_lossy: bool = False
    key: Path | None = None
    seed: int = 0
    jobs: int | None = None


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
        _say("a worker process was ended, probably for want of memory; use fewer jobs (-j).\nNothing was written.")
    return NOTHING


def _run(options: ConversionOptions) -> int:
    raw = _checked(options)
    labels = LabelMap.from_file(options.labels) if options.labels else LabelMap()
    dataset = RawDataset(raw, options.dataset_id, options.name)
    key_path = options.key or raw / KEY_NAME
    if key_path.resolve().is_relative_to(dataset.folder.resolve()):
        raise ConversionError(f"{key_path}: the key must not lie in the dataset: whoever gets both can name the patients.")
    key = load_key(key_path)
    apart = [dataset.folder, key_path, *([options.labels] if options.labels else [])]
    folder = survey(options.input, apart, options.pairs)
    drawn = [annotation for annotations in folder.scans.values() for annotation in annotations]
    stops = folder.stops + [stop for annotation in drawn for stop in unknown_labels(annotation, labels)]
    if stops:
        raise ConversionError(_listed(stops))
    made_raw = not raw.exists()
    raw.mkdir(parents=True, exist_ok=True)
    try:
        with only_one(raw / f".{dataset.name}.lock"):
            dataset.start()
            try:
                return _build(dataset, folder, options, labels, key, key_path)
            finally:
                dataset.discard()
    finally:
        if made_raw and not any(raw.iterdir()):
            raw.rmdir()


def _build(
    dataset: RawDataset, folder: InputFolder, options: ConversionOptions, labels: LabelMap, key: bytes, key_path: Path
) -> int:
    how = Staging(
        folder=dataset.staged,
        previous=dataset.folder if dataset.folder.exists() else None,
        key=key,
        label_rules=LabelRules(labels, options.pixel_rule, options.raters),
        channels=options.channels,
        file_format=options.file_format,
        crop=options.crop,
        views=options.views,
        unlabelled=options.unlabelled,
        read=ReadOptions(allow_lossy=options.allow_lossy, spacing_mm=options.spacing),
    )
    outcomes = _stage(folder, how, options.jobs)
    cases, left_out = name_cases(
        outcomes, test_fraction=options.test_fraction, seed=options.seed, unlabelled=options.unlabelled, views=options.views
    )
    training = [_split_case(case) for case in cases if case.split == "train"]
    folds = patient_folds(training, options.folds, options.seed) if training else []  # scans to predict, no outlines
    fold_of = {name: number for number, fold in enumerate(folds) for name in fold["val"]}
    opposites = _stage_opposites(cases, how, options.jobs) if options.views == "paired" else {}
    _place(dataset, cases, outcomes, opposites)
    flags = case_flags(cases, opposites)
    write_quality_page(dataset, cases, flags, fold_of)
    rows = [manifest_row(case, fold_of.get(case.name), opposites.get(case.name), flags[case.name]) for case in cases]
    agreements = agreement_table(cases, rater_numbers(folder, key))
    if agreements:
        dataset.write("agreement.csv", agreements)
    recipe = Recipe(
        options.crop, options.views, options.channels, options.pixel_rule, options.file_format, labels.dataset_labels()
    )
    store_key(key_path, key)
    dataset.finish(rows, folds, recipe, record(cases, outcomes, folder, options))
    print(summary(dataset.folder, rows, cases, outcomes, folder, left_out))
    _warn_of_older_plan(dataset, folds)
    return PARTIAL if folder.faults or any(outcome.faults for outcome in outcomes) else DONE


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
        ("--crop", options.crop, CROPS),
        ("--views", options.views, VIEW_MODES),
        ("--format", options.file_format, FILE_FORMATS),
    )
    for what, value, allowed in choices:
        if value not in allowed:
            raise ConversionError(f"{what} is {value!r}; expected {' or '.join(allowed)}.")
    if (options.jobs is not None and options.jobs < 1) or options.seed < 0:
        raise ConversionError(f"jobs is {options.jobs} and seed {options.seed}; expected at least 1 and at least 0.")
    if options.spacing is not None and not all(0 < mm < float("inf") for mm in options.spacing):
        raise ConversionError(f"--spacing is {options.spacing[0]:g} {options.spacing[1]:g}; expected two positive sizes in mm.")
    require_format_holds(options.channels, options.file_format)
    return raw


def _stage(folder: InputFolder, how: Staging, jobs: int | None) -> list[ScanOutcome]:
    """Read every scan once, in order; the workers write, only figures come back."""
    arguments = (range(len(folder.scans)), folder.scans.keys(), folder.scans.values())
    outcomes: list[ScanOutcome] = map_in_order(stage_scan, *arguments, jobs=jobs, title="converting", how=how)
    skipped = {**folder.skipped, **{o.source: o.skipped for o in outcomes if o.skipped is not None}}
    _say(_by_kind([f"{path}: skipped: {reason}" for path, reason in skipped.items()]))
    _say(_by_kind([f"{o.source}: {o.unlabelled} of its views have no outlines; left out." for o in outcomes if o.unlabelled]))
    _say(_by_kind([note for outcome in outcomes for note in outcome.notes]))
    stops = [stop for outcome in outcomes for stop in outcome.stops]
    if stops:
        raise ConversionError(_listed(stops))
    known = {annotation.rater for drawn in folder.scans.values() for annotation in drawn}
    rater = how.label_rules.raters
    if rater is not None and rater not in (*CONSENSUS_RULES, *known):
        raise ConversionError(f"--raters is {rater!r}; expected {', '.join([*CONSENSUS_RULES, *sorted(known - {''})])}.")
    faults = [*folder.faults, *(fault for outcome in outcomes for fault in outcome.faults)]
    if faults:
        _say("\n".join(faults))  # all of them: what was left out must be named
    return outcomes


def _stage_opposites(cases: Sequence[Case], how: Staging, jobs: int | None) -> dict[str, OppositeFile]:
    paired = [(case, case.opposite) for case in cases if case.opposite is not None]
    arguments = (range(len(paired)), [case.staged for case, _ in paired], [other for _, other in paired])
    files: list[OppositeFile] = map_in_order(stage_opposite, *arguments, jobs=jobs, title="opposite views", how=how)
    return {case.name: file for (case, _), file in zip(paired, files, strict=True)}


def _place(
    dataset: RawDataset, cases: Sequence[Case], outcomes: Sequence[ScanOutcome], opposites: dict[str, OppositeFile]
) -> None:
    """Move the staged files to their cases' places and keep the records that let the next conversion take them over."""
    placed: dict[Path, dict[str, Path]] = {}
    for case in cases:
        files = {"image": case.staged.image, "label": case.staged.label, "thumbnail": case.staged.thumbnail}
        placed[case.staged.image] = {
            kind: dataset.place(path, case.name, split=case.split, kind=kind)  # type: ignore[arg-type]
            for kind, path in files.items()
            if path is not None
        }
        if case.name in opposites:
            made = opposites[case.name]
            keep_opposite(dataset.partial, made, dataset.place(made.path, case.name, split=case.split, kind="opposite"))
    for outcome in outcomes:
        mine = {index: placed[view.image] for index, view in enumerate(outcome.views) if view.image in placed}
        keep_scan(dataset.partial, outcome, mine)


def _split_case(case: Case) -> SplitCase:
    return SplitCase(case.name, case.patient, case.staged.lesion_area_mm2)


def _warn_of_older_plan(dataset: RawDataset, folds: Sequence[dict[str, list[str]]]) -> None:
    """Planning a dataset anew with other folds ends in nnU-Net's bare AssertionError; say beforehand what to do."""
    preprocessed = os.environ.get("nnUNet_preprocessed")
    older = Path(preprocessed) / dataset.name / "splits_final.json" if preprocessed else None
    if older is not None and older.is_file() and json.loads(older.read_text(encoding="utf-8")) != list(folds):
        _say(f"{older}: holds other folds, of an earlier conversion; delete {older.parent} before planning.")


def _listed(sentences: Sequence[str]) -> str:
    more = len(sentences) - MOST_PRINTED
    return "\n".join([*sentences[:MOST_PRINTED], *([f"... and {more} more."] if more > 0 else [])])


def _by_kind(notes: Sequence[str]) -> str:
    """The notes, of each kind the first few: a folder of pictures gives the same one for every file."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for note in notes:  # "FILE: sentence", of one kind where the sentences differ in numbers and bracketed names alone
        kinds[re.sub(r"\(.*?\)|[\d.]+|\S*\.json", "", note.partition(": ")[2])].append(note)
    lines = []
    for alike in kinds.values():
        more = len(alike) - MOST_ALIKE
        lines += [*alike[:MOST_ALIKE], *([f"... and {more} more like this."] if more > 0 else [])]
    return "\n".join(lines)


def _say(text: str) -> None:
    for line in text.splitlines():
        print(f"msa convert: {line}", file=sys.stderr)
