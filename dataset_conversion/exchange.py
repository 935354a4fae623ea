"""Puts a finished folder in the place of another, so that whoever looks, or kills the run, finds the old or the new one whole.

On Linux one system call, renameat2 with RENAME_EXCHANGE, swaps the two names: there is no moment between. Where the kernel, the
C library or the file system lacks it (NFS, macOS, Windows) there are two renames: the old folder moves aside to `.NAME.old`,
the new one takes its name. A run killed between them leaves no folder of that name, and `recover` brings the old one back. What
else a killed run can leave lies under hidden names: the new folder, half-built or finished, or the old one, half-deleted;
`recover` deletes it. Two runs at once on one target are not provided for.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from dataset_conversion.errors import ConversionError

# From Linux's fcntl.h and fs.h.
AT_FDCWD, RENAME_EXCHANGE = -100, 2
# The kernel (ENOSYS) or the file system (the others) does not know RENAME_EXCHANGE.
UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)


def aside(target: Path) -> Path:
    """Where the old folder waits between the two renames of the fallback; under this name it is always whole."""
    return target.with_name(f".{target.name}.old")


def exchange(new: Path, target: Path) -> None:
    """Put the finished folder `new` in the place of `target`, which may not exist yet, and delete what was there.

    Both must lie in one folder. Before the swap everything written to this file system is forced to the disk (syncfs: 0.1 s for
    600 images, where an fsync each takes 1 s), after it the folder that holds the names (fsync): a power cut, too, leaves one
    of the two whole. Where the old folder cannot be deleted altogether, the rest stays hidden for `recover`. Raises
    ConversionError where `target` is no folder or the swap is refused; `target` is then what it was.
    """
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise ConversionError(f"{target}: is a link or a file, expected a folder; move it away or choose another place.")
    try:
        recover(target)
        _everything_to_disk(new)
        if not target.exists():
            new.rename(target)
        elif not _swapped(new, target):
            _replace_in_two_steps(new, target)
    except OSError as error:
        raise ConversionError(
            f"{target}: the finished folder {new.name} cannot take its place ({error.strerror}), so it is what it was; close"
            " what uses it and check that you may write there."
        ) from error
    _names_to_disk(target.parent)
    with contextlib.suppress(OSError):  # the new folder is in its place, and that is what was asked for
        for old in (new, aside(target)):
            _delete(old, target)


def recover(target: Path, *leftovers: Path) -> None:
    """Clear up after a killed run: bring `target` back from aside where it is missing, delete what is aside and `leftovers`.

    Call it before anything reads `target` or builds a new folder; `leftovers` are the names new folders are built under. Raises
    OSError where something cannot be moved or deleted.
    """
    if aside(target).exists() and not target.exists():
        aside(target).rename(target)
    for folder in (_doomed(target), aside(target), *leftovers):
        _delete(folder, target)


def _doomed(target: Path) -> Path:
    return target.with_name(f".{target.name}.deleted")


def _delete(folder: Path, target: Path) -> None:
    """Delete a folder under a name of its own: what is half-deleted must not be taken for the old folder and brought back."""
    if folder != _doomed(target) and folder.exists() and not _doomed(target).exists():
        folder = folder.rename(_doomed(target))
    if folder.exists():
        shutil.rmtree(folder)


def _swapped(first: Path, second: Path) -> bool:
    """Swap two names in one step; False where that is not to be had here, OSError where it was refused."""
    renameat2 = _linux_call("renameat2")
    if renameat2 is None:
        return False
    if renameat2(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE) == 0:
        return True
    error = _last_error(second)
    if error.errno in UNSUPPORTED:
        return False
    raise error


def _replace_in_two_steps(new: Path, target: Path) -> None:
    target.rename(aside(target))
    try:
        new.rename(target)
    except OSError:
        aside(target).rename(target)
        raise


def _everything_to_disk(folder: Path) -> None:
    syncfs = _linux_call("syncfs")
    if syncfs is None:
        if hasattr(os, "sync"):
            os.sync()
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if syncfs(descriptor) != 0:
            raise _last_error(folder)
    finally:
        os.close(descriptor)


def _names_to_disk(folder: Path) -> None:
    with contextlib.suppress(OSError):  # Windows cannot open a folder, and some network file systems cannot sync one
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _linux_call(name: str) -> Any | None:
    """A function of the C library that Python does not offer, or None: elsewhere, or where the library is older than it."""
    return getattr(ctypes.CDLL(None, use_errno=True), name, None) if sys.platform == "linux" else None


def _last_error(path: Path) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), str(path))
