"""Writing a set of result files so that each is either the old one or complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write `files` (name: content) into `folder`, which is made where needed; other files there stay.

    All are written beside first and then renamed in the order given, so the last one vouches for the others.

    Raises OSError after removing what was written beside, and the folder if it was made here.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    staging = folder / f".writing-{os.getpid()}"
    try:
        staging.mkdir()
        for name, content in files.items():
            (staging / name).write_bytes(content)
        for name in files:
            (staging / name).replace(folder / name)
    except OSError:
        shutil.rmtree(folder if made else staging, ignore_errors=True)
        raise
    staging.rmdir()
