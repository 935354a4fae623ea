"""How outline files are named: after their scan, with the view, and where several people drew, with who did."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

from dataset_conversion.arrays import VIEW_ENDINGS
from dataset_conversion.scans import is_array, scan_stem
from dataset_conversion.scintigram import View

# How mask images are told from scans: nothing in their pixels does so reliably.
MASK_ENDINGS = ("_mask", "_label", "_labels", "_seg")


def is_mask_name(path: Path) -> bool:
    """Tell whether a picture or volume is named as a mask: `STEM_anterior_mask.png`, `STEM_seg.nii.gz`."""
    return is_array(path) and scan_stem(path).lower().endswith(MASK_ENDINGS)


def outline_stem(path: Path) -> str:
    """Name of an outline file without its type and, for a mask, without the ending that makes it one."""
    if not is_mask_name(path):
        return scan_stem(path) if is_array(path) else path.stem
    stem = scan_stem(path)
    return stem[: stem.rindex("_")]


def readings(stem: str) -> list[tuple[str, View | None]]:
    """The ways to read a name: as a scan's whole name, or as a scan's name followed by a view."""
    return [(stem, None), *((stem.removesuffix(end), view) for end, view in VIEW_ENDINGS.items() if stem.endswith(end))]


def rater_folder(outlines: Path, root: Path, with_scans: Container[Path]) -> str:
    """Name of the topmost folder under `root` that holds these outlines and no scan, "" where there is none.

    with_scans: all folders that hold a scan, at any depth.
    """
    folders = [parent for parent in outlines.parents if parent != root and parent.is_relative_to(root)]
    return next((folder.name for folder in reversed(folders) if folder not in with_scans), "")
