"""What was marked in each study of the patients that have several, as the points of a small chart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dataset_conversion.scintigram import VIEWS
from msa_trainer.prediction.run_manifest import StudyRecord


@dataclass(frozen=True)
class Point:
    """One study. place: days since the patient's first, or its number from 0. lesions: in both views, those
    seen in both once. views: as complete.json has them, by view.
    """

    study: str
    place: int
    lesions: int
    views: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Chart:
    """One patient. is_dated: places are days. last: greatest place. highest: greatest area in mm2 of a view."""

    patient: str
    points: Sequence[Point]
    is_dated: bool

    @property
    def last(self) -> int:
        return max(point.place for point in self.points)

    @property
    def highest(self) -> float:
        return max((float(view["area_mm2"]) for point in self.points for view in point.views.values()), default=0.0)

    def line(self, view: str) -> list[tuple[float, float]]:
        """(place, area) of one view as shares of the greatest ones, from 0 to 1."""
        return [
            (point.place / (self.last or 1), float(point.views[view]["area_mm2"]) / (self.highest or 1))
            for point in self.points
            if view in point.views
        ]


def burden_charts(records: Sequence[StudyRecord]) -> list[Chart]:
    """The patients with several studies by pseudonym, their studies by date, or by name where a date is missing.

    Of a study with several scans the first counts.
    """
    studies: dict[str, list[StudyRecord]] = defaultdict(list)
    for record in records:
        if record.study.patient and record.markers:
            studies[record.study.patient].append(record)
    return [_chart(patient, mine) for patient, mine in sorted(studies.items()) if len(mine) > 1]


def _chart(patient: str, records: Sequence[StudyRecord]) -> Chart:
    ordinals = [record.study.ordinal for record in records if record.study.ordinal is not None]
    is_dated = len(ordinals) == len(records)
    ordered = sorted(records, key=lambda record: (record.study.ordinal if is_dated else 0, record.study.name))
    points = []
    for number, record in enumerate(ordered):
        views = {view["view"]: view for view in record.markers[0]["views"] if view["view"] in VIEWS}
        place = record.study.ordinal - min(ordinals) if is_dated and record.study.ordinal is not None else number
        points.append(Point(record.study.name, place, record.markers[0]["lesions"], views))
    return Chart(patient, points, is_dated)
