"""Writing a set of result files so that each is either the old one or complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path


def write_files(folder: Path, files: Mapping[str, bytes | Iterable[bytes]]) -> None:
    """Write `files` (name, which may begin with a subfolder: content) into `folder`, made where needed; other files there stay.

    Content is bytes, or blocks of bytes that are made while they are written. All are written beside first and then renamed
    in the order given, so the last one vouches for the others.

    Raises OSError, and what making a block raises, after removing what was written beside, and the folder if it was made here.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    staging = folder / f".writing-{os.getpid()}"
    try:
        staging.mkdir()
        for name, content in files.items():
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            with (staging / name).open("wb") as file:
                file.writelines([content] if isinstance(content, bytes) else content)
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (staging / name).replace(folder / name)
    except BaseException:  # an interrupt too must not leave half of the files
        shutil.rmtree(folder if made else staging, ignore_errors=True)
        raise
    shutil.rmtree(staging)
