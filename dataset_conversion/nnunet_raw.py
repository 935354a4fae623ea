"""Writes DatasetXXX_Name for nnU-Net v2 as a whole: either the complete new dataset is there, or the old one still is."""

from __future__ import annotations

import csv
import errno
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import SimpleITK as sitk  # noqa: N813  its customary name

from dataset_conversion.errors import ConversionError
from dataset_conversion.scintigram import View

Channels = Literal["zscore", "anscombe"]
CHANNELS: tuple[Channels, ...] = get_args(Channels)
# nnU-Net picks the normalisation by channel name: "zscore" is in its table, and what is not in it gets the z-score too.
CHANNEL_NAMES: dict[Channels, str] = {"zscore": "zscore", "anscombe": "anscombe"}
LABELS = {"background": 0, "metastasis": 1}
FILE_ENDING = ".nii.gz"
RECIPE_VERSION = 1
MANIFEST_SCHEMA = 1


@dataclass(frozen=True)
class ManifestRow:
    """One case in manifest.csv: nothing here leads back to a person without the key.

    study: number of the patient's scan, from 1. fold: the fold whose validation set holds the case, None in a test set.
    lesions: 8-connected components of the mask; lesions and area are None without a label.
    """

    case: str
    patient: str
    study: int
    view: View
    split: Literal["train", "test"]
    height: int
    width: int
    spacing_row_mm: float
    spacing_col_mm: float
    counts: int
    lesions: int | None
    lesion_area_mm2: float | None
    fold: int | None
    source_sha256: str


def network_input(counts: np.ndarray, channels: Channels) -> np.ndarray:
    """Turn counts (H, W) into what is written for the network, float32 and strictly positive everywhere.

    zscore: n + 1. anscombe: 2 sqrt(n + 3/8), of variance close to 1 for Poisson counts (Anscombe 1948). nnU-Net crops zeros and
    may then normalise within the rest only, so there are none.
    """
    n = counts.astype(np.float64)
    values: np.ndarray = n + 1 if channels == "zscore" else 2 * np.sqrt(n + 3 / 8)
    return values.astype(np.float32)


def write_image(path: Path, pixels: np.ndarray, spacing_mm: tuple[float, float]) -> None:
    """Write (H, W) pixels as a true 2-D NIfTI with (row, column) spacing in mm; the same pixels give the same bytes.

    Raises OSError where the file cannot be written.
    """
    image = sitk.GetImageFromArray(pixels)
    image.SetSpacing((spacing_mm[1], spacing_mm[0]))
    try:
        sitk.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:  # SimpleITK's only exception
        raise OSError(errno.EIO, "the image cannot be written (is the disk full?)", str(path)) from error


class RawDataset:
    """A dataset under construction in a hidden folder beside its place; nnU-Net never sees it half-written.

    `staged` is where images and labels are first written under any name. `finish` puts everything in its place at once;
    `discard` leaves no trace. A killed run's leftovers are cleared away, and what it had moved aside is put back.
    """

    def __init__(self, raw: Path, dataset_id: int, name: str) -> None:
        """Check the name and the place; raises ConversionError where writing there would spoil something."""
        if not 1 <= dataset_id <= 999:
            raise ConversionError(f"the dataset id is {dataset_id}; nnU-Net expects 1 to 999.")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
            raise ConversionError(f"the dataset name is {name!r}; expected letters, digits, '-' and '_'.")
        self.name = f"Dataset{dataset_id:03d}_{name}"
        self.raw = raw
        self.folder = raw / self.name
        self._partial = raw / f".{self.name}.partial"
        self._aside = raw / f".{self.name}.old"
        self.staged = self._partial / "staged"
        others = [path.name for path in raw.glob(f"Dataset{dataset_id:03d}_*") if path.name != self.name]
        if others:
            raise ConversionError(
                f"{raw}: id {dataset_id} is taken by {others[0]}; nnU-Net allows one name an id, choose another."
            )
        if self.folder.exists() and not (self.folder / "manifest.json").is_file():
            raise ConversionError(f"{self.folder}: exists and was not made by this command; move it away or choose another id.")

    def start(self) -> None:
        """Make the staging folder, after clearing up what a killed run left."""
        self.discard()
        self.staged.mkdir(parents=True)

    def discard(self) -> None:
        """Remove what was staged; a finished dataset stays, and one that was moved aside for a swap comes back."""
        if self._aside.exists() and not self.folder.exists():
            self._aside.rename(self.folder)
        for folder in (self._partial, self._aside):
            if folder.exists():
                shutil.rmtree(folder)

    def place(self, staged: Path, case: str, *, split: Literal["train", "test"], is_label: bool) -> None:
        """Move a staged file to where nnU-Net looks for the case's image or label."""
        folder = ("labels" if is_label else "images") + ("Tr" if split == "train" else "Ts")
        target = self._partial / folder / (case + ("" if is_label else "_0000") + FILE_ENDING)
        target.parent.mkdir(exist_ok=True)
        staged.rename(target)

    def finish(
        self,
        rows: Sequence[ManifestRow],
        folds: Sequence[dict[str, list[str]]],
        channels: Channels,
        pixel_rule: str,
        record: dict[str, Any],
    ) -> None:
        """Write the dataset's JSON and CSV files, then swap it in; `record` goes into manifest.json.

        splits_final.json is written where there are folds: a dataset of test images alone has none.
        """
        training = [row for row in rows if row.split == "train"]
        spacing = np.median([(row.spacing_row_mm, row.spacing_col_mm) for row in training or rows], axis=0)
        # What prediction must know; nnU-Net copies dataset.json into every model folder, so nothing about patients.
        recipe = {
            "version": RECIPE_VERSION,
            "crop": "none",
            "views": "single",
            "channels": channels,
            "pixel_rule": pixel_rule,
            # Row and column, the median of the training cases; of all where none is for training.
            "spacing_mm": [float(value) for value in spacing],
        }
        dataset = {
            "channel_names": {"0": CHANNEL_NAMES[channels]},
            "labels": LABELS,
            "numTraining": len(training),
            "file_ending": FILE_ENDING,
            "msa": recipe,
        }
        shutil.rmtree(self.staged)
        _write_json(self._partial / "dataset.json", dataset)
        if folds:
            _write_json(self._partial / "splits_final.json", list(folds))
        manifest = {"schema": MANIFEST_SCHEMA, "dataset": self.name, "recipe": recipe, **record}
        _write_json(self._partial / "manifest.json", {**manifest, "cases": [asdict(row) for row in rows]})
        with (self._partial / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(ManifestRow)], lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(row) for row in rows)
        if self.folder.exists():
            self.folder.rename(self._aside)
        self._partial.rename(self.folder)
        self.discard()


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
