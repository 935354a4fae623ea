"""Taking over what an earlier conversion made of a scan that is the same, with the same outlines and options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dataset_conversion.archive.study_files import Annotation
from dataset_conversion.readers.side_car import SIDE_CAR_SUFFIX
from dataset_conversion.scans import scan_stem
from dataset_conversion.staging.options import ScanOutcome, Staging
from dataset_conversion.staging.records import find_record, key_of, sha256_of, take_over, write_record
from dataset_conversion.staging.staged_view import StagedView, from_record, to_record


def scan_key(path: Path, sha256: str, annotations: Sequence[Annotation], how: Staging) -> str:
    """Key over all that decides the files of a scan: its bytes and name, its outlines, the options."""
    side_car = path.with_name(scan_stem(path) + SIDE_CAR_SUFFIX)
    beside = sha256_of(side_car) if side_car.is_file() else ""
    return key_of(how.fingerprint, path.name, sha256, beside, *(part for a in annotations for part in _identity(a)))


def reuse_scan(number: int, outcome: ScanOutcome, how: Staging) -> bool:
    """Put the files of an earlier conversion into the staging folder; False, and no file, where it made none that are whole."""
    record = find_record(how.previous, outcome.key)
    if record is None or how.previous is None:
        return False
    views: list[StagedView] = []
    made: list[Path] = []
    try:
        for entry in record["views"]:
            paths: dict[str, Path | None] = {"label": None, "source": outcome.source}
            for what, (old, sha256) in entry["files"].items():
                suffix = "webp" if what == "thumbnail" else how.file_format
                new = how.folder / f"{number:06d}_{entry['view']['view']}_{what}.{suffix}"
                if not take_over(how.previous / old, sha256, new):
                    raise ValueError(f"{old} is no longer what was written")
                made.append(new)
                paths[what] = new
            views.append(from_record(entry["view"], **paths))
        unlabelled, notes = int(record["unlabelled"]), int(record["notes"])
    except (KeyError, TypeError, ValueError):  # changed files, or the record of another version of this program
        for path in made:  # else they would be written over, and with them the files they are linked to
            path.unlink()
        return False
    outcome.views, outcome.unlabelled, outcome.earlier_notes, outcome.reused = views, unlabelled, notes, True
    return True


def keep_scan(dataset: Path, outcome: ScanOutcome, files: Mapping[int, Mapping[str, Path]]) -> None:
    """Write the record of a scan into a dataset under construction, if all its views became cases.

    files: for each of the outcome's views, by its index, where its image, label and thumbnail now lie under `dataset`.
    """
    if outcome.faults or len(files) < len(outcome.views) or not outcome.views:
        return
    views = [
        {
            "view": to_record(view),
            "files": {what: [str(path.relative_to(dataset)), sha256_of(path)] for what, path in files[index].items()},
        }
        for index, view in enumerate(outcome.views)
    ]
    notes = outcome.earlier_notes + len(outcome.notes)
    write_record(dataset, outcome.key, {"views": views, "unlabelled": outcome.unlabelled, "notes": notes})


def _identity(annotation: Annotation) -> list[str | bytes]:
    """What decides the pixels that an annotation becomes."""
    parts: list[str | bytes] = [repr((annotation.view, annotation.frame, annotation.rater, annotation.fault))]
    if annotation.content is None:
        return [*parts, sha256_of(annotation.path)]
    parts.append(repr((annotation.content.height, annotation.content.width)))
    for outline in annotation.content.outlines:
        values: dict[str, Any] = vars(outline)
        for name, value in sorted(values.items()):
            is_array = isinstance(value, np.ndarray)
            parts += [name, repr((value.shape, str(value.dtype))) if is_array else repr(value)]
            parts += [value.tobytes()] if is_array else []
    return parts
