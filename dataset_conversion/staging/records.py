"""Files that an earlier conversion made of the same scan in the same way are taken over instead of made anew.

A finished dataset keeps one small JSON record per unit of work in the hidden folder RECORDS, named by a key: the SHA-256 of all
that decides the unit's files. A record names those files and their SHA-256, so that files changed since are never taken over.
The thumbnails of the QC page, which itself holds them all, lie there too.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RECORDS = ".converted"


def key_of(*parts: str | bytes) -> str:
    """SHA-256 over the parts, each with its length before it, so that no two lists of parts run together."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hexadecimal digits; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file.read())


def _digest(content: bytes) -> str:  # Python 3.10
    return hashlib.sha256(content).hexdigest()


def find_record(dataset: Path | None, key: str) -> dict[str, Any] | None:
    """The record of a unit of work in a finished dataset, None where it has none that can be read."""
    if dataset is None:
        return None
    try:
        record = json.loads((dataset / RECORDS / f"{key}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def write_record(dataset: Path, key: str, record: Mapping[str, Any]) -> None:
    """Keep a record in a dataset that is being built."""
    (dataset / RECORDS).mkdir(exist_ok=True)
    (dataset / RECORDS / f"{key}.json").write_text(json.dumps(record, allow_nan=False, sort_keys=True) + "\n", encoding="utf-8")


def take_over(old: Path, sha256: str, new: Path) -> bool:
    """Make `new` the same file as `old`, by a hard link where the disk can; False where `old` is gone or was changed."""
    try:
        if sha256_of(old) != sha256:
            return False
        try:
            os.link(old, new)
        except OSError:  # no hard links here, or none between these folders
            shutil.copyfile(old, new)
    except OSError:
        return False
    return True
