"""What prediction raises: every message is a sentence that names the file, what was found and what helps."""

from __future__ import annotations


class PredictionError(Exception):
    """A model or a scan that cannot be used for prediction; the message says which, why and what to do."""
