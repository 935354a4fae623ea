"""Which files of an input folder are scans, which are outlines, and which outlines belong to which scan."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from dataset_conversion.annotations import labelme
from dataset_conversion.annotations.outline import AnnotatedView
from dataset_conversion.dicom_nm import DICOM_SUFFIXES
from dataset_conversion.errors import ConversionError
from dataset_conversion.scintigram import VIEWS, View

# Spellings of the one foreground class that count as the same, in lower case.
LESION_LABELS = ("metastasis", "metastases", "metastatic", "lesion")


@dataclass(frozen=True)
class Annotation:
    """One outline file: the view its name states (None for a one-frame scan's `STEM.json`) and its content or its fault."""

    path: Path
    view: View | None
    content: AnnotatedView | None
    fault: str = ""


@dataclass
class InputFolder:
    """The sorted content of an input folder.

    scans: every file that may be DICOM, with the annotations that carry its name.
    skipped: files that are none of ours, each with the reason. faults: damaged outline files that belong to no scan.
    stops: what makes converting unsafe (outlines without a scan, unknown labels), as sentences.
    """

    scans: dict[Path, list[Annotation]] = field(default_factory=dict)
    skipped: dict[Path, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    stops: list[str] = field(default_factory=list)


def survey(folder: Path, exclude: Iterable[Path] = ()) -> InputFolder:
    """List the files under a folder (hidden ones and `exclude` apart) and match outlines to scans by name.

    `STEM_anterior.json`, `STEM_posterior.json` or, for a one-frame scan, `STEM.json` belong to `STEM` or `STEM.dcm`: the one
    beside them, else the only one under the folder. Reads the outline files, no scan.
    """
    excluded = tuple(path.resolve() for path in exclude)
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not any(path.resolve().is_relative_to(other) for other in excluded)
    )
    found = InputFolder(scans={path: [] for path in paths if path.suffix.lower() != ".json"})
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for scan in found.scans:
        by_stem[_stem(scan)].append(scan)
    for path in paths:
        if path.suffix.lower() == ".json":
            _match(path, by_stem, found)
    return found


def _stem(scan: Path) -> str:
    return scan.stem if scan.suffix.lower() in DICOM_SUFFIXES else scan.name


def _match(path: Path, by_stem: dict[str, list[Path]], found: InputFolder) -> None:
    names: list[tuple[str, View | None]] = [(path.stem, None)]
    names += [(path.stem.removesuffix(f"_{view}"), view) for view in VIEWS if path.stem.endswith(f"_{view}")]
    stem, view = next(((stem, view) for stem, view in names if stem in by_stem), (path.stem, None))
    candidates = by_stem.get(stem, [])
    beside = [scan for scan in candidates if scan.parent == path.parent]
    candidates = beside or candidates
    annotation = _read(path, view)
    if len(candidates) == 1:
        found.scans[candidates[0]].append(annotation)
    elif candidates:
        listed = ", ".join(str(scan) for scan in candidates[:3])
        found.stops.append(f"{path}: could belong to {len(candidates)} scans ({listed}); put it beside its own.")
    elif annotation.content is not None:
        expected = path.stem.removesuffix("_anterior").removesuffix("_posterior")
        found.stops.append(f"{path}: holds outlines but there is no scan {expected}.dcm; add the scan or remove the outlines.")
    elif _is_labelme_name(path):
        found.faults.append(annotation.fault)
    else:
        found.skipped[path] = "is neither a scan nor outlines of one."
    if annotation.content is not None:
        found.stops.extend(_unknown_labels(path, annotation.content))


def _is_labelme_name(path: Path) -> bool:
    return path.stem.endswith(tuple(f"_{view}" for view in VIEWS))


def _read(path: Path, view: View | None) -> Annotation:
    try:
        return Annotation(path, view, labelme.read(path))
    except ConversionError as error:
        return Annotation(path, view, None, str(error))


def _unknown_labels(path: Path, content: AnnotatedView) -> list[str]:
    return [
        f"{path}: shape {number} has the label {outline.label!r}; expected {' or '.join(LESION_LABELS)}. Rename or delete it."
        for number, outline in enumerate(content.outlines, start=1)
        if outline.label.strip().lower() not in LESION_LABELS
    ]
