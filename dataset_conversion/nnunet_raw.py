"""Writes DatasetXXX_Name for nnU-Net v2 as a whole: either the complete new dataset is there, or the old one still is."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dataset_conversion.errors import ConversionError
from dataset_conversion.exchange import exchange, recover
from dataset_conversion.network_input import CHANNEL_NAMES, Channels, FileFormat
from dataset_conversion.scintigram import View
from dataset_conversion.staging.records import RECORDS

Split = Literal["train", "test"]
RECIPE_VERSION = 1
MANIFEST_SCHEMA = 2


@dataclass(frozen=True)
class ManifestRow:
    """One case in manifest.csv: nothing here leads back to a person without the key.

    study: number of the patient's scan, from 1. fold: the fold whose validation set holds the case, None in a test set.
    height, width: px of the written image, whose first pixel is row crop_top, column crop_left of the whole view of full_height
    x full_width px; so a prediction goes back into the whole body. counts: of the whole view.
    lesions: 8-connected components of the mask; lesions and area are None without a label.
    shift_rows, shift_cols: px by which the second channel was moved, None with a single one. flags: as on the QC page.
    """

    case: str
    patient: str
    study: int
    view: View
    split: Split
    height: int
    width: int
    spacing_row_mm: float
    spacing_col_mm: float
    counts: int
    lesions: int | None
    lesion_area_mm2: float | None
    fold: int | None
    crop_top: int
    crop_left: int
    full_height: int
    full_width: int
    shift_rows: int | None
    shift_cols: int | None
    flags: str
    source_sha256: str


@dataclass(frozen=True)
class Recipe:
    """How a dataset's images and labels were made: what prediction must repeat, and the classes. Nothing about patients.

    labels: as nnU-Net wants them, background 0 and the ignore label, where there is one, highest.
    """

    crop: str
    views: Literal["single", "paired"]
    channels: Channels
    pixel_rule: str
    file_format: FileFormat
    labels: Mapping[str, int]


class RawDataset:
    """A dataset under construction in a hidden folder beside its place; nnU-Net never sees it half-written.

    `staged` is where files are first written under any name. `finish` puts everything in its place at once; `discard` leaves no
    trace. A killed run's leftovers are cleared away, and what it had moved aside is put back.
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
        # A name of this process's own: a killed run's workers may still be writing into theirs.
        self.partial = raw / f".{self.name}.partial-{os.getpid()}"
        self.staged = self.partial / "staged"
        others = [path.name for path in raw.glob(f"Dataset{dataset_id:03d}_*") if path.name != self.name]
        if others:
            raise ConversionError(
                f"{raw}: id {dataset_id} is taken by {others[0]}; nnU-Net allows one name an id, choose another."
            )
        if self.folder.exists() and not (self.folder / "manifest.json").is_file():
            raise ConversionError(f"{self.folder}: exists and was not made by this command; move it away or choose another id.")

    def start(self) -> None:
        """Make the staging folder, after clearing up what killed runs left."""
        recover(self.folder)
        for leftover in self.raw.glob(f".{self.name}.partial-*"):
            shutil.rmtree(leftover)
        self.staged.mkdir(parents=True)

    def discard(self) -> None:
        """Remove what was staged; a finished dataset stays, and one that was moved aside for a swap comes back."""
        recover(self.folder)
        shutil.rmtree(self.partial, ignore_errors=True)

    def place(
        self,
        staged: Path,
        case: str,
        *,
        split: Split,
        kind: Literal["image", "label", "opposite", "thumbnail"],
    ) -> Path:
        """Move a staged file to where it belongs, nnU-Net's folders or (thumbnail) that of the QC page; returns its new path.

        opposite: the image's second channel.
        """
        suffix = "".join(staged.suffixes[-2:]) if staged.name.endswith(".nii.gz") else staged.suffix
        if kind == "thumbnail":
            target = self.thumbnail(case)
        elif kind == "label":
            target = self.partial / f"labels{_ending(split)}" / (case + suffix)
        else:
            target = self.partial / f"images{_ending(split)}" / f"{case}_000{int(kind == 'opposite')}{suffix}"
        target.parent.mkdir(exist_ok=True)
        staged.rename(target)
        return target

    def thumbnail(self, case: str) -> Path:
        """Where the picture of a case lies while the dataset is being built: among what the next conversion may take over."""
        return self.partial / RECORDS / f"{case}.webp"

    def write(self, name: str, content: str) -> None:
        """Write a text file beside dataset.json."""
        (self.partial / name).write_text(content, encoding="utf-8")

    def finish(
        self,
        rows: Sequence[ManifestRow],
        folds: Sequence[dict[str, list[str]]],
        recipe: Recipe,
        record: dict[str, Any],
    ) -> None:
        """Write dataset.json, splits_final.json and the manifest, then swap the dataset in; `record` goes into manifest.json.

        splits_final.json is written where there are folds: a dataset of test images alone has none.
        """
        training = [row for row in rows if row.split == "train"]
        spacing = np.median([(row.spacing_row_mm, row.spacing_col_mm) for row in training or rows], axis=0)
        # What prediction must know; nnU-Net copies dataset.json into every model folder, so nothing about patients.
        msa = {
            "version": RECIPE_VERSION,
            "crop": recipe.crop,
            "views": recipe.views,
            "channels": recipe.channels,
            "pixel_rule": recipe.pixel_rule,
            # Row and column, the median of the training cases; of all where none is for training.
            "spacing_mm": [float(value) for value in spacing],
        }
        n_channels = 2 if recipe.views == "paired" else 1
        dataset = {
            "channel_names": {str(channel): CHANNEL_NAMES[recipe.channels] for channel in range(n_channels)},
            "labels": dict(recipe.labels),
            "numTraining": len(training),
            "file_ending": f".{recipe.file_format}",
            "msa": msa,
        }
        shutil.rmtree(self.staged)
        self.write("dataset.json", _as_json(dataset))
        if folds:
            self.write("splits_final.json", _as_json(list(folds)))
        manifest = {"schema": MANIFEST_SCHEMA, "dataset": self.name, "recipe": msa, **record}
        self.write("manifest.json", _as_json({**manifest, "cases": [asdict(row) for row in rows]}))
        with (self.partial / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(ManifestRow)], lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(row) for row in rows)
        exchange(self.partial, self.folder)


def _ending(split: Split) -> str:
    return "Tr" if split == "train" else "Ts"


def _as_json(content: Any) -> str:
    return json.dumps(content, indent=2, allow_nan=False) + "\n"
