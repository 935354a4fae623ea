"""One conversion of a dataset at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dataset_conversion.errors import ConversionError


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold a lock file while the block runs; a killed holder's lock is free at once, whatever became of the file.

    Raises ConversionError where another process holds it. Where the system has no such locks (Windows) nothing is held.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            # A POSIX lock, which worker processes do not inherit: flock's would outlive a killed parent in them.
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise ConversionError(f"{path}: another conversion of this dataset is running; wait for it.") from error
        if _is_still(path, descriptor):
            break
        os.close(descriptor)  # the last holder removed the file between our opening and locking it
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
