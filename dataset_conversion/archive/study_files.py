"""Which files of an input folder are scans, which are outlines, and which outlines belong to which scan."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from dataset_conversion.annotations import formats
from dataset_conversion.annotations.outline import AnnotatedView, ViewAnnotation
from dataset_conversion.archive.outline_names import is_mask_name, outline_stem, rater_folder, readings
from dataset_conversion.archive.pairs import Pair, read_pairs
from dataset_conversion.errors import ConversionError
from dataset_conversion.readers.side_car import SIDE_CAR_SUFFIX
from dataset_conversion.scans import identify, is_array, scan_stem
from dataset_conversion.scintigram import VIEWS, View


@dataclass(frozen=True)
class Annotation:
    """One reader's outlines of one view.

    view, frame: what the file or its name states of them; both None for `STEM.json`, which fits a scan of one view only.
    rater: who drew it, "" where nothing tells. content: the outlines; None where they are still to be read from `path` (mask
    images) or are damaged, which `fault` then says.
    """

    path: Path
    view: View | None = None
    frame: int | None = None
    rater: str = ""
    content: AnnotatedView | None = None
    fault: str = ""


@dataclass
class InputFolder:
    """The sorted content of an input folder.

    scans: every file that may be a scan, with the annotations that belong to it.
    skipped: files that are none of ours, each with the reason. faults: damaged outline files that belong to no scan.
    stops: what makes converting unsafe (outlines without a scan, outlines in a form that is not read), as sentences.
    """

    scans: dict[Path, list[Annotation]] = field(default_factory=dict)
    skipped: dict[Path, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    stops: list[str] = field(default_factory=list)


def survey(folder: Path, exclude: Iterable[Path] = (), pairs: Path | None = None) -> InputFolder:
    """List the files under a folder (hidden ones and `exclude` apart) and match outlines to scans.

    Outlines belong to the scan that `pairs` (a CSV table) gives them, else to the one whose SOP Instance UID they or their
    name state, else to the one they are named after: `STEM_anterior.json`, `STEM_posterior_mask.png` or, for a scan of one
    view, `STEM.json` belong to `STEM.dcm`: the one beside them, else the only one under the folder; a name that fits none may
    still name its image inside. Reads outlines and the first bytes of scans, no pixels of scans.

    Raises ConversionError where `pairs` cannot be read.
    """
    excluded = tuple(path.resolve() for path in [*exclude, *([pairs] if pairs else [])])
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not any(path.resolve().is_relative_to(other) for other in excluded)
    )
    found = InputFolder()
    index = _Index(folder)
    outlines = [path for path in paths if not _is_scan(path, found, index)]
    _skip_pictures(found, index)
    paired = read_pairs(pairs, folder) if pairs else {}
    for path in outlines:
        _match(path, paired.get(path.resolve(), []), found, index)
    there = {path.resolve() for path in outlines}
    found.stops += [
        f"{pairs}: row {row.number} names {row.outlines}, which is no file of outlines under {folder}; correct the path."
        for outline, rows in paired.items()
        for row in rows
        if outline not in there
    ]
    return found


class _Index:
    """The scans by name and by SOP Instance UID."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.by_stem: dict[str, list[Path]] = defaultdict(list)
        self.by_instance: dict[str, list[Path]] = defaultdict(list)

    @cached_property
    def _folders(self) -> set[Path]:
        return {parent for scans in self.by_stem.values() for scan in scans for parent in scan.parents}

    def rater(self, outlines: Path) -> str:
        return rater_folder(outlines, self.folder, self._folders)

    def candidates(self, stem: str, beside: Path) -> tuple[list[Path], View | None]:
        """The scans a name may mean, those beside the outlines first, and the view it ends in."""
        for known in (self.by_instance, self.by_stem):
            for name, view in readings(stem):
                if known.get(name):
                    here = [scan for scan in known[name] if scan.parent == beside]
                    return here or known[name], view
        return [], None


def _is_scan(path: Path, found: InputFolder, index: _Index) -> bool:
    """Sort in what may be a scan; False for outlines, which wait until all scans are known."""
    if path.name.lower().endswith(SIDE_CAR_SUFFIX):
        return True  # belongs to its scan, whose reader opens it
    if path.suffix.lower() == ".json" or is_mask_name(path):
        return False
    header = None if is_array(path) else identify(path)
    if header is not None and header.modality == "SEG":
        return False
    if header is not None and header.modality == "RTSTRUCT":
        found.stops.append(
            f"{path}: is an RTSTRUCT; its contours are in mm of a volume, and a planar scan has no such frame."
            " Export the outlines as LabelMe, COCO, a mask or DICOM SEG, or move the file away."
        )
        return True
    found.scans[path] = []
    index.by_stem[scan_stem(path)].append(path)
    if header is not None and header.sop_instance:
        index.by_instance[header.sop_instance].append(path)
    return True


def _skip_pictures(found: InputFolder, index: _Index) -> None:
    """Pictures exported from a DICOM scan to draw on are no scans of their own."""
    for path in [path for path in found.scans if is_array(path)]:
        for name, _ in readings(scan_stem(path)):
            originals = [scan for scan in index.by_stem.get(name, []) if not is_array(scan)]
            if originals:
                found.skipped[path] = "is a picture of a DICOM scan of the same name, which is converted itself."
                del found.scans[path]
                index.by_stem[scan_stem(path)].remove(path)
                break


def _match(path: Path, rows: list[Pair], found: InputFolder, index: _Index) -> None:
    try:
        records: list[ViewAnnotation | None] = [None] if is_mask_name(path) else [*formats.read(path)]
        fault = ""
    except ConversionError as error:
        records, fault = [None], str(error)
    for record in records:
        content = record.content if record is not None else None
        frame = record.frame if record is not None else None
        if rows:
            for row in rows:
                annotation = Annotation(path, row.view, frame, row.rater, content, fault)
                if row.scan not in found.scans:
                    found.stops.append(f"{row.source}: row {row.number} names the scan {row.scan}, which is not there.")
                else:
                    found.scans[row.scan].append(annotation)
            continue
        candidates, view, rater = _named(path, record, index)
        if len(candidates) == 1:
            found.scans[candidates[0]].append(Annotation(path, view, frame, rater, content, fault))
        else:
            _report(path, record, fault, candidates, found)


def _named(path: Path, record: ViewAnnotation | None, index: _Index) -> tuple[list[Path], View | None, str]:
    """Whom the outlines mean by UID, by their own name (with the rater's as its last part), by the image they name."""
    if record is not None and record.instance and index.by_instance.get(record.instance):
        return index.by_instance[record.instance], None, index.rater(path)
    own = outline_stem(path)
    names = [(own, "")]
    if "." in own:
        names.append((own.rpartition(".")[0], own.rpartition(".")[2]))
    if record is not None and record.image_name:
        names.append((scan_stem(Path(record.image_name)), ""))
    for name, rater in names:
        candidates, view = index.candidates(name, path.parent)
        if candidates:
            return candidates, view, rater or index.rater(path)
    return [], None, ""


def _report(path: Path, record: ViewAnnotation | None, fault: str, candidates: list[Path], found: InputFolder) -> None:
    image = f" (image {record.image_name})" if record is not None and record.image_name else ""
    if candidates:
        listed = ", ".join(str(scan) for scan in candidates[:3])
        found.stops.append(f"{path}{image}: could belong to {len(candidates)} scans ({listed}); put it beside its own.")
    elif record is not None or (not fault and is_mask_name(path)):
        name, _ = readings(outline_stem(path))[-1]
        wanted = f"{name}.dcm" + (f" nor {record.image_name}" if record is not None and record.image_name else "")
        found.stops.append(
            f"{path}{image}: holds outlines but there is no scan {wanted}; add the scan, name it in --pairs or remove the"
            " outlines."
        )
    elif path.suffix.lower() != ".json" or path.stem.endswith(tuple(f"_{view}" for view in VIEWS)):
        found.faults.append(fault)
    else:
        found.skipped[path] = "is neither a scan nor outlines of one."
