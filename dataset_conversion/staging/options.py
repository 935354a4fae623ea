"""How scans are staged, and what comes of one: the types that travel between the converter and its workers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from dataset_conversion.network_input import Channels, FileFormat
from dataset_conversion.scans import ReadOptions
from dataset_conversion.staging.labelling import LabelRules
from dataset_conversion.staging.records import key_of
from dataset_conversion.staging.staged_view import StagedView

Unlabelled = Literal["skip", "test", "negative"]
UNLABELLED: tuple[Unlabelled, ...] = get_args(Unlabelled)
Crop = Literal["none", "thorax"]
CROPS: tuple[Crop, ...] = get_args(Crop)
Views = Literal["single", "paired"]
VIEW_MODES: tuple[Views, ...] = get_args(Views)
# Goes into the key of every reused file: to be raised whenever the same input gives other files.
STAGING_VERSION = 1


@dataclass(frozen=True)
class Staging:
    """How scans become files, and where to.

    folder: where files are written under working names. previous: the finished dataset whose unchanged files are taken over.
    key: of the pseudonyms. views: "paired" stages views without outlines too, for they are the second channel of others.
    """

    folder: Path
    previous: Path | None
    key: bytes
    label_rules: LabelRules
    channels: Channels = "zscore"
    file_format: FileFormat = "nii.gz"
    crop: Crop = "none"
    views: Views = "single"
    unlabelled: Unlabelled = "skip"
    read: ReadOptions = field(default_factory=ReadOptions)

    @property
    def fingerprint(self) -> str:
        """All that decides a scan's files beside the scan and its outlines; the pseudonym key as its own hash."""
        rules = (self.label_rules, self.channels, self.file_format, self.crop, self.views, self.unlabelled, self.read)
        return repr((STAGING_VERSION, key_of(self.key), *rules))


@dataclass
class ScanOutcome:
    """What became of one file: staged views, or why it was skipped; every other entry is a sentence for the user.

    key: of the record under which a later conversion finds the files again. reused: they were taken over from an earlier one,
    which gave `earlier_notes` notes; the notes themselves name files, so no record holds them.
    """

    source: Path
    sha256: str = ""
    key: str = ""
    views: list[StagedView] = field(default_factory=list)
    unlabelled: int = 0
    reused: bool = False
    earlier_notes: int = 0
    skipped: str | None = None
    faults: list[str] = field(default_factory=list)
    stops: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
