"""What a conversion says of itself: manifest rows, the raters' agreement, the record in manifest.json and the summary."""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataset_conversion.archive.study_files import InputFolder
from dataset_conversion.cases import Case
from dataset_conversion.nnunet_raw import ManifestRow
from dataset_conversion.pseudonym import digest
from dataset_conversion.quality import Flag
from dataset_conversion.raters import PairAgreement
from dataset_conversion.staging.labelling import CONSENSUS_RULES, UNNAMED
from dataset_conversion.staging.opposite_files import OppositeFile
from dataset_conversion.staging.options import ScanOutcome

if TYPE_CHECKING:
    from dataset_conversion.convert import ConversionOptions


def manifest_row(case: Case, fold: int | None, opposite: OppositeFile | None, flags: Sequence[Flag]) -> ManifestRow:
    """Describe a case in manifest.csv."""
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
        fold=fold,
        crop_top=staged.top,
        crop_left=staged.left,
        full_height=staged.full_height,
        full_width=staged.full_width,
        shift_rows=opposite.shift[0] if opposite else None,
        shift_cols=opposite.shift[1] if opposite else None,
        flags=" ".join(dict.fromkeys(flag.code for flag in flags)),
        source_sha256=staged.source_sha256,
    )


def agreement_table(cases: Sequence[Case], numbers: Mapping[str, int]) -> str:
    """CSV of how far any two raters of a view agree, one row a case and pair; "" where no view has two raters.

    Raters stand as rater_1, rater_2, ...; numbers: of each, by the keyed digest of the name (`rater_numbers`).
    """
    drawn = [(case, pair) for case in cases for pair in case.staged.agreements]
    if not drawn:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, ["case", *(field.name for field in fields(PairAgreement))], lineterminator="\n")
    writer.writeheader()
    for case, pair in drawn:
        named = {"rater_a": f"rater_{numbers[pair.rater_a]}", "rater_b": f"rater_{numbers[pair.rater_b]}"}
        writer.writerow({"case": case.name, **asdict(pair), **named})
    return text.getvalue()


def rater_names(folder: InputFolder) -> list[str]:
    """All who drew, in the order of their numbers."""
    return sorted({annotation.rater or UNNAMED for drawn in folder.scans.values() for annotation in drawn})


def rater_numbers(folder: InputFolder, key: bytes) -> dict[str, int]:
    """Number of each rater, from 1, by the keyed digest of the name: names stay on the terminal."""
    return {digest(name, key): number for number, name in enumerate(rater_names(folder), start=1)}


def record(
    cases: Sequence[Case], outcomes: Sequence[ScanOutcome], folder: InputFolder, options: ConversionOptions
) -> dict[str, Any]:
    """What manifest.json keeps beside the cases; files by their hash, for archives put initials into file names."""
    return {
        "options": {
            "folds": options.folds,
            "test_fraction": options.test_fraction,
            "unlabelled": options.unlabelled,
            "allow_lossy": options.allow_lossy,
            "raters": None if options.raters is None else _rule(options.raters),
            "seed": options.seed,
        },
        "grown_outlines": sum(case.staged.grown for case in cases),
        "skipped": [{"sha256": o.sha256, "reason": o.skipped} for o in outcomes if o.skipped is not None],
        "damaged": _n_damaged(outcomes, folder),
    }


def _rule(raters: str) -> str:
    return raters if raters in CONSENSUS_RULES else "one rater"  # by no name: it may be a physician's


def _n_damaged(outcomes: Sequence[ScanOutcome], folder: InputFolder) -> int:
    return len(folder.faults) + sum(len(outcome.faults) for outcome in outcomes)


def summary(
    place: Path,
    rows: Sequence[ManifestRow],
    cases: Sequence[Case],
    outcomes: Sequence[ScanOutcome],
    folder: InputFolder,
    left_out: Counter[str],
) -> str:
    """The text that a conversion prints when it is done."""
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
    reused = sum(outcome.reused for outcome in outcomes)
    if reused:
        lines.append(f"  unchanged since the last conversion: {reused} of {len(outcomes)} files")
    warned = sum(outcome.earlier_notes > 0 for outcome in outcomes)
    if warned:
        lines.append(f"  of the unchanged, {warned} gave warnings when they were first converted")
    lines += [f"  left out, {reason}: {n}" for reason, n in left_out.items() if n]
    reasons = Counter([*(o.skipped for o in outcomes if o.skipped is not None), *folder.skipped.values()])
    lines += [f"  skipped, {n} file{'s' * (n > 1)}: {reason}" for reason, n in sorted(reasons.items())]
    if _n_damaged(outcomes, folder):
        lines.append(f"  damaged and left out: {_n_damaged(outcomes, folder)}, named above")
    if any(case.staged.agreements for case in cases):
        named = (f"rater_{number} is {name}" for number, name in enumerate(rater_names(folder), start=1))
        lines.append(f"  agreement.csv: {', '.join(named)}")
    flagged = Counter(code for row in rows for code in row.flags.split())
    if flagged:
        lines.append(f"  look at qc.html: {', '.join(f'{code} {n}' for code, n in flagged.most_common())}")
    return "\n".join(lines)
