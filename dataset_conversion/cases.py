"""Staged views -> named cases: pseudonyms, study numbers, copies, and who is in the test set."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NoReturn

from dataset_conversion.errors import ConversionError
from dataset_conversion.pseudonym import pseudonyms
from dataset_conversion.splits import SplitCase, draw_test_patients
from dataset_conversion.staging.options import ScanOutcome, Unlabelled, Views
from dataset_conversion.staging.staged_view import StagedView


@dataclass(frozen=True)
class Case:
    """A staged view with the names and the place it gets; opposite: the other view of the same scan, where there is one."""

    staged: StagedView
    patient: str
    study: int
    split: Literal["train", "test"]
    opposite: StagedView | None = None

    @property
    def name(self) -> str:
        return f"{self.patient}_{self.study:02d}_{'ant' if self.staged.view == 'anterior' else 'post'}"


def name_cases(
    outcomes: Sequence[ScanOutcome], *, test_fraction: float, seed: int, unlabelled: Unlabelled, views: Views
) -> tuple[list[Case], Counter[str]]:
    """Name the staged views and split off a test set; also count what is left out, by reason.

    views "paired" leaves out views without their opposite; views that are staged for their opposite's sake alone (no outlines,
    unlabelled "skip") become no cases.

    Returns cases sorted by name. Raises ConversionError where there is no view, nobody is left to train on, or two copies of
    a scan both have outlines.
    """
    staged = [view for outcome in outcomes for view in outcome.views]
    single = _without_copies(staged)
    left_out = Counter({"copies of a scan": len(staged) - len(single)})
    left_out["views without outlines"] = sum(outcome.unlabelled for outcome in outcomes)
    names = pseudonyms(view.patient for view in single)
    scans: dict[tuple[str, int], list[StagedView]] = defaultdict(list)
    for view, study in zip(single, _study_numbers(single), strict=True):
        scans[names[view.patient], study].append(view)
    cases: list[Case] = []
    for (patient, study), members in scans.items():
        for view in members:
            opposite = next((other for other in members if other is not view), None)
            if view.label is None and unlabelled == "skip":
                continue
            if opposite is None and views == "paired":
                left_out["views without their opposite view"] += 1
                continue
            cases.append(Case(view, patient, study, "train", opposite))
    if not cases:
        _refuse_nothing(outcomes, left_out)
    labelled = [SplitCase(case.name, case.patient, case.staged.lesion_area_mm2) for case in cases if case.staged.label]
    test = draw_test_patients(labelled, test_fraction, seed)
    training = {case.patient for case in labelled} - test
    if labelled and not training:
        raise ConversionError(
            f"a test fraction of {test_fraction:g} leaves none of {len(test)} patients to train on; lower it."
        )
    # Testing on a patient who was trained on would flatter the result.
    kept = [case for case in cases if case.staged.label is not None or case.patient not in training]
    left_out["views without outlines of training patients"] = len(cases) - len(kept)
    placed = [replace(case, split="train" if case.patient in training else "test") for case in kept]
    return sorted(placed, key=lambda case: case.name), left_out


def _refuse_nothing(outcomes: Sequence[ScanOutcome], left_out: Counter[str]) -> NoReturn:
    n_skipped, n_damaged = sum(o.skipped is not None for o in outcomes), sum(bool(o.faults) for o in outcomes)
    lonely = left_out["views without their opposite view"]
    raise ConversionError(
        f"nothing to convert: {len(outcomes)} files, of them {n_skipped} no planar NM scans and {n_damaged} damaged,"
        f" {left_out['views without outlines']} views without outlines"
        + (f", {lonely} without their opposite view." if lonely else ".")
        + " Outlines are files named like the scan: STEM_anterior.json beside STEM.dcm."
    )


def _without_copies(views: Iterable[StagedView]) -> list[StagedView]:
    """Drop second files of the same frame, the unlabelled one first."""
    kept: dict[tuple[str, str, int, int], StagedView] = {}
    for view in views:
        identity = (view.patient, view.instance, view.frame, view.counts)
        first = kept.setdefault(identity, view)
        if first is not view and view.label is not None:
            if first.label is not None:
                raise ConversionError(f"{view.source}: is a copy of {first.source}, and both have outlines; keep one of them.")
            kept[identity] = view
    return list(kept.values())


def _study_numbers(views: Sequence[StagedView]) -> list[int]:
    """Number each patient's scans from 1 in file order; a second scan of the same side at one visit is a scan of its own."""
    scans: dict[str, list[tuple[str, set[str]]]] = defaultdict(list)
    numbers = []
    for view in views:
        mine = scans[view.patient]
        number = next((n for n, (study, seen) in enumerate(mine) if study == view.study and view.view not in seen), len(mine))
        if number == len(mine):
            mine.append((view.study, set()))
        mine[number][1].add(view.view)
        numbers.append(number + 1)
    return numbers
