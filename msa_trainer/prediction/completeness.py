"""complete.json, the last file of a study's folder: what was made of which input, so that the next run need not do it again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dataset_conversion.staging.records import key_of, sha256_of
from msa_trainer.prediction.studies import Study

MARKER = "complete.json"
SCHEMA = 1
KEYS = ("fingerprint", "scans", "scan", "files", "faults", "flags", "views", "lesions")
# Goes into every fingerprint: to be raised whenever the same input gives other files.
OUTPUT_VERSION = 1

# missing: nothing is there. complete: nothing is to be done, whatever a reader corrected there since. stale: made of another
# input or by another model, or not whole. altered: stale, and someone changed or added files, which making it anew would lose.
# foreign: made by no run of ours.
State = Literal["missing", "complete", "stale", "altered", "foreign"]


@dataclass(frozen=True)
class Standing:
    """What an output folder holds of a study: its state, and the markers of its scans where it is complete."""

    state: State
    markers: list[dict[str, Any]] = field(default_factory=list)


def fingerprint(study: Study, model: str, options: Mapping[str, Any]) -> str:
    """SHA-256 over all that decides a study's outputs: its files, the model (its own hash) and the options."""
    files = [repr((file.sha256, file.path.name, file.case, file.channel)) for file in study.files]
    return key_of(str(OUTPUT_VERSION), study.name, model, json.dumps(options, sort_keys=True), *sorted(files))


def scan_name(study: str, number: int) -> str:
    """Name of the folder of a study's scan, numbered from 1; most studies have one, which is named as they are."""
    return study if number == 1 else f"{study}_{number}"


def standing(output: Path, study: str, expected: str) -> Standing:
    """Compare what is there of a study, all its scans, with the fingerprint of what would be made."""
    first = output / study
    if not first.exists():
        return Standing("missing")
    marker = _read(first)
    if marker is None:
        return Standing("foreign")
    folders = [output / scan_name(study, number) for number in range(1, marker["scans"] + 1)]
    found = [(folder, one) for folder in folders if (one := _read(folder)) is not None]
    whole, altered = len(found) == len(folders), False
    for folder, one in found:
        listed, here = one["files"], _files(folder)
        whole &= here.keys() >= listed.keys()
        altered |= any(name not in listed or sha256_of(path) != listed[name] for name, path in here.items())
    if whole and all(one["fingerprint"] == expected and not one["faults"] for _, one in found):
        return Standing("complete", [one for _, one in found])
    return Standing("altered" if altered else "stale")


def remove_surplus(output: Path, study: str, scans: int) -> None:
    """Remove the folders of scans beyond the number that a study has now, which an earlier run made."""
    number = scans + 1
    while (marker := _read(output / scan_name(study, number))) is not None and marker.get("study") == study:
        shutil.rmtree(output / scan_name(study, number))
        number += 1


def write_marker(folder: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Write the marker of a finished folder, with the SHA-256 of every file in it, and return it. Raises OSError."""
    files = {name: sha256_of(path) for name, path in _files(folder).items()}
    marker = {"schema": SCHEMA, **content, "files": files}
    (folder / MARKER).write_text(json.dumps(marker, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return marker


def _files(folder: Path) -> dict[str, Path]:
    """The files of a folder by their names in it, but for the marker and hidden ones, which file managers leave."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path for path in paths if path.name != MARKER}


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        is_ours = marker["schema"] == SCHEMA and {*KEYS} <= marker.keys()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return marker if is_ours else None
