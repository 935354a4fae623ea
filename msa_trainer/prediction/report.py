"""report.html of a run: a worklist with flags first, the viewer with both views of every scan, burden over time. Offline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from dataset_conversion.errors import ConversionError
from dataset_conversion.labels import BACKGROUND, IGNORE
from dataset_conversion.network_input import Channels
from dataset_conversion.quality.flag import SEVERITIES
from dataset_conversion.readers.array_files import load_array
from dataset_conversion.scans import ReadOptions
from evaluation.colours import PREDICTION_COLOUR
from evaluation.viewer import Column, Finding, Layer, Panel, ViewerCase, viewer_blocks
from msa_trainer.prediction.burden_over_time import burden_charts
from msa_trainer.prediction.completeness import scan_name
from msa_trainer.prediction.reading import view_counts
from msa_trainer.prediction.run_manifest import StudyRecord
from msa_trainer.prediction.studies import SourceFile

if TYPE_CHECKING:
    from msa_trainer.prediction.workers import Task, Workers

NAME = "report.html"
# 150 studies of two whole-body views make a page of about 50 MB, which still opens at once.
SHOWN_SCANS = 150
_AHEAD = 4
# Where the page is cut in two, so that the viewer's cases can be written between the halves without being held in memory.
_CUT = "<!-- viewer -->"
# Okabe and Ito's colours that are told from each other on grey; more classes than that share the last.
_COLOURS = (PREDICTION_COLOUR, "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#000000")
_SHORTCUTS = "pqrstuvw"
# Column of lesions.csv, heading, decimals, explanation.
_COLUMNS = (
    ("view", "view", None, ""),
    ("lesion", "no.", 0, "number of the lesion in its view"),
    ("label", "class", None, ""),
    ("diameter_mm", "⌀ mm", 1, "diameter of the disc of the same area"),
    ("area_mm2", "mm²", 0, "area"),
    ("counts", "counts", 0, "sum of the counts in the lesion"),
    ("contrast", "contrast", 2, "mean counts in the lesion over those around it"),
    ("confidence", "conf.", 2, "highest probability the network gave; not a probability of disease"),
    ("counterpart", "other view", None, "number of the lesion in the opposite view that lies at the same place"),
)


@dataclass(frozen=True)
class Row:
    """A line of the worklist: a scan, or a study that nothing was made of.

    lesions: in both views, those seen in both once. views: as complete.json describes them, by view. number: of the scan's case
    in the viewer, None where that does not show it.
    """

    name: str
    patient: str
    severity: str
    sentences: Sequence[str]
    lesions: int | None = None
    views: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    number: int | None = None


def write_report(
    output: Path, records: Sequence[StudyRecord], run: Mapping[str, Any], channels: Channels, workers: Workers
) -> None:
    """Write report.html beside and rename. run: the content of run.json. Raises OSError."""
    entries = sorted(_entries(records), key=lambda entry: (_rank(entry[1]), entry[1].name))
    shown = [(record, marker) for record, _, marker in entries if marker is not None][:SHOWN_SCANS]
    numbers = {id(marker): number for number, (_, marker) in enumerate(shown)}
    rows = [Row(**{**vars(row), "number": numbers.get(id(marker))}) for _, row, marker in entries]
    before, after = _page(records, rows, run, len(shown)).split(_CUT)
    reading = ReadOptions(allow_lossy=run["options"]["allow_lossy"], spacing_mm=run["options"]["spacing"])
    labels = run["network"]["labels"]
    layers = [
        Layer(name, name, _COLOURS[min(place, len(_COLOURS) - 1)], _SHORTCUTS[place])
        for place, name in enumerate(_classes(labels)[: len(_SHORTCUTS)])
    ]
    columns = [Column(heading, digits, hint) for _, heading, digits, hint in _COLUMNS]
    cases = _cases(output, shown, labels, channels, reading, workers)
    partial = output / f".{NAME}.partial"
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(before)
            file.writelines(viewer_blocks(cases, layers, columns, order="flagged first", printed=len(shown)) if shown else [])
            file.write(after)
        partial.replace(output / NAME)
    finally:
        partial.unlink(missing_ok=True)


def viewer_case(
    folder: Path, marker: Mapping[str, Any], files: Sequence[SourceFile], warning: str,
    labels: Mapping[str, int], channels: Channels, reading: ReadOptions,
) -> ViewerCase:  # fmt: skip
    """One scan as the viewer shows it, both views side by side, from what was written and the scan itself.

    Files that someone changed so that they cannot be read are left out, and the warning says so.
    """
    by_hash = {file.sha256: file for file in files}
    panels, findings, is_whole = [], [], True
    lesions = _lesions(folder)
    for place, view in enumerate(marker["views"]):
        shape = (view["height"], view["width"])
        mask = _mask(folder / f"{view['name']}.nii.gz", shape)
        is_whole &= mask is not None and lesions is not None
        masks = {} if mask is None else {name: mask == labels[name] for name in _classes(labels)[: len(_SHORTCUTS)]}
        counts = view_counts(by_hash[view["source"]], view["frame"], channels, reading)
        image = counts if counts is not None and counts.shape == shape else None if masks else np.zeros(shape)
        panels.append(Panel(view["view"], tuple(view["spacing_mm"]), masks, image))
        findings += [_finding(row, place) for row in lesions or () if row["view"] == view["view"]]
    note = ", ".join(f"{view['lesions']} {view['view']}" for view in marker["views"])
    changed = "" if is_whole else " Its files were changed since they were written and cannot all be read."
    return ViewerCase(folder.name, panels, findings, note, (warning + changed).strip())


def _lesions(folder: Path) -> list[dict[str, Any]] | None:
    try:
        table = pd.read_csv(folder / "lesions.csv")
        needed = table[["view", "label", "centroid_row_px", "centroid_col_px", "diameter_mm"]]
        needed.iloc[:, 2:].astype(float)
    except (OSError, ValueError, KeyError):
        return None
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _mask(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    try:
        mask = load_array(path, ".nii.gz").pixels
    except (OSError, ConversionError):
        return None
    return mask if mask.shape == shape else None


def _entries(records: Sequence[StudyRecord]) -> Iterator[tuple[StudyRecord, Row, Mapping[str, Any] | None]]:
    for record in records:
        name, patient, reasons = record.study.name, record.study.patient, record.reasons
        if record.outcome == "skipped":
            continue
        if not record.markers:
            if record.outcome == "not attempted":
                reasons = ["Not attempted: the run stopped before it."]
            yield record, Row(name, patient, "failed", reasons), None
        for marker in record.markers:
            flags = marker["flags"]
            severities = [flag["severity"] for flag in flags]
            worst = "failed" if reasons else min(severities, key=SEVERITIES.index, default="")
            said = [*reasons, *_sentences(flags)]
            views = {view["view"]: view for view in marker["views"]}
            yield record, Row(scan_name(name, marker["scan"]), patient, worst, said, marker["lesions"], views), marker


def _sentences(flags: Sequence[Mapping[str, Any]]) -> list[str]:
    """The flags' sentences, each with its view; said once where both views have it."""
    views: dict[str, list[str]] = {}
    for flag in flags:
        views.setdefault(flag["sentence"], []).append(flag["view"])
    named = {"anterior": "Anterior: ", "posterior": "Posterior: ", "": ""}
    return [f"{'Both views: ' if len(of) > 1 else named[of[0]]}{sentence}" for sentence, of in views.items()]


def _rank(row: Row) -> int:
    return ("failed", *SEVERITIES, "").index(row.severity)


def _cases(
    output: Path, shown: Sequence[tuple[StudyRecord, Mapping[str, Any]]],
    labels: Mapping[str, int], channels: Channels, reading: ReadOptions, workers: Workers,
) -> Iterator[ViewerCase]:  # fmt: skip
    """The scans of the viewer in order, a few of them read ahead."""

    def start(record: StudyRecord, marker: Mapping[str, Any]) -> Task:
        folder = output / scan_name(record.study.name, marker["scan"])
        serious = [flag for flag in marker["flags"] if flag["severity"] != "note"]
        warning = " ".join([*record.reasons, *_sentences(serious)])
        return workers.submit(viewer_case, folder, marker, record.study.files, warning, labels, channels, reading)

    tasks = [start(*one) for one in shown[:_AHEAD]]
    for number in range(len(shown)):
        case: ViewerCase = workers.result(tasks.pop(0))
        tasks += [start(*one) for one in shown[number + _AHEAD : number + _AHEAD + 1]]
        yield case


def _finding(row: Mapping[str, Any], panel: int) -> Finding:
    cells = [None if pd.isna(value := row.get(name)) else value for name, *_ in _COLUMNS]
    radius = float(row["diameter_mm"]) / 2
    return Finding(cells, str(row["label"]), panel, float(row["centroid_row_px"]), float(row["centroid_col_px"]), radius)


def _classes(labels: Mapping[str, int]) -> list[str]:
    return [name for name in labels if name not in (BACKGROUND, IGNORE)]


def _page(records: Sequence[StudyRecord], rows: Sequence[Row], run: Mapping[str, Any], shown: int) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    n_scans = sum(len(record.markers) for record in records)
    return environment.get_template("report.html").render(
        rows=rows, run=run, cut=_CUT, shown=shown, scans=n_scans, charts=burden_charts(records),
        lesions=sum(marker["lesions"] for record in records for marker in record.markers),
        flagged=sum(row.severity in ("error", "warning") for row in rows),
        failed=sum(row.severity == "failed" for row in rows),
        patients=len({row.patient or row.name for row in rows}),
    )  # fmt: skip
