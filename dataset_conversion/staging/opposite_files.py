"""The second channel of `--views paired`: the opposite view of the same scan, mirrored and registered, as a file."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from dataset_conversion.errors import ConversionError
from dataset_conversion.network_input import network_input, write_image
from dataset_conversion.opposite_view import opposite_channel
from dataset_conversion.quality import Flag
from dataset_conversion.scans import read_scan
from dataset_conversion.scintigram import Scintigram
from dataset_conversion.staging.options import Staging
from dataset_conversion.staging.records import find_record, key_of, sha256_of, take_over, write_record
from dataset_conversion.staging.staged_view import StagedView
from dataset_conversion.thorax import ThoraxBox, crop


@dataclass(frozen=True)
class OppositeFile:
    """A written second channel: the (rows, columns) px by which the mirrored opposite view was moved, and doubts about it."""

    path: Path
    key: str
    shift: tuple[int, int]
    flags: tuple[Flag, ...]


def stage_opposite(number: int, own: StagedView, other: StagedView, *, how: Staging) -> OppositeFile:
    """Write the second channel of a view, cropped as the view itself is; taken over where an earlier conversion made it.

    Both scans are read once more: keeping all pixels of a conversion until its views are paired would need their disk space.
    Raises ConversionError where a source changed since, or where the two views have different shapes.
    """
    path = how.folder / f"{number:06d}_{own.view}_opposite.{how.file_format}"
    box = (own.top, own.left, own.height, own.width)
    sides = [repr((view.source_sha256, view.source.name, view.frame)) for view in (own, other)]
    key = key_of(how.fingerprint, "opposite", *sides, repr(box))
    record = find_record(how.previous, key)
    if record is not None and how.previous is not None:
        try:
            shift, flags = tuple(record["shift"]), tuple(Flag(**flag) for flag in record["flags"])
            if take_over(how.previous / record["path"], record["sha256"], path):
                return OppositeFile(path, key, (int(shift[0]), int(shift[1])), flags)
        except (KeyError, TypeError, IndexError):  # of another version of this program
            pass
    mine, opposite = _read(own, how), _read(other, how)
    if mine.counts.shape != opposite.counts.shape:
        raise ConversionError(
            f"{other.source}: its {other.view} view is {opposite.counts.shape[0]} x {opposite.counts.shape[1]} px, the"
            f" {own.view} view of the same scan {mine.counts.shape[0]} x {mine.counts.shape[1]}; use --views single."
        )
    counts, moved, doubt = opposite_channel(mine.counts, opposite.counts)
    write_image(path, network_input(crop(counts, ThoraxBox(*box, "")), how.channels), own.spacing_mm)
    return OppositeFile(path, key, moved, (Flag("opposite", "warning", doubt),) if doubt else ())


def keep_opposite(dataset: Path, made: OppositeFile, placed: Path) -> None:
    """Write the record of a second channel that now lies at `placed` under a dataset under construction."""
    flags = [vars(flag) for flag in made.flags]
    content = {"path": str(placed.relative_to(dataset)), "sha256": sha256_of(placed), "shift": list(made.shift), "flags": flags}
    write_record(dataset, made.key, content)


def _read(staged: StagedView, how: Staging) -> Scintigram:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said when the scan was staged
        found = [view for view in read_scan(staged.source, how.read) if view.frame == staged.frame and view.view == staged.view]
    if not found:
        raise ConversionError(
            f"{staged.source}: its {staged.view} view is gone; it changed during the conversion, convert again."
        )
    return found[0]
