"""The demo's new scans as an archive would send them, and whether `msa predict` marks on them what `nnUNetv2_predict` marks."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dataset_conversion.staging.records import sha256_of

Masks = dict[tuple[str, str], Path]  # by the SHA-256 of the DICOM file and the view


def gather(manifest: Path, studies: Path, others: Iterable[Path], output: Path) -> list[Path]:
    """Copy the test patients' DICOM files, and `others`, into a folder of their own, without outlines; return the copies.

    manifest: manifest.csv of the dataset that was made of `studies`; it knows files by their hash alone. Raises SystemExit
    where a test scan is not found.
    """
    wanted = {row["source_sha256"] for row in _rows(manifest) if row["split"] == "test"}
    found = [path for path in sorted(studies.glob("*.dcm")) if sha256_of(path) in wanted]
    if not wanted or len(found) != len(wanted):
        raise SystemExit(f"msa demo: {manifest} names {len(wanted)} test scans, of which {len(found)} are in {studies}.")
    output.mkdir()
    return [Path(shutil.copyfile(path, output / path.name)) for path in (*found, *others)]


def masks_of_nnunet(manifest: Path, predictions: Path) -> Masks:
    """What nnUNetv2_predict made of a dataset's test images."""
    rows = [row for row in _rows(manifest) if row["split"] == "test"]
    return {(row["source_sha256"], row["view"]): predictions / f"{row['case']}.nii.gz" for row in rows}


def masks_of_msa(findings: Path) -> Masks:
    """What `msa predict` wrote, by what each study's complete.json says of its views."""
    found: Masks = {}
    for marker in sorted(findings.glob("*/complete.json")):
        for view in json.loads(marker.read_text())["views"]:
            found[view["source"], view["view"]] = marker.parent / f"{view['name']}.nii.gz"
    return found


def require_identical(ours: Masks, theirs: Masks) -> int:
    """Number of masks, all equal pixel for pixel. Raises SystemExit where a mask is missing or a pixel differs."""
    import SimpleITK as sitk  # noqa: N813

    if not theirs or ours.keys() != theirs.keys():
        raise SystemExit(f"msa demo: msa predict wrote {len(ours)} masks, nnUNetv2_predict {len(theirs)}, or of other scans.")
    absent = [path for path in (*ours.values(), *theirs.values()) if not path.is_file()]
    if absent:
        raise SystemExit(f"msa demo: {absent[0]} is not there; expected a mask of each view by both commands.")
    for key, path in theirs.items():
        mine, other = (sitk.GetArrayFromImage(sitk.ReadImage(str(one))) for one in (ours[key], path))
        if not np.array_equal(mine, other):
            differing = int((mine != other).sum()) if mine.shape == other.shape else "all"
            raise SystemExit(f"msa demo: {ours[key]} and {path} differ in {differing} pixels; expected the same mask.")
    return len(theirs)


def _rows(manifest: Path) -> list[dict[str, str]]:
    with manifest.open(newline="") as file:
        return list(csv.DictReader(file))
