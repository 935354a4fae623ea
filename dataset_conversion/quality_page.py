"""The QC page of a dataset under construction: all flags of its cases, and qc.html with their thumbnails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from dataset_conversion.cases import Case
from dataset_conversion.nnunet_raw import RawDataset
from dataset_conversion.quality import Flag, QcCase, ViewRecord, dataset_flags, pair_flags, worst_first, write_qc_page
from dataset_conversion.staging.opposite_files import OppositeFile

PAGE = "qc.html"


def case_flags(cases: Sequence[Case], opposites: Mapping[str, OppositeFile]) -> dict[str, list[Flag]]:
    """All flags of every case, worst first: its own, those against its opposite view, those across the dataset."""
    records = [ViewRecord(c.name, c.patient, c.staged.study, c.staged.person, c.staged.statistics.pixels_sha256) for c in cases]
    across = dataset_flags(records)
    flags: dict[str, list[Flag]] = {}
    for case in cases:
        found = [*case.staged.flags, *across.get(case.name, [])]
        if case.opposite is not None:
            both = {view.view: view.statistics for view in (case.staged, case.opposite)}
            found += pair_flags(both["anterior"], both["posterior"])
        if case.name in opposites:
            found += opposites[case.name].flags
        flags[case.name] = worst_first(found)
    return flags


def write_quality_page(
    dataset: RawDataset, cases: Sequence[Case], flags: Mapping[str, Sequence[Flag]], fold_of: Mapping[str, int]
) -> None:
    """Write qc.html beside dataset.json, reading the placed thumbnails one by one."""
    with (dataset.partial / PAGE).open("w", encoding="utf-8") as file:
        write_qc_page(_shown(dataset, cases, flags, fold_of), file, dataset.name)


def _shown(
    dataset: RawDataset, cases: Sequence[Case], flags: Mapping[str, Sequence[Flag]], fold_of: Mapping[str, int]
) -> Iterator[QcCase]:
    for case in cases:
        staged = case.staged
        yield QcCase(
            case=case.name,
            patient=case.patient,
            study=case.study,
            view=staged.view,
            split=case.split,
            fold=fold_of.get(case.name),
            lesions=staged.lesions if staged.label else None,
            area_mm2=staged.lesion_area_mm2 if staged.label else None,
            counts=staged.counts,
            height_mm=staged.full_height * staged.spacing_mm[0],
            width_mm=staged.full_width * staged.spacing_mm[1],
            flags=flags[case.name],
            thumbnail=dataset.thumbnail(case.name).read_bytes(),
        )
