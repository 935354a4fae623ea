"""What is kept of a view once its files are written: figures without identity, from which the rest of a conversion works."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dataset_conversion.quality import Flag, ViewStatistics
from dataset_conversion.raters import PairAgreement
from dataset_conversion.scintigram import View

PATHS = ("image", "label", "thumbnail", "source")


@dataclass(frozen=True)
class StagedView:
    """A view whose image, label (where it has one) and thumbnail are written; the pixels are gone, these figures remain.

    patient, person, study, instance: keyed digests of what the header says; nothing here leads back without the key.
    top, left, height, width: the box of the whole view that was written, in px; full_height, full_width: the whole view.
    counts: of the whole view. lesions: 8-connected components of the label. grown: outlines that held no pixel centre.
    agreements: of its raters, by pairs, under keyed digests of their names. flags, statistics: what the QC page is made of.
    """

    image: Path
    label: Path | None
    thumbnail: Path
    source: Path
    source_sha256: str
    patient: str
    person: str
    study: str
    instance: str
    frame: int
    view: View
    full_height: int
    full_width: int
    top: int
    left: int
    height: int
    width: int
    spacing_mm: tuple[float, float]
    counts: int
    lesions: int
    lesion_area_mm2: float
    grown: int
    agreements: tuple[PairAgreement, ...]
    flags: tuple[Flag, ...]
    statistics: ViewStatistics


def to_record(view: StagedView) -> dict[str, Any]:
    """Everything but the paths, ready for JSON."""
    return {name: value for name, value in asdict(view).items() if name not in PATHS}


def from_record(record: dict[str, Any], **paths: Path | None) -> StagedView:
    """Rebuild a view from its record and the paths of its files; raises KeyError or TypeError for another version's record."""
    values = {**record, **paths}
    values["spacing_mm"] = tuple(values["spacing_mm"])
    values["agreements"] = tuple(PairAgreement(**entry) for entry in values["agreements"])
    values["flags"] = tuple(Flag(**entry) for entry in values["flags"])
    values["statistics"] = ViewStatistics(**values["statistics"])
    return StagedView(**values)


def flagged(view: StagedView, *flags: Flag) -> StagedView:
    """The view with more flags."""
    return replace(view, flags=(*view.flags, *flags))
