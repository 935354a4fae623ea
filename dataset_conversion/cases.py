"""Staged views -> named cases: pseudonyms, study numbers, copies, and who is in the test set."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from dataset_conversion.case_files import ScanOutcome, StagedView
from dataset_conversion.errors import ConversionError
from dataset_conversion.pseudonym import pseudonyms
from dataset_conversion.splits import SplitCase, draw_test_patients


@dataclass(frozen=True)
class Case:
    """A staged view with the names and the place it gets."""

    staged: StagedView
    patient: str
    study: int
    split: Literal["train", "test"]

    @property
    def name(self) -> str:
        return f"{self.patient}_{self.study:02d}_{'ant' if self.staged.view == 'anterior' else 'post'}"


def name_cases(outcomes: Sequence[ScanOutcome], key: bytes, test_fraction: float, seed: int) -> tuple[list[Case], Counter[str]]:
    """Name the staged views and split off a test set; also count what is left out, by reason.

    Returns cases sorted by name. Raises ConversionError where there is no view, nobody is left to train on, or two copies of
    a scan both have outlines.
    """
    staged = [view for outcome in outcomes for view in outcome.views]
    views = _without_copies(staged)
    left_out = Counter({"copies of a scan": len(staged) - len(views)})
    left_out["views without outlines"] = sum(outcome.unlabelled for outcome in outcomes)
    if not views:
        n_skipped, n_damaged = sum(o.skipped is not None for o in outcomes), sum(bool(o.faults) for o in outcomes)
        raise ConversionError(
            f"nothing to convert: {len(outcomes)} files, of them {n_skipped} no planar NM scans and {n_damaged} damaged,"
            f" {left_out['views without outlines']} views without outlines."
            " Outlines are LabelMe files named like the scan: STEM_anterior.json beside STEM.dcm."
        )
    names = pseudonyms({view.patient for view in views}, key)
    labelled = [SplitCase(view.instance, names[view.patient], view.lesion_area_mm2) for view in views if view.label]
    test = draw_test_patients(labelled, test_fraction, seed)
    training = {case.patient for case in labelled} - test
    if labelled and not training:
        raise ConversionError(
            f"a test fraction of {test_fraction:g} leaves none of {len(test)} patients to train on; lower it."
        )
    cases = []
    for view, study in zip(views, _study_numbers(views), strict=True):
        patient = names[view.patient]
        if view.label is None and patient in training:
            # Testing on a patient who was trained on would flatter the result.
            left_out["views without outlines of training patients"] += 1
        else:
            cases.append(Case(view, patient, study, "train" if patient in training else "test"))
    return sorted(cases, key=lambda case: case.name), left_out


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
