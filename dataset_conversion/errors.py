"""What conversion raises: every message is a sentence that names the file, what was found and what helps."""

from __future__ import annotations


class ConversionError(Exception):
    """An input that cannot be converted; the message says which, why and what to do."""


class SkippedFile(ConversionError):  # noqa: N818  not an error of the user's: the file is simply none of ours
    """A file that is no planar emission scan (another modality, a report, a text file); the message is the reason."""
