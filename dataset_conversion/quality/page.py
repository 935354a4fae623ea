"""qc.html: every case with its picture, the flagged ones first, in one file that needs no network."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from dataset_conversion.quality.flag import SEVERITIES, Flag, worst_first
from dataset_conversion.scintigram import View

# More thumbnails than this make neither a screen nor a printed page easier to look through.
CASES_A_PAGE = 48
# Without JavaScript so many flagged cases are listed in text; the manifest has them all.
MOST_LISTED = 1000


@dataclass(frozen=True)
class QcCase:
    """One case as the page shows it.

    patient: pseudonym. study: number of the patient's scan. fold, lesions, area_mm2: None where the case has none.
    height_mm, width_mm: size of the view that the thumbnail shows. thumbnail: WebP.
    """

    case: str
    patient: str
    study: int
    view: View
    split: str
    fold: int | None
    lesions: int | None
    area_mm2: float | None
    counts: int
    height_mm: float
    width_mm: float
    flags: Sequence[Flag]
    thumbnail: bytes


def write_qc_page(cases: Iterable[QcCase], file: TextIO, title: str) -> Counter[str]:
    """Write the page for any number of cases in any order; return how many cases have each flag.

    Thumbnails are written as they come and then forgotten, so `cases` may read them one by one from disk; only the captions
    stay in memory. Cases are shown by their worst flag, then by name. The same cases give the same bytes. Raises OSError where
    the file cannot be written.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # not at module level: every worker imports this package

    index = _Index()
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    pieces = environment.get_template("qc.html").generate(title=title, pictures=_pictures(cases, index), index=index)
    for piece in pieces:
        file.write(piece)
    return index.cases_by_code


class _Index:
    """What the page knows of all cases once their pictures have passed."""

    def __init__(self) -> None:
        self._cases: list[tuple[int, str, dict[str, Any]]] = []
        self.patients: set[str] = set()
        self.cases_by_code: Counter[str] = Counter()
        self.cases_by_severity: Counter[str] = Counter()
        self._severity: dict[str, int] = {}

    def add(self, number: int, case: QcCase) -> None:
        flags = worst_first(case.flags)
        severity = SEVERITIES.index(flags[0].severity) if flags else len(SEVERITIES)
        self._cases.append((severity, case.case, _row(number, case, flags)))
        self.patients.add(case.patient)
        self.cases_by_code.update({flag.code for flag in flags})
        self.cases_by_severity.update([flags[0].severity] if flags else [])
        for flag in flags:
            at = SEVERITIES.index(flag.severity)
            self._severity[flag.code] = min(at, self._severity.get(flag.code, at))

    @property
    def n_cases(self) -> int:
        return len(self._cases)

    @property
    def n_flagged(self) -> int:
        return self.cases_by_severity.total()

    def codes(self) -> list[tuple[str, str, int]]:
        """Code, its worst severity and its number of cases, worst and commonest first."""
        order = sorted(self._severity, key=lambda code: (self._severity[code], -self.cases_by_code[code], code))
        return [(code, SEVERITIES[self._severity[code]], self.cases_by_code[code]) for code in order]

    def listed(self) -> list[dict[str, Any]]:
        """The first flagged cases, for readers without JavaScript."""
        return [row for severity, _, row in self._ordered()[:MOST_LISTED] if severity < len(SEVERITIES)]

    def json(self) -> str:
        """Captions in the order of the page, safe inside a script element."""
        content = {"aPage": CASES_A_PAGE, "codes": self.codes(), "cases": [row for _, _, row in self._ordered()]}
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")

    def _ordered(self) -> list[tuple[int, str, dict[str, Any]]]:
        return sorted(self._cases, key=lambda entry: entry[:2])


def _pictures(cases: Iterable[QcCase], index: _Index) -> Iterator[str]:
    for number, case in enumerate(cases):
        index.add(number, case)
        yield base64.b64encode(case.thumbnail).decode("ascii")


def _row(number: int, case: QcCase, flags: Sequence[Flag]) -> dict[str, Any]:
    return {
        "picture": number,
        "case": case.case,
        "patient": case.patient,
        "lines": _caption(case),
        "mm": [round(case.height_mm, 1), round(case.width_mm, 1)],
        "flags": [[flag.code, flag.severity, flag.sentence] for flag in flags],
    }


def _caption(case: QcCase) -> list[str]:
    place = case.split if case.fold is None else f"{case.split}, fold {case.fold}"
    lesions = "no outlines" if case.lesions is None else f"{case.lesions} lesion{'s' * (case.lesions != 1)}"
    area = f", {case.area_mm2:,.0f} mm²" if case.lesions and case.area_mm2 is not None else ""
    return [
        f"{case.view}, scan {case.study}",
        place,
        lesions + area,
        f"{case.counts:,} counts",
        f"{case.height_mm:,.0f} × {case.width_mm:,.0f} mm",
    ]
