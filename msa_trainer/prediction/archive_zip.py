"""Exported models read where they lie: nothing of an archive is ever unpacked, so nothing of it can leave its place."""

from __future__ import annotations

import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from msa_trainer.prediction.errors import PredictionError

# nnUNetv2_export_model_to_zip writes some twenty files, with cross-validation predictions a few thousand.
MOST_MEMBERS = 20_000
# The largest nnU-Net checkpoints (100 M weights, twice more for the optimiser) hold 1.2 GB.
LARGEST_MEMBER = 4 * 2**30
LARGEST_TEXT = 64 * 2**20
# Weights hardly shrink and text shrinks tenfold; a bomb shrinks a thousandfold.
HIGHEST_RATIO = 200


class ArchiveZip:
    """An exported model, checked as a whole before any of it is read.

    Raises PredictionError for a file that is no zip archive, and for members that an export never has: absolute or upward
    paths, links, encryption, more or larger ones than any model needs.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise PredictionError(f"{path}: is no zip archive or not a whole one ({error}); export the model again.") from error
        if len(members) > MOST_MEMBERS:
            raise PredictionError(f"{path}: holds {len(members)} files; an exported model has at most {MOST_MEMBERS}.")
        for member in members:
            _refuse_hostile(path, member)
        self.members = {member.filename: member for member in members if not member.is_dir()}

    def read(self, name: str) -> bytes:
        """The content of a member, whose checksum is compared; raises PredictionError where it is damaged."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                return archive.read(self.members[name])
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise PredictionError(f"{self.path}: {name} in it is damaged ({error}); export the model again.") from error


def _refuse_hostile(path: Path, member: zipfile.ZipInfo) -> None:
    name = member.filename.replace("\\", "/")
    parts = PurePosixPath(name).parts
    limit = LARGEST_TEXT if name.endswith(".json") else LARGEST_MEMBER
    found = None
    if name.startswith("/") or ".." in parts or (parts and parts[0].endswith(":")):
        found = "a path that leads out of the archive"
    elif stat.S_ISLNK(member.external_attr >> 16):
        found = "a link"
    elif member.flag_bits & 1:
        found = "an encrypted file"
    elif member.file_size > limit:
        found = f"a file of {member.file_size / 2**20:.0f} MiB, more than {limit / 2**20:.0f}"
    elif member.file_size > HIGHEST_RATIO * max(member.compress_size, 1024):
        found = f"a file that unpacks to {member.file_size / max(member.compress_size, 1):.0f} times its size"
    if found:
        raise PredictionError(
            f"{path}: {member.filename!r} in it is {found}; no export of nnU-Net has one, so nothing of the archive is used."
            " Get it again from where it was made."
        )
