"""run.json: what a run did, with what, to which input; without paths, names and dates of patients."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from dataset_conversion.scans import scan_stem
from dataset_conversion.staging.records import sha256_of
from msa_trainer import __version__
from msa_trainer.prediction.studies import Study, view_of_case

NAME = "run.json"
SCHEMA = 1
# Those that touch the pixels on their way from the scan to the mask.
PACKAGES = ("torch", "nnunetv2", "numpy", "scipy", "pydicom", "python-gdcm", "SimpleITK", "highdicom")
UNNAMED = "It cannot be used; the terminal named the reason."
UNNAMED_NOTE = "There is a remark on its file, which the terminal showed."

# complete: was there already. partial: something of it is written and something could not be. skipped: holds no planar scan.
Outcome = Literal["written", "complete", "partial", "failed", "skipped", "not attempted"]


@dataclass
class StudyRecord:
    """What became of one study. markers: complete.json of its scans. faults: sentences for the terminal, which name files."""

    study: Study
    outcome: Outcome = "not attempted"
    markers: list[dict[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def reasons(self) -> list[str]:
        """The faults as they may be written."""
        return [nameless(fault, self.study) for fault in self.faults]

    @property
    def remarks(self) -> list[str]:
        """The notes as they may be written."""
        return [nameless(note, self.study, UNNAMED_NOTE) for note in self.notes]


def nameless(sentence: str, study: Study, otherwise: str = UNNAMED) -> str:
    """A reader's sentence without the file it begins with; a general one where it still names a file or folder.

    Archives name files and folders after patients, so none of those names is written.
    """
    names: set[str] = set()
    for file in study.files:
        sentence = sentence.removeprefix(f"{file.path}: ")
        stem = scan_stem(file.path)
        names |= {*file.path.parts, stem, view_of_case(stem)[0], view_of_case(file.case)[0]}
    spelled = "|".join(re.escape(name) for name in names if name not in ("", "/"))
    if spelled and re.search(rf"(?<!\w)({spelled})(?!\w)", sentence, re.IGNORECASE):
        return otherwise
    return sentence[:1].upper() + sentence[1:]


def manifest(
    records: Sequence[StudyRecord],
    skipped: Mapping[Path, str],
    *,
    network: Mapping[str, Any],
    options: Mapping[str, Any],
    began: datetime,
    seconds: float,
    stopped: str = "",
) -> dict[str, Any]:
    """The content of run.json: versions, model and device, options, every study with its input's SHA-256 and warnings.

    skipped: files that are no scans, with the reason. stopped: why the run ended before all studies were tried, or "".
    """
    return {
        "schema": SCHEMA,
        "use": "research use only",
        "began": began.isoformat(timespec="seconds"),
        "seconds": round(seconds, 2),
        "versions": {"msa-trainer": __version__, "python": platform.python_version(), **_versions()},
        "network": dict(network),
        "options": dict(options),
        "stopped": stopped,
        "outcomes": {outcome: sum(record.outcome == outcome for record in records) for outcome in _OUTCOMES},
        "studies": [_studied(record) for record in records],
        "skipped": [{"sha256": _hash(path), "reason": reason} for path, reason in skipped.items()],
    }


def write_manifest(output: Path, content: Mapping[str, Any]) -> None:
    """Write run.json beside and rename; raises OSError."""
    partial = output / f".{NAME}.partial"
    try:
        partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        partial.replace(output / NAME)
    finally:
        partial.unlink(missing_ok=True)


_OUTCOMES: tuple[Outcome, ...] = ("written", "complete", "partial", "failed", "skipped", "not attempted")


def _studied(record: StudyRecord) -> dict[str, Any]:
    return {
        "name": record.study.name,
        "patient": record.study.patient,
        "outcome": record.outcome,
        "inputs": [file.sha256 for file in record.study.files],
        "scans": len(record.markers),
        "lesions": sum(marker["lesions"] for marker in record.markers),
        "seconds": round(record.seconds, 3),
        "faults": record.reasons,
        "warnings": record.remarks,
        "flags": sorted({flag["code"] for marker in record.markers for flag in marker["flags"]}),
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _hash(path: Path) -> str | None:
    try:
        return sha256_of(path)
    except OSError:
        return None
